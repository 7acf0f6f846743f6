"""Confusional spectral regularisation: Jin et al., ICLR 2025, https://arxiv.org/abs/2501.13273.

"Enhancing Robust Fairness via Confusional Spectral Regularization": with A the robust confusion matrix of
an epoch without its diagonal, A_kc the number of attacked samples of class c that are answered k, u and v
its leading singular vectors, and G = u v' mapped to numbers from .01 to 2.01, the loss is

(1 - share) CE + beta KL + share mean G[answer, y] CE(f(x'), y)

on TRADES, and (1 - share) CE(f(x'), y) and the last term on PGD. u v' is the gradient of the largest
singular value of A, so what is weighed more is what that grows by.

As in the authors' code, share is .3, and samples that are answered right have a weight too, the diagonal
of G. Deviations:

- there a robust network is fine-tuned for two epochs at learning rate .001. Here its base trains the
  warm-up in the same run (``--hot-share``), so that a run costs what its rivals cost; --init RUN
  --hot-share 0 --epochs 2 --lr 0.001 is closest to what they do;
- there A is counted once an epoch by PGD-10 on all training images, with the true logit lowered by 10 %
  of its value, which raises it where it is negative. Here it is counted in the training steps of the
  epoch before, as they come, without an extra pass. Where nothing was answered wrong, G is 0.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.pgd import predicted
from deep.methods.base import Context, Epoch
from deep.methods.based import Based, warm_up_epochs
from theory.common.inputs import InputError, check_real

__all__ = ["METHOD", "Spectral", "confusion_weights"]

LOWEST, HIGHEST = 0.01, 2.01  # authors' code


def confusion_weights(confusions: Tensor) -> Tensor:
    """Return G, the gradient of the largest singular value, mapped to .01 to 2.01, shape (C, C).

    Args:
        confusions: answers by true class, the diagonal 0, shape (C, C); G is 0 where all of it is.
    """
    if not bool(confusions.any()):
        return torch.zeros_like(confusions)
    u, _, vh = torch.linalg.svd(confusions)
    slope = u[:, :1] * vh[:1]  # both signs may be flipped, the product not
    spread = slope.amax() - slope.amin()
    return LOWEST + (HIGHEST - LOWEST) * (slope - slope.amin()) / spread.clamp(min=1e-12)


class Spectral(Based):
    """Confusional spectral regularisation."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        share: float = field(default=0.3, metadata={"help": "share of the regularisation in the loss"})
        hot_share: float = field(
            default=0.5, metadata={"help": "share of the epochs that train the warm-up, the base"}
        )

        def __post_init__(self) -> None:
            """Refuse what is no share."""
            super().__post_init__()
            check_real("--share", self.share, low=0, high=1)
            if not 0 <= self.hot_share < 1:
                raise InputError(f"--hot-share must be from 0 to below 1, got {self.hot_share:g}")

    def __init__(self, params: Any, context: Context) -> None:
        """Start with nothing counted."""
        super().__init__(params, context)
        self.confusions = torch.diag(context.per_class(0.0)).double()
        self.confusion_weights = torch.zeros_like(self.confusions)
        self.hot_epochs, self.hot = 0, False

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Fix the length of the warm-up.

        Raises:
            InputError: see `deep.methods.based.warm_up_epochs`.
        """
        self.hot_epochs = warm_up_epochs(self.params.hot_share, epochs)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Weigh confusions by what the epoch before has counted, and count anew."""
        self.hot = epoch.index < self.hot_epochs
        if not self.hot:
            self.confusion_weights = confusion_weights(self.confusions)
        self.confusions = torch.zeros_like(self.confusions)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean regularised loss, that of the base in the warm-up."""
        terms = self.terms(model, x, y, adv)
        answers = predicted(terms.logits.detach())
        self.count(answers, y)
        if self.hot:
            return self.losses(terms).mean()
        p = self.params
        attacked = F.cross_entropy(terms.logits, y, reduction="none")
        weights = self.confusion_weights[answers, y].to(attacked)
        base = (1 - p.share) * terms.main + p.beta * terms.boundary
        return (base + p.share * weights * attacked).mean()

    def count(self, answers: Tensor, y: Tensor) -> None:
        """Add up which classes are answered for which, where they differ."""
        wrong = (answers != y) & (answers >= 0)
        place = answers[wrong] * self.context.classes + y[wrong]
        self.confusions += torch.bincount(place, minlength=self.context.classes**2).view_as(self.confusions)

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Total what all processes have counted."""
        self.confusions = self.context.world.total(self.confusions)

    def state(self) -> dict[str, Any]:
        """Return the largest singular value, and the mean weight of the wrong answers for each class."""
        weights, wrong = self.confusion_weights, 1 - torch.eye(self.context.classes).to(self.confusions)
        mean = (weights * wrong).sum(0) / max(self.context.classes - 1, 1)
        norm = float(torch.linalg.matrix_norm(self.confusions, 2))
        return {"confusion_norm": norm, "confusion_weights": mean.tolist()}


METHOD = Spectral
