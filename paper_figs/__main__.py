"""``python -m paper_figs``: draw every figure that there are records for, and one page with all of it."""

import argparse
import dataclasses
import importlib
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from paper_figs import figures
from paper_figs.archive import Archive, read_archive
from paper_figs.drawing import Drawing, Memory, content_key, draw_all
from paper_figs.page import explorer
from paper_figs.page.claim_table import claim_table, read_verdicts
from paper_figs.page.front import front
from paper_figs.page.page import Drawn, Missing, Part, Section, commands, page, verdict_table
from paper_figs.summary import data_name
from theory.common.cli import Parser, add_jobs, caution, run, workers
from theory.common.inputs import InputError
from theory.common.owner import own_folder
from theory.common.table import Table
from theory.networks.predictions import predictions, theory_table
from theory.results.findings import Finding, findings, paired_tables, sentences
from theory.results.records import Record
from theory.results.run_files import RECORDS
from theory.results.runs import left_out
from theory.results.study import Study, study_of

COMMITTED = Path(__file__).with_name("records")
PAGE = "report.html"
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
    networks: Sequence["Networks"] = (),
) -> list[Section]:
    """Return the parts of the page.

    Args:
        archive: what was read.
        drawn: for each module what it draws.
        verdicts: of the simulation on statements.
        networks: of each protocol.
    """
    counted = verdict_table(archive.records)
    places: dict[str, list[tuple[str, str]]] = {name: [("explorer", "explorer")] for name in explorer.CLAIMS}
    for name, module in modules().items():
        for claim in getattr(module, "CLAIMS", ()):
            places.setdefault(claim, []).extend((d.name, d.title) for d in drawn[name][:1])
    plain = [d for d in drawn.get("class_errors", ()) if not d.key.endswith("_mitigations")]
    first = [*drawn.get("repaired", ()), *plain][:1]
    out = [
        front(archive.records, [(n.study, n.changes) for n in networks], first),
        Section("explorer", "Explorer", content=explorer.markup()),
        Section("claims", "Claims", CLAIMS, claim_table(verdicts, places)),
    ]
    for key, (title, text) in SECTIONS.items():
        here = [d for name, m in modules().items() if key == m.SECTION for d in drawn[name] if d not in first]
        source = {"networks": "deep", "simulation": "sim"}.get(key)
        made = [r for r in archive.records if r.source == source]
        parts = [n.part(here) for n in networks] if key == "networks" else []
        placed = {figure.name for part in parts for figure in part.figures}
        section = Section(
            key,
            title,
            text,
            figures=[figure for figure in here if figure.name not in placed],
            missing=missing(drawn, key),
            tables=[counted] if key == "simulation" and counted.rows else [],
            parts=parts,
            commands=commands(made),
        )
        out.append(section)
    return [s for s in out if s.content or s.figures or s.missing or s.tables or s.parts]


@dataclasses.dataclass(frozen=True)
class Networks:
    """Networks of a protocol, with what is told of them.

    Args:
        key: names the protocol.
        study: its runs.
        changes: what each method changed.
        tables: those of `deep.compare`.
        points: a sentence on what each method does.
    """

    key: str
    study: Study
    changes: Sequence[Finding]
    tables: Sequence[Table]
    points: Sequence[str]

    @property
    def name(self) -> str:
        """Return the data set, and whether it is a pilot."""
        return data_name(self.study.comparison)

    def part(self, drawn: Sequence[Drawn]) -> Part:
        """Return the part of the page, with the figures of this protocol."""
        mine = [d for d in drawn if re.fullmatch(rf"{re.escape(self.key)}([ _].*)?", d.key)]
        title = self.study.comparison.title
        opened = not self.name.endswith(" pilot")
        return Part(f"networks-{self.key}", self.name, title, self.points, mine, self.tables, opened)


def network_parts(archive: Archive) -> list[Networks]:
    """Return for each protocol the tables of `deep.compare`, and a sentence on what each method does.

    Raises:
        InputError: a file beside the records of a run is not its own.
    """
    parts = []
    for trained in archive.trained:
        study = study_of(trained.comparison, archive.runs)
        changes, predicted = findings(study), predictions(study)
        paired = paired_tables(study, changes) or trained.comparison.paired_tables(("pgd", "trades"))
        tables = [study.methods_table(), *paired, trained.comparison.class_table()]
        tables += [theory_table(predicted)] if predicted else []
        parts.append(Networks(trained.key, study, changes, tables, sentences(study, changes)))
    return parts


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
    """Draw the figures and the page, what has changed of them."""
    parser = Parser(prog="paper_figs", description=__doc__)
    add = parser.add_argument
    add("--records", type=Path, nargs="+", help="folders with records below them; the package's own if none")
    add("--out", type=Path, default=Path("runs/paper_figs"), help="folder of the figures")
    add("--quiet", action="store_true", help="show no progress")
    add_jobs(parser, 2, "processes that draw")
    args = parser.parse_args(argv)
    folders = args.records or [COMMITTED] * any(COMMITTED.rglob(RECORDS))
    memory, key = Memory(args.out), content_key(folders)
    if not memory.is_current(key):
        memory = _make(args, folders, key)
    elif not args.quiet:
        print("no record and no code has changed: nothing is drawn", file=sys.stderr)
    for sentence in left_out(folders):
        caution(sentence)
    for line in (*memory.printed, f"report: {args.out / PAGE}"):
        print(line)
    return 0


def _make(args: argparse.Namespace, folders: Sequence[Path], key: str) -> Memory:
    """Read the records, draw, and write figures and page."""
    archive, verdicts = read(folders), read_verdicts(folders)
    networks = network_parts(archive)
    by_name = modules()
    computed = {name: module.compute(archive) for name, module in by_name.items()}
    drawings = [(name, Drawing(by_name[name], data, file)) for name, file, data in named(computed)]
    with own_folder(args.out) as out:
        memory = Memory(out)
        jobs = workers(args, max(1, len(drawings)))
        made = draw_all([d for _, d in drawings], memory, jobs, quiet=args.quiet)
        drawn: dict[str, list[Drawn]] = {name: [] for name in by_name}
        for (name, _), figure in zip(drawings, made, strict=True):
            drawn[name].append(figure)
        files = {
            f"{figure.name}.{kind}": (drawing.key, getattr(figure, kind))
            for (_, drawing), figure in zip(drawings, made, strict=True)
            for kind in ("svg", "png")
        }
        commits = sorted({r.provenance["commit"][:12] for r in archive.records if "commit" in r.provenance})
        footer = f"{len(archive.records)} records, made at commit {', '.join(commits) or 'unknown'}."
        files[PAGE] = key, page(TITLE, sections(archive, drawn, verdicts, networks), footer)
        memory.write(key, files, _lacking(drawn))
    return Memory(args.out)


def _lacking(drawn: Mapping[str, Sequence[Drawn]]) -> list[str]:
    """Return lines that say what was not drawn, and how its records are made."""
    lacking = missing(drawn)
    lines = [f"no records for: {lack.title}. They are made by: {lack.command}" for lack in lacking]
    return lines + ["new records, say below runs, are read by: python -m paper_figs --records runs"] * bool(
        lacking
    )


if __name__ == "__main__":
    run(main)
