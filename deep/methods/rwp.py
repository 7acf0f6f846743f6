"""RWP, robust weight perturbation: Yu et al., IJCAI 2022, https://arxiv.org/abs/2205.14826.

"Robust Weight Perturbation for Adversarial Training": the weights are perturbed as in AWP, but only for
the sake of samples that are fitted already, those with an adversarial cross-entropy below ``threshold``,
and by ``weight_steps`` steps of ascent. As in the authors' code (ChaojianYu/Robust-Weight-Perturbation)
each step adds the gradient of

mean over the batch of [CE(f(x'), y) < threshold] times the base loss of the sample

at the weights perturbed so far, and the sum G is scaled to v = gamma |w| G / |G|, norms over all layers
at once where AWP has one a layer; gamma is .01 on PGD and .005 on TRADES, the threshold 1.7, and there
are 10 steps. Each costs a pass forward and back, two forward on TRADES.

Deviations: those of `deep.methods.awp`; there the loss on TRADES adds a cross-entropy of each sample to a
KL of each sample and class, which has no such sum: here the KL is summed over the classes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.methods.awp import AWP
from deep.methods.perturbed import gradients, norm_of, shifted, statistics_kept
from theory.common.inputs import check_count, check_real

__all__ = ["METHOD", "RWP", "fitted_loss"]


def fitted_loss(losses: Tensor, cross_entropies: Tensor, threshold: float) -> Tensor:
    """Return the mean over all samples of the losses of those with a cross-entropy below the threshold.

    Args:
        losses: of each sample, shape (n,).
        cross_entropies: of each sample, attacked, shape (n,).
        threshold: from which on a sample does not count.
    """
    return ((cross_entropies.detach() < threshold) * losses).mean()


class RWP(AWP):
    """Robust weight perturbation."""

    @dataclass(frozen=True)
    class Params(AWP.Params):
        """Hyper-parameters; those that are None take the value of the base in the authors' code."""

        threshold: float = field(
            default=1.7, metadata={"help": "largest adversarial cross-entropy that weights are perturbed for"}
        )
        weight_steps: int = field(
            default=10, metadata={"help": "steps of ascent of the weights", "low": 1, "high": 1000}
        )

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            super().__post_init__()
            check_real("--threshold", self.threshold, low=0, high=1e6)
            check_count("--weight-steps", self.weight_steps, low=1)

    def perturbation(
        self, model: nn.Module, weights: Sequence[Tensor], x: Tensor, y: Tensor, adv: Tensor
    ) -> list[Tensor]:
        """Return v for each of the weights, at inputs x, labels y and training examples adv."""
        p = self.params
        total = [torch.zeros_like(w) for w in weights]
        shifts = total
        for _ in range(p.weight_steps):
            with shifted(weights, shifts), statistics_kept(model):
                terms = self.terms(model, x, y, adv)
                attacked = F.cross_entropy(terms.logits, y, reduction="none")
                loss = fitted_loss(self.losses(terms), attacked, p.threshold)
                slopes = gradients(loss, weights, self.context.world)
            total = [t + g for t, g in zip(total, slopes, strict=True)]
            scale = p.gamma * norm_of([w.detach() for w in weights]) / norm_of(total)
            shifts = [scale * t for t in total]
        return shifts


METHOD = RWP
