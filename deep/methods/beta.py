"""BETA, non-zero-sum adversarial training: Robey et al., ICLR 2024, https://arxiv.org/abs/2306.11035.

"Adversarial Training Should Be Cast as a Non-Zero-Sum Game": the attack maximises the margin, which
bounds the error, and the training minimises the cross-entropy, which bounds it from above. For each class
j that is not y

d_j maximises M_j = f_j(x + d) - f_y(x + d),

and the network is trained on the cross-entropy at the d_j with the largest M_j. With ``--smooth mu`` > 0
it is trained on all, by the weights softmax_j(mu M_j) (SBETA). A class costs as much as the attack of
PGD, so all of them make C - 1 times as many passes; ``--targets k`` takes the k classes with the largest
logits at x.

No code of the authors is known to us. Ours are: --targets; steps of the sign of the gradient from uniform
starts, as PGD's, where the paper's ascent scales the gradient by running means of its square; the weights
of SBETA have no gradient.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.pgd import attacking, targeted_margin
from deep.methods.base import Method
from deep.methods.trades import smoothed
from theory.common.inputs import check_count, check_real

__all__ = ["BETA", "METHOD", "attack_weights", "margins_of"]


def margins_of(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Return the logit of a target class minus that of the label y, shape (n,), from shape (n, classes)."""
    return (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None])).squeeze(1)


def attack_weights(margins: Tensor, smooth: float) -> Tensor:
    """Return the weight of each attack on a sample, softmax(mu margins) over the attacks, shape (k, n).

    Args:
        margins: of each attack at its own target, shape (k, n).
        smooth: mu; the larger, the nearer to the largest margin alone.
    """
    return F.softmax(smooth * margins.detach(), dim=0)


class BETA(Method):
    """Non-zero-sum adversarial training."""

    attacks = ("pgd", "fgsm-rs", "nfgsm")  # "free" ascends the loss, and has no targets

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        targets: int = field(
            default=0,
            metadata={"help": "wrong classes that are attacked towards, likeliest first; all if 0"},
        )
        smooth: float = field(
            default=0.0,
            metadata={"help": "mu of SBETA: train on all targets, by softmax of mu times margins"},
        )

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            check_count("--targets", self.targets, low=0)
            check_real("--smooth", self.smooth, low=0, high=1e6)

    def targets(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the classes that are attacked towards, likeliest first, shape (k, n)."""
        wrong = self.context.classes - 1
        with attacking(model, self.context.batch_norm), torch.no_grad():
            logits = model(x).scatter(1, y[:, None], -torch.inf)
        return logits.topk(min(self.params.targets or wrong, wrong)).indices.T

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the example of largest margin; with --smooth those of all targets, shape (k, n, ...)."""
        noise, sets, margins = self.context.noise(len(y)), [], []
        for number, target in enumerate(self.targets(model, x, y)):
            adv = self.maximise(model, x, y, targeted_margin(y, target), noise.fork(number))
            with attacking(model, self.context.batch_norm), torch.no_grad():
                margins.append(margins_of(model(adv), y, target))
            sets.append(adv)
        if self.params.smooth > 0:
            return torch.stack(sets)
        best = torch.stack(margins).argmax(0)
        return torch.stack(sets)[best, torch.arange(len(y), device=y.device)]

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean cross-entropy at the examples, weighted over the targets with --smooth."""
        if self.params.smooth == 0:
            return super().loss(model, x, y, adv)
        targets = self.targets(model, x, y)
        labels, logits = y.repeat(len(targets)), model(adv.flatten(0, 1))
        weights = attack_weights(
            margins_of(logits, labels, targets.flatten()).view_as(targets), self.params.smooth
        )
        losses = smoothed(logits, labels, self.context.label_smoothing).view_as(weights)
        return (weights * losses).sum(0).mean()


METHOD = BETA
