"""``python -m paper_figs``: draw every figure that there are records for, and one page with all of it."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from paper_figs import class_errors, theory_curves
from paper_figs.report import Section, commands, page, verdict_table
from theory.cli import Parser, run, writable_folder
from theory.comparison import comparisons
from theory.record import Record, read_records, write_atomic

STYLE = Path(__file__).with_name("style.mplstyle")


class Pages:
    """Files to be written, all at once when nothing can go wrong any more."""

    def __init__(self) -> None:
        """Start empty."""
        self.files: dict[str, bytes] = {}

    def add(self, figure: Figure, name: str) -> bytes:
        """Keep a figure as SVG and PNG under a name, and return the SVG."""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:100]
        while f"{name}.svg" in self.files:
            name += "_"
        for kind in ("svg", "png"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
            self.files[f"{name}.{kind}"] = buffer.getvalue()
        return self.files[f"{name}.svg"]


def networks(records: Sequence[Record], pages: Pages) -> Section:
    """Draw and describe the training of networks."""
    figures, tables = [], []
    for comparison in comparisons(records):
        caption = f"Errors of every class. {comparison.title}."
        figure = class_errors.draw(class_errors.compute(comparison))
        figures.append((caption, pages.add(figure, f"class_errors_{comparison.protocol['dataset']}")))
        tables += [comparison.class_table(), *comparison.paired_tables(("PGD", "TRADES"))]
    text = (
        "What to look for: how even the natural errors of natural training are, how uneven the robust "
        "errors of adversarial training, and what FRL moves between the classes. The paired tables say which "
        "changes are more than noise."
    )
    made = [r for r in records if r.source == "deep"]
    if not made:
        text = "No records yet. One of the commands that make them: python -m deep.train --method frl"
    return Section("Networks", text, figures, tables, commands(made))


def simulation(records: Sequence[Record], pages: Pages) -> Section:
    """Draw and describe the Gaussian mixture."""
    made = [r for r in records if r.source == "sim"]
    figures = []
    for curves in theory_curves.compute(made):
        caption = (
            f"Class errors of linear classifiers trained at radius eps, {curves.title}. Lines: theory; "
            "markers: errors counted in the simulation, with 95 % exact intervals."
        )
        figures.append((caption, pages.add(theory_curves.draw(curves), "theory_curves")))
    text = (
        "Two Gaussian classes with equally many samples; +1 has K times the standard deviation of -1. As the "
        "radius of adversarial training grows, the natural error of the wide class rises and that of the "
        "narrow class falls: the gap between them opens. At K = 1 there is none."
    )
    if not made:
        text = "No records yet. The command that makes them: python -m sim.sweep"
    tables = [verdict_table(made)] if made else []
    return Section("Theory and simulation", text, figures, tables, commands(made))


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the figures and the page."""
    parser = Parser(prog="paper_figs", description=__doc__)
    add = parser.add_argument
    add("--records", type=Path, default=Path("runs"), help="folder with records.jsonl files below it")
    add("--out", type=Path, default=Path("runs/paper_figs"), help="folder of the figures")
    args = parser.parse_args(argv)
    records = read_records(args.records)
    pages = Pages()
    with matplotlib.style.context(STYLE):
        sections = [networks(records, pages), simulation(records, pages)]
    commits = sorted({r.provenance["commit"][:12] for r in records if "commit" in r.provenance})
    footer = f"{len(records)} records, made at commit {', '.join(commits) or 'unknown'}."
    pages.files["report.html"] = page(sections, footer).encode()
    out = writable_folder(args.out)
    for name, content in pages.files.items():
        write_atomic(out / name, content)
    print(f"report: {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    run(main)
