"""``python -m deep.compare RUN...``: methods side by side, from the records of their runs, without torch."""

from collections.abc import Sequence
from pathlib import Path

from theory.cli import Parser, run
from theory.comparison import comparisons
from theory.inputs import InputError
from theory.record import read_records


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables of each protocol."""
    parser = Parser(prog="deep.compare", description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of runs, or folders above them"
    )
    parser.add_argument(
        "--base", nargs="+", help="methods the others are compared with (default: PGD and TRADES, if there)"
    )
    args = parser.parse_args(argv)
    found = comparisons(record for path in args.runs for record in read_records(path))
    if not found:
        raise InputError(f"no run of deep.train in {', '.join(map(str, args.runs))}")
    there = list(dict.fromkeys(label.split()[0] for comparison in found for label in comparison.runs))
    for base in args.base or ():
        if base not in there:
            raise InputError(f"--base must be among {', '.join(there)}, got {base!r:.60}")
    for comparison in found:
        for table in [*comparison.paired_tables(args.base or ("PGD", "TRADES")), comparison.class_table()]:
            print(table.text() + "\n")
    return 0


if __name__ == "__main__":
    run(main)
