"""``python -m theory errors | derive | check | certify | claims | latex``: closed forms and statements.

The statements, and sympy with them, are imported by the commands that need them: ``errors`` starts without.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from theory.common.cli import Parser, one_of, radius, real, run, whole
from theory.common.inputs import InputError
from theory.common.table import Table
from theory.gaussian.adversary import NORMS
from theory.gaussian.error_settings import (
    KEYS,
    OPTIONAL,
    errors_of_file,
    errors_of_setting,
    parse_setting,
    table,
)


def errors_command(args: Any) -> None:
    """Print the class errors of one setting, or of each line of ``--from``."""
    given = {k: getattr(args, k) for k in (*KEYS, *OPTIONAL) if getattr(args, k) is not None}
    if args.source is not None:
        if given:
            flags = ", ".join("--" + k.replace("_", "-") for k in given)
            raise InputError(f"--from takes no other setting, got also {flags}")
        results = list(errors_of_file(args.source))
    else:
        needed = [k for k in KEYS if k not in ("dim", "eta") or "theta" not in given]
        missing = [f"--{k}" for k in needed if k not in given]
        if missing:
            raise InputError(
                f"a setting needs {', '.join(f'--{k}' for k in needed)}; missing {', '.join(missing)}"
            )
        results = [errors_of_setting(parse_setting(given))]
    as_json = args.json or args.source is not None
    print("\n".join(json.dumps(r, allow_nan=False) if as_json else table(r) for r in results))


def derive_command(args: Any) -> int:
    """Print each step of the derivation and whether sympy confirms it; 1 if one fails."""
    from theory.claims.symbolic import derivation

    steps = derivation()
    for step in steps:
        print(f"{'ok   ' if step.residual == 0 else 'FAILS'} {step.claim}\n      {step.formula}")
    return 0 if all(step.residual == 0 for step in steps) else 1


def check_command(args: Any) -> int:
    """Try statements on random settings and print the table; 1 if one fails that should hold."""
    from theory.claims.statement import table as outcome_table
    from theory.theorems import check_statement, statements

    known = statements()
    chosen = args.names or known
    outcomes = {name: check_statement(name, settings=args.settings, seed=args.seed) for name in chosen}
    print(outcome_table(known, outcomes).text())
    verdicts = {outcomes[name].verdict(known[name].status) for name in outcomes}
    return int(bool(verdicts & {"VIOLATED", "BLIND", "FORMS DIFFER"}))


def certify_command(args: Any) -> int:
    """Prove the statements that have a certificate and print the table; 1 if one is not proved."""
    from theory.claims.certificates import certify
    from theory.theorems import statements

    known = {name: s.certificate for name, s in statements().items() if s.certificate is not None}
    unknown = [name for name in args.names if name not in known]
    if unknown:
        raise InputError(f"no certificate of {unknown[0]!r:.60}; there are those of {', '.join(known)}")
    rows, total, proved, argued = [], 0.0, True, []
    for name in args.names or known:
        proofs = certify(known[name], args.arithmetic, direct=args.direct, limit=args.limit)
        for proof in proofs:
            result = "proved" if proof.proved else f"NOT PROVED: {proof.failure}"
            rows.append([name, proof.method, proof.box, str(proof.boxes), f"{proof.seconds:.3f}", result])
            total, proved = total + proof.seconds, proved and proof.proved
        if not any(proof.method.startswith("direct") for proof in proofs):
            argued.append(f"{name}: {known[name].argument}")
    header = ["statement", "method", "box", "sub-boxes", "seconds", "result"]
    note = f"a = 2 m / sigma; {total:.1f} s in all. The rows are what a machine proved"
    if argued:
        note += ". What a person argued, that the statement follows from its rows:\n" + "\n".join(argued)
    print(Table("Inequalities proved at every point of a box", header, rows, note).text())
    return int(not proved)


def claims_command(args: Any) -> None:
    """Print every statement as a Markdown table."""
    print(claims())


def claims() -> str:
    """Return every statement as the Markdown table of docs/claims.md."""
    from theory.theorems import statements

    lines = ["| claim | source | status | file in `theory/theorems/` |", "|---|---|---|---|"]
    for name, s in statements().items():
        claim = s.claim.replace("|", "\\|")
        lines.append(f"| {claim} | {s.source} | {s.status} | `{name}.py` |")
    return "\n".join(lines)


def latex_command(args: Any) -> None:
    """Print a statement and its symbolic form as LaTeX."""
    from theory.claims.typeset import statement_latex
    from theory.theorems import statements

    known = statements()
    if args.name not in known:
        raise InputError(f"no statement {args.name!r:.60}; there are {', '.join(known)}")
    print(statement_latex(known[args.name]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = Parser(prog="theory", description=__doc__)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="errors|derive|check|certify|claims|latex"
    )
    errors = commands.add_parser("errors", help="class errors of the optimal natural and robust classifier")
    errors.add_argument("--dim", type=whole(1), help="dimension d")
    errors.add_argument("--eta", type=real, help="coordinate of the class mean")
    errors.add_argument("--sigma", type=real, help="standard deviation of class -1")
    errors.add_argument("--K", type=real, help="ratio of the standard deviations of class +1 and class -1")
    errors.add_argument("--eps", type=radius, help="radius, such as 0.05 or 8/255")
    errors.add_argument("--theta", type=real, nargs="+", help="mean of class +1, in place of --dim and --eta")
    errors.add_argument("--norm", type=one_of(NORMS), help="norm of the adversary: linf if none")
    errors.add_argument("--prior-pos", type=real, help="probability of class +1: 1/2 if none")
    errors.add_argument(
        "--cost", type=real, nargs="+", help="cost of an error of class +1, and of class -1 (1 if only one)"
    )
    errors.add_argument(
        "--train-eps", type=radius, nargs="+", help="radius of training, for both classes or for +1 and -1"
    )
    errors.add_argument("--json", action="store_true", help="print a JSON object instead of a table")
    errors.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE.jsonl",
        help="settings, a JSON object a line; prints a JSON object a line, in order",
    )
    errors.set_defaults(call=errors_command)
    derive = commands.add_parser("derive", help="the derivation, each step checked by sympy")
    derive.set_defaults(call=derive_command)
    checks = commands.add_parser("check", help="every statement on random settings, with a verdict")
    checks.add_argument("names", nargs="*", metavar="NAME", help="statements; all if none")
    checks.add_argument("--settings", type=whole(1), default=300, help="random settings of each")
    checks.add_argument("--seed", type=whole(0), default=0, help="seed of the settings")
    checks.set_defaults(call=check_command)
    proofs = commands.add_parser("certify", help="proofs of inequalities over boxes of parameters")
    proofs.add_argument("names", nargs="*", metavar="NAME", help="statements; all with a certificate if none")
    proofs.add_argument(
        "--arithmetic",
        type=one_of(("mpmath", "arb")),
        default="mpmath",
        help="mpmath, or arb with python-flint",
    )
    proofs.add_argument(
        "--direct",
        action="store_true",
        help="also without the argument, where that takes at most a minute; arb",
    )
    proofs.add_argument("--limit", type=whole(1), default=1_000_000, help="largest number of sub-boxes")
    proofs.set_defaults(call=certify_command)
    listing = commands.add_parser("claims", help="every statement as a Markdown table")
    listing.set_defaults(call=claims_command)
    latex = commands.add_parser("latex", help="a statement and its formula as LaTeX")
    latex.add_argument("name", metavar="NAME")
    latex.set_defaults(call=latex_command)
    args = parser.parse_args(argv)
    return args.call(args) or 0


if __name__ == "__main__":
    run(main)
