"""What files may ask for: sizes are known before anything is unpacked, and JSON is finite, flat and short."""

import gzip
import io
import json
import random
import re
import struct
import time
import tomllib
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deep import grid
from sim.sampling import images
from theory.__main__ import main
from theory.common.arrays import packed, read_arrays
from theory.common.inputs import DEEPEST, LONGEST, InputError, parse_object, read_lines, read_text
from theory.gaussian.error_settings import errors_of_setting, parse_setting
from theory.results.flags import MOST, Evaluation


def cost(read, *given):
    """Return the most bytes that were held while something was refused."""
    tracemalloc.start()
    with pytest.raises(InputError) as refused:
        read(*given)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(refused.value)) < 1000
    return most


def test_arrays_are_packed_as_they_are_given():
    given = {"a": [1, 2], "file": np.float32(3), "allow_pickle": np.array(["x", "yz"])}
    with np.load(io.BytesIO(packed(given))) as found:
        assert found.files == [*given] and found["a"].tolist() == [1, 2] and found["file"].dtype == np.float32
    assert packed(given) == packed(given)
    with pytest.raises(ValueError, match="pickle"):
        packed({"a": [None]})


def bomb(path, header, size, kind=zipfile.ZIP_DEFLATED, name="a.npy", **others):
    with zipfile.ZipFile(path, "w", kind, compresslevel=1) as archive:
        for other, array in others.items():
            with archive.open(f"{other}.npy", "w") as member:
                np.lib.format.write_array(member, array)
        with archive.open(name, "w") as member:
            member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n")
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))


HEADER = "{'descr': %r, 'fortran_order': False, 'shape': %s}"


@pytest.mark.parametrize(
    "descr, shape",
    [
        ("|b1", (1, 600 << 20)),
        ("<i8", (10**15,)),
        ("|u1", (10,)),
        ("<U0", (10**12,)),
        ("<U400000000", ()),
        ("|O", (10,)),
        ("<f8", (-1,)),
        ([("x", "<i8", (1 << 28,))], (1,)),
    ],
)
def test_an_archive_is_refused_before_it_is_unpacked(tmp_path, descr, shape):
    """600 MB of zeros in some kB; also where the header says less, or sizes that no memory has."""
    path = tmp_path / "flags.npz"
    bomb(path, (HEADER % (descr, shape)).encode(), 64 << 20)
    assert cost(read_arrays, path) < 10 << 20 and path.stat().st_size < 1 << 20
    assert cost(Evaluation.read, path) < 10 << 20


def test_an_archive_is_not_unpacked_by_other_methods_or_past_its_sum(tmp_path):
    path, small = tmp_path / "a.npz", (HEADER % ("|u1", (4 << 20,))).encode()
    bomb(path, small, 4 << 20, b=np.zeros(4 << 20, np.uint8))
    assert cost(read_arrays, path, 7 << 20) < 2 << 20
    assert sum(a.nbytes for a in read_arrays(path, 9 << 20).values()) == 8 << 20
    bomb(path, small, 4 << 20, zipfile.ZIP_BZIP2)
    assert cost(read_arrays, path) < 2 << 20


def test_flags_have_no_more_samples_than_there_are(tmp_path):
    path, n = tmp_path / "flags.npz", 1000
    flags = Evaluation(("clean",), np.arange(n), np.zeros(n, np.int64), np.ones((1, n), bool))
    path.write_bytes(flags.to_bytes())
    assert len(Evaluation.read(path, n).labels) == n
    with pytest.raises(InputError, match="at most 999"):
        Evaluation.read(path, n - 1)
    claimed = {"attacks": ["clean"], "gaps": np.zeros(10**7, np.int8), "labels": np.zeros(10**7, np.int8)}
    path.write_bytes(packed(claimed | {"ok": np.zeros((1, 10**7 // 8), np.uint8)}))
    assert cost(Evaluation.read, path, 10**12) < 60 << 20 and MOST < 10**6


@pytest.mark.parametrize(
    "text, says",
    [
        ('{"a": NaN}', "NaN"),
        ('{"a": [-Infinity]}', "Infinity"),
        ('{"a": 1e999}', "finite"),
        ('{"a": %s}' % ("9" * 400), "finite"),
        ('{"a": %s}' % ("9" * 10**5), "finite"),
        ('{"a": %s}' % ("[" * 40 + "]" * 40), "within each other"),
        ('{"a":' * 40 + "1" + "}" * 40, "within each other"),
        ('{"a": 1, "b": 2, "a": 3}', "'a' twice"),
    ],
)
def test_json_that_is_not_strict_is_refused(text, says):
    with pytest.raises(InputError, match=says) as refused:
        parse_object(text, "it")
    assert len(str(refused.value)) < 200


def test_json_may_be_wide_and_as_deep_as_it_is_said():
    wide = {"a": [[i] for i in range(1000)], "b": 1e308, "c": 10**300, "d": -0.5}
    assert parse_object(json.dumps(wide), "it") == wide
    deep = "[" * (DEEPEST - 2) + "]" * (DEEPEST - 2)
    assert parse_object(f'{{"a": {deep}}}', "it")
    begun = time.perf_counter()
    keys = ",".join(f'"{i}": 0' for i in range(60_000))
    with pytest.raises(InputError, match="'59999' twice"):
        parse_object(f'{{{keys}, "59999": 1}}', "it")
    assert time.perf_counter() - begun < 5  # counting each key by itself takes its square


def test_text_is_read_to_a_limit(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"a\n" + b"b" * (LONGEST + 1))
    assert next(read_lines(path)) == (1, "a\n")
    with pytest.raises(InputError, match=rf"line 2.*{LONGEST}"):
        [*read_lines(path)]
    for read in (read_text, lambda p: [*read_lines(p)]):
        for bad in (tmp_path, tmp_path / "none", tmp_path / "\0"):
            with pytest.raises(InputError, match="cannot read"):
                read(bad)
    path.write_bytes("\u2028\x85é\n".encode() * 2)
    assert [n for n, _ in read_lines(path)] == [1, 2]  # these are not ends of lines
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(InputError, match="line 2.*UTF-8"):
        [*read_lines(path)]


def test_a_packed_data_file_is_read_to_the_size_that_it_says(tmp_path):
    start = struct.pack(">HBB3I", 0, 8, 3, 1, 28, 28)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(start + bytes(100 << 20), 1))
    assert cost(images._idx, tmp_path, path.stem, 3) < 10 << 20
    path.write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3) + bytes(100), 1))
    assert cost(images._idx, tmp_path, path.stem, 3) < images.LARGEST + (10 << 20)


@pytest.mark.parametrize("text", ["a." * 20_000 + "a = 1", "[" + "'a' . \"b.\". " * 10_000 + "a]"])
def test_a_plan_has_no_key_of_many_parts(tmp_path, text):
    path, begun = tmp_path / "plan.toml", time.perf_counter()
    path.write_text(text)
    with pytest.raises(InputError, match="parts"):
        grid.read_plan(path, tmp_path)
    assert time.perf_counter() - begun < 2
    path.write_text("seed = [" + "1, " * 200_000 + "]")
    with pytest.raises(InputError, match=r"plan.toml.*bytes"):
        grid.read_plan(path, tmp_path)


def extreme(rng):
    """Return a setting whose numbers are anything that a double can hold."""

    def number():
        return 10 ** rng.choice([rng.uniform(-320, 308), rng.uniform(-2, 2), 308.2])

    law = {"dim": rng.choice([1, 20, 10**9]), "eta": number()}
    if rng.random() < 0.5:
        law = {"theta": [rng.choice([-1, 1, 0]) * number() for _ in range(3)]}
    chosen = {"sigma": rng.choice([number(), 1.0]), "K": rng.choice([number(), 2.0]), "eps": number()}
    more = {
        "cost": [number(), number()],
        "train_eps": [number(), number()],
        "norm": rng.choice(["linf", "l2", "l1"]),
        "prior_pos": rng.choice([rng.random() or 0.5, 1e-320]),
    }
    return law | chosen | {k: v for k, v in more.items() if rng.random() < 0.5}


def test_extreme_settings_are_solved_or_refused(invoke, tmp_path):
    """Strict JSON without nan, or one sentence; a warning of numpy would be an error here."""
    rng, solved = random.Random(0), 0
    for _ in range(1500):
        try:
            text = json.dumps(errors_of_setting(parse_setting(extreme(rng))), allow_nan=False)
        except InputError:
            continue
        solved += 1
        assert "nan" not in text.lower()
    assert 100 < solved < 1400
    path = tmp_path / "huge.jsonl"
    path.write_text(
        '{"dim": 20, "eta": 1e-300, "sigma": 1, "K": 2, "eps": 1, "cost": [1e300, 1e-300], '
        '"train_eps": 1e308}'
    )
    code, out, err = invoke(main, "errors", "--from", path)
    assert code in (0, 2) and len(err.splitlines()) == (code == 2) and "nan" not in out.lower()


def test_directions_are_unit_vectors_where_squares_are_no_doubles():
    """The errors depend on ratios alone: a common factor changes nothing."""
    base = {"theta": [3.0, -1.0, 2.0], "sigma": 1.0, "K": 2.0, "eps": 0.5}
    for norm in ("linf", "l2", "l1"):
        expected = errors_of_setting(parse_setting({**base, "norm": norm}))["robust"]
        for factor in (1e-170, 1e-250, 1e170, 1e290):
            scaled = {k: v * factor for k, v in base.items() if k in ("sigma", "eps")}
            theta = [v * factor for v in base["theta"]]
            found = errors_of_setting(parse_setting({**base, **scaled, "theta": theta, "norm": norm}))
            assert found["robust"]["robust_error"] == pytest.approx(expected["robust_error"], rel=1e-12)
            assert found["robust"]["bias"] == pytest.approx(factor * expected["bias"], rel=1e-12)


def test_the_lowest_versions_that_are_allowed_are_those_that_are_tried():
    """What `make test-floor` installs is what pyproject.toml promises, of each dependency that tests use."""
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    more = project["optional-dependencies"]
    needed = [*project["dependencies"], *(w for k in ("deep", "attacks", "certify", "test") for w in more[k])]
    needed += [word for word in more["dev"] if word.startswith("foolbox")]
    tried = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (root / "constraints-floor.txt").read_text(), re.M))
    lowest = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", word).groups() for word in needed)
    del tried["pyparsing"]  # not ours, see there
    assert {k: f"{v}.0.0".split(".")[:3] for k, v in lowest.items()} == {
        k: v.split(".") for k, v in tried.items()
    }
