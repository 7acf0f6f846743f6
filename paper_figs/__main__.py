"""``python -m paper_figs``: draw every figure that there are records for, and one page with all of it."""

import dataclasses
import importlib
import io
import pkgutil
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.style

from paper_figs import figures
from paper_figs.archive import Archive, read_archive
from paper_figs.page import explorer
from paper_figs.page.claim_table import claim_table, read_verdicts
from paper_figs.page.page import Drawn, Missing, Section, commands, page, verdict_table
from theory.common.cli import Parser, caution, run
from theory.common.files import write_atomic
from theory.common.inputs import InputError
from theory.common.owner import own_folder
from theory.common.table import Table
from theory.networks.predictions import predictions, theory_table
from theory.results.findings import findings, paired_tables, sentences
from theory.results.records import Record
from theory.results.run_files import RECORDS
from theory.results.runs import left_out
from theory.results.study import study_of

STYLE = Path(__file__).with_name("style.mplstyle")
COMMITTED = Path(__file__).with_name("records")
TITLE = "Robust fairness: theory, simulation and networks"

SECTIONS = {
    "theory": (
        "Theory",
        "Two Gaussian classes; +1 spreads <i>K</i> times as far as −1. What equal errors of both classes "
        "cost on average, and which mitigation reaches them. Lines are theory; points, where there are any, "
        "were counted in simulations.",
    ),
    "simulation": (
        "Simulation",
        "Linear classifiers, trained on samples and counted on fresh ones, against what theory predicts. As "
        "the radius of adversarial training grows, the natural error of the wide class rises and that of the "
        "narrow class falls: the gap between them opens. At <i>K</i> = 1 there is none.",
    ),
    "networks": (
        "Networks",
        "What to look for: how even the natural errors of natural training are, how uneven the robust errors "
        "of adversarial training, and what each mitigation moves between the classes. The paired tables say "
        "what changes are more than noise.",
    ),
}
CLAIMS = (
    "In our words: where a paper is named, its wording and numbering have not been compared with the print. "
    "<i>Corrected</i> holds as written here but not without the conditions in its file in "
    "<code>theory/theorems/</code>; <i>refuted</i> comes with a counterexample, where the simulation is to "
    "differ; <i>open</i> has neither proof nor counterexample. <code>python -m theory check</code> tries all."
)


def modules() -> Mapping[str, ModuleType]:
    """Return every figure by the name of its file."""
    names = sorted(m.name for m in pkgutil.iter_modules(figures.__path__))
    return {name: importlib.import_module(f"paper_figs.figures.{name}") for name in names}


def draw(module: ModuleType, data: Any, name: str) -> Drawn:
    """Return what a figure module draws of its data, as the file ``name``."""
    figure = module.draw(data)
    images = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # seen as a box; the tables have the letter
        for kind in ("svg", "png"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
            images[kind] = buffer.getvalue()
            figure.set_layout_engine("none")  # places stay: finding them takes a third of the time
    return Drawn(name, module.TITLE, module.caption(data), **images)


def named(computed: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, str, Any]]:
    """Yield (module, file, data) for all data of the figures, the files with different names."""
    taken: set[str] = set()
    for name, several in computed.items():
        for data in several:
            key = getattr(data, "key", "")
            file = re.sub(r"[^A-Za-z0-9_-]", "_", f"{name}_{key}" if key else name)[:100]
            while file in taken:
                file += "_"
            taken.add(file)
            yield name, file, data


def sections(
    archive: Archive,
    drawn: Mapping[str, Sequence[Drawn]],
    verdicts: Mapping[str, Counter[str]],
    networks: tuple[Sequence[Table], Sequence[str]] = ((), ()),
) -> list[Section]:
    """Return the parts of the page.

    Args:
        archive: what was read.
        drawn: for each module what it draws.
        verdicts: of the simulation on statements.
        networks: their tables, and sentences about them.
    """
    counted, (compared, summaries) = verdict_table(archive.records), networks
    tables = {"simulation": [counted] if counted.rows else [], "networks": compared}
    points = {
        "networks": "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in summaries) + "</ul>"
        if summaries
        else ""
    }
    places: dict[str, list[tuple[str, str]]] = {name: [("explorer", "explorer")] for name in explorer.CLAIMS}
    for name, module in modules().items():
        for claim in getattr(module, "CLAIMS", ()):
            places.setdefault(claim, []).extend((d.name, d.title) for d in drawn[name][:1])
    out = [
        Section("explorer", "Explorer", content=explorer.markup()),
        Section("claims", "Claims", CLAIMS, claim_table(verdicts, places)),
    ]
    for key, (title, text) in SECTIONS.items():
        figures_here = [name for name, module in modules().items() if key == module.SECTION]
        source = {"networks": "deep", "simulation": "sim"}.get(key)
        made = [r for r in archive.records if r.source == source]
        out.append(
            Section(
                key,
                title,
                text,
                points.get(key, ""),
                figures=[figure for name in figures_here for figure in drawn[name]],
                missing=missing(drawn, key),
                tables=tables.get(key, []),
                commands=commands(made),
            )
        )
    return [s for s in out if s.content or s.figures or s.missing or s.tables]


def network_parts(archive: Archive) -> tuple[list[Table], list[str]]:
    """Return the tables of networks, those of `deep.compare`, and a sentence on what each method does.

    Raises:
        InputError: a file beside the records of a run is not its own.
    """
    tables: list[Table] = []
    points: list[str] = []
    for trained in archive.trained:
        study = study_of(trained.comparison, archive.runs)
        changes, predicted = findings(study), predictions(study)
        paired = paired_tables(study, changes) or trained.comparison.paired_tables(("pgd", "trades"))
        tables += [study.methods_table(), *paired, trained.comparison.class_table()]
        tables += [theory_table(predicted)] if predicted else []
        points += sentences(study, changes)
    return tables, points


def missing(drawn: Mapping[str, Sequence[Drawn]], section: str | None = None) -> list[Missing]:
    """Return the figures that could not be drawn, of one section or of all."""
    return [
        Missing(module.TITLE, module.COMMAND)
        for name, module in modules().items()
        if not drawn[name] and section in (None, module.SECTION)
    ]


def read(folders: Sequence[Path]) -> Archive:
    """Return what is in several folders as one archive.

    Raises:
        InputError: one has no records, or damaged ones, or a simulation is there twice.
    """
    archives = [read_archive(folder) for folder in folders]
    fields: dict[str, Any] = {
        f.name: tuple(chain.from_iterable(getattr(a, f.name) for a in archives))
        for f in dataclasses.fields(Archive)
    }
    archive = Archive(**fields)
    _refuse_doubles(archive.records)
    return archive


def _refuse_doubles(records: Iterable[Record]) -> None:
    """Refuse a simulation that would be counted twice."""
    names = set()
    for r in records:
        name = r.quantity, r.label, r.seed, r.method, r.attack, str(r.setting)
        if r.source == "sim" and name in names:
            raise InputError(
                f"the simulation of {r.method} at K = {r.setting['K']:g}, eps = {r.setting['eps']:g}, seed "
                f"{r.seed}, is twice in the records and would be counted twice; remove one file, or folder"
            )
        names.add(name)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the figures and the page."""
    parser = Parser(prog="paper_figs", description=__doc__)
    add = parser.add_argument
    add("--records", type=Path, nargs="+", help="folders with records below them; the package's own if none")
    add("--out", type=Path, default=Path("runs/paper_figs"), help="folder of the figures")
    args = parser.parse_args(argv)
    folders = args.records or [COMMITTED] * any(COMMITTED.rglob(RECORDS))
    archive, verdicts = read(folders), read_verdicts(folders)
    networks = network_parts(archive)
    computed = {name: module.compute(archive) for name, module in modules().items()}
    with own_folder(args.out) as out:
        _draw_all(out, archive, computed, verdicts, networks)
    for sentence in left_out(folders):
        caution(sentence)
    return 0


def _draw_all(
    out: Path,
    archive: Archive,
    computed: Mapping[str, Sequence[Any]],
    verdicts: Mapping[str, Counter[str]],
    networks: tuple[Sequence[Table], Sequence[str]],
) -> None:
    """Draw figures and page of what was read, and say what is lacking."""
    by_name = modules()
    drawn: dict[str, list[Drawn]] = {name: [] for name in by_name}
    with matplotlib.style.context(STYLE):
        for name, file, data in named(computed):
            drawn[name].append(draw(by_name[name], data, file))
    commits = sorted({r.provenance["commit"][:12] for r in archive.records if "commit" in r.provenance})
    footer = f"{len(archive.records)} records, made at commit {', '.join(commits) or 'unknown'}."
    html = page(TITLE, sections(archive, drawn, verdicts, networks), footer)
    for figure in chain.from_iterable(drawn.values()):
        write_atomic(out / f"{figure.name}.svg", figure.svg)
        write_atomic(out / f"{figure.name}.png", figure.png)
    write_atomic(out / "report.html", html)
    lacking = missing(drawn)
    for lack in lacking:
        print(f"no records for: {lack.title}. They are made by: {lack.command}")
    if lacking:
        print("new records, say below runs, are read by: python -m paper_figs --records runs")
    print(f"report: {out / 'report.html'}")


if __name__ == "__main__":
    run(main)
