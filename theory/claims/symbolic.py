"""Symbolic forms of the closed forms, and their derivation with every step checked by sympy.

Those of the paper's setting come first; those with priors, costs, class radii and K = 1 take their symbols as
arguments and leave the normal distribution function as `Phi`, for code that has an accurate one.

The symbolic forms are exact but must not be lambdified for tail numbers: sympy writes the normal
distribution function through erf, which is exactly 0.0 in doubles at z = -10. `theory.gaussian.optimal`
computes; the tests tie the two together at 50 digits.
"""

from dataclasses import dataclass

import sympy as sp

__all__ = [
    "K",
    "LogPhi",
    "Phi",
    "Step",
    "average_error",
    "b",
    "bias",
    "class_errors",
    "derivation",
    "fair_bias",
    "log_odds",
    "m",
    "normal_cdf",
    "normal_density",
    "sigma",
    "uniform_reach",
    "weighted_bias",
    "z_minus",
    "z_plus",
    "z_scores",
]

m = sp.Symbol("m", positive=True)
"""Effective margin: sqrt(d) eta for natural errors, sqrt(d) (eta - eps) for robust ones, eps < eta."""
sigma = sp.Symbol("sigma", positive=True)
b = sp.Symbol("b", real=True)
excess = sp.Symbol("k", positive=True)
K = 1 + excess
"""Ratio of the standard deviations, > 1 because its excess over 1 is a positive symbol."""

Phi, LogPhi = sp.Function("Phi", real=True), sp.Function("LogPhi", real=True)
"""The normal distribution function and its logarithm by name; `normal_cdf` is what the first stands for."""

root = sp.sqrt(m**2 + (K**2 - 1) * sigma**2 * sp.log(K) / 2)


def normal_cdf(z: sp.Expr) -> sp.Expr:
    """Return Phi(z)."""
    return (1 + sp.erf(z / sp.sqrt(2))) / 2


def average_error() -> sp.Expr:
    """Return F(b) = (Phi(-(b + m) / (K sigma)) + Phi((b - m) / sigma)) / 2, the average error at bias b."""
    return (normal_cdf(-(b + m) / (K * sigma)) + normal_cdf((b - m) / sigma)) / 2


def bias() -> sp.Expr:
    """Return the optimal bias: symbolic form of `theory.gaussian.optimal.optimal_bias` for K > 1."""
    return ((K**2 + 1) * m - 2 * K * root) / (K**2 - 1)


def z_plus() -> sp.Expr:
    """Return z_+ = -K A + sqrt(A^2 + q): symbolic form of `theory.gaussian.optimal.optimal_z_scores`."""
    A, q = _paper_terms()
    return -K * A + sp.sqrt(A**2 + q)


def z_minus() -> sp.Expr:
    """Return z_- = A - K sqrt(A^2 + q): symbolic form of `theory.gaussian.optimal.optimal_z_scores`."""
    A, q = _paper_terms()
    return A - K * sp.sqrt(A**2 + q)


def class_errors(shift: sp.Expr = sp.S.Zero) -> tuple[sp.Expr, sp.Expr]:
    """Return the errors (R_+, R_-) of the optimal classifier where the adversary takes ``shift`` more margin.

    shift = 0 gives its errors at the radius it is optimal for, -sqrt(d) eps the natural errors of the
    optimal robust classifier, +sqrt(d) eps the robust errors of the optimal natural one (Xu et al., 2021):
    symbolic form of `theory.gaussian.problem.GaussianClassifier.z_scores`.
    """
    return normal_cdf(z_plus() + shift / (K * sigma)), normal_cdf(z_minus() + shift / sigma)


def normal_density(x: sp.Expr, mean: sp.Expr, scale: sp.Expr) -> sp.Expr:
    """Return the density of N(mean, scale^2) at x."""
    return sp.exp(-((x - mean) ** 2) / (2 * scale**2)) / (scale * sp.sqrt(2 * sp.pi))


def log_odds(prior: sp.Expr, cost: sp.Expr) -> sp.Expr:
    """Return ln(omega_+ / omega_-) at prior and cost odds of class +1: symbolic form of `Problem`'s."""
    return sp.log(prior) - sp.log(1 - prior) + sp.log(cost)


def uniform_reach(dim: sp.Expr, eta: sp.Expr, radius: sp.Expr) -> sp.Expr:
    """Return ||w||_1 of the best direction for the mean eta 1: symbolic form of `uniform_direction`.

    Its margin is that times eta, and times (eta - eps) under an adversary of radius eps.
    """
    return sp.Piecewise((sp.sqrt(dim), radius <= eta), (1, True))


def z_scores(bias: sp.Expr, margin: sp.Expr, scale: sp.Expr, ratio: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Return (z_+, z_-) at a bias: symbolic form of `theory.gaussian.fairness.bias_z_scores`."""
    return -(bias + margin) / (ratio * scale), (bias - margin) / scale


def fair_bias(margin: sp.Expr, ratio: sp.Expr) -> sp.Expr:
    """Return the bias with equal class errors: symbolic form of `theory.gaussian.fairness.fair_bias`."""
    return margin * (ratio - 1) / (ratio + 1)


def weighted_bias(margin: sp.Expr, scale: sp.Expr, ratio: sp.Expr, odds: sp.Expr) -> sp.Expr:
    """Return the bias with the smallest weighted error, K >= 1: symbolic form of `optimal_bias`.

    Args:
        margin: m, any sign.
        scale: sigma.
        ratio: K.
        odds: ln(omega_+ / omega_-).
    """
    kappa, level = ratio**2 - 1, sp.log(ratio) - odds
    inner = margin**2 + kappa * scale**2 * level / 2
    half, reach = (ratio**2 + 1) * margin, 2 * ratio * sp.sqrt(inner)
    conjugate = (kappa * margin**2 - 2 * ratio**2 * scale**2 * level) / (half + reach)
    smaller = sp.Piecewise((conjugate, margin > 0), ((half - reach) / kappa, True))
    plus, minus = z_scores(smaller, margin, scale, ratio)
    equal = sp.Eq(ratio, 1)
    over = odds + LogPhi(plus) >= LogPhi(-minus)
    beaten = (inner < 0) | over | (LogPhi(minus) >= odds + LogPhi(-plus))
    return sp.Piecewise(
        (conjugate, sp.And(equal, margin > 0)),
        (sp.oo, sp.And(equal, odds >= 0)),
        (-sp.oo, equal),
        (sp.oo, sp.And(sp.Ne(odds, 0), beaten)),
        (smaller, True),
    )


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
