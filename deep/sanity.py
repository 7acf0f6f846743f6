"""``python -m deep.sanity RUN``: is the attack behind a run's errors strong enough? What reviewers check.

Each check is made for every class and over all samples, since masked gradients of one class hide in the
mean. The list is that of Carlini et al. (2019), "On Evaluating Adversarial Robustness", with the
binarisation test of Zimmermann et al. (2022) and a linear network on the same data, whose exact bound is
known. The exit code is 1 if a check fails. What was found is kept in RUN/sanity.json.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from deep.runs.reload import Run, load_run
from deep.runs.shipped import working_copy
from deep.strength.check_results import check_table
from deep.strength.checks import CHECKS, Subject, every_check
from theory.common.cli import Parser, caution, run, whole
from theory.common.files import write_atomic
from theory.common.owner import own_folder

__all__: list[str] = []


def main(argv: Sequence[str] | None = None) -> int:
    """Check a run."""
    parser = Parser(prog="deep.sanity", description=__doc__)
    parser.add_argument("run", type=working_copy, metavar="RUN", help="folder of a run of deep.train")
    parser.add_argument(
        "--data-dir", type=Path, help="folder of the data files; the one that the run had if None"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--per-class", type=whole(1), default=100, help="test samples of each class")
    parser.add_argument("--queries", type=whole(1), default=1000, help="of the square attack")
    args = parser.parse_args(argv)
    torch.use_deterministic_algorithms(True, warn_only=True)
    run = load_run(args.run, data_dir=args.data_dir, device=args.device)
    with own_folder(args.run):
        return _sanity(args.run, run, Subject.of(run, args.per_class, args.queries))


def _sanity(folder: Path, run: Run, subject: Subject) -> int:
    """Make the checks, write and print them, and return 1 if one fails."""
    for sentence in run.warnings:
        caution(sentence)
    torch.set_num_threads(run.settings.threads)
    checks = list(tqdm(every_check(subject), total=len(CHECKS) + 2, unit="check", desc="sanity"))
    failed = [check.name for check in checks if not check.passed]
    outcome = {
        "id": run.settings.id,
        "attack": run.evaluation.attack,
        "samples": len(subject.split),
        "passed": not failed,
        "checks": [check.as_json() for check in checks],
    }
    write_atomic(folder / "sanity.json", json.dumps(outcome, indent=1) + "\n")
    title = f"{folder}: {len(subject.split)} test samples; {run.evaluation.attack}"
    print(check_table(title, checks).text())
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
