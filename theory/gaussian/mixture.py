"""The Gaussian mixture of Xu et al. (2021): two classes that differ only in their variance."""

from dataclasses import dataclass

import numpy as np

from theory.common.inputs import InputError, check_real

__all__ = ["CLASSES", "GaussianMixture"]

CLASSES = ("+1", "-1")
"""The two classes, in the order of every pair in this package."""

LARGEST_DIM = 10**9


@dataclass(frozen=True, kw_only=True)
class GaussianMixture:
    """Two equally likely classes: x | +1 ~ N(+eta 1, (K sigma)^2 I) and x | -1 ~ N(-eta 1, sigma^2 I).

    Source: the theoretical model of Xu et al. (2021, https://arxiv.org/abs/2010.06121), where eta, sigma and
    K have the same names.

    Args:
        dim: dimension d of x.
        eta: distance of each coordinate of a class mean from 0, in units of x.
        sigma: standard deviation of each coordinate in class -1, in units of x.
        K: ratio of the standard deviation of class +1 to that of class -1. The paper has K > 1;
            any K > 0 is taken, and K < 1 makes -1 the class with the larger variance.

    Raises:
        InputError: dim is not an integer from 1 to 1e9, or another number is not finite and > 0.

    >>> GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0).scales
    (2.0, 1.0)
    """

    dim: int
    eta: float
    sigma: float
    K: float

    def __post_init__(self) -> None:
        """Refuse parameters outside the domain."""
        whole = isinstance(self.dim, (int, np.integer)) and not isinstance(self.dim, bool)
        if not whole or not 1 <= self.dim <= LARGEST_DIM:
            raise InputError(f"dim must be an integer from 1 to {LARGEST_DIM}, got {self.dim!r:.40}")
        object.__setattr__(self, "dim", int(self.dim))
        for name in ("eta", "sigma", "K"):
            object.__setattr__(self, name, check_real(name, getattr(self, name), low=0, strict=True))

    @property
    def scales(self) -> tuple[float, float]:
        """Standard deviations of a coordinate in class +1 and in class -1."""
        return self.K * self.sigma, self.sigma
