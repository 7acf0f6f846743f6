"""``python -m paper_figs``: draw every figure that there are records for, and one page with all of it."""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot: no screen is needed

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from paper_figs import class_errors, theory_curves  # noqa: E402
from paper_figs.report import Section, commands, page, verdict_table  # noqa: E402
from theory.cli import Parser, run, writable_folder  # noqa: E402
from theory.comparison import comparisons  # noqa: E402
from theory.record import Record, read_records, write_atomic  # noqa: E402

STYLE = Path(__file__).with_name("style.mplstyle")


def save(figure: Figure, out: Path, name: str) -> bytes:
    """Write a figure as SVG and PNG and return the SVG."""
    content = {}
    for kind in ("svg", "png"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
        content[kind] = buffer.getvalue()
        write_atomic(out / f"{name}.{kind}", content[kind])
    plt.close(figure)
    return content["svg"]


def networks(records: Sequence[Record], out: Path) -> Section:
    """Draw and describe the training of networks."""
    figures, tables = [], []
    for i, comparison in enumerate(comparisons(records)):
        name = f"class_errors_{comparison.protocol['dataset']}" + (f"_{i}" if i else "")
        caption = f"Errors of every class. {comparison.title}."
        figures.append((caption, save(class_errors.draw(class_errors.compute(comparison)), out, name)))
        bases = [label for label in comparison.runs if label.split()[0] in ("PGD", "TRADES")]
        tables += [comparison.class_table(), *(comparison.paired_table(base) for base in bases)]
    text = (
        "Without an attack a naturally trained network errs about equally rarely on every class. Adversarial "
        "training lowers the robust error of all classes, and leaves some far worse than others. FRL trades "
        "between the classes; the paired table says which of its changes are more than noise."
    )
    made = [r for r in records if r.source == "deep"]
    if not made:
        text = "No records yet. One of the commands that make them: python -m deep.train --method frl"
    return Section("Networks", text, figures, tables, commands(made))


def simulation(records: Sequence[Record], out: Path) -> Section:
    """Draw and describe the Gaussian mixture."""
    made = [r for r in records if r.source == "sim"]
    figures = []
    for i, curves in enumerate(theory_curves.compute(made)):
        caption = (
            f"Class errors of linear classifiers trained at radius eps, {curves.title}. Lines: theory; "
            "markers: errors counted in the simulation, with 95 % exact intervals."
        )
        figures.append(
            (
                caption,
                save(theory_curves.draw(curves), out, "theory_curves" + (f"_{i}" if i else "")),
            )
        )
    text = (
        "Two Gaussian classes, +1 with K times the standard deviation of -1. With the radius of adversarial "
        "training the error of the wide class rises, without an attack and under it: the gap between the "
        "classes opens although both had the same number of samples. At K = 1 there is none."
    )
    if not made:
        text = "No records yet. The command that makes them: python -m sim.sweep"
    return Section(
        "Theory and simulation",
        text,
        figures,
        [verdict_table(made)] if made else [],
        commands(made),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the figures and the page."""
    parser = Parser(prog="paper_figs", description=__doc__)
    parser.add_argument(
        "--records",
        type=Path,
        default=Path("runs"),
        help="folder with records.jsonl files below it",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/paper_figs"), help="folder of the figures")
    args = parser.parse_args(argv)
    records = read_records(args.records)
    out = writable_folder(args.out)
    plt.style.use(STYLE)
    sections = [networks(records, out), simulation(records, out)]
    commits = sorted({r.provenance["commit"][:12] for r in records if "commit" in r.provenance})
    footer = f"{len(records)} records, made at commit {', '.join(commits) or 'unknown'}."
    write_atomic(out / "report.html", page(sections, footer))
    print(f"report: {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    run(main)
