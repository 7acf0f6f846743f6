"""``python -m theory errors | derive | check | claims | latex``: closed forms, derivations and statements."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sympy

from theory import symbolic
from theory.cli import Parser, radius, real, run, whole
from theory.inputs import InputError, parse_object, parse_radius
from theory.linear import error, log_error
from theory.mixture import CLASSES, GaussianMixture
from theory.optimal import OptimalClassifier, optimal_classifier
from theory.statement import check, statements
from theory.statement import table as outcome_table

KEYS = ("dim", "eta", "sigma", "K", "eps")


def class_errors(mixture: GaussianMixture, eps: float) -> dict[str, Any]:
    """Return the setting and the errors of its two optimal classifiers as one JSON object."""
    return {
        "setting": {k: getattr(mixture, k) for k in KEYS[:-1]} | {"eps": eps},
        "natural": _describe(optimal_classifier(mixture), eps),
        "robust": _describe(optimal_classifier(mixture, eps), eps),
    }


def _describe(classifier: OptimalClassifier, eps: float) -> dict[str, Any]:
    z = {"natural": classifier.z_scores(0.0), "robust": classifier.z_scores(eps)}
    out: dict[str, Any] = {
        "bias": _strict(classifier.bias),
        "kind": classifier.kind,
        "margin": classifier.margin,
    }
    for log, function in (("", error), ("log_", log_error)):
        for name, scores in z.items():
            values = (_strict(function(s)) for s in scores)
            out[f"{log}{name}_error"] = dict(zip(CLASSES, values, strict=True))
    return out


def _strict(value: float) -> float | str:
    """Return ``value``, or the text "inf" or "-inf", for which strict JSON has no number."""
    return value if math.isfinite(value) else str(value)


def read_settings(path: Path) -> Iterator[tuple[GaussianMixture, float]]:
    """Yield the settings of a JSON Lines file: objects with dim (or d), eta, sigma, K and eps.

    Raises:
        InputError: the file cannot be read, is empty, or a line is not a setting (its number is
            named).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"cannot read {path}: {getattr(problem, 'strerror', 'not UTF-8 text')}") from None
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{path} holds no settings; each line must be a JSON object with {', '.join(KEYS)}")
    for number, line in numbered:
        where = f"{path}, line {number}"
        try:
            yield _setting(parse_object(line, "it"))
        except InputError as problem:
            raise InputError(f"{where}: {problem}") from None


def _setting(fields: Mapping[str, Any]) -> tuple[GaussianMixture, float]:
    named = {"dim" if k == "d" else k: v for k, v in fields.items()}
    if len(named) != len(fields) or set(named) != set(KEYS):
        raise InputError(f"a setting must have exactly {', '.join(KEYS)}, got {', '.join(fields) or 'none'}")
    eps = named.pop("eps")
    return GaussianMixture(**named), parse_radius(eps if isinstance(eps, str) else repr(eps))


def table(result: Mapping[str, Any]) -> str:
    """Return the result of `class_errors` as a table for a person."""
    s = result["setting"]
    lines = [
        f"Gaussian mixture: d = {s['dim']}, eta = {s['eta']:g}, sigma = {s['sigma']:g}, K = {s['K']:g}; "
        f"l-infinity eps = {s['eps']:g}",
        f"{'classifier':<12}{'bias':>12}{'kind':>13}{'class':>7}{'natural error':>15}{'robust error':>14}",
    ]
    for name in ("natural", "robust"):
        c = result[name]
        for y in CLASSES:
            head = f"{name:<12}{float(c['bias']):>12.4f}{c['kind']:>13}" if y == "+1" else " " * 37
            lines.append(f"{head}{y:>7}{c['natural_error'][y]:>15.6g}{c['robust_error'][y]:>14.6g}")
        gaps = [c[q]["+1"] - c[q]["-1"] for q in ("natural_error", "robust_error")]
        lines.append(f"{'':<37}{'gap':>7}{gaps[0]:>15.6g}{gaps[1]:>14.6g}")
    return "\n".join(lines)


def errors_command(args: Any) -> None:
    """Print the class errors of one setting, or of each line of ``--from``."""
    given = {k: getattr(args, k) for k in KEYS if getattr(args, k) is not None}
    if args.source is not None:
        if given:
            raise InputError(f"--from takes no other setting, got also --{', --'.join(given)}")
        settings = list(read_settings(args.source))
    else:
        missing = [f"--{k}" for k in KEYS if k not in given]
        if missing:
            raise InputError(
                f"a setting needs {', '.join(f'--{k}' for k in KEYS)}; missing {', '.join(missing)}"
            )
        eps = parse_radius(given.pop("eps"))
        settings = [(GaussianMixture(**given), eps)]
    results = [class_errors(*setting) for setting in settings]
    as_json = args.json or args.source is not None
    print("\n".join(json.dumps(r, allow_nan=False) if as_json else table(r) for r in results))


def derive_command(args: Any) -> int:
    """Print each step of the derivation and whether sympy confirms it; 1 if one fails."""
    steps = symbolic.derivation()
    for step in steps:
        print(f"{'ok   ' if step.residual == 0 else 'FAILS'} {step.claim}\n      {step.formula}")
    return 0 if all(step.residual == 0 for step in steps) else 1


def check_command(args: Any) -> int:
    """Try statements on random settings and print the table; 1 if one fails that should hold."""
    known = statements()
    unknown = [name for name in args.names if name not in known]
    if unknown:
        raise InputError(f"no statement {unknown[0]!r:.60}; there are {', '.join(known)}")
    outcomes = {
        name: check(s, np.random.default_rng([args.seed, i]), args.settings)
        for i, (name, s) in enumerate(known.items())
        if name in (args.names or known)
    }
    print(outcome_table(outcomes).text())
    verdicts = {outcomes[name].verdict(known[name].status) for name in outcomes}
    return int(bool(verdicts & {"VIOLATED", "BLIND"}))


def claims_command(args: Any) -> None:
    """Print every statement as a Markdown table."""
    print(claims())


def claims() -> str:
    """Return every statement as the Markdown table of the README."""
    lines = ["| claim | source | status | file in `theory/theorems/` |", "|---|---|---|---|"]
    for name, s in statements().items():
        claim = s.claim.replace("|", "\\|")
        lines.append(f"| {claim} | {s.source} | {s.status} | `{name}.py` |")
    return "\n".join(lines)


def latex_command(args: Any) -> None:
    """Print a statement and its symbolic form as LaTeX."""
    known = statements()
    if args.name not in known:
        raise InputError(f"no statement {args.name!r:.60}; there are {', '.join(known)}")
    s = known[args.name]
    form = sympy.latex(s.symbolic().subs(symbolic.excess, sympy.Symbol("K") - 1))
    relation = "=" if s.kind == "=" else r"\ge"
    print(f"% {s.source}; {s.status}\n{s.claim}\n\\[ {form} {relation} 0 \\]")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = Parser(prog="theory", description=__doc__)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="errors|derive|check|claims|latex"
    )
    errors = commands.add_parser("errors", help="class errors of the optimal natural and robust classifier")
    errors.add_argument("--dim", type=whole(1), help="dimension d")
    errors.add_argument("--eta", type=real, help="coordinate of the class mean")
    errors.add_argument("--sigma", type=real, help="standard deviation of class -1")
    errors.add_argument("--K", type=real, help="ratio of the standard deviations of class +1 and class -1")
    errors.add_argument("--eps", type=radius, help="l-infinity radius, such as 0.05 or 8/255")
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
    listing = commands.add_parser("claims", help="every statement as a Markdown table")
    listing.set_defaults(call=claims_command)
    latex = commands.add_parser("latex", help="a statement and its formula as LaTeX")
    latex.add_argument("name", metavar="NAME")
    latex.set_defaults(call=latex_command)
    args = parser.parse_args(argv)
    return args.call(args) or 0


if __name__ == "__main__":
    run(main)
