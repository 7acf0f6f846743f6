"""``python -m deep.compare RUN...``: methods side by side, from the records of their runs, without torch.

Of one protocol: runs may differ in method, hyper-parameters, seed, threads and in the run they start from
(--init), and in nothing else. Every method is compared with what it is without its mitigation, PGD or TRADES,
on the same test images and seeds. --out writes the tables as compare.md, compare.tex and compare.csv, and
all in compare.json.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theory.common.cli import Parser, caution, run
from theory.common.files import write_atomic
from theory.common.inputs import InputError
from theory.common.owner import own_folder
from theory.common.table import Table, paragraph
from theory.networks.predictions import predictions, theory_table
from theory.results.findings import findings, paired_tables, sentences
from theory.results.protocols import Comparison, comparisons
from theory.results.records import provenance
from theory.results.runs import left_out, read_runs, refuse_mixed
from theory.results.study import Study, study_of

COLUMNS = ("protocol", "method", "seed", "name", "value")


@dataclass(frozen=True)
class Block:
    """What is said of one protocol.

    Args:
        study: its runs.
        tables: for a person.
        verdicts: a sentence for each method.
        numbers: for a program.
    """

    study: Study
    tables: Sequence[Table]
    verdicts: Sequence[str]
    numbers: dict[str, Any]


def block_of(study: Study, bases: Sequence[str] | None) -> Block:
    """Return what is said of the runs of one protocol.

    Args:
        study: the runs.
        bases: names of the base methods, where they were given.
    """
    changes, predicted = findings(study), predictions(study)
    comparison = study.comparison
    paired = paired_tables(study, changes) or comparison.paired_tables(bases or ("pgd", "trades"))
    theory = [theory_table(predicted)] if predicted else []
    numbers = {
        "protocol": comparison.protocol,
        "methods": study.to_json(),
        "changes": [f.to_json() for f in changes],
        "verdicts": sentences(study, changes),
        "theory": [p.to_json() for p in predicted],
    }
    tables = [study.methods_table(), *paired, *theory, comparison.class_table()]
    return Block(study, tables, numbers["verdicts"], numbers)


def write(out: Path, blocks: Sequence[Block], reasons: Sequence[str]) -> None:
    """Write the tables and numbers of every protocol, and what runs were left out."""
    rows = [[str(i), *row] for i, block in enumerate(blocks) for row in block.study.methods_numbers()]
    content = {
        "protocols": [block.numbers for block in blocks],
        "left_out": [*reasons],
        "provenance": provenance(),
    }
    tables = [table for block in blocks for table in block.tables]
    markdown = [
        "\n".join([*(t.markdown() for t in b.tables), *(f"- {paragraph(v)}" for v in b.verdicts)])
        for b in blocks
    ]
    write_atomic(out / "compare.csv", Table("", COLUMNS, rows).csv())
    write_atomic(out / "compare.md", "\n\n".join(markdown) + "\n")
    write_atomic(out / "compare.tex", "\n".join(table.latex() for table in tables))
    write_atomic(out / "compare.json", json.dumps(content, indent=1, allow_nan=False) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables of each protocol."""
    args = _parser().parse_args(argv)
    runs, reasons = read_runs(args.runs), left_out(args.runs)
    if not args.each_protocol:
        refuse_mixed(runs)
    protocols = comparisons(record for run in runs for record in run.records)
    bases = None if args.base is None else [_named(base, protocols) for base in args.base]
    blocks = [block_of(study_of(comparison, runs, bases), bases) for comparison in protocols]
    if args.out:
        with own_folder(args.out) as out:
            write(out, blocks, reasons)
    for sentence in reasons:
        caution(sentence)
    for block in blocks:
        *first, classes = block.tables
        print("\n\n".join([*(table.text() for table in first), *block.verdicts, classes.text()]) + "\n")
    return 0


def _named(base: str, protocols: Sequence[Comparison]) -> str:
    """Return the name of a base method that is given as it is written, such as PGD, or as --method has it."""
    titles = {method.title: method.name for comparison in protocols for method in comparison.methods.values()}
    if base not in {*titles, *titles.values()}:
        raise InputError(f"--base must be among {', '.join(titles)}, got {base!r:.60}")
    return titles.get(base, base)


def _parser() -> Parser:
    parser = Parser(prog="deep.compare", description=__doc__)
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs, or folders above them")
    add("--base", nargs="+", help="methods that all others are compared with; of each its own base if None")
    add("--each-protocol", action="store_true", help="take runs of several protocols, each by itself")
    add("--out", type=Path, metavar="DIR", help="folder in which the tables are written")
    return parser


if __name__ == "__main__":
    run(main)
