"""AT-BSL, adversarial training with the balanced softmax: Yue et al., CVPR 2024.

https://arxiv.org/abs/2403.10073, "Revisiting Adversarial Training under Long-Tailed Distributions": the
logits get the logarithms of the class sizes n_c of the training split in the loss, and nowhere else,

CE(f(x') + log n, y),

so that the network itself answers as though classes were as frequent. As in the authors' code the attack
maximises the plain cross-entropy. Where classes have the same size it is PGD adversarial training,
exactly: it is for --imbalance. Deviations: those of `deep.methods.pgd`; the published recipe also
augments more.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.methods.base import Context, Epoch, Method

__all__ = ["ATBSL", "METHOD", "balanced_cross_entropy"]


def balanced_cross_entropy(logits: Tensor, y: Tensor, log_counts: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean of CE(logits + log n, y), a scalar, from log n of each class, shape (C,)."""
    return F.cross_entropy(logits + log_counts.to(logits), y, label_smoothing=smoothing)


class ATBSL(Method):
    """Adversarial training with the balanced softmax."""

    def __init__(self, params: Method.Params, context: Context) -> None:
        """Start as though classes had the same size."""
        super().__init__(params, context)
        self.log_counts = context.per_class(0.0)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Take the sizes of the classes, relative to their mean, which changes no loss."""
        counts = torch.tensor([*epoch.counts] or [1] * self.context.classes).to(self.log_counts)
        self.log_counts = (counts.clamp(min=1) / counts.mean()).log()

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the balanced cross-entropy of the attacked inputs."""
        return balanced_cross_entropy(model(adv), y, self.log_counts, self.context.label_smoothing)


METHOD = ATBSL
