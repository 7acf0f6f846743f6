"""IAT, interpolated adversarial training: Lamb et al., 2019, https://arxiv.org/abs/1906.06784.

"Interpolated Adversarial Training: Achieving Robust Neural Networks without Sacrificing Too Much
Accuracy": the mean of two losses of mixup, one on the inputs and one on their PGD examples,

lam CE(f(lam a_i + (1 - lam) a_j), y_i) + (1 - lam) CE(f(lam a_i + (1 - lam) a_j), y_j),

lam drawn from Beta(alpha, alpha) and the pairs (i, j) from the permutations, both anew for each loss and
once for each batch. The examples are made of the unmixed inputs, towards their own labels.

No code of the authors was found; this is the form of a public re-implementation
(ndb796/Pytorch-Adversarial-Training-CIFAR, 7 steps of 2/255). Deviations: the number of steps is that of
the run (``--steps 7``); attacks use running statistics of batch norm, there those of the batch; with
several processes the pairs are within the part of each, so a training on two is not the same as on one.
Mixed inputs may hide gradients from an attack: judge it by several, `deep.report RUN --attacks pgd
autoattack`.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.methods.base import Method
from theory.common.inputs import check_real

__all__ = ["IAT", "METHOD", "mixed_cross_entropy"]


def mixed_cross_entropy(
    logits: Tensor, y: Tensor, partner: Tensor, share: float, smoothing: float = 0.0
) -> Tensor:
    """Return the mean of share CE(., y) + (1 - share) CE(., y of the partner), a scalar.

    Args:
        logits: at the mixed inputs, shape (n, classes).
        y: labels, shape (n,).
        partner: the index of what each input is mixed with, shape (n,).
        share: of each input in its mixture, lam.
        smoothing: weight of the uniform label.
    """
    own, other = (F.cross_entropy(logits, v, label_smoothing=smoothing) for v in (y, y[partner]))
    return share * own + (1 - share) * other


class IAT(Method):
    """Interpolated adversarial training."""

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        alpha: float = field(default=1.0, metadata={"help": "lam is drawn from Beta(alpha, alpha)"})

        def __post_init__(self) -> None:
            """Refuse what is no parameter of that distribution."""
            check_real("--alpha", self.alpha, low=1e-3, high=1e6)

    def draw(self, n: int) -> tuple[float, Tensor]:
        """Return the share of an input in its mixture, and the partners of n inputs, shape (n,)."""
        generator = self.context.generator
        seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
        rng = np.random.default_rng(int(seed))
        share = float(rng.beta(self.params.alpha, self.params.alpha))
        return share, torch.from_numpy(rng.permutation(n)).to(generator.device)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean of both losses of mixup."""
        losses = []
        for inputs in (x, adv):
            share, partner = self.draw(len(y))
            logits = model(share * inputs + (1 - share) * inputs[partner])
            losses.append(mixed_cross_entropy(logits, y, partner, share, self.context.label_smoothing))
        return (losses[0] + losses[1]) / 2


METHOD = IAT
