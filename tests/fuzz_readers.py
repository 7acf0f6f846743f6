"""``python tests/fuzz_readers.py SEED COUNT``: malformed files for every reader; what came of it as JSON.

A process of its own, so that its memory can be measured. Only `InputError` may come out of a reader, and none
may compute for longer than `SECONDS`. The test asserts how much memory they took together.
"""

import contextlib
import dataclasses
import functools
import gzip
import io
import json
import random
import re
import shutil
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import scipy.io
import torch

from deep import grid
from deep.data import DATASETS, load, restore, specs
from deep.margins.fitted_margin_model import _kept
from deep.runs.command_line import parse
from deep.runs.folder import is_finished, read_config
from deep.runs.place import resumed, run_of
from deep.training.checkpoint import fill, load_state, save_state, save_weights
from paper_figs import tables
from paper_figs.archive import read_archive
from paper_figs.figures import confusion, multipliers, predicted_vs_measured
from paper_figs.page.claim_table import read_verdicts
from paper_figs.readers.feature_reliance import read_feature_reliance
from sim import sweep
from sim.sampling import images
from theory.common.arrays import packed
from theory.common.inputs import InputError
from theory.common.owner import reserve_folder
from theory.gaussian.error_settings import errors_of_file
from theory.results.flags import Evaluation
from theory.results.records import read_records
from theory.results.runs import read_runs

SECONDS = 10
RECORDS = Path(__file__).parent.parent / "paper_figs" / "records"
CPU = torch.device("cpu")
HUGE = 1 << 31
WORDS = [
    "NaN", "Infinity", "-1e999", "9" * 400, "9" * 5000, "1e308", "-0.0", "null", "true", '""', '"\\u0000"',
    "[]", "{}", '{"a": 1, "a": 2}', "[" * 50 + "]" * 50, "[" * 9000, '{"a":' * 90 + "1" + "}" * 90, "-1",
    "18446744073709551616", "[" + "0," * 99_999 + "0]", '"' + "x" * 99_999 + '"', "[1e308, 1e308]", "0.5",
    '"8/255"', '"../.."', "1" + "0" * 30,
]  # fmt: skip


def damaged(rng, raw):
    """Return a file with bytes removed, changed, repeated or put in between."""
    at, length = rng.randrange(len(raw) + 1), rng.choice([1, 4, 100, 10_000])
    return rng.choice(
        [
            lambda: raw[:at],
            lambda: raw[:at] + raw[at + length :],
            lambda: raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :],
            lambda: raw[:at] + rng.randbytes(length) + raw[at:],
            lambda: raw[:at] + raw[max(0, at - length) : at] * rng.choice([1, 100]) + raw[at:],
            lambda: raw[:at] + struct.pack("<Q", rng.choice([0, HUGE, 2**63 - 1, 2**64 - 1])) + raw[at + 8 :],
            lambda: rng.randbytes(length),
            lambda: b"",
            lambda: raw * 2,
        ]
    )()


def text(rng, raw):
    """Return a file of JSON or TOML in which a value, a key or a line is another one."""
    words = raw.decode().split(" ")
    place = rng.randrange(len(words))
    tail = words[place][len(words[place].rstrip(",]}\n")) :]
    act = rng.random()
    if act < 0.6:
        words[place] = rng.choice(WORDS) + tail
    elif act < 0.75:
        del words[place]
    elif act < 0.9:
        words[place] = words[rng.randrange(len(words))]
    else:
        words[place] = (
            rng.choice(["\n", "{", "}", "[", "]", ",", '"', ":", "\0", "é", "\ud800"]) + words[place]
        )
    return " ".join(words).encode("utf-8", "surrogatepass")


def plan(rng, raw):
    """Return a plan with a line that is one too many, too deep, or of too many runs."""
    deep, wide = rng.choice([10, 100, 3000, 30_000]), rng.choice([10, 300, 30_000, 10_000_000])
    odd = [
        f"seed = [{'1,' * wide}]",
        f"{'a.' * deep}a = 1",
        f"[{'a.' * deep}a]",
        f"lr = {'[' * deep}{']' * deep}",
        f"lr = {'{a=' * deep}1{'}' * deep}",
        "\n".join(f"[[method.pgd]]\nseed = [{'1,' * 99}]" for _ in range(min(deep, 300))),
        "\n".join(f"{k} = [{'1, ' * 200}]" for k in ("steps", "epochs", "width", "seed", "batch-size")),
        f"seed = {'9' * deep}",
        f"lr = {rng.choice(['nan', 'inf', '1e999', '0x' + 'f' * 999])}",
        f'init = "{"x" * wide}"',
    ]
    return rng.choice([rng.choice(odd).encode() + b"\n" + raw, raw + b"\n" + rng.choice(odd).encode()])


@functools.cache
def zeros(size, wbits=15):
    """Return very many zeros, packed, without holding them."""
    packer = zlib.compressobj(1, zlib.DEFLATED, wbits)
    part = bytes(min(size, 1 << 20))
    return b"".join(packer.compress(part) for _ in range(size // len(part))) + packer.flush()


def header(shape, descr="|u1", more=""):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, {more}}}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


def npz(rng, raw):
    """Return an archive in which an array has another header, size, method of packing, or name."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name, size = rng.choice(sorted(members)), rng.choice([100, 1 << 20, 1 << 28])
    descr = rng.choice(
        ["|u1", "<i8", "<U0", "<U1", "<U500000000", "|O", "|b1", "<f8", [("a", "<i8", (HUGE,))]]
    )
    shape = rng.choice([(size,), (HUGE,), (10**18,), (-1,), (1,) * 99, (), (0, HUGE), (2, HUGE), (1, size)])
    kind = rng.choice([zipfile.ZIP_DEFLATED] * 5 + [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2])
    size = min(size, 1 << 20) if kind == zipfile.ZIP_STORED else size
    start = rng.choice([header(shape, descr), header(shape, descr, "'x': " + "(" * 99), b""])
    names = [*members] + [rng.choice([name, "more.npy", "more", "../x.npy"])] * (rng.random() < 0.2)
    out = io.BytesIO()
    with (
        warnings.catch_warnings(action="ignore"),
        zipfile.ZipFile(out, "w", kind, compresslevel=1) as archive,
    ):
        for n in names:
            if n == name or n not in members:
                with archive.open(n, "w") as member:
                    member.write(start)
                    for _ in range(size >> 20):
                        member.write(bytes(1 << 20))
            else:
                archive.writestr(n, members[n])
    packed_up = bytearray(out.getvalue())
    if rng.random() < 0.3:  # sizes that the directory lies about
        at = packed_up.rfind(b"PK\x01\x02")
        packed_up[at + 24 : at + 28] = struct.pack("<I", rng.choice([0, 10, HUGE, 2**32 - 2]))
    return bytes(packed_up)


def tensors(rng, raw):
    """Return a safetensors file with another header."""
    size = struct.unpack("<Q", raw[:8])[0]
    head, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    name = rng.choice(sorted(head))
    odd = {"dtype": rng.choice(["F32", "I64", "F4", "X"]), "shape": [rng.choice([0, 1, HUGE, 2**63, -1])] * 2}
    odd["data_offsets"] = rng.choice([[0, 0], [0, 2**40], [8, 0], [0, len(body)], [0, 4]])
    changed = rng.choice(
        [
            head | {name: odd},
            head | {"more": odd},
            head | {f"t{i}": {**odd, "data_offsets": [0, 0], "shape": [0]} for i in range(20_000)},
            head | {"__metadata__": {"state": rng.choice(WORDS)}},
            head | {"__metadata__": {"state": json.dumps({"tree": rng.choice(WORDS), "sha256": "0"})}},
        ]
    )
    text = json.dumps(changed).encode()
    return struct.pack("<Q", rng.choice([len(text)] * 9 + [2**40])) + text + body


def bomb(rng, raw):
    """Return a gzip file that unpacks to very much."""
    more = zeros(rng.choice([10, 1 << 20, 1 << 28]), 31)
    return rng.choice([raw[:-9], raw, gzip.compress(gzip.decompress(raw)[:16]), b""]) + more


def mat(rng, raw):
    """Return a MATLAB file with an element that unpacks to very much, or is very large or deep."""
    packed_up = rng.choice(
        [zeros(8), zeros(1 << 28), zlib.compress(struct.pack("<II", 14, HUGE) + bytes(99))]
    )
    element = struct.pack("<II", 15, rng.choice([len(packed_up), 0, HUGE])) + packed_up
    return rng.choice([raw[:128] + element, raw + element, raw[:128] + element * 3, raw[:128] + bytes(10**6)])


class Cases:
    """Readers with a good file each, made once; `reader` by name is (file, ways to damage it, function)."""

    def __init__(self, folder):
        self.folder = folder
        self.reader = {}
        self._runs()
        self._layers()
        self._data()

    def add(self, name, path, read, *ways):
        with contextlib.redirect_stdout(io.StringIO()):
            read()  # the good file is read
        self.reader[name] = path, (damaged, *ways), read

    def copied(self, *places):
        source = next(p.parent for place in places for p in sorted(RECORDS.glob(place)))
        return Path(shutil.copytree(source, self.folder / f"copy{len(self.reader)}"))

    def _runs(self):
        run, out = self.folder / "run", self.folder / "runs"
        run.mkdir()
        plan_file = self.folder / "plan.toml"
        plan_file.write_text(
            "seed = [0, 1]\nepochs = 2\nlr = 0.5\n[method.pgd]\n[method.trades]\nbeta = [1.5, 6]\n"
        )
        self.add("grid", plan_file, lambda: grid.read_plan(plan_file, out), text, plan, plan)
        settings, _ = run_of({"dataset": "digits", "width": 2, "out": str(run)})
        names = {"data_sha256": "0" * 64, "split_sha256": "0" * 64, "device": "cpu", "data_dir": None}
        config = {"id": settings.id, "settings": settings.as_json(), **names}
        (run / "config.json").write_text(json.dumps(config, indent=1))
        self.add("config", run / "config.json", lambda: resumed(read_config(run), run), text)
        self.add("resume", run / "config.json", lambda: parse(["--resume", str(run)]), text)
        (run / "result.json").write_text(json.dumps({"id": settings.id, "x": [1, 2]}))
        self.add("result", run / "result.json", lambda: is_finished(run, settings.id), text)
        self.add(
            "claim",
            run / "result.json",
            lambda: _entered(reserve_folder(run, settings.id, ["result.json"])),
            text,
        )
        data = load("digits", None, seed=0, val=5, train=5, test=5, device=CPU)
        (run / "split.json").write_text(data.to_json())
        self.add("split", run / "split.json", lambda: restore(run / "split.json", None, CPU), text)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
        save_weights(run / "model.safetensors", model.state_dict())
        self.add(
            "weights", run / "model.safetensors", lambda: fill(model, run / "model.safetensors"), tensors
        )
        state = {"epoch": 1, "model": model.state_dict(), "history": [{"loss": 1.5}], "best": None}
        save_state(run / "checkpoint.safetensors", state)
        self.add(
            "state",
            run / "checkpoint.safetensors",
            lambda: load_state(run / "checkpoint.safetensors"),
            tensors,
        )
        (run / "link.npz").write_bytes(packed({"key": np.array("k"), "margin": np.ones((9, 9))}))
        self.add("kept", run / "link.npz", lambda: _kept(run / "link.npz", "k", most=1 << 20), npz)

    def _layers(self):
        run = self.copied("fairness/*/link.json", "*/*/link.json")
        alone = self.folder / "records.jsonl"
        shutil.copy(run / "records.jsonl", alone)
        self.add("records", alone, lambda: read_records(alone), text)
        flags = run / "flags.npz"
        self.add("flags", flags, lambda: Evaluation.read(flags), npz, npz)
        self.add("measured", flags, lambda: read_runs([run]), npz)
        reported = run / "report" / "evaluation.npz"
        reported.parent.mkdir(exist_ok=True)
        shutil.copy(flags, reported)
        self.add("report", reported, lambda: read_runs([run]), npz)
        for name in ("records.jsonl", "history.jsonl", "link.json"):
            self.add(f"tables {name}", run / name, functools.partial(self._page, run), text, text)
        sums = self.copied("sim/features/features.json")
        for name, way in (("features.npz", npz), ("features.json", text)):
            self.add(name, sums / name, lambda: [*read_feature_reliance(sums)], way)
        picture = self.copied("*/portrait*.npz")
        for folder in [p for p in picture.iterdir() if p.is_dir()][1:]:
            shutil.rmtree(folder)
        (portrait,) = picture.glob("portrait*.npz")
        self.add("portrait", portrait, lambda: read_archive(picture), npz, npz)
        found = self.copied("sim/**/verdicts.jsonl")
        kept = (found / "verdicts.jsonl").read_text().splitlines(keepends=True)[:9]
        (found / "verdicts.jsonl").write_text("".join(kept))
        self.add("verdicts", found / "verdicts.jsonl", lambda: read_verdicts([found]), text)
        tasks = [json.loads(line)["task"] for line in kept]
        self.add(
            "sweep", found / "verdicts.jsonl", lambda: sweep.resume(found / "verdicts.jsonl", tasks), text
        )
        self.add("sweep report", found / "verdicts.jsonl", lambda: sweep.report(found), text, text)
        settings = self.folder / "settings.jsonl"
        line = {
            "dim": 20,
            "eta": 0.4,
            "sigma": 1.0,
            "K": 2.0,
            "eps": 0.1,
            "cost": [1, 2],
            "train_eps": [0.1, 0.2],
        }
        settings.write_text(json.dumps(line) + "\n" + json.dumps({**line, "norm": "l2"}) + "\n")
        self.add("settings", settings, lambda: self._errors(settings), text, text)

    def _page(self, folder):
        for _ in tables.tables(folder):
            pass
        archive = read_archive(folder)
        for figure in (confusion, multipliers, predicted_vs_measured):
            figure.compute(archive)

    def _errors(self, path):
        for errors in errors_of_file(path):
            json.dumps(errors, allow_nan=False)

    def _data(self):
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(10, dtype=np.uint8), 2)
        for name in ("mnist", "cifar10", "cifar100", "stl10", "svhn"):
            spec = DATASETS[name]
            classes = len(spec.classes)
            y = labels if classes == 10 else np.arange(classes, dtype=np.uint8)
            counts = tuple(np.bincount(y, minlength=classes).tolist())
            files = dataclasses.replace(spec.files, train_counts=counts, test_counts=counts)
            x = rng.integers(0, 256, (len(y), len(spec.mean), spec.side, spec.side), dtype=np.uint8)
            folder = self.folder / files.folder
            folder.mkdir(parents=True)
            for part in (files.train, files.test):
                for file, raw in zip(part, _written(name, x, y, len(part)), strict=True):
                    (folder / file).write_bytes(raw)
            read = functools.partial(files.read, self.folder, download=False)
            self.add(name, folder / files.test[0], read, *([mat] if name == "svhn" else []))
            if name == "mnist":
                path = folder / files.train[0]
                zipped = path.with_name(path.name + ".gz")
                zipped.write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
                self.add("idx.gz", zipped, read, bomb, bomb)
                pair = functools.partial(images.load, "mnist", folder, (5, 6), 2, 0)
                self.add("sim idx.gz", zipped, pair, bomb, bomb)


def _entered(context):
    with context:
        pass


def _written(name, x, y, parts):
    if name == "mnist":
        for array in (x[:, 0], y):
            yield struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    elif name == "stl10":
        yield from (x.transpose(0, 1, 3, 2).tobytes(), (y + 1).tobytes())
    elif name == "svhn":
        out = io.BytesIO()
        where = np.where(y == 0, 10, y)[:, None].astype(np.uint8)
        scipy.io.savemat(out, {"X": x.transpose(2, 3, 1, 0), "y": where}, do_compression=True)
        yield out.getvalue()
    else:
        coarse = [[c // 5] for c in y] if name == "cifar100" else [[] for _ in y]
        for k in np.array_split(np.arange(len(y)), parts):
            yield b"".join(bytes([*coarse[i], y[i]]) + x[i].tobytes() for i in k)


class TooLong(BaseException):
    """A reader took too long."""


def expire(*_):
    raise TooLong


def peak():
    """Return the most bytes that this process has held; ru_maxrss would begin with those of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10


def throw(cases, rng):
    """Damage one file, read it, and return the name of the reader, what came out, seconds and file."""
    name = rng.choice(sorted(cases.reader))
    path, ways, read = cases.reader[name]
    good = path.read_bytes()
    bad = rng.choice(ways)(rng, good)
    path.write_bytes(bad)
    begun, shown = time.process_time(), contextlib.redirect_stdout(io.StringIO())
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS)
    try:
        with shown:
            read()
        found = "read"
    except InputError as error:
        found = (
            "refused" if "\n" not in str(error) and len(str(error)) < 2000 else f"long: {str(error)[:300]}"
        )
    except (Exception, TooLong) as error:
        found = f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        path.write_bytes(good)
    return name, found, time.process_time() - begun, bad


def main(seed, count, keep=None):
    """Throw ``count`` inputs and print what came of them."""
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, expire)
    signal.signal(signal.SIGPROF, expire)
    specs._embedded_digits = functools.cache(specs._embedded_digits)
    rng, faults, outcomes, slowest = random.Random(seed), [], Counter(), (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        cases = Cases(Path(folder))
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
        before, most = peak(), (0, "")
        for i in range(count):
            reached = peak()
            name, found, seconds, bad = throw(cases, rng)
            slowest = max(slowest, (seconds, name))
            if peak() > reached:
                most = max(most, (peak() - before, name))
            outcomes[f"{name}: {found if found in ('read', 'refused') else 'FAULT'}"] += 1
            if found not in ("read", "refused"):
                faults.append([i, name, found])
                if keep:
                    (Path(keep) / f"{i}-{name.replace(' ', '-')}").write_bytes(bad)
    told = {"inputs": count, "readers": len(cases.reader), "faults": faults, "seconds": slowest[0]}
    print(
        json.dumps({**told, "slowest": slowest[1], "bytes": peak() - before, "largest": most, "by": outcomes})
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
