"""``python -m deep.report RUN``: evaluate a trained network, and write what it is robust to as tables.

In RUN/report: evaluation.npz (is each sample robust to each attack), report.json, report.csv, report.md
and report.tex. An evaluation that was interrupted goes on where it stopped. With several radii and norms a
sample must be robust to all; the errors of each class under each are a table of their own, with the worst
cell. With --against OTHER the two networks are compared on the same samples; OTHER must have been reported on
by the same attacks.
"""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from deep.attacks.autoattack import AutoAttack
from deep.attacks.ball import UNIT, Norm
from deep.attacks.evaluate import Attacker, Evaluation, evaluate
from deep.audits.audit_tables import threat_table, worst_cell
from deep.audits.threats import threats_of
from deep.runs.folder import read_config
from deep.runs.reload import Run, load_run
from deep.runs.shipped import working_copy
from deep.training.seeds import stream
from theory.common.cli import Parser, radius, run, whole
from theory.common.digits import percent
from theory.common.files import write_atomic
from theory.common.inputs import InputError
from theory.common.owner import own_folder
from theory.common.table import Table
from theory.results.attacks import AUTOATTACK, CLEAN
from theory.results.counts import ClassErrors
from theory.results.flags import paired_table
from theory.results.records import provenance
from theory.results.run_files import REPORT

__all__ = ["attacks_of", "tables"]

NAMES = ("pgd", "kl", "margin", "targeted", AUTOATTACK)


def attacks_of(run: Run, names: Sequence[str], **changed: Any) -> list[Attacker]:
    """Return the attacks of some names on the classes of a run, with the settings of its own but for some."""
    given = {k: v for k, v in changed.items() if v is not None}
    plain, targeted = (replace(attack, **given) for attack in run.attacks)
    classes = len(run.data.classes)
    named: Mapping[str, Attacker] = {
        "pgd": plain,
        **{name: replace(plain, objective=name) for name in ("kl", "margin")},
        "targeted": targeted,
        AUTOATTACK: AutoAttack(plain.eps, plain.eps_text, classes, plain.norm),
    }
    return [named[name] for name in dict.fromkeys(names)]


def tables(title: str, evaluation: Evaluation, classes: Sequence[str]) -> list[Table]:
    """Return the errors of every class under all attacks, and the robust error under each alone."""
    rows = []
    for attack in evaluation.attacks:
        errors = evaluation.errors(classes, attack)
        rates = errors.rates("robust_error")
        worst = f"{percent(rates.max())} ({classes[rates.argmax()]})"
        rows.append([attack, percent(errors.average("robust_error")), worst])
    note = "errors in percent; the table above counts a sample as robust only if it is robust to all of them"
    return [
        evaluation.errors(classes).table(f"{title}; {evaluation.attack}"),
        Table("Robust error under each attack alone", ["attack", "average", "worst class"], rows, note),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Report on a run."""
    args = _parser().parse_args(argv)
    torch.use_deterministic_algorithms(True, warn_only=True)
    run = load_run(args.run, data_dir=args.data_dir, device=args.device)
    torch.set_num_threads(run.settings.threads)
    other = None if args.against is None else _other(args.against, run)
    attacks = _attacks(args, run)
    with own_folder(args.out or (args.run / REPORT).parent) as out:
        _report(args, run, attacks, out, other)
    return 0


def _attacks(args: argparse.Namespace, run: Run) -> dict[str, list[Attacker]]:
    """Return the attacks under each threat, by its name.

    Raises:
        InputError: the threats make no sense, or AutoAttack is asked for in l1.
    """
    radii, size = args.eps or [run.settings.eps], run.data.test.inputs(slice(1))[0].numel()
    threats = threats_of(radii, args.norm, UNIT, size)
    if AUTOATTACK in args.attacks and any(threat.norm == "l1" for threat in threats):
        raise InputError("--attacks autoattack is for --norm linf and l2, got l1")
    changed = {"steps": args.steps, "restarts": args.restarts}
    return {
        t.name: attacks_of(run, args.attacks, eps=t.eps, eps_text=t.eps_text, norm=t.norm, **changed)
        for t in threats
    }


def _report(
    args: argparse.Namespace,
    run: Run,
    threats: Mapping[str, Sequence[Attacker]],
    out: Path,
    other: Evaluation | None,
) -> None:
    """Evaluate, write the report and print it."""
    attacks = [attack for under in threats.values() for attack in under]
    test = run.data.test
    if args.per_class is not None:
        test = test.take(test.first(args.per_class))
    evaluation = evaluate(
        run.model,
        test,
        *attacks,
        seed=stream(run.settings.seed, "test"),
        batch_size=args.batch_size,
        shards=out / "shards",
    )
    settings = run.settings
    title = f"{settings.method} on {settings.dataset}, seed {settings.seed}"
    shown = tables(title, evaluation, run.data.classes)
    each = {
        name: evaluation.errors(run.data.classes, *(a.name for a in under)) for name, under in threats.items()
    }
    if len(each) > 1:
        shown.append(threat_table(each, evaluation.errors(run.data.classes)))
    if other is not None:
        names = (str(args.against), str(args.run))
        shown.append(paired_table(names, (other, evaluation), run.data.classes))
    warnings = [*run.warnings, *(w for w in (getattr(attack, "warning", "") for attack in attacks) if w)]
    _write(out, run, evaluation, each, shown, [*warnings, *evaluation.doubts.values()])
    shutil.rmtree(out / "shards")
    print("\n\n".join(table.text() for table in shown))
    print("".join(f"warning: {w}\n" for w in warnings) + f"report: {out}")


def _other(folder: Path, run: Run) -> Evaluation:
    """Return what was reported of a run to compare another with.

    Raises:
        InputError: it has no report, or is of other data.
    """
    if read_config(folder)["data_sha256"] != run.data.sha256:
        raise InputError(f"--against {folder} is of other data than the run; give one of the same")
    return Evaluation.read(folder / REPORT)


def _write(
    out: Path,
    run: Run,
    evaluation: Evaluation,
    threats: Mapping[str, ClassErrors],
    shown: Sequence[Table],
    warnings: Sequence[str],
) -> None:
    """Write the files of a report."""
    counted = evaluation.errors(run.data.classes)
    summary = {
        "id": run.settings.id,
        "attacks": evaluation.attacks,
        "classes": counted.classes,
        "n": counted.n,
        **counted.summary(),
        "each_attack": {
            attack: evaluation.errors(counted.classes, attack).summary()["robust_error"]
            for attack in evaluation.attacks
            if attack != CLEAN
        },
        "threats": {
            name: dict(zip(e.classes, e.rates("robust_error").tolist(), strict=True))
            for name, e in threats.items()
        },
        "worst_cell": worst_cell(threats),
        "warnings": warnings,
        "provenance": provenance(torch=torch.__version__),
    }
    write_atomic(out / Path(REPORT).name, evaluation.to_bytes())
    write_atomic(out / "report.csv", counted.numbers().csv())
    write_atomic(out / "report.md", "\n".join(table.markdown() for table in shown))
    write_atomic(out / "report.tex", "\n".join(table.latex() for table in shown))
    write_atomic(out / "report.json", json.dumps(summary, indent=1) + "\n")


def _parser() -> Parser:
    parser = Parser(prog="deep.report", description=__doc__)
    add = parser.add_argument
    add("run", type=working_copy, metavar="RUN", help="folder of a run of deep.train")
    add(
        "--attacks",
        nargs="+",
        choices=NAMES,
        default=["pgd", "targeted"],
        help="attacks that a sample must be robust to",
    )
    add("--per-class", type=whole(1), help="test samples of each class, the first; all if None")
    add("--eps", type=radius, nargs="+", help="radius, such as 8/255, or several; the run's if None")
    add("--norm", nargs="+", choices=get_args(Norm), default=["linf"], help="norm of each radius")
    add("--steps", type=whole(1), help="steps of PGD, of eps / 4; the run's if None")
    add("--restarts", type=whole(1), default=1, help="random starts of PGD")
    add("--batch-size", type=whole(1), default=500, help="samples attacked at once, and kept at once")
    add("--data-dir", type=Path, help="folder of the data files; the one that the run had if None")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--against", type=Path, metavar="OTHER", help="a run to compare with, already reported on")
    add("--out", type=Path, help="folder of the report; RUN/report if None")
    return parser


if __name__ == "__main__":
    run(main)
