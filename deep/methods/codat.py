"""CODAT-like: class optimal distribution adversarial training, after Zhi et al., 2025.

https://arxiv.org/abs/2501.04527:

min over theta of max over q of sum_c q_c L_c, the distribution q over the classes in a ball around the
uniform one: (1/C) sum_c (C q_c - 1)^2 <= radius. L_c is the mean base loss, PGD or TRADES, of the class in
the batch.

While no q_c is 0, the maximum is the mean of the L_c plus sqrt(radius) times their population standard
deviation: the sibling of FAT's variance.

No code of the authors is known to us, nor is their recipe. Ours are: the normalisation of the radius and its
default, that L_c is estimated in each batch and q is over the classes in it, and the base losses. The weights
are those of a maximum, so the gradient at fixed q is that of the objective.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from deep.methods.based import Based
from deep.methods.batchwise import Batchwise
from theory.common.inputs import check_real

__all__ = ["CODAT", "METHOD", "chi2_ball_weights"]


def chi2_ball_weights(losses: Tensor, radius: float) -> Tensor:
    """Return the q that maximises sum_c q_c losses_c under (1/C) sum_c (C q_c - 1)^2 <= radius, shape (C,).

    With gap_c = (max - losses_c) / (max - min), q_c is proportional to the positive part of t - gap_c. While
    no q_c is 0, t is the mean of gap plus its standard deviation / sqrt(radius); else ln t is a root above
    that of the second smallest gap. A ball that holds the uniform distribution over the largest losses gives
    that one.

    Args:
        losses: shape (C,). Where all are equal, or one is not finite, the weights are uniform.
        radius: of the ball, >= 0.
    """
    losses = 1.0 * losses.detach()
    values = losses.cpu().double().numpy()
    spread = np.ptp(values)
    if radius == 0 or not 0 < spread < math.inf:
        return torch.full_like(losses, 1 / len(values))
    gap = (values.max() - values) / spread

    def weights(log_t: float) -> npt.NDArray[np.float64]:
        raw = np.maximum(math.exp(log_t) - gap, 0)
        return raw / raw.sum()

    def excess(log_t: float) -> float:
        return float(np.square(len(gap) * weights(log_t) - 1).mean()) - radius

    root = math.log(gap.mean() + gap.std() / math.sqrt(radius))
    if root < 0:  # some weight is 0
        root = math.log(gap[gap > 0].min())
        if excess(root) > 1e-12:
            root = brentq(excess, root, 1, maxiter=10_000)
    return torch.from_numpy(weights(root)).to(losses)


class CODAT(Batchwise):
    """Class optimal distribution adversarial training."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        radius: float = field(default=0.5, metadata={"help": "largest mean of (C q_c - 1)^2"})

        def __post_init__(self) -> None:
            """Refuse negative weights and radii."""
            super().__post_init__()
            check_real("--radius", self.radius, low=0, high=1e6)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return sum_c q_c L_c over the classes in the batch."""
        means, counts = self.class_means(self.losses(self.terms(model, x, y, adv)), y)
        present = counts > 0
        weights = chi2_ball_weights(means[present].detach(), self.params.radius)
        self.note(len(weights) * weights, present)
        return (weights * means[present]).sum()


METHOD = CODAT
