"""One owner for each output folder, files that reach the disk, and commands that end with their parent."""

import os
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

import joblib
import pytest
from filelock import FileLock

from deep import compare, grid, link, portrait, promote, report, sanity, train
from paper_figs import __main__ as page
from sim import features, sweep
from theory.common import owner
from theory.common.cli import PARENT, workers
from theory.common.files import write_atomic
from theory.common.inputs import InputError
from theory.common.owner import LOCK, own_folder

OWNER = """
import os, subprocess, sys, time
from pathlib import Path
from theory.common.owner import own_folder
with own_folder(Path(sys.argv[1])):
    {then}
    print("ready", flush=True)
    time.sleep(60)
"""
HERE = socket.gethostname()
TINY = "--method pgd --epochs 1 --steps 2 --eval-steps 2 --width 4 --threads 1".split()
TINY += "--train-per-class 20 --val-per-class 20 --test-per-class 20 --batch-size 40".split()


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(owner, "GRACE", 0.05)


@pytest.fixture
def elsewhere():
    """Return a function that starts a process which owns a folder, and does something before it says so."""
    started = []

    def call(folder, then="pass"):
        code = [sys.executable, "-c", OWNER.format(then=then), str(folder)]
        process = subprocess.Popen(code, stdout=subprocess.PIPE, start_new_session=True)
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield call
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_a_second_process_is_told_who_works_there(tmp_path, elsewhere):
    process = elsewhere(tmp_path)
    (tmp_path / f".records.jsonl.{process.pid}.partial").write_text("the first is writing this")
    with (
        pytest.raises(InputError, match=f"process {process.pid} on {HERE}.*{tmp_path}"),
        own_folder(tmp_path),
    ):
        pass
    assert (tmp_path / f".records.jsonl.{process.pid}.partial").exists()
    process.kill()
    process.wait()
    with own_folder(tmp_path):  # never stale, and what was left is removed
        assert os.listdir(tmp_path) == [LOCK]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "then", ["os.fork() or time.sleep(60)", "subprocess.Popen(['sleep', '60'], start_new_session=False)"]
)
def test_a_child_of_a_killed_owner_does_not_own(tmp_path, elsewhere, then):
    process = elsewhere(tmp_path, then)
    process.kill()
    process.wait()
    with own_folder(tmp_path):
        pass


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "another process"),
        ("12", "another process"),
        (f"1234567890 {HERE} 2026", "another process"),  # it was killed
        ("\udcff", "another process"),
        (f"1 {HERE} 2026-01-01\n", f"process 1 on {HERE}, since 2026-01-01"),
        ("77 another.host 2026-01-01\n", "process 77 on another.host"),
    ],
)
def test_what_is_told_is_right_or_little(tmp_path, text, says):
    with FileLock(tmp_path / LOCK):
        (tmp_path / LOCK).write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(InputError, match=says), own_folder(tmp_path):
            pass


def test_only_what_was_left_of_writing_is_removed(tmp_path):
    for name in (".a.b.1.partial", ".mine.partial", "a.1.partial"):
        (tmp_path / name).touch()
    with own_folder(tmp_path):
        pass
    assert sorted(os.listdir(tmp_path)) == [".mine.partial", "a.1.partial"]


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def flock(*given):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(InputError, match="cannot lock.*not implemented"), own_folder(tmp_path):
        pass


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train.main([*TINY, "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(
    "main, argv, where",
    [
        (train.main, [*TINY, "--out", "out"], "out"),
        (sweep.main, ["--study", "ours_estimate_of_K", "--out", "out"], "out"),
        (features.main, ["--data", "digits", "--out", "out"], "out"),
        (grid.main, ["plan.toml", "--out", "out"], "out"),
        (report.main, ["run"], "run/report"),
        (link.main, ["run"], "run"),
        (sanity.main, ["run"], "run"),
        (portrait.main, ["run", "--out", "out/portrait.npz"], "out"),
        (promote.main, ["run", "--to", "out"], "out"),
        (compare.main, ["run", "--out", "out"], "out"),
        (page.main, ["--records", "run", "--out", "out"], "out"),
    ],
)
def test_every_writer_owns_its_folder(refuses, monkeypatch, tmp_path, run, main, argv, where):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "modules", dict)
    os.symlink(run, "run")
    Path("plan.toml").write_text('method = "natural"')
    Path(where).mkdir(exist_ok=True)
    with FileLock(Path(where) / LOCK):
        before = sorted(os.listdir(where))
        refuses(main, *argv, says=["another process", where])
        assert sorted(os.listdir(where)) == before


def test_a_finished_run_is_told_where_nothing_can_be_written(invoke, run):
    with FileLock(run / LOCK):
        code, out, _ = invoke(train.main, *TINY, "--out", run)
    assert code == 0 and "is finished" in out


def test_a_written_file_is_on_the_disk(tmp_path, monkeypatch):
    """Its content before it has its name, its name before the call returns."""
    done, fsync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def replaced(old, new):
        assert done == [str(old)]
        replace(old, new)
        done.append("named")

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_atomic(tmp_path / "x", "content")
    assert done[1:] == ["named", str(tmp_path)] and (tmp_path / "x").read_text() == "content"


def full(*given):
    raise OSError(28, "No space left on device")


def test_a_full_disk_names_its_file_and_keeps_the_old_one(refuses, tmp_path, monkeypatch):
    write_atomic(tmp_path / "x", "old")
    monkeypatch.setattr(os, "fsync", full)

    def main(argv):
        write_atomic(tmp_path / "x", "new")

    refuses(main, says=["No space left", str(tmp_path / "x")])
    assert os.listdir(tmp_path) == ["x"] and (tmp_path / "x").read_text() == "old"


def test_a_folder_that_cannot_be_synced_does_no_harm(tmp_path, monkeypatch):
    fsync = os.fsync

    def strange(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", strange)
    write_atomic(tmp_path / "x", "content")
    assert (tmp_path / "x").read_text() == "content"


def test_a_closed_terminal_interrupts_but_not_under_nohup(invoke):
    def main(argv):
        signal.raise_signal(signal.SIGHUP)
        return 0

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert invoke(main)[::2] == (130, "interrupted\n")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert invoke(main)[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


CHILD = """
import time
from theory.common.cli import run
def main(argv):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("told", flush=True)
        raise
run(main)
"""


def test_a_command_ends_with_the_parent_that_holds_its_stdin():
    words = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", CHILD], env={**os.environ, PARENT: "1"}, **words)
    assert child.stdout.readline() == b"ready\n"
    out, err = child.communicate(timeout=30)  # closes stdin, as the system does for a process that was killed
    assert (child.returncode, out, err) == (130, b"told\n", b"interrupted\n")


GRID = """
import sys
from pathlib import Path
from deep import grid
class Script(grid.Job):
    def command(self, *more):
        return [sys.executable, "-c", *self.arguments]
grid.run_here([Script("a run", (sys.argv[1],), Path(sys.argv[2]))], 1)
"""


def test_a_run_of_a_killed_grid_ends(tmp_path):
    child = CHILD.replace('"ready"', "__import__('os').getpid()")
    parent = subprocess.Popen([sys.executable, "-c", GRID, child, str(tmp_path / "a")])
    log = tmp_path / "a.log"
    while not (log.is_file() and log.read_text().endswith("\n")) and parent.poll() is None:
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while not log.read_text().endswith("interrupted\n") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert log.read_text().split("\n", 1)[1] == "told\ninterrupted\n"


@pytest.mark.parametrize(
    "jobs, tasks, twice, expected",
    [(64, 2, False, 2), (64, 64, False, 4), (64, 16, True, 16), (3, 9, False, 3)],
)
def test_workers_are_no_more_than_tasks_or_cores(monkeypatch, capsys, jobs, tasks, twice, expected):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    assert workers(Namespace(jobs=jobs, oversubscribe=twice), tasks) == expected
    assert ("--oversubscribe" in capsys.readouterr().err) == (expected == 4)
    assert workers(Namespace(jobs=jobs, oversubscribe=twice), 0) == 1
