"""AWP, adversarial weight perturbation: Wu, Xia and Wang, NeurIPS 2020, https://arxiv.org/abs/2004.05884.

"Adversarial Weight Perturbation Helps Robust Generalization":

min over w of max over v of L(w + v), |v_l| <= gamma |w_l| for the weights of each layer l,

L the base loss at the attacked inputs, PGD or TRADES. One step of ascent gives v, v_l = gamma |w_l| g_l /
|g_l| with g the gradient of L in the same batch; the network steps by the gradient at w + v, and v is
taken off again. As in the authors' code (csdongxian/AWP): biases and scales of batch norm are not
perturbed; batch norm keeps its statistics of the pass at w + v, and not those of the pass that finds v;
gamma is .01 on PGD and .005 on TRADES, there after 10 of 200 epochs without (``--warm-share``).

Deviations: v is taken off by way of a copy of the weights, so that a step of 0 changes no bit of them;
with several processes all have the v of the whole batch; the inputs are attacked with running statistics
of batch norm, there with those of the batch.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from deep.methods.base import Context, Epoch
from deep.methods.based import Based
from deep.methods.perturbed import SMALLEST, gradients, matrices, shifted, statistics_kept
from theory.common.inputs import InputError, check_real

__all__ = ["AWP", "METHOD", "layerwise"]

GAMMA = {"pgd": 0.01, "trades": 0.005}  # authors' code, as are the warm-ups
WARM_SHARE = {"pgd": 0.0, "trades": 10 / 200}


def layerwise(weights: Sequence[Tensor], slopes: Sequence[Tensor], gamma: float) -> list[Tensor]:
    """Return gamma |w_l| g_l / |g_l| for each of the weights w_l and slopes g_l; 0 where g_l is 0."""
    return [
        gamma * w.detach().norm() / g.norm().clamp(min=SMALLEST) * g
        for w, g in zip(weights, slopes, strict=True)
    ]


class AWP(Based):
    """Adversarial weight perturbation."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters; those that are None take the value of the base in the authors' code."""

        gamma: float | None = field(
            default=None,
            metadata={
                "help": "size of the perturbation, in the weights'; .01 on pgd, .005 on trades if None"
            },
        )
        warm_share: float | None = field(
            default=None,
            metadata={"help": "share of the epochs without a perturbation; 0 on pgd, .05 on trades if None"},
        )

        def __post_init__(self) -> None:
            """Fill in what is by base, and refuse what makes no sense."""
            super().__post_init__()
            for name, values in (("gamma", GAMMA), ("warm_share", WARM_SHARE)):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, values[self.base])
            check_real("--gamma", self.gamma, low=0, high=1)
            if not 0 <= self.warm_share < 1:
                raise InputError(f"--warm-share must be from 0 to below 1, got {self.warm_share:g}")

    def __init__(self, params: Any, context: Context) -> None:
        """Start without a warm-up."""
        super().__init__(params, context)
        self.warm_epochs, self.warm = 0, False

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Fix the length of the warm-up; at least one epoch comes after it."""
        self.warm_epochs = min(round(self.params.warm_share * epochs), epochs - 1)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Begin to perturb the weights after the warm-up."""
        self.warm = epoch.index < self.warm_epochs

    def around_step(
        self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor
    ) -> AbstractContextManager[None]:
        """Return what perturbs the weights until the step is taken."""
        if self.warm or self.params.gamma == 0:
            return nullcontext()
        weights = matrices(model)
        return shifted(weights, self.perturbation(model, weights, x, y, adv.detach()))

    def perturbation(
        self, model: nn.Module, weights: Sequence[Tensor], x: Tensor, y: Tensor, adv: Tensor
    ) -> list[Tensor]:
        """Return v for each of the weights, at inputs x, labels y and training examples adv."""
        with statistics_kept(model):
            slopes = gradients(self.loss(model, x, y, adv), weights, self.context.world)
        return layerwise(weights, slopes, self.params.gamma)


METHOD = AWP
