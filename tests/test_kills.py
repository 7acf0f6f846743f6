"""Every long command is killed by SIGKILL while it works: it goes on to the same, nothing is left running."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deep import train
from theory.common.owner import LOCK

THOROUGH = bool(os.environ.get("THOROUGH"))
"""Whether to kill each command 17 times, which takes an hour, and not some of them once."""
SMALL = "--steps 2 --eval-steps 2 --width 4 --threads 1 --test-per-class 40 --val-per-class 20".split()
SMALL += "--train-per-class 40 --batch-size 40".split()
PLAN = """
method = ["natural", "pgd", "frl"]
epochs = 6
steps = 2
eval-steps = 2
width = 4
threads = 1
train-per-class = 20
val-per-class = 5
test-per-class = 10
batch-size = 40
"""
STUDIES = "tsipras2019_theorem_2_2 ours_estimate_of_K ours_ratio_above_K ours_impossibility".split()
STUDIES = STUDIES if THOROUGH else STUDIES[:2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    assert train.main(["--method", "pgd", "--epochs", "2", *SMALL, "--out", str(folder)]) == 0
    return folder


COMMANDS = {
    "train": "deep.train --method frl --epochs {epochs} --ema 0.9 {small} --out {out}",
    "grid": "deep.grid {plan} --jobs 2 --oversubscribe --out {out}",
    "sweep": "sim.sweep --study {studies} --settings 3 --jobs 2 --oversubscribe --out {out}",
    "report": "deep.report {out} --attacks pgd margin targeted --steps 6 --batch-size 20",
    "link": "deep.link {out} --per-class 20",
    "page": "paper_figs --records {records} --out {out}",
}
QUICK = ("train", "sweep")
"""The others cost more than they would find."""
KILLS = 17 if THOROUGH else 1


def started(name, out):
    """Return a command that is under way, in the folder ``out``."""
    plan = out.with_name("plan.toml")
    plan.write_text(PLAN)
    records = Path(train.__file__).parents[1] / "paper_figs" / "records" / "sim" / "sweep"
    words = COMMANDS[name].format(
        small=" ".join(SMALL),
        epochs=12 if THOROUGH else 3,
        studies=" ".join(STUDIES),
        out=out,
        plan=plan,
        records=records,
    )
    with out.with_name("log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *words.split()], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )


def works(process, out):
    """Wait until a command has the lock of a folder; return False if it ends before."""
    files = [out / LOCK, out / "report" / LOCK]
    while process.poll() is None:
        for file in files:
            if file.is_file() and file.read_text().split()[:1] == [str(process.pid)]:
                return True
        time.sleep(0.01)
    return False


def below(pid):
    """Return the processes that a process has started, and theirs."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rsplit(") ", 1)[1].split()
        except OSError:
            continue
        if words[0] != "Z":
            parents[int(stat.parent.name)] = int(words[1])
    found, level = [], [pid]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found += level
    return found


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def kill(process, patient):
    """Kill a command; all that it started must end by itself, which is waited for here if ``patient``."""
    left = below(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while patient and any(map(running, left)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def timeless(value):
    """Return JSON without what tells when, where and how fast it was made."""
    if isinstance(value, dict):
        skipped = ("provenance", "seconds", "images_per_second", "data_dir")
        return {k: timeless(v) for k, v in value.items() if k not in skipped}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def content(folder):
    """Return all files in a folder, without times."""
    out = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".log":
            name, raw = str(path.relative_to(folder)), path.read_bytes()
            lines = raw.splitlines() if path.suffix == ".jsonl" else [raw]
            is_json = path.suffix in (".json", ".jsonl")
            out[name] = [timeless(json.loads(line)) for line in lines] if is_json else raw
    return out


def fresh(name, run, out):
    """Empty the folder ``out``, or put there what the command works on."""
    shutil.rmtree(out, ignore_errors=True)
    if name in ("report", "link"):
        shutil.copytree(run, out)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("name", COMMANDS if THOROUGH else QUICK)
def test_a_killed_command_goes_on_to_the_same(name, run, tmp_path):
    rng, out, kills, rounds = random.Random(name), tmp_path / "out", 0, 0
    fresh(name, run, out)
    process = started(name, out)
    assert works(process, out)
    begun = time.monotonic()
    assert process.wait() == 0, (tmp_path / "log").read_text()
    span, whole = time.monotonic() - begun, content(out)
    left, longest = [], 0.0
    while kills < KILLS:
        fresh(name, run, out)
        rounds, before = rounds + 1, kills
        while True:
            process = started(name, out)
            begun = time.monotonic()
            if works(process, out) and kills < KILLS:
                time.sleep(rng.uniform(0, span))
            else:
                process.wait()
            if process.poll() is not None:
                break
            kills += 1
            print(f"{name}: kill {kills}", flush=True)
            asked = time.monotonic()
            left += kill(process, patient=rng.random() < 0.5)
            longest = max(longest, time.monotonic() - asked)
        assert process.returncode == 0, (tmp_path / "log").read_text()
        assert content(out) == whole
        if kills == before:  # the machine was busier when the first was timed
            span = min(span, time.monotonic() - begun)
    deadline = time.monotonic() + 30
    while any(map(running, left)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(running, left))
    print(f"{name}: {kills} kills in {rounds} rounds, works {span:.1f} s, last process after {longest:.1f} s")
