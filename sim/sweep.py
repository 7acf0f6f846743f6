"""``python -m sim.sweep``: train linear classifiers, count their errors and compare them with theory.

Without ``--study`` it trains on a grid of Gaussian mixtures, naturally and adversarially, by the 0/1 error
and by the logistic loss. ``--study NAME`` runs a study: each statement of theory is one, `sim.studies`
has the others; ``--study all`` runs all of them. An interrupted sweep goes on when its command is given
again.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import joblib
from tqdm import tqdm

from sim.studies import studies
from sim.studies.grid import DEFAULT, settings_of
from sim.studies.tasks import Task, execute, tasks
from sim.testing.bands import BUDGET
from sim.verdicts import read_lines, report
from sim.worker import end_with
from theory.common.cli import Parser, add_jobs, one_of, radius, real, run, whole, workers
from theory.common.files import naming, write_atomic
from theory.common.inputs import InputError
from theory.common.owner import reserve_folder
from theory.results.records import provenance, setting_id
from theory.results.run_files import RECORDS, SWEEP, VERDICT_LINES
from theory.theorems import statements

FILES = (RECORDS, VERDICT_LINES, SWEEP)
BACKENDS = ("loky", "dask", "ray")
GRID = {"dim": "dim", "eta": "eta", "sigma": "sigma", "K": "Ks", "eps": "radii"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweep; 1 if a verdict is not as it should be."""
    args = _parser().parse_args(argv)
    todo, settings = _plan(args)
    if args.dry_run:
        return _describe(todo, workers(args, len(todo)))
    name = setting_id(settings)
    with reserve_folder(args.out or Path("runs/sim") / name, name, FILES) as out:
        write_atomic(out / SWEEP, json.dumps({"id": name, "settings": settings}) + "\n")
        path = out / VERDICT_LINES
        done = resume(path, [task.key for task in todo])
        if done:
            print(f"{done} of {len(todo)} settings are there already", file=sys.stderr)
        jobs = workers(args, len(todo) - done)
        with path.open("ab", buffering=0) as file:
            for line in _progress(_results(todo[done:], jobs, args.backend), len(todo), done):
                with naming(path):
                    file.write((json.dumps(line, allow_nan=False) + "\n").encode())
        return report(out)


def _parser() -> Parser:
    parser = Parser(prog="sim.sweep", description=__doc__)
    add = parser.add_argument
    add("--study", nargs="+", metavar="NAME", help="studies, or all; the grid of the other flags if none")
    add("--settings", type=whole(1, 10_000), default=5, help="settings of each study")
    add("--dim", type=whole(1, 500), help=f"grid: dimension d, {DEFAULT['dim']} if none")
    add("--eta", type=real, help=f"grid: coordinate of the class mean, {DEFAULT['eta']} if none")
    add("--sigma", type=real, help=f"grid: standard deviation of class -1, {DEFAULT['sigma']} if none")
    add("--K", type=real, nargs="+", help=f"grid: ratios of the deviations, {DEFAULT['Ks']} if none")
    add("--eps", type=radius, nargs="+", help=f"grid: l-infinity radii, {DEFAULT['radii']} if none")
    add_jobs(parser, joblib.cpu_count(), "worker processes")
    add("--backend", type=one_of(BACKENDS), default="loky", help="what runs them: loky, dask or ray")
    add("--seed", type=whole(0, 2**63 - 1), default=0, help="seed of all draws")
    add("--out", type=Path, help="folder of the verdicts (default: runs/sim/<id>)")
    add("--dry-run", action="store_true", help="say what would be done, and about how long it takes")
    return parser


def _plan(args: Any) -> tuple[list[Task], dict[str, Any]]:
    """Return the tasks of a command line, and what fixes their results."""
    grid = {v: getattr(args, k) for k, v in GRID.items() if getattr(args, k) is not None}
    source = provenance()
    if args.study is None:
        settings = {**DEFAULT, **grid, "seed": args.seed}
        todo = settings_of(**settings)
        share = BUDGET / len(todo)
        return [Task("grid", i, s, args.seed, share, source) for i, s in enumerate(todo)], settings
    known = list(studies())
    own = [name for name in known if name not in statements()]
    for name in args.study:
        if name != "all" and name not in known:
            raise InputError(f"no study {name!r:.60}; give all, one of {', '.join(own)}, or a statement")
    if grid:
        raise InputError("--study takes its own settings; leave out --dim, --eta, --sigma, --K and --eps")
    names = known if "all" in args.study else list(dict.fromkeys(args.study))
    settings = {"studies": names, "settings": args.settings, "seed": args.seed}
    return list(tasks(names, args.settings, args.seed, source)), settings


def resume(path: Path, keys: Sequence[str]) -> int:
    """Return how many tasks a file of verdicts already has, and cut off a line that was not finished.

    Raises:
        InputError: the file holds something else.
    """
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole_lines = content[: content.rfind(b"\n") + 1]
    found = [line.get("task") for line in islice(read_lines(path), whole_lines.count(b"\n"))]
    if found != list(keys[: len(found)]):
        raise InputError(f"{path} holds other tasks than those of this sweep; give an empty folder as --out")
    if len(whole_lines) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole_lines))
    return len(found)


def _results(todo: Sequence[Task], jobs: int, backend: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of tasks in their order."""
    with _backend(backend, jobs):
        if backend == "loky":
            ends = {"initializer": end_with, "initargs": (os.getpid(),)}
            yield from joblib.Parallel(n_jobs=jobs, return_as="generator", **ends)(map(_delayed, todo))
            return
        for begin in range(0, len(todo), 8 * jobs):  # these backends return lists
            yield from joblib.Parallel(n_jobs=jobs)(map(_delayed, todo[begin : begin + 8 * jobs]))


def _delayed(task: Task) -> Any:
    return joblib.delayed(execute)(task)


@contextmanager
def _backend(name: str, jobs: int) -> Iterator[None]:
    """Make joblib use a backend, on a cluster of ``jobs`` local workers that ends with the sweep."""
    if name == "loky":
        yield
        return
    try:
        if name == "dask":
            from distributed import Client

            with Client(n_workers=jobs, threads_per_worker=1, dashboard_address=None):
                with joblib.parallel_config(backend="dask"):
                    yield
        else:
            from ray.util.joblib import register_ray

            register_ray()
            with joblib.parallel_config(backend="ray"):
                yield
    except ImportError:
        raise InputError(f"--backend {name} needs it: pip install 'robust-fairness[{name}]'") from None


def _progress(lines: Iterator[dict[str, Any]], total: int, done: int) -> Iterator[dict[str, Any]]:
    return iter(tqdm(lines, total=total, initial=done, desc="settings", unit="setting", file=sys.stderr))


def _describe(todo: Sequence[Task], jobs: int) -> int:
    """Print what would be done."""
    counts = Counter(task.study for task in todo)
    seconds = sum(studies()[name].seconds * n for name, n in counts.items())
    for name, n in counts.items():
        print(f"{name}: {n} settings. {studies()[name].summary}")
    print(f"{len(todo)} settings, about {seconds / jobs:.0f} s with {jobs} workers")
    return 0


if __name__ == "__main__":
    run(main)
