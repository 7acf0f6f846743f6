"""SCORE: Pang et al., ICML 2022, https://arxiv.org/abs/2202.10103.

"Robustness and Accuracy Could Be Reconcilable by (Proper) Definition": cross-entropy and KL divergence
become squared distances of probability vectors,

|p(x) - 1_y|^2 + beta |p(x') - p(x)|^2 on TRADES, |p(x') - 1_y|^2 on PGD,

and x' maximises the last of them. Their roots are a metric, which the KL divergence is not: by the
triangle inequality an error under attack is at most the clean one and the change.

As in the authors' code (P2333/SCORE) the attack starts at a uniform point of the ball, on TRADES too, and
``--clip c`` takes from each sample's distance to its label that of the vector with 1 - c at the label and
c / (C - 1) elsewhere, down to 0. There the attack uses statistics of the batch and updates none
(--attack-batch-norm train); its recipe has learning rate .05, 110 epochs and c of .4 on PGD and .3 on
TRADES, and generated images for the published numbers. Deviations: no clipping by default; smoothed
labels (--label-smoothing) are allowed, as the vector to be near to.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.pgd import attacking
from deep.methods.based import Based, Terms
from theory.common.inputs import check_real

__all__ = ["METHOD", "SCORE", "clipped_distance", "soft_labels", "squared_distance"]


def soft_labels(y: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Return the one-hot labels, mixed with the uniform one by ``smoothing``, shape (n, classes)."""
    return (1 - smoothing) * F.one_hot(y, classes) + smoothing / classes


def squared_distance(p: Tensor, q: Tensor) -> Tensor:
    """Return |p - q|^2 of each sample, shape (n,), from probabilities of shape (n, classes)."""
    return (p - q).square().sum(1)


def clipped_distance(distance: Tensor, clip: float, classes: int) -> Tensor:
    """Return what a squared distance to the label exceeds c^2 + c^2 / (C - 1) by, and 0 where it does not.

    That is the distance of the vector with 1 - c at the label and c / (C - 1) elsewhere.
    """
    return (distance - clip**2 * (1 + 1 / (classes - 1))).clamp(min=0)


class SCORE(Based):
    """Self-consistent robust error."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        clip: float = field(default=0.0, metadata={"help": "c: distances below that of 1 - c count as 0"})

        def __post_init__(self) -> None:
            """Refuse what is no probability."""
            super().__post_init__()
            check_real("--clip", self.clip, low=0, high=1)

    def _labels(self, y: Tensor) -> Tensor:
        return soft_labels(y, self.context.classes, self.context.label_smoothing)

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the inputs that maximise the squared distance to the label, on TRADES to p(x)."""
        aim = self._labels(y)
        if self.params.base == "trades":
            with attacking(model, self.context.batch_norm), torch.no_grad():
                aim = F.softmax(model(x), dim=1)
        noise = self.context.noise(len(y))
        return self.maximise(
            model, x, y, lambda logits: squared_distance(F.softmax(logits, dim=1), aim).sum(), noise
        )

    def terms(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Terms:
        """Return the squared distances in place of cross-entropy and divergence."""
        logits, labels = model(adv), self._labels(y)
        attacked = F.softmax(logits, dim=1)
        p = attacked if self.params.base == "pgd" else F.softmax(model(x), dim=1)
        main = clipped_distance(squared_distance(p, labels), self.params.clip, self.context.classes)
        return Terms(main, squared_distance(attacked, p), logits)


METHOD = SCORE
