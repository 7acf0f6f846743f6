"""``python -m sim.sweep``: train linear classifiers on the mixture and compare their errors with theory.

Two ways of training, naturally and adversarially, each against its own theory: "threshold" picks
the bias with the fewest (robust) training errors along the optimal direction and is compared with
the closed form; "logistic" fits all weights and is compared with the minimiser of the population
logistic loss.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
from tqdm import tqdm

from sim.experiment import BUDGET, Row, execute, tasks
from theory.cli import Parser, claim_folder, radius, real, run, whole
from theory.mixture import CLASSES
from theory.record import provenance, setting_id, to_jsonl, write_atomic

FILES = ("records.jsonl", "sweep.json")


def table(rows: Sequence[Row]) -> str:
    """Return the verdict table for a person: predicted and measured errors of both classes."""
    head = f"{'training':<12}{'rule':<10}{'K':>5}{'trained at':>11}{'attacked at':>12}  "
    columns = [f"{y} theory  measured [95 % interval]" for y in CLASSES]
    lines = [" | ".join([head, *columns, "verdict"])]
    for row in rows:
        t = row.task
        attacked = "-" if row.quantity == "natural_error" else row.eps
        cells = [f"{t.training:<12}{t.rule:<10}{t.mixture.K:>5g}{t.train_eps:>11}{attacked:>12}  "]
        for v in row.verdicts:
            low, high = v.interval
            cells.append(f"   {v.predicted:.4f}    {v.measured:.4f} [{low:.4f}, {high:.4f}]")
        cells.append(", ".join(sorted({v.verdict for v in row.verdicts})))
        lines.append(" | ".join(cells))
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """Return the number of verdicts of each kind and what the sweep could have seen."""
    verdicts = [v for row in rows for v in row.verdicts]
    counts = {k: sum(v.verdict == k for v in verdicts) for k in ("agrees", "differs", "cannot tell")}
    parts = ", ".join(f"{n} {k}" for k, n in counts.items())
    seen = [v.detectable for v in verdicts]
    return (
        f"{len(verdicts)} comparisons: {parts}. Smallest error that would have been seen: median "
        f"{np.median(seen):.4f}, largest {max(seen):.4f}. A true theory is called wrong anywhere with "
        f"probability at most {BUDGET:g}, to first order in 1 / n."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweep; 1 if any verdict is "differs"."""
    parser = Parser(prog="sim.sweep", description=__doc__)
    parser.add_argument("--dim", type=whole(1, 500), default=20, help="dimension d")
    parser.add_argument("--eta", type=real, default=0.4, help="coordinate of the class mean")
    parser.add_argument("--sigma", type=real, default=1.0, help="standard deviation of class -1")
    parser.add_argument(
        "--K", type=real, nargs="+", default=[1.0, 1.5, 2.0, 3.0], help="ratios of the deviations"
    )
    parser.add_argument(
        "--eps", type=radius, nargs="+", default=["0.08", "0.16", "0.24"], help="l-infinity radii, below eta"
    )
    parser.add_argument("--jobs", type=whole(1, 1024), default=joblib.cpu_count(), help="worker processes")
    parser.add_argument("--seed", type=whole(0), default=0, help="seed of all draws")
    parser.add_argument("--out", type=Path, help="folder of the records (default: runs/sim/<id>)")
    args = parser.parse_args(argv)

    grid = {k: getattr(args, k) for k in ("dim", "eta", "sigma", "K", "eps", "seed")}
    todo = tasks(args.dim, args.eta, args.sigma, args.K, args.eps, args.seed)
    out = claim_folder(args.out or Path("runs/sim") / setting_id(grid), setting_id(grid), FILES)
    source = provenance()
    parallel = joblib.Parallel(n_jobs=args.jobs, return_as="generator")
    work = parallel(joblib.delayed(execute)(task, source) for task in todo)
    done = list(tqdm(work, total=len(todo), desc="training", unit="run", file=sys.stderr))
    rows = [row for some, _ in done for row in some]
    write_atomic(out / "records.jsonl", to_jsonl(record for _, some in done for record in some))
    write_atomic(out / "sweep.json", json.dumps({"id": setting_id(grid), "settings": grid}) + "\n")
    print(table(rows))
    print(summary(rows))
    print(f"records: {out / 'records.jsonl'}")
    return int(any(v.verdict == "differs" for row in rows for v in row.verdicts))


if __name__ == "__main__":
    run(main)
