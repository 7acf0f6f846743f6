"""What robust maximum likelihood sees of the two widths.

After Ilyas et al. (2019), https://arxiv.org/abs/1905.02175; the class-wise ratio is ours.
"""

from dataclasses import dataclass

from theory.common.inputs import check_real

__all__ = ["RobustLikelihood", "robust_likelihood"]


@dataclass(frozen=True)
class RobustLikelihood:
    """Deviations that maximise the robust likelihood.

    Args:
        sigma_r: that of class -1.
        K_r: ratio of the two classes' deviations.
        lam: multiplier in the print's form sigma^2 / 2 + 1 / lam + sqrt(sigma^2 / lam + sigma^4 / 4).
    """

    sigma_r: float
    K_r: float
    lam: float


def robust_likelihood(sigma: float, K: float, eps: float) -> RobustLikelihood:
    """Return sigma + eps, (K sigma + eps) / (sigma + eps) and 1 / (eps (sigma + eps)).

    An adversary with E delta^2 <= eps^2 per coordinate (a budget in the mean, not a bound on every point)
    turns the variance into (sigma + eps)^2 at most. So K_r tends to 1: a generative robust model forgets the
    difference of widths.

    Args:
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        eps: root mean square budget of a coordinate, > 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> robust_likelihood(1.0, 2.0, 0.5).K_r
        1.6666666666666667
    """
    for name, value in (("sigma", sigma), ("K", K), ("eps", eps)):
        check_real(name, value, low=0, strict=True)
    return RobustLikelihood(sigma + eps, (K * sigma + eps) / (sigma + eps), 1 / (eps * (sigma + eps)))
