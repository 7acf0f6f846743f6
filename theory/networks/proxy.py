"""Theory's prediction for a method: what its class weights and radii do to the optimal linear classifier.

The hard classes of a base method are one Gaussian class, +1, and the easy ones the other, -1: the two
Gaussians whose errors under one linear classifier are those of the base (`fitted`). A method changes the
cost of an error by class, the training radius by class, both, or neither, and then theory predicts no
change. The prediction is the optimal classifier with the method's cost odds and radii
(`theory.gaussian.problem`, after Xu et al., 2021) against that with equal ones: the direction of each of
four errors. Ours.

A larger radius for one class moves the threshold in its favour. Those of FRL's Remargin and of DAFA are
larger for the hard classes, those of CFA for the easy ones: theory does not predict the same of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from theory.common.inputs import InputError, check_real
from theory.gaussian.problem import Problem, Uniform

__all__ = ["ERRORS", "STATED", "TwoGroups", "MethodAction", "fitted", "predicted"]

ERRORS: Mapping[str, tuple[str, str]] = {
    f"{group} {kind}": (group, f"{kind}_error")
    for group in ("hard", "easy")
    for kind in ("natural", "robust")
}
"""The errors that are predicted: by name, the classes and the kind of error."""
NONE = 5e-4
"""A change smaller than this is none."""
SAME = 1e-3
"""Ratios closer to 1 than this are 1."""


@dataclass(frozen=True)
class TwoGroups:
    """The classes +1 (hard) and -1 (easy) on the line, the standard deviation of -1 being 1.

    Args:
        K: standard deviation of +1, > 0.
        mu: half the distance of the means, > 0.
        eps: radius, from 0 to mu.
        stated: whether they are stated and not fitted.

    Raises:
        InputError: a number is outside its domain.
    """

    K: float
    mu: float
    eps: float
    stated: bool = False

    def __post_init__(self) -> None:
        """Refuse what is outside the domain."""
        check_real("K", self.K, low=0, strict=True)
        check_real("mu", self.mu, low=0, strict=True)
        check_real("eps", self.eps, low=0, high=self.mu)

    @property
    def summary(self) -> str:
        """Return the numbers of both groups as text."""
        numbers = f"K {self.K:.2f}, mu {self.mu:.2f}, eps {self.eps:.2f} in units of sigma"
        return numbers + (", stated, since its errors fit none" if self.stated else ", fitted")


STATED = TwoGroups(2.0, 2.0, 1.0, stated=True)
"""What is used where no two Gaussians have the errors: an error of 0, or a radius beyond the means."""


@dataclass(frozen=True)
class MethodAction:
    """What a method does to the hard and the easy classes.

    Args:
        odds: cost of an error of the hard classes in units of that of the easy ones, > 0.
        radii: training radii of the hard and of the easy classes, in units of eps, >= 0.
    """

    odds: float = 1.0
    radii: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse what is outside the domain."""
        check_real("odds", self.odds, low=0, strict=True)
        for radius in self.radii:
            check_real("radius", radius, low=0)

    @property
    def kind(self) -> str:
        """Return in words what the method acts by."""
        reweighs = abs(self.odds - 1) > SAME
        remargins = max(abs(r - 1) for r in self.radii) > SAME
        odds = f"cost odds {self.odds:.2f}"
        radii = f"radii {self.radii[0]:.2f} and {self.radii[1]:.2f}"
        return ", ".join([odds] * reweighs + [radii] * remargins) or "neither"


def fitted(natural: tuple[float, float], robust: tuple[float, float]) -> TwoGroups:
    """Return the Gaussians whose errors under one linear classifier are given: four numbers, four unknowns.

    With z = Phi^-1(error), those of class +1 are -(b + mu) / K and, attacked, eps / K more, those of -1 are
    b - mu and eps more: K is the ratio of the two rises, whatever the bias
    (`theory.theorems.ours_estimate_of_K`).

    Args:
        natural: errors of the hard and of the easy classes, in (0, 1).
        robust: the same under the adversary.

    Returns:
        `STATED` where no two Gaussians with eps <= mu have these errors.
    """
    with np.errstate(all="ignore"):
        z, attacked = ndtri(np.asarray(natural, float)), ndtri(np.asarray(robust, float))
        rise = attacked - z
        K, eps = float(rise[1] / rise[0]), float(rise[1])
        mu = float(-(K * z[0] + z[1]) / 2)
    try:
        return TwoGroups(K, mu, eps)
    except InputError:
        return STATED


def predicted(classes: TwoGroups, action: MethodAction, train: float = 1.0) -> Mapping[str, float]:
    """Return the change of each of `ERRORS` that a method makes to the optimal robust classifier.

    Args:
        classes: the two classes.
        action: cost odds and radii.
        train: radius that the base is trained at, in units of that of the errors.

    Returns:
        Fractions; 0 where the change is smaller than `NONE`.
    """
    theta, eps = Uniform(1, classes.mu), train * classes.eps
    before = Problem(theta=theta, sigma=1.0, K=classes.K).optimum((eps, eps))
    weighed = Problem(theta=theta, sigma=1.0, K=classes.K, cost=(action.odds, 1.0))
    after = weighed.optimum((action.radii[0] * eps, action.radii[1] * eps))
    rates = [[*ndtr(s.z_scores()), *ndtr(s.z_scores(classes.eps))] for s in (before, after)]
    change = np.subtract(rates[1], rates[0])[[0, 2, 1, 3]]
    return {k: float(v) if abs(v) >= NONE else 0.0 for k, v in zip(ERRORS, change, strict=True)}
