"""Sympy twins of the closed forms, and their derivation with every step checked by sympy.

The twins are exact but must not be lambdified for tail numbers: sympy writes the normal
distribution function through erf, which is exactly 0.0 in doubles at z = -10. `theory.optimal`
computes; the tests tie the two together at 50 digits.
"""

from dataclasses import dataclass

import sympy as sp

__all__ = [
    "K",
    "Step",
    "average_error",
    "b",
    "bias",
    "class_errors",
    "derivation",
    "m",
    "normal_cdf",
    "sigma",
    "z_minus",
    "z_plus",
]

m = sp.Symbol("m", positive=True)
"""Effective margin: sqrt(d) eta for natural errors, sqrt(d) (eta - eps) for robust ones, eps < eta."""
sigma = sp.Symbol("sigma", positive=True)
b = sp.Symbol("b", real=True)
excess = sp.Symbol("k", positive=True)
K = 1 + excess
"""Ratio of the standard deviations, > 1 because its excess over 1 is a positive symbol."""

root = sp.sqrt(m**2 + (K**2 - 1) * sigma**2 * sp.log(K) / 2)


def normal_cdf(z: sp.Expr) -> sp.Expr:
    """Return Phi(z)."""
    return (1 + sp.erf(z / sp.sqrt(2))) / 2


def average_error() -> sp.Expr:
    """Return F(b) = (Phi(-(b + m) / (K sigma)) + Phi((b - m) / sigma)) / 2, the average error at bias b."""
    return (normal_cdf(-(b + m) / (K * sigma)) + normal_cdf((b - m) / sigma)) / 2


def bias() -> sp.Expr:
    """Return the optimal bias: twin of `theory.optimal.optimal_bias` for K > 1."""
    return ((K**2 + 1) * m - 2 * K * root) / (K**2 - 1)


def z_plus() -> sp.Expr:
    """Return z_+ = -K A + sqrt(A^2 + q): twin of `theory.optimal.optimal_z_scores`."""
    A, q = _paper_terms()
    return -K * A + sp.sqrt(A**2 + q)


def z_minus() -> sp.Expr:
    """Return z_- = A - K sqrt(A^2 + q): twin of `theory.optimal.optimal_z_scores`."""
    A, q = _paper_terms()
    return A - K * sp.sqrt(A**2 + q)


def class_errors(shift: sp.Expr = sp.S.Zero) -> tuple[sp.Expr, sp.Expr]:
    """Return the errors (R_+, R_-) of the optimal classifier where the adversary takes ``shift`` more margin.

    shift = 0 gives its errors at the radius it is optimal for, -sqrt(d) eps the natural errors of the
    optimal robust classifier, +sqrt(d) eps the robust errors of the optimal natural one (Xu et al., 2021):
    twin of `theory.optimal.OptimalClassifier.z_scores`.
    """
    return normal_cdf(z_plus() + shift / (K * sigma)), normal_cdf(z_minus() + shift / sigma)


def _readable(expression: sp.Expr) -> str:
    return str(expression.subs(excess, sp.Symbol("K") - 1))


def _paper_terms() -> tuple[sp.Expr, sp.Expr]:
    return 2 * m / ((K**2 - 1) * sigma), 2 * sp.log(K) / (K**2 - 1)


@dataclass(frozen=True)
class Step:
    """One step of the derivation: a claim, its formula, and a residual that sympy must reduce to 0."""

    claim: str
    formula: str
    residual: sp.Expr


def derivation(optimum: sp.Expr | None = None) -> tuple[Step, ...]:
    """Return the derivation of the optimal bias and its class errors for K > 1 and m > 0.

    F' has the sign of g, the log of the ratio of the two class densities at the threshold. g is a
    quadratic that opens downwards, so F falls until its smaller root b*, rises until the larger
    one and falls again to 1/2: b* is the global minimum, below 1/2.

    Args:
        optimum: the bias to check in place of `bias`; a wrong one leaves a nonzero residual.
    """
    best = bias() if optimum is None else optimum
    derivative = sp.diff(average_error(), b)
    wide = sp.exp(-((b + m) ** 2) / (2 * K**2 * sigma**2)) / (K * sigma)
    narrow = sp.exp(-((b - m) ** 2) / (2 * sigma**2)) / sigma
    g = sp.log(K) + (b + m) ** 2 / (2 * K**2 * sigma**2) - (b - m) ** 2 / (2 * sigma**2)
    slope = sp.diff(g, b).subs(b, best)
    zs = -(best + m) / (K * sigma), (best - m) / sigma
    return (
        Step(
            "F' is the difference of the two densities",
            "F'(b) = (narrow - wide) / (2 sqrt(2 pi))",
            sp.simplify(derivative - (narrow - wide) / (2 * sp.sqrt(2 * sp.pi))),
        ),
        Step(
            "so F' has the sign of a quadratic g",
            "narrow / wide = exp(g),  g = ln K + (b+m)^2/(2 K^2 sigma^2) - (b-m)^2/(2 sigma^2)",
            sp.simplify(sp.expand_log(sp.log(narrow) - sp.log(wide), force=True) - g),
        ),
        Step(
            "stationarity: g vanishes at the optimal bias",
            f"b* = {_readable(bias())}",
            sp.simplify(g.subs(b, best)),
        ),
        Step(
            "second order: g' > 0 there, so it is a minimum",
            "g'(b*) = 2 sqrt(m^2 + (K^2-1) sigma^2 ln K / 2) / (K sigma^2) > 0",
            sp.simplify(slope - 2 * root / (K * sigma**2)),
        ),
        Step(
            "global: g opens downwards, so F falls from 1/2 to F(b*), rises, and falls to 1/2 from above",
            "g'' = -(K^2 - 1) / (K^2 sigma^2) < 0",
            sp.simplify(sp.diff(g, b, 2) + (K**2 - 1) / (K**2 * sigma**2)),
        ),
        Step("class error of +1 at b*", f"z_+ = {_readable(z_plus())}", sp.simplify(zs[0] - z_plus())),
        Step("class error of -1 at b*", f"z_- = {_readable(z_minus())}", sp.simplify(zs[1] - z_minus())),
        Step(
            "the two ends of F",
            "F(-inf) = F(+inf) = 1/2",
            abs(sp.limit(average_error(), b, -sp.oo) - sp.Rational(1, 2))
            + abs(sp.limit(average_error(), b, sp.oo) - sp.Rational(1, 2)),
        ),
    )
