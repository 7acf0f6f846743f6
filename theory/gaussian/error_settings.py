"""Settings of ``python -m theory errors``: from flags or JSON lines to errors, as JSON or a table."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from theory.common.inputs import InputError, check_radius, check_real, parse_object, read_lines
from theory.gaussian.linear import error, log_error
from theory.gaussian.mixture import CLASSES
from theory.gaussian.problem import GaussianClassifier, Problem, Uniform

__all__ = ["KEYS", "OPTIONAL", "errors_of_file", "errors_of_setting", "parse_setting", "table"]

KEYS = ("dim", "eta", "sigma", "K", "eps")
"""What a setting must have; ``theta`` can stand for dim and eta."""
OPTIONAL = ("theta", "norm", "prior_pos", "cost", "train_eps")


def errors_of_setting(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting and the errors of its four classifiers as one JSON object.

    They are the natural and the robust optimum, and on the direction of the robust one the classifiers with
    equal natural and with equal robust errors.

    Args:
        setting: as from `parse_setting`.

    Raises:
        InputError: a value is outside its domain.
    """
    theta = tuple(setting["theta"]) if "theta" in setting else Uniform(setting["dim"], setting["eta"])
    given = {k: setting[k] for k in ("sigma", "K", "norm", "prior_pos") if k in setting}
    if "cost" in setting:
        given["cost"] = _pair(setting["cost"], 1.0)
    problem = Problem(theta=theta, **given)
    train = _pair(setting["train_eps"], None) if "train_eps" in setting else None
    with np.errstate(all="ignore"):  # what overflows is refused below
        classifiers = problem.classifiers(setting["eps"], train)
        described = {k: _describe(v, setting["eps"]) for k, v in classifiers.items()}
    return {"setting": dict(setting)} | described


def _pair(values: Sequence[float], second: float | None) -> tuple[float, float]:
    """Return the values of (+1, -1); if only one is given the other is ``second``, or the same."""
    return values[0], values[1] if len(values) == 2 else values[0] if second is None else second


def _describe(classifier: GaussianClassifier, eps: float) -> dict[str, Any]:
    z = {"natural": classifier.z_scores(0.0), "robust": classifier.z_scores(eps)}
    numbers = [classifier.margin] + [classifier.bias] * (classifier.kind == "interior")
    if not np.isfinite(numbers).all() or np.isnan([*z["natural"], *z["robust"]]).any():
        raise InputError("the means, radii and standard deviations leave the range of double precision")
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


def errors_of_file(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what `errors_of_setting` returns of each line of a JSON Lines file of settings.

    Raises:
        InputError: the file cannot be read, is empty, or a line is not a setting (its number is named).
    """
    empty = True
    for number, line in read_lines(path):
        if not line.strip():
            continue
        empty = False
        try:
            yield errors_of_setting(parse_setting(parse_object(line, "it")))
        except InputError as problem:
            raise InputError(f"{path}, line {number}: {problem}") from None
    if empty:
        raise InputError(f"{path} holds no settings; each line must be a JSON object with {', '.join(KEYS)}")


def parse_setting(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked setting: dim (or d) and eta or a vector theta, sigma, K and eps, and `OPTIONAL` ones.

    ``cost`` is one number, of class +1 in units of that of class -1, or both; ``train_eps`` one radius or one
    for each class. Radii may be texts such as 8/255. What is absent stays absent.

    Raises:
        InputError: a field is missing, unknown or of the wrong kind.
    """
    named = {"dim" if k == "d" else k: v for k, v in fields.items()}
    needed = {"theta", "sigma", "K", "eps"} if "theta" in named else set(KEYS)
    if len(named) != len(fields) or not needed <= set(named) <= needed | set(OPTIONAL):
        raise InputError(
            f"a setting must have exactly {', '.join(KEYS)} (or theta for dim and eta), and may have "
            f"{', '.join(OPTIONAL[1:])}; got {', '.join(fields) or 'none'}"
        )
    named["eps"] = _radius(named["eps"])
    for key, most in (("theta", None), ("cost", 2), ("train_eps", 2)):
        if key in named:
            values = named[key] if isinstance(named[key], (list, tuple)) else [named[key]]
            if not values or (most and len(values) > most):
                raise InputError(f"{key} must have {'1 or 2' if most else 'some'} numbers, got {len(values)}")
            read = _radius if key == "train_eps" else _number(key)
            named[key] = [read(v) for v in values]
    return named


def _radius(value: Any) -> float:
    return check_radius("eps", value)


def _number(name: str) -> Callable[[Any], float]:
    return lambda value: check_real(name, value, low=-math.inf)


def table(result: Mapping[str, Any]) -> str:
    """Return the result of `errors_of_setting` as a table for a person."""
    s = result["setting"]
    mean = f"theta of {len(s['theta'])}" if "theta" in s else f"d = {s['dim']}, eta = {s['eta']:g}"
    more = [f"{k} = {s[k]}" for k in OPTIONAL[2:] if k in s]
    norm = {"linf": "l-infinity", "l2": "l2", "l1": "l1"}[s.get("norm", "linf")]
    lines = [
        f"Gaussian mixture: {mean}, sigma = {s['sigma']:g}, K = {s['K']:g}; "
        + "; ".join([f"{norm} eps = {s['eps']:g}", *more]),
        f"{'classifier':<13}{'bias':>12}{'kind':>13}{'class':>7}{'natural error':>15}{'robust error':>14}",
    ]
    for name in ("natural", "robust", "fair_natural", "fair_robust"):
        c = result[name]
        for y in CLASSES:
            head = f"{name:<13}{float(c['bias']):>12.4f}{c['kind']:>13}" if y == "+1" else " " * 38
            lines.append(f"{head}{y:>7}{c['natural_error'][y]:>15.6g}{c['robust_error'][y]:>14.6g}")
        gaps = [c[q]["+1"] - c[q]["-1"] for q in ("natural_error", "robust_error")]
        lines.append(f"{'':<38}{'gap':>7}{gaps[0]:>15.6g}{gaps[1]:>14.6g}")
    return "\n".join(lines)
