"""Worst-class reweighting: one weight a class, by its robust error; the baseline of Xu et al., ICML 2021.

The paper compares FRL with a reweighting that does not split the robust error into a natural and a boundary
part; its exact recipe is not known. This one is ours: the algorithm of `deep.methods.frl` with one
constraint a class instead of two,

min R_rob such that for each class i  R_rob(i) - R_rob <= tau.

From a robust warm-up, each epoch measures the robust error of every class on the validation split and
ascends the multipliers, phi_i += rate (R_rob(i) - R_rob - tau), clamped at 0 and scaled down to a sum of at
most ``cap``. The whole loss of a sample, that of the base, is weighted by C w_y with
w_i = 1/C + phi_i - sum_j phi_j / C. So with the same beta it differs from FRL's reweight by the split alone.
The worst class gains most; with all multipliers 0 it is the base.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deep.methods.base import Context, Epoch
from deep.methods.based import Based
from deep.methods.frl import capped, class_weights
from theory.common.inputs import InputError, check_real
from theory.results.counts import ClassErrors

__all__ = ["METHOD", "Reweight", "ascended"]


def ascended(multipliers: Tensor, errors: Tensor, average: float, tau: float, rate: float) -> Tensor:
    """Return phi_i + rate (R_i - R - tau), shape (C,), before the cap.

    Args:
        multipliers: phi, shape (C,).
        errors: robust error R_i of each class, shape (C,).
        average: robust error R of all samples.
        tau: allowed excess of a class over the average.
        rate: dual rate.
    """
    return multipliers + rate * (errors - average - tau)


class Reweight(Based):
    """Worst-class reweighting."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        tau: float = field(default=0.05, metadata={"help": "allowed excess of a robust error"})
        rate: float = field(default=0.1, metadata={"help": "dual rate"})
        cap: float = field(default=0.5, metadata={"help": "largest sum of multipliers"})
        hot_share: float = field(default=0.5, metadata={"help": "share of the epochs that train the warm-up"})

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            super().__post_init__()
            for name in ("tau", "rate"):
                check_real(f"--{name}", getattr(self, name), low=0, high=1e6)
            for name in ("cap", "hot_share"):
                if not 0 <= getattr(self, name) < 1:
                    flag = name.replace("_", "-")
                    raise InputError(f"--{flag} must be from 0 to below 1, got {getattr(self, name):g}")

    def __init__(self, params: Params, context: Context) -> None:
        """Start with all multipliers at 0: weights 1 / C."""
        super().__init__(params, context)
        self.phi = context.per_class(0.0)
        self.hot_epochs = 0

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Fix the length of the warm-up; at least one epoch comes after it.

        Raises:
            InputError: a warm-up was asked for and there is no epoch for it.
        """
        self.hot_epochs = min(round(self.params.hot_share * epochs), epochs - 1)
        if self.params.hot_share > 0 and self.hot_epochs == 0:
            raise InputError(f"--epochs must leave one for the warm-up, got {epochs}; or give --hot-share 0")

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Move the multipliers, except in the warm-up."""
        if epoch.index >= self.hot_epochs:
            self.ascend(epoch.errors())

    def ascend(self, val: ClassErrors) -> None:
        """Ascend the multipliers by the violation of their constraints on the validation split."""
        p = self.params
        errors = torch.tensor(val.rates("robust_error"), dtype=torch.float32).to(self.phi.device)
        self.phi = capped(ascended(self.phi, errors, val.average("robust_error"), p.tau, p.rate), p.cap)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean of C w_y times the loss of the base."""
        weights = self.context.classes * class_weights(self.phi)
        return (weights[y] * self.losses(self.terms(model, x, y, adv))).mean()

    def state(self) -> dict[str, Any]:
        """Return multipliers and weights of every class."""
        return {"phi": self.phi.tolist(), "weights": class_weights(self.phi).tolist()}


METHOD = Reweight
