"""The explorer of the page: sliders that move the classifiers of theory, in plain JavaScript.

Its formulas are printed from the sympy expressions of `theory.claims.symbolic`; what is written by hand in
``explorer.js`` is the normal distribution function, accurate in both tails, and the drawing. Many classes in
the plane, whose means can be dragged, are in ``classes.js``: their exact errors are an integral over angles.
Training on few samples is in ``samples.js``, which solves the equations of `theory.variants` in the browser.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

import sympy as sp
from sympy.printing.jscode import jscode

from theory.claims import symbolic

__all__ = ["CLAIMS", "CLASSIFIERS", "SAMPLE_SLIDERS", "SLIDERS", "Slider", "formulas", "javascript", "markup"]

CLASSIFIERS = ("natural", "robust", "fair")
"""Optimal without an adversary, optimal against the training radii, and with equal robust errors."""

CLAIMS = (
    "dan2020_scarcity_acts_like_radius",
    "dobriban2023_middle_class_errs_twice",
    "folklore_reweighting_always_reaches",
    "folklore_robust_errors_rise",
    "ours_critical_margin",
    "ours_impossibility",
    "ours_midpoint_rule_leans",
    "ours_narrow_class_ceiling",
    "ours_price_of_fairness",
    "ours_ratio_above_K",
    "ours_ratio_falls_with_margin",
    "ours_reweight_odds",
    "ours_robust_gap_grows",
    "xu2021_direction_beyond_eta",
    "xu2021_narrow_class_gains",
    "xu2021_wide_class_errs_more",
    "xu2021_wide_class_pays",
)
"""Statements that moving the sliders shows."""
KINDS = ("natural", "robust")
LABELS = {"plus": "class +1", "minus": "class −1", "average": "average"}


@dataclass(frozen=True)
class Slider:
    """A parameter of the explorer.

    Args:
        name: of its symbol in `formulas`.
        label: what it is, in HTML.
        low: smallest value.
        high: largest value.
        step: between values.
        start: value of the page when it is opened.
        log: whether low, high, step and start are of the logarithm to base 10.
    """

    name: str
    label: str
    low: float
    high: float
    step: float
    start: float
    log: bool = False


SLIDERS = (
    Slider("K", "<i>K</i>: spread of +1 over that of −1", 0.2, 8, 0.05, 2),
    Slider("eta", "<i>η / σ</i>: mean in each coordinate", 0.05, 1, 0.01, 0.4),
    Slider("eps", "<i>ε / σ</i>: radius of the adversary", 0, 1, 0.005, 0.16),
    Slider("d", "<i>d</i>: coordinates", 1, 200, 1, 20),
    Slider("prior", "prior of class +1", 0.05, 0.95, 0.01, 0.5),
    Slider("cost", "cost odds of +1 to −1", -1, 1, 0.02, 0, log=True),
    Slider("radius_plus", "training radius of +1 over <i>ε</i>", 0, 3, 0.05, 1),
    Slider("radius_minus", "training radius of −1 over <i>ε</i>", 0, 3, 0.05, 1),
)
"""All in units of sigma, the standard deviation of class -1."""

SAMPLE_SLIDERS = (
    Slider("alpha", "<i>n/d</i>: samples per dimension", -0.5, 2, 0.01, 0.7, log=True),
    Slider("K", "<i>K</i>: spread of +1 over that of −1", 1, 4, 0.05, 2),
    Slider("theta", "|<i>θ</i>| <i>/ σ</i>: length of a mean", 0.5, 3, 0.05, 1.5),
    Slider("share", "<i>ε /</i> |<i>θ</i>|: radius of the adversary", 0, 0.9, 0.01, 0.2),
)
"""Of the part on few samples."""
SAMPLE_METHODS = {
    "midpoint": "averaging",
    "reoptimised": "averaging, best threshold",
    "adversarial": "adversarial training",
    "optimum": "optimum",
}


FUNCTIONS: Mapping[str, Callable[..., sp.Expr]] = {
    "logOdds": symbolic.log_odds,
    "reach": symbolic.uniform_reach,
    "weightedBias": symbolic.weighted_bias,
    "fairBias": symbolic.fair_bias,
    "zPlus": lambda bias, margin, scale, ratio: symbolic.z_scores(bias, margin, scale, ratio)[0],
    "zMinus": lambda bias, margin, scale, ratio: symbolic.z_scores(bias, margin, scale, ratio)[1],
    "density": symbolic.normal_density,
}
"""What becomes a function of JavaScript each, with the same arguments."""


def formulas() -> Mapping[str, sp.Expr]:
    """Return what the explorer shows for K >= 1, by name, in symbols of the sliders and calls of `FUNCTIONS`.

    Of each classifier the bias (for a unit weight vector), and the natural and the robust error (against the
    radius eps) of class +1 (``plus``), of -1 (``minus``) and on average over the prior. ``price`` is that of
    fairness: by how much the average robust error of the fair classifier exceeds the smallest possible.
    ``reach`` is ||w||_1, by which an adversary moves the scores, of the natural classifier's direction and of
    the direction that the other two share.
    """
    call = {name: sp.Function(name, real=True) for name in FUNCTIONS}
    K, eta, eps, d, prior, cost, times_plus, times_minus = (sp.Symbol(s.name, real=True) for s in SLIDERS)
    plus, minus = times_plus * eps, times_minus * eps
    mean = (plus + minus) / 2
    odds, even = (call["logOdds"](prior, c) for c in (cost, 1))
    straight, reach, plain = (call["reach"](d, eta, radius) for radius in (0, mean, eps))
    robust = call["weightedBias"](reach * (eta - mean), 1, K, odds) + (plus - minus) * reach / 2
    best = call["weightedBias"](plain * (eta - eps), 1, K, even)
    biases = {
        "natural": (call["weightedBias"](straight * eta, 1, K, odds), straight),
        "robust": (robust, reach),
        "fair": (call["fairBias"](reach * (eta - eps), K), reach),
    }

    def errors(name: str, bias: sp.Expr, margin: sp.Expr) -> dict[str, sp.Expr]:
        of = [symbolic.Phi(call[z](bias, margin, 1, K)) for z in ("zPlus", "zMinus")]
        return dict(
            zip((f"{name}_{c}" for c in LABELS), [*of, prior * of[0] + (1 - prior) * of[1]], strict=True)
        )

    out = {"reach_natural": straight, "reach": reach}
    for name, (bias, length) in biases.items():
        out[f"{name}_bias"] = bias
        for kind, margin in zip(KINDS, (length * eta, length * (eta - eps)), strict=True):
            out |= errors(f"{name}_{kind}", bias, margin)
    smallest = errors("best", best, plain * (eta - eps))["best_average"]
    return out | {"price": out["fair_robust_average"] - smallest}


@cache
def javascript() -> str:
    """Return the script of the explorer: its formulas are `FUNCTIONS` and ``wide``, of `formulas`."""
    code = []
    for name, function in FUNCTIONS.items():
        arguments = [*inspect.signature(function).parameters]
        form = function(*(sp.Symbol(a, real=True) for a in arguments))
        code += [f"function {name}({', '.join(arguments)}) {{", *_body({"": form}), "}"]
    names = ", ".join(s.name for s in SLIDERS)
    code += ["function wide(given) {", f"  const {{{names}}} = given;", *_body(formulas()), "}"]
    return (
        _read("explorer.js").replace("/* FORMULAS */", "\n".join(code))
        + _read("classes.js")
        + _read("samples.js")
    )


def _body(wanted: Mapping[str, sp.Expr]) -> list[str]:
    """Return the statements of a function that returns an expression, or an object of named ones."""

    def printed(expression: sp.Basic) -> str:
        names = (*FUNCTIONS, "Phi", "LogPhi")
        return " ".join(jscode(expression, user_functions={n: n for n in names}).split())

    shared, results = sp.cse(list(wanted.values()), symbols=sp.numbered_symbols("t"))
    lines = [f"  const {symbol} = {printed(e)};" for symbol, e in shared]
    if "" in wanted:
        return [*lines, f"  return {printed(results[0])};"]
    pairs = zip(wanted, results, strict=True)
    return [*lines, "  return {", *(f"    {name}: {printed(e)}," for name, e in pairs), "  };"]


def markup() -> str:
    """Return the explorer as HTML, with its script."""
    parts = {
        "SLIDERS": "\n".join(_slider(s, "explorer") for s in SLIDERS),
        "NUMBERS": _numbers(),
        "SAMPLE SLIDERS": "\n".join(_slider(s, "samples") for s in SAMPLE_SLIDERS),
        "SAMPLE NUMBERS": _sample_numbers(),
    }
    html = "".join(map(_read, ("explorer.html", "samples.html", "classes.html")))
    for name, text in parts.items():
        html = html.replace(f"<!-- {name} -->", text)
    return f"{html}<script type=module>\n{javascript()}</script>\n"


def _slider(s: Slider, form: str) -> str:
    key = f"{form}-{s.name}"
    log = " data-log" if s.log else ""
    return (
        f"<div class=slider><label for={key}>{s.label}</label><output for={key} id={key}-value></output>"
        f"<input type=range id={key} name={escape(s.name)} min={s.low:g} max={s.high:g} step={s.step:g} "
        f"value={s.start:g}{log}></div>"
    )


def _sample_numbers() -> str:
    """Return the rows of the table of robust errors at n / d samples and with endless ones."""
    rows = []
    for method, title in SAMPLE_METHODS.items():
        cells = [
            f"<td><data data-of='{method} {place} {label}'></data></td>"
            for place in ("now", "end")
            for label in ("plus", "minus")
        ]
        rows.append(f"<tr><th scope=row>{title}</th>{''.join(cells)}</tr>")
    return "\n".join(rows)


def _numbers() -> str:
    """Return the rows of the table of numbers."""
    keys = [(f"{kind} error, {text}", f"{kind}_{label}") for kind in KINDS for label, text in LABELS.items()]
    rows = [
        (title, [f"{name}_{key}" for name in CLASSIFIERS]) for title, key in (*keys, ("threshold", "bias"))
    ]
    rows.append(("price of fairness", ["", "", "price"]))
    return "\n".join(
        f"<tr><th scope=row>{title}</th>"
        + "".join(f"<td><data data-name={name}></data></td>" if name else "<td></td>" for name in names)
        + "</tr>"
        for title, names in rows
    )


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
