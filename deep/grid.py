"""``python -m deep.grid FILE.toml``: many runs of ``deep.train``, here or by SLURM.

What is at the top of the file are flags of every run, what is in a table is for one method or data set (there
may be several of a name, as [[method.frl]]), and every list means one run for each of its values::

    seed = [0, 1, 2]
    epochs = 12

    [method.trades]
    beta = [1.5, 6]

    [method.frl]

    [dataset.digits]

    [dataset.cifar10]
    data-dir = "data/cifar10"
    epochs = 110

Runs of the first seed are made first, so that a grid that is stopped early has every method. The folder of a
run is its id, below ``--out``. A run that is finished is skipped and one that was interrupted
goes on, so the same command may be given again. "{seed}" in a text is the seed of the run.
"""

import itertools
import math
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from deep.runs.command_line import words_of
from deep.runs.folder import is_finished
from deep.runs.place import run_of
from theory.common.cli import PARENT, Parser, add_jobs, run, workers
from theory.common.inputs import InputError, parse_number, read_text
from theory.common.owner import own_folder
from theory.results.run_files import CHECKPOINT

LARGEST = 10_000
"""Largest number of runs of a file."""
AXES = ("method", "dataset")
"""What may have tables of its own."""
DOTTED = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){32}""")
"""A key of many parts takes tomllib their square in time and memory: one of 60 kB a minute and 3 GB."""
RESERVED = {"out", "resume", "stop_after", "help"}
"""Flags that a file cannot give."""


@dataclass(frozen=True)
class Job:
    """A run.

    Args:
        name: method, data set and seed.
        arguments: the command line of deep.train.
        folder: where it writes.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path

    @classmethod
    def of(cls, flags: Mapping[str, Any], out: Path) -> Self:
        """Return the run of these flags, checked.

        Raises:
            InputError: a flag is unknown or a value makes no sense.
        """
        settings, _ = run_of(flags)
        folder = out / settings.id
        name = f"{settings.method} on {settings.dataset}, seed {settings.seed}"
        command = words_of({**flags, "threads": settings.threads, "out": str(folder)})
        return cls(name, tuple(command), folder)

    @property
    def status(self) -> str:
        """Return done, begun or new."""
        if is_finished(self.folder, self.folder.name):
            return "done"
        return "begun" if (self.folder / CHECKPOINT).is_file() else "new"

    def command(self, *more: str) -> list[str]:
        """Return the words that start it."""
        return [sys.executable, "-m", "deep.train", *self.arguments, *more]


def expand(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the flags of every run of a file.

    Raises:
        InputError: a flag belongs to the grid, a table has no meaning, or there are too many runs.
    """
    common = {_flag(k): v for k, v in plan.items() if k not in AXES}
    axes = [_axis(plan, axis) for axis in AXES]
    total = 0
    for parts in itertools.product(*axes):
        flags: dict[str, Any] = dict(common)
        for part in reversed(parts):  # the method's own flags come last
            flags |= part
        lists = {k: v if isinstance(v, list) else [v] for k, v in flags.items()}
        total += math.prod(map(len, lists.values()))
        if [] in lists.values() or total > LARGEST:
            raise InputError(f"it must have from 1 to {LARGEST} runs, and no empty list")
        for values in itertools.product(*lists.values()):
            chosen = dict(zip(lists, values, strict=True))
            seed = str(chosen.get("seed", 0))
            yield {k: v.replace("{seed}", seed) if isinstance(v, str) else v for k, v in chosen.items()}


def _axis(plan: Mapping[str, Any], axis: str) -> list[dict[str, Any]]:
    """Return the flags of each method or data set; one without flags if the file names none."""
    listed = plan.get(axis, {})
    if isinstance(listed, str):
        listed = [listed]
    if isinstance(listed, list):
        return [{axis: name} for name in listed] or [{}]
    named = [*listed.items()] if isinstance(listed, dict) else [(axis, listed)]
    several = [(name, table if isinstance(table, list) else [table]) for name, table in named]
    if not isinstance(listed, dict) or not all(isinstance(v, dict) for _, table in several for v in table):
        raise InputError(
            f"{axis} must be a name, a list of names, or tables [{axis}.NAME], got {listed!r:.60}"
        )
    tables = [
        {_flag(k): v for k, v in table.items()} | {axis: name} for name, each in several for table in each
    ]
    return tables or [{}]


def _flag(name: str) -> str:
    flag = name.replace("-", "_")
    if flag in RESERVED:
        raise InputError(f"{name} belongs to deep.grid and cannot be in its file")
    return flag


def read_plan(path: Path, out: Path) -> list[Job]:
    """Return the runs of a file, each once.

    Raises:
        InputError: the file cannot be read, or one of its runs makes no sense.
    """
    text = read_text(path, 1 << 18)
    if DOTTED.search(text):
        raise InputError(f"{path} has a key of more than 32 parts")
    try:
        plan = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    try:
        runs = [*expand(plan)]
        seeds = [*dict.fromkeys(repr(flags.get("seed")) for flags in runs)]
        runs.sort(key=lambda flags: seeds.index(repr(flags.get("seed"))))
        jobs = {job.folder: job for job in (Job.of(flags, out) for flags in runs)}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return [*jobs.values()]


def run_here(jobs: Sequence[Job], slots: int) -> int:
    """Run jobs, ``slots`` at a time, and return how many failed; an interruption stops those that run."""
    devices = torch.cuda.device_count()
    waiting, running, failed, done = [*jobs], {}, 0, 0
    try:
        while waiting or running:
            for slot in sorted(set(range(slots)) - set(running))[: len(waiting)]:
                job = waiting.pop(0)
                chosen = any(word.startswith("--device=") for word in job.arguments)
                more = [f"--device=cuda:{slot % devices}"] if devices and not chosen else []
                running[slot] = (job, _start(job, more), time.monotonic())
            time.sleep(0.05)
            for slot, (job, process, started) in [*running.items()]:
                if process.poll() is not None:
                    process.stdin.close()
                    del running[slot]
                    done, failed = done + 1, failed + (process.returncode != 0)
                    end = "done" if process.returncode == 0 else f"FAILED, {_last_line(_log(job))}"
                    print(
                        f"{done}/{len(jobs)} {job.name}: {end} ({time.monotonic() - started:.0f} s)",
                        flush=True,
                    )
    finally:
        for _, process, _ in running.values():
            process.terminate()
        for _, process, _ in running.values():
            process.wait()
            process.stdin.close()  # not before: one interruption is enough
    return failed


def _log(job: Job) -> Path:
    return job.folder.with_suffix(".log")


def _start(job: Job, more: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a run in a session of its own, so that an interruption reaches it once, from here.

    It ends with this process even where that is killed: nothing is ever written to its stdin, but the system
    closes that.
    """
    with _log(job).open("ab") as log:
        return subprocess.Popen(
            job.command(*more),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, PARENT: "1"},
        )


def _last_line(path: Path) -> str:
    return ([*path.read_text(encoding="utf-8", errors="replace").splitlines()] or ["without a word"])[-1]


def run_by_slurm(jobs: Sequence[Job], out: Path, options: Sequence[str]) -> None:
    """Submit jobs as one array.

    Raises:
        InputError: submitit is not installed, or refuses an option.
    """
    try:
        import submitit
    except ImportError:
        raise InputError("--slurm needs submitit: pip install 'robust-fairness[slurm]'") from None
    executor = submitit.AutoExecutor(folder=str(out / "slurm"))
    try:
        executor.update_parameters(name="deep.grid", **dict(map(_option, options)))
    except (NameError, ValueError, TypeError) as error:
        raise InputError(f"--slurm: {error}") from None
    with executor.batch():
        handles = [executor.submit(submitit.helpers.CommandFunction(job.command())) for job in jobs]
    for job, handle in zip(jobs, handles, strict=True):
        print(f"{handle.job_id}  {job.name}  {job.folder}")


def _option(word: str) -> tuple[str, str | int]:
    name, equals, value = word.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"--slurm takes words such as timeout_min=600, got {word!r:.60}")
    number = parse_number(value, int)
    return name, value if math.isnan(number) else int(number)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is not done."""
    parser = Parser(
        prog="deep.grid", description="Many runs of deep.train; deep/grid.py says what a file has."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the runs, in TOML")
    parser.add_argument("--out", type=Path, default=Path("runs/deep"), help="folder of the runs' folders")
    add_jobs(parser, 1, "runs at a time, here")
    parser.add_argument("--dry-run", action="store_true", help="show the commands and do nothing")
    parser.add_argument(
        "--slurm",
        nargs="*",
        metavar="KEY=VALUE",
        help="submit by submitit, with its parameters, such as timeout_min=600 slurm_partition=gpu",
    )
    args = parser.parse_args(argv)
    jobs = read_plan(args.file, args.out)
    statuses = [job.status for job in jobs]
    if args.dry_run:
        for job, status in zip(jobs, statuses, strict=True):
            print(f"{status:5}  {shlex.join(job.command())}")
    counts = ", ".join(f"{statuses.count(s)} {s}" for s in ("done", "begun", "new"))
    todo = [job for job, status in zip(jobs, statuses, strict=True) if status != "done"]
    if args.dry_run or not todo:
        print(counts)
        return 0
    with own_folder(args.out):
        print(counts, flush=True)
        if args.slurm is not None:
            run_by_slurm(todo, args.out, args.slurm)
            return 0
        failed = run_here(todo, workers(args, len(todo)))
    print(f"{len(todo) - failed} finished, {failed} failed; python -m deep.compare {args.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
