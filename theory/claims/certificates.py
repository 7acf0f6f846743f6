"""Proofs of inequalities over boxes of parameters, by interval arithmetic and bisection.

A certificate reduces a statement to the sign of elementary expressions: sympy checks the identities, and
interval arithmetic, whose rounding is outward, the signs at every point of a box. By default mpmath's
intervals do that; Arb's balls, from the optional python-flint, also have the error function and can prove
the reduced inequality directly, without the argument.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import sympy as sp
from mpmath.ctx_iv import MPIntervalContext
from mpmath.libmp import ComplexResult
from sympy.printing.lambdarepr import LambdaPrinter

from theory.common.inputs import InputError

__all__ = ["ARITHMETICS", "Certificate", "Proof", "certify", "prove"]

Arithmetic = Literal["mpmath", "arb"]
ARITHMETICS: tuple[Arithmetic, ...] = ("mpmath", "arb")
Side = tuple[Fraction, Fraction]

SETTINGS = {"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True}
BITS = 80
"""Working precision of either arithmetic: 27 bits more than a double, in whose units the ends are read."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Why an inequality holds, in parts that a machine can check.

    Args:
        argument: how the statement follows from the parts, for a person.
        box: of each symbol's name its least and its largest value, as decimals.
        identities: expressions that must be 0, for all values of their symbols.
        positive: expressions that must be > 0 all over the box.
        direct: the same inequality in one expression with the error function, which only Arb has: > 0 all
            over the box, without the argument.
        direct_box: a smaller box for the direct form, so that it takes a minute; ``box`` if None.
    """

    argument: str
    box: Mapping[str, tuple[str, str]]
    identities: Callable[[], Sequence[sp.Expr]]
    positive: Callable[[], Sequence[sp.Expr]]
    direct: Callable[[], sp.Expr] | None = None
    direct_box: Mapping[str, tuple[str, str]] | None = None


@dataclass(frozen=True)
class Proof:
    """Outcome of `prove` or `certify`.

    Args:
        method: what was done.
        box: the box, for a person.
        boxes: sub-boxes that were needed.
        seconds: time taken.
        failure: what stood in the way; None if the inequality is proved.
    """

    method: str
    box: str
    boxes: int
    seconds: float
    failure: str | None

    @property
    def proved(self) -> bool:
        """Say whether the inequality holds all over the box."""
        return self.failure is None


def certify(
    certificate: Certificate,
    arithmetic: Arithmetic = "mpmath",
    *,
    direct: bool = False,
    limit: int = 1_000_000,
) -> list[Proof]:
    """Check every part of a certificate.

    Args:
        certificate: what to check.
        arithmetic: "mpmath", or "arb" with the extra ``certify``.
        direct: also prove the direct form, where there is one; that needs Arb and takes up to a minute.
        limit: largest number of sub-boxes of each proof.

    Raises:
        InputError: the arithmetic is unknown or not installed, or ``direct`` is asked of another than Arb.
    """
    if direct and arithmetic != "arb":
        raise InputError(f"a direct proof needs the error function, which only arb has, got {arithmetic}")
    started = time.perf_counter()
    # Identities are algebra and hold everywhere; signs are numbers and are proved on the box alone.
    left = [e for e in certificate.identities() if sp.simplify(e) != 0]
    failure = f"sympy leaves {left[0]}" if left else None
    seconds = time.perf_counter() - started
    out = [Proof(f"{len(certificate.identities())} identities, sympy", "everywhere", 0, seconds, failure)]
    out += [prove(e, certificate.box, arithmetic, limit=limit) for e in certificate.positive()]
    if direct and certificate.direct is not None:
        proof = prove(
            certificate.direct(), certificate.direct_box or certificate.box, arithmetic, limit=limit
        )
        out.append(Proof(**(vars(proof) | {"method": f"direct, {proof.method}"})))
    return out


def prove(
    expression: sp.Expr,
    box: Mapping[str, tuple[str, str]],
    arithmetic: Arithmetic = "mpmath",
    *,
    limit: int = 1_000_000,
) -> Proof:
    """Prove that an expression is > 0 all over a box.

    A sub-box is done when the natural extension, or failing that the mean-value form, is positive there;
    otherwise it is halved along the side that contributes most to the width. A point where the expression
    is negative refutes it.

    Args:
        expression: in symbols named as the sides of the box.
        box: of each symbol its least and its largest value, as decimals.
        arithmetic: "mpmath" or "arb".
        limit: largest number of sub-boxes.

    Raises:
        InputError: the arithmetic is unknown or not installed, or the box does not fit the expression.
    """
    numbers = _Numbers.of(arithmetic)
    names = {s.name: s for s in expression.free_symbols}
    if not set(names) <= set(box):
        raise InputError(f"the box must have a side for each of {', '.join(names)}, got {', '.join(box)}")
    # Sides are fractions, so that a decimal such as 1.01 and all its halves are exact; they are rounded
    # outward only where an interval is made of them.
    used = {n: (Fraction(box[n][0]), Fraction(box[n][1])) for n in box if n in names}
    symbols = [names[n] for n in used]
    value = numbers.compile(symbols, [expression])
    gradient = numbers.compile(symbols, [sp.diff(expression, s) for s in symbols])
    started = time.perf_counter()
    # Branch and bound, in the order in which sub-boxes arise: it ends where all are proved positive, or with
    # one that is negative, or undecided when the limit is reached. The proof is the list of boxes.
    todo, done, failure = deque([tuple(used.values())]), 0, None
    while todo and failure is None:
        sides = todo.popleft()
        low, high, slopes = _bounds(numbers, value, gradient, sides)
        done += 1
        if low > 0:
            continue
        if high < 0 or done + len(todo) > limit:
            where = ", ".join(
                f"{n} in [{float(a):g}, {float(b):g}]" for n, (a, b) in zip(used, sides, strict=True)
            )
            failure = f"{'negative' if high < 0 else 'not decided'} for {where or 'all values'}"
        else:
            todo += _halves(sides, slopes)
    shown = ", ".join(f"{n} [{low}, {high}]" for n, (low, high) in box.items())
    return Proof(numbers.method, shown, done, time.perf_counter() - started, failure)


def _bounds(
    numbers: "_Numbers", value: Callable[..., Any], gradient: Callable[..., Any], sides: Sequence[Side]
) -> tuple[float, float, list[float]]:
    """Return a lower bound over a sub-box, an upper bound at a point, and the size of each derivative.

    Where a derivative has one sign the point lies on the lower side, otherwise in the middle.
    """
    # First the natural extension: intervals in place of numbers. It encloses the range, but each appearance
    # of a variable counts as a variable of its own, so that its excess falls only in proportion to the width.
    whole = [numbers.enclose(*side) for side in sides]
    try:
        low, high = numbers.ends(value(*whole)[0])
        if low > 0:
            return low, high, []
        slopes = gradient(*whole)
    except (ComplexResult, ZeroDivisionError):  # a root or quotient that is not defined all over the sub-box
        return -math.inf, math.inf, [math.inf] * len(sides)
    # Then the mean-value form f(p) + sum f_i(box) (x_i - p_i), whose excess falls with the square of the
    # width. Where a derivative has one sign, f is monotone in that variable: its minimum is at the lower side
    # p_i, and the term of the variable, which is not negative, is left out.
    ends = [numbers.ends(slope) for slope in slopes]
    point = [
        a if down >= 0 else b if up <= 0 else (a + b) / 2
        for (a, b), (down, up) in zip(sides, ends, strict=True)
    ]
    # f(p) is also a value that f takes: its upper end below 0 refutes the inequality.
    form = value(*(numbers.enclose(p, p) for p in point))[0]
    high = numbers.ends(form)[1]
    for slope, (down, up), side, p in zip(slopes, ends, whole, point, strict=True):
        if down < 0 < up:
            form = form + slope * (side - numbers.enclose(p, p))
    return max(low, numbers.ends(form)[0]), high, [max(-down, up) for down, up in ends]


def _halves(sides: Sequence[Side], slopes: Sequence[float]) -> list[tuple[Side, ...]]:
    """Return the two halves of a sub-box across the side with the largest share of the width."""
    # Width times derivative is what a side adds to the mean-value form; where f is not defined on all of the
    # sub-box no derivative is known, and the widest side is halved.
    widths = [float(b - a) for a, b in sides]
    shares = [w * s if np.isfinite(s) else np.inf if w == max(widths) else 0.0
              for w, s in zip(widths, slopes, strict=True)]  # fmt: skip
    i = int(np.argmax(shares))
    a, b = sides[i]
    middle = (a + b) / 2
    return [(*sides[:i], half, *sides[i + 1 :]) for half in ((a, middle), (middle, b))]


@dataclass(frozen=True)
class _Numbers:
    """An arithmetic that encloses: how to make an interval, read its ends, and evaluate an expression."""

    method: str
    enclose: Callable[[Fraction, Fraction], Any]
    ends: Callable[[Any], tuple[float, float]]
    functions: Mapping[str, Any]

    @classmethod
    def of(cls, arithmetic: str) -> "_Numbers":
        if arithmetic == "mpmath":
            return _mpmath()
        if arithmetic == "arb":
            return _arb()
        raise InputError(f"arithmetic must be one of {', '.join(ARITHMETICS)}, got {arithmetic!r:.60}")

    def compile(self, symbols: Sequence[sp.Symbol], expressions: Sequence[sp.Expr]) -> Callable[..., Any]:
        """Return the expressions as a function of intervals, with every constant enclosed."""
        function: Callable[..., Any] = sp.lambdify(
            symbols, list(expressions), modules=[dict(self.functions)], printer=_Printer(SETTINGS), cse=True
        )
        return function


class _Printer(LambdaPrinter):  # type: ignore[misc]
    """Prints code with exact constants: quotients of integers, whole powers and square roots."""

    # A constant that Python parses, such as 0.1, is a double near it and no enclosure; p / q of integers is
    # one.
    def _print_Rational(self, expr: sp.Rational) -> str:
        return f"quotient({expr.p}, {expr.q})"

    _print_Integer = _print_Half = _print_Rational

    def _print_Float(self, expr: sp.Float) -> str:
        return self._print_Rational(sp.Rational(expr))

    def _print_Pi(self, expr: sp.Expr) -> str:
        return "pi"

    def _print_Pow(self, expr: sp.Pow, **_: Any) -> str:
        # x^(n + 1/2) = x^n sqrt(x): an interval's ** takes whole exponents, and keeps even powers >= 0.
        base, twice = self._print(expr.base), 2 * expr.exp
        if not twice.is_Integer:
            raise InputError(f"a certificate takes integer and half-integer powers, got {expr}")
        whole, half = divmod(abs(int(twice)), 2)
        factors = [f"({base})**{whole}"] * (whole > 0) + [f"sqrt({base})"] * half
        product = "*".join(factors)
        return f"(quotient(1, 1)/({product}))" if twice < 0 else f"({product})"


def _mpmath() -> _Numbers:
    # A context of its own: the precision of mpmath's global one is anybody's.
    iv = MPIntervalContext()
    iv.prec = BITS

    def quotient(p: int, q: int) -> Any:
        return iv.mpf(p) / iv.mpf(q)

    def enclose(low: Fraction, high: Fraction) -> Any:
        return iv.mpf([quotient(*low.as_integer_ratio()).a, quotient(*high.as_integer_ratio()).b])

    def ends(x: Any) -> tuple[float, float]:
        return float(x.a), float(x.b)

    functions = {"quotient": quotient, "sqrt": iv.sqrt, "log": iv.log, "exp": iv.exp, "pi": iv.pi}
    return _Numbers("mpmath intervals", enclose, ends, functions)


def _arb() -> _Numbers:
    try:
        import flint
    except ImportError:
        raise InputError("Arb needs python-flint: pip install 'robust-fairness[certify]'") from None
    flint.ctx.prec = BITS

    def quotient(p: int, q: int) -> Any:
        return flint.arb(flint.fmpq(p, q))

    def enclose(low: Fraction, high: Fraction) -> Any:
        a, b = (quotient(*side.as_integer_ratio()) for side in (low, high))
        return a if low == high else a.union(b)

    def ends(x: Any) -> tuple[float, float]:
        return (float(x.lower()), float(x.upper())) if x.is_finite() else (-math.inf, math.inf)

    functions = {
        "quotient": quotient,
        "sqrt": flint.arb.sqrt,
        "log": flint.arb.log,
        "exp": flint.arb.exp,
        "erf": flint.arb.erf,
        "pi": flint.arb.pi(),
    }
    return _Numbers("Arb balls", enclose, ends, functions)
