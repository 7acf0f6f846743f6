"""Checkpoints, and runs that are killed, divided, repeated and damaged."""

import functools
import json
import os
import random
import shutil

import pytest
import safetensors.torch
import torch

import deep.attacks.evaluate
from deep import train
from deep.attacks.evaluate import evaluate
from deep.data import specs
from deep.runs import outcome
from deep.runs.folder import read_config
from deep.training.checkpoint import load_state, load_weights, save_state, save_weights
from theory.common.inputs import InputError
from theory.results.records import setting_id
from theory.results.run_files import CHECKPOINT, CONFIG, RESULT, SHARDS, SPLIT, WEIGHTS

THOROUGH = bool(os.environ.get("THOROUGH"))
"""Whether to spend minutes: on 2000 damaged runs."""
TINY = "--method frl --epochs 4 --steps 2 --eval-steps 2 --width 4".split()
TINY += "--train-per-class 20 --val-per-class 5 --test-per-class 10".split()
TINY += "--ema 0.9 --batch-size 32 --report best --threads 1 --schedule cosine".split()


class Killed(BaseException):
    """Nothing in the product catches this."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert train.main([*TINY, "--out", str(folder)]) == 0
    return folder


def content(folder):
    """Return all that a run leaves, without what tells when and how fast."""
    out = {}
    for path in folder.iterdir():
        if path.suffix in (".json", ".jsonl"):
            lines = [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines()
            objects = [json.loads(line) for line in lines]
            for value in objects:
                for name in ("provenance", "seconds", "images_per_second"):
                    value.pop(name, None)
            out[path.name] = objects
        else:
            out[path.name] = path.read_bytes()
    return out


def nested():
    tree = {"a": torch.arange(3), "b": [torch.zeros(0), None, {"c": torch.tensor(True)}], "d": 0.1, "e": "é"}
    return tree | {"f": {"g/h": torch.ones(2, dtype=torch.bfloat16)}, "f/g": {"h": torch.tensor(2.0)}}


def test_a_state_survives_its_file(tmp_path):
    save_state(tmp_path / "x", nested())
    found = load_state(tmp_path / "x")
    assert torch.equal(found["a"], torch.arange(3)) and found["a"].dtype == torch.int64
    assert found["b"][0].shape == (0,) and found["b"][1] is None and bool(found["b"][2]["c"])
    assert found["d"] == 0.1 and found["e"] == "é"
    assert found["f"]["g/h"].dtype == torch.bfloat16 and float(found["f/g"]["h"]) == 2.0
    view = torch.zeros(4)
    save_state(tmp_path / "x", {"one": view, "same": view, "part": view[:2]})
    assert load_state(tmp_path / "x")["part"].shape == (2,)


def test_every_damaged_byte_of_a_state_is_noticed(tmp_path):
    path = tmp_path / "x"
    save_state(path, nested())
    raw = path.read_bytes()
    for place in range(0, len(raw), 1 if THOROUGH else 7):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        try:
            found = load_state(path)
        except InputError as error:
            assert str(path) in str(error)
        else:  # only where the header means the same
            assert str(found) == str(nested()), place
    for cut in (0, 4, 8, 50, len(raw) - 1):
        path.write_bytes(raw[:cut])
        with pytest.raises(InputError, match="damaged"):
            load_state(path)
    save_weights(path, {"w": torch.ones(1)})
    with pytest.raises(InputError, match="header"):
        load_state(path)


def test_missing_weights_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match=str(tmp_path)):
            load_weights(path)


STEP, WRITE = (torch.optim.SGD, "step"), (os, "replace")


@pytest.mark.parametrize(
    "target, count, late",
    [(STEP, 1, 0), (STEP, 8, 1), (STEP, 20, 0), (WRITE, 1, 1), (WRITE, 3, 1), (WRITE, 5, 0), (WRITE, 13, 1)]
    + [(WRITE, 15, 0), (WRITE, 18, 0), (WRITE, 19, 1)],
)
def test_a_run_stopped_anywhere_ends_the_same(monkeypatch, invoke, tmp_path, whole, target, count, late):
    """Stopped before or after the given step of the optimiser or write of a file."""
    owner, name = target
    original, calls = getattr(owner, name), []

    def stop(*given, **named):
        calls.append(None)
        if len(calls) == count and not late:
            raise Killed
        result = original(*given, **named)
        if len(calls) == count:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, stop)
        with pytest.raises(Killed):
            train.main([*TINY, "--out", str(tmp_path)])
    (tmp_path / ".model.safetensors.1.partial").write_text("left by a process that was killed")
    assert invoke(train.main, *TINY, "--out", tmp_path)[0] == 0
    assert content(tmp_path) == content(whole)


def test_an_evaluation_that_is_stopped_goes_on(monkeypatch, invoke, tmp_path, whole):
    """What was evaluated before is not evaluated again, and nothing of it stays behind."""
    seen, original = [], deep.attacks.evaluate._batch

    def batches(model, split, part, attacks, noise):
        if split.images.shape[0] == 100:  # the test split
            seen.append(part.start)
            if len(seen) == 3:
                raise Killed
        return original(model, split, part, attacks, noise)

    monkeypatch.setattr(deep.attacks.evaluate, "_batch", batches)
    monkeypatch.setattr(outcome, "evaluate", functools.partial(evaluate, batch_size=30))
    with pytest.raises(Killed):
        train.main([*TINY, "--out", str(tmp_path)])
    assert len([*(tmp_path / SHARDS).iterdir()]) == 2
    assert invoke(train.main, "--resume", tmp_path)[0] == 0
    assert seen == [0, 30, 60, 60, 90]
    assert content(tmp_path) == content(whole)


def test_an_interrupted_run_says_how_to_go_on(monkeypatch, invoke, tmp_path, whole):
    def interrupt(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", interrupt)
        code, out, err = invoke(train.main, *TINY, "--out", tmp_path)
    assert code == 130 and out == ""
    how, why = err.splitlines()
    assert how.endswith(f"python -m deep.train --resume {tmp_path}") and why == "interrupted"
    assert invoke(train.main, "--resume", tmp_path)[0] == 0
    assert content(tmp_path) == content(whole)


def test_a_divided_training_is_the_same(invoke, tmp_path, whole):
    for done in (0, 1, 3):
        code, out, _ = invoke(train.main, *TINY, "--out", tmp_path, "--stop-after", done)
        assert code == 0 and f"{done} of 4" in out and f"--resume {tmp_path}" in out
        assert load_state(tmp_path / CHECKPOINT)["epoch"] == done
    assert invoke(train.main, "--resume", tmp_path)[0] == 0
    assert content(tmp_path) == content(whole)


def test_without_its_state_a_training_does_not_go_on_the_same(invoke, tmp_path, whole):
    """The comparison above would notice a generator, a momentum or a multiplier that is not restored."""
    original = train.Trainer.load_state_dict
    for forgotten in ("generators", "momentum", "method"):
        folder = tmp_path / forgotten
        invoke(train.main, *TINY, "--out", folder, "--stop-after", 3)

        def forgetful(self, state, forgotten=forgotten):
            return original(self, {**state, forgotten: self.state_dict()[forgotten]})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(train.Trainer, "load_state_dict", forgetful)
            assert invoke(train.main, "--resume", folder)[0] == 0
        assert content(folder)["last.safetensors"] != content(whole)["last.safetensors"]


def test_a_finished_run_is_left_alone(invoke, whole):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in whole.iterdir()}
    for argv in (["--resume", whole], [*TINY, "--out", whole]):
        code, out, _ = invoke(train.main, *argv)
        assert code == 0 and "is finished" in out
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in whole.iterdir()}


def test_the_best_weights_are_those_of_the_best_epoch(invoke, tmp_path, whole):
    history = [json.loads(line) for line in (whole / "history.jsonl").read_text().splitlines()]
    averages = [sum(line["robust_error"]) / 10 for line in history]
    best = averages.index(min(averages)) + 1
    assert json.loads((whole / RESULT).read_text())["epoch"] == best
    assert (whole / "model.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    assert (whole / "model.safetensors").read_bytes() != (
        whole / "last.safetensors"
    ).read_bytes() or best == 4
    last = [word if word != "best" else "last" for word in TINY]
    assert invoke(train.main, *last, "--out", tmp_path)[0] == 0
    assert not (tmp_path / "last.safetensors").exists()
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert json.loads((tmp_path / RESULT).read_text())["epoch"] == 4


def test_a_run_may_start_from_the_weights_of_another(invoke, refuses, tmp_path, whole):
    argv = [*TINY, "--epochs", "1", "--hot-share", "0", "--init", whole, "--out", tmp_path]
    assert invoke(train.main, *argv, "--stop-after", "0")[0] == 0
    start, given = load_state(tmp_path / CHECKPOINT), load_weights(whole / "model.safetensors")
    assert all(torch.equal(start["model"][k], v) for k, v in given.items())
    assert invoke(train.main, "--resume", tmp_path)[0] == 0
    config, result = read_config(tmp_path), json.loads((tmp_path / RESULT).read_text())
    assert config["settings"]["init"]["run"] == read_config(whole)["id"]
    assert result["provenance"]["init"] == config["settings"]["init"]
    assert result["setting"]["init"] == config["settings"]["init"]["recipe"]  # the same for every seed
    refuses(
        train.main, *TINY, "--width", "8", "--init", whole, "--out", tmp_path / "x", says=["another network"]
    )
    refuses(train.main, *TINY, "--init", tmp_path / "nothing", says=["nothing"])
    swapped = shutil.copytree(whole, tmp_path / "swapped")
    shutil.copy(tmp_path / WEIGHTS, swapped / WEIGHTS)
    refuses(train.main, *TINY, "--init", swapped, says=[str(swapped / WEIGHTS), "SHA-256"])
    (tmp_path / RESULT).unlink()
    refuses(train.main, *TINY, "--init", tmp_path, "--out", tmp_path / "x", says=["not finished", RESULT])
    (tmp_path / "history.jsonl").write_text("")
    refuses(train.main, "--resume", tmp_path, says=["no checkpoint"])


@pytest.fixture
def begun(monkeypatch, tmp_path, invoke):
    """Return the folder of a run that stopped after one epoch of four; data are read once."""
    monkeypatch.setattr(specs, "_embedded_digits", functools.cache(specs._embedded_digits))
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    folder = tmp_path / "begun"
    assert invoke(train.main, *TINY, "--out", folder, "--stop-after", "1")[0] == 0
    return folder


def test_other_data_and_another_device_are_refused(refuses, begun):
    config = json.loads((begun / CONFIG).read_text())
    (begun / CONFIG).write_text(json.dumps(config | {"data_sha256": "0" * 64}))
    refuses(train.main, "--resume", begun, says=["other data", "000"])
    refuses(train.main, *TINY, "--seed", "5", "--out", begun, says=["other settings"])
    refuses(train.main, "--resume", begun, "--lr", "0.2", says=["--lr"])
    refuses(train.main, "--resume", begun, "--data-dir", begun, says=["takes no --data-dir"])
    (begun / CONFIG).write_text(json.dumps(config | {"device": "abacus"}))
    refuses(train.main, "--resume", begun, says=[CONFIG, "abacus"])
    (begun / CONFIG).write_text(json.dumps(config))


WEIRD = [
    None,
    -1,
    0,
    1e308,
    "",
    "x",
    [],
    {},
    True,
    False,
    float("nan"),
    float("inf"),
    "8/255",
    10**30,
    "\0",
    "é" * 99,
]
WEIRD += [[1, 2], {"a": 1}, "--help", "-1", 0.5, [[[]]], "\n", "../..", 2**63]


def weird_object(rng, value, depth=0):
    """Return a JSON value with something in it replaced, removed or added."""
    if isinstance(value, dict) and value and depth < 3 and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        act = rng.random()
        if act < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if act < 0.25:
            return value | {rng.choice(["extra", "help", "resume", "a b", ""]): rng.choice(WEIRD)}
        return value | {key: weird_object(rng, value[key], depth + 1)}
    return rng.choice(WEIRD)


def weird_state(rng, value, depth=0):
    """Return a state with a leaf replaced by something else, or a branch removed."""
    if isinstance(value, dict) and value and depth < 4:
        key = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: weird_state(rng, value[key], depth + 1)}
    if isinstance(value, list) and value and depth < 4:
        place = rng.randrange(len(value))
        return [*value[:place], weird_state(rng, value[place], depth + 1), *value[place + 1 :]]
    finite = [w for w in WEIRD if w == w and w not in (float("inf"),)]
    return rng.choice([*finite, torch.zeros(2), torch.zeros(0, dtype=torch.uint8), torch.ones(3, 3).bool()])


def damage(rng, folder):
    """Damage a run in one random way and say how."""
    path = folder / rng.choice([CONFIG, CHECKPOINT, SPLIT])
    raw = path.read_bytes()
    way = rng.choice(
        ["cut", "flip", "noise", "empty", "gone", "folder", "config", "config", "state", "state"]
    )
    if way in ("gone", "folder"):
        path.unlink()
        if way == "folder":
            path.mkdir()
    elif way == "config":
        config = json.loads((folder / CONFIG).read_text())
        config |= {"settings": weird_object(rng, config["settings"])} if rng.random() < 0.7 else {}
        if isinstance(config["settings"], dict) and rng.random() < 0.8:  # as if it were meant
            config["id"] = setting_id_or(config["settings"])
        (folder / CONFIG).write_text(json.dumps(weird_object(rng, config) if rng.random() < 0.3 else config))
    elif way == "state":
        save_state(folder / CHECKPOINT, weird_state(rng, load_state(folder / CHECKPOINT)))
    else:
        place = rng.randrange(len(raw))
        path.write_bytes(
            {
                "cut": raw[:place],
                "flip": raw[:place] + bytes([raw[place] ^ (1 << rng.randrange(8))]) + raw[place + 1 :],
                "noise": rng.randbytes(rng.randrange(200)),
                "empty": b"",
            }[way]
        )
    return f"{way} {path.name}"


def setting_id_or(settings):
    try:
        return setting_id(settings)
    except ValueError:
        return "0" * 12


def snapshot(folder):
    return {p.name: p.read_bytes() if p.is_file() else None for p in folder.iterdir()}


def test_a_damaged_run_is_refused_in_one_sentence_and_kept(invoke, begun):
    """Never a traceback, never a changed file; what was not damaged goes on."""
    rng, good, refused = random.Random(0), snapshot(begun), 0
    for case in range(2000 if THOROUGH else 150):
        for path in begun.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
        for name, raw in good.items():
            (begun / name).write_bytes(raw)
        way = damage(rng, begun)
        what, end = f"case {case}: {way}", 1 + way.startswith("state")
        before = snapshot(begun)
        code, out, err = invoke(train.main, "--resume", begun, "--stop-after", end)
        assert code in (0, 2), (what, err)
        if code == 2:
            refused += 1
            assert out == "" and len(err.strip().splitlines()) == 1 and "Traceback" not in err, (what, err)
            assert snapshot(begun) == before, what
    assert refused > 0.7 * case
    for name, raw in good.items():
        path = begun / name
        if path.is_dir():
            path.rmdir()
        path.write_bytes(raw)
    assert invoke(train.main, "--resume", begun, "--stop-after", "1")[0] == 0


def test_a_damaged_result_is_refused_and_kept(refuses, begun):
    for raw in (b"", b"{", b"\xff", b"[]", b"{}", b'{"id": 3}', b'{"id": "a", "id": "a"}'):
        (begun / RESULT).write_bytes(raw)
        for argv in (["--resume", begun], [*TINY, "--out", begun]):
            refuses(train.main, *argv, says=[RESULT])
        assert (begun / RESULT).read_bytes() == raw
    (begun / RESULT).unlink()
    (begun / RESULT).mkdir()
    refuses(train.main, "--resume", begun, says=[RESULT])


def test_a_lost_checkpoint_is_told_and_the_history_is_kept(refuses, begun):
    (begun / CHECKPOINT).unlink()
    before = snapshot(begun)
    for argv in (["--resume", begun], [*TINY, "--out", begun]):
        refuses(train.main, *argv, says=["no checkpoint", "empty the folder"])
    assert snapshot(begun) == before


def test_weights_are_plain_safetensors(whole):
    assert safetensors.torch.load_file(whole / "best.safetensors")["stem.weight"].shape[0] == 4
