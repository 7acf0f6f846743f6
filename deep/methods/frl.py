"""Fair-Robust-Learning: Xu et al., "To be Robust or to be Fair", ICML 2021, algorithm 1.

https://arxiv.org/abs/2010.06121:

min R_nat + R_bndy  such that for each class i  R_nat(i) - R_nat <= tau_nat,  R_bndy(i) - R_bndy <= tau_bndy.

From a robust warm-up, each epoch measures both errors of every class on a validation split, ascends the
multipliers phi of violated constraints, and trains with what they say:

- reweight: both errors by weights, w_i = 1/C + phi_i - sum_j phi_j / C, the coefficient of class i
  in the Lagrangian when all classes have the same size, on the surrogates CE (natural) and KL
  (boundary) of TRADES;
- remargin: the natural error by weights, the boundary error by a larger training radius, eps times
  exp(2 log_margin_i);
- both: the natural error by weights, the boundary error by weights and radius.

The defaults are those of the authors' code (hannxu123/fair_robust): of 2022 for reweight and both, of 2021
for remargin, whose script was deleted later. What is as there, and what is not:

- D1  as there, the hinge of the displayed Lagrangian is not applied: a multiplier falls while its constraint
  holds, and stays >= 0. With the hinge it could never fall.
- D2  as there and not in the paper, each sum of multipliers is capped (``cap``): every weight stays positive.
- D3  losses are averaged with weights C w_y; there they are divided by the sum of the weights in the batch,
  which is biased when a batch is not balanced. With all multipliers 0 the loss is exactly that of TRADES.
  The remargin script divides both losses by the sum of both weights, half that scale.
- D7  a log margin stays between the logs of its clip, 0.98 and ``max_margin``; there it winds up beyond.
- D8  as there, the margin follows R_bndy(i) - R_bndy - tau; with the paper's R_bndy(i) - tau all radii grow.
- D9  the warm-up and the rest share one schedule of epochs and learning rates, so that a run costs what its
  rivals cost; there the learning rate is 0.001 for all of 40 epochs after a warm-up of unknown cost,
  and the natural dual rate is halved every 40 epochs.
- D11 every random number comes from the seed; there the seed is parsed and not used.
- D12 a sample that is wrong without an attack counts as wrong under it, so the boundary error is exact.
- D14 each sample's step is its own radius / 4; there "both" takes the largest of the
  batch, the other variants a fixed 2/255.
- D15 the warm-up is trained here, by TRADES with the same beta on the training split alone
  (or is another run, by --init RUN --hot-share 0), and
  the validation split is drawn by seed; there both are files, and what the warm-up has seen is
  not known.
- D16 batch norm sees the clean batch once a step; there twice.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from deep.methods.base import Context, Epoch
from deep.methods.based import warm_up_epochs
from deep.methods.trades import TRADES, surrogates
from theory.common.inputs import InputError, check_real
from theory.results.counts import ClassErrors

__all__ = ["FRL", "METHOD", "capped", "class_weights"]

MIN_MARGIN = 0.98  # lower clip of the margin in the authors' code
# cap, tau, rate of the margin, largest margin, beta of each variant in the authors' code
PRESETS = {
    "reweight": {"cap": 0.5, "tau": 0.1, "rate_margin": 0.0, "max_margin": 1.0, "beta": 1.5},
    "remargin": {"cap": 0.3, "tau": 0.1, "rate_margin": 0.1, "max_margin": 2.5, "beta": 1.0},
    "both": {"cap": 0.5, "tau": 0.07, "rate_margin": 0.2, "max_margin": 3.0, "beta": 1.5},
}


def class_weights(multipliers: Tensor) -> Tensor:
    """Return w_i = 1/C + phi_i - sum_j phi_j / C, shape (C,); they sum to 1."""
    return 1 / len(multipliers) + multipliers - multipliers.mean()


def capped(multipliers: Tensor, cap: float) -> Tensor:
    """Return the multipliers clamped at 0 from below and scaled down so that their sum is at most ``cap``."""
    positive = multipliers.clamp(min=0)
    return positive * min(1.0, cap / max(float(positive.sum()), 1e-12))


class FRL(TRADES):
    """Fair-Robust-Learning."""

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters; those that are None take the value of the variant in the authors' code."""

        variant: Literal["reweight", "remargin", "both"] = field(
            default="both", metadata={"help": "how constraints act: reweight, remargin or both"}
        )
        tau_nat: float | None = field(default=None, metadata={"help": "allowed excess of a natural error"})
        tau_bndy: float | None = field(default=None, metadata={"help": "allowed excess of a boundary error"})
        rate_nat: float = field(default=0.05, metadata={"help": "dual rate of natural multipliers"})
        rate_bndy: float = field(default=0.1, metadata={"help": "dual rate of boundary multipliers"})
        rate_margin: float | None = field(default=None, metadata={"help": "dual rate of log margins"})
        cap: float | None = field(default=None, metadata={"help": "largest sum of multipliers"})
        max_margin: float | None = field(default=None, metadata={"help": "largest radius, in units of eps"})
        beta: float | None = field(default=None, metadata={"help": "weight of the KL term"})
        hot_share: float = field(default=0.5, metadata={"help": "share of the epochs that train the warm-up"})

        def __post_init__(self) -> None:
            """Take what is None from the variant, and refuse what makes no sense."""
            preset = PRESETS[self.variant]
            defaults = {**preset, "tau_nat": preset["tau"], "tau_bndy": preset["tau"]}
            for name, value in defaults.items():
                if getattr(self, name, 0.0) is None:
                    object.__setattr__(self, name, value)
            for name in ("tau_nat", "tau_bndy", "rate_nat", "rate_bndy", "rate_margin", "beta"):
                check_real(f"--{name.replace('_', '-')}", getattr(self, name), low=0, high=1e6)
            if not 0 <= self.cap < 1:
                raise InputError(
                    f"--cap must be from 0 to below 1, which keeps weights positive, got {self.cap:g}"
                )
            check_real("--max-margin", self.max_margin, low=1, high=1e6)
            if not 0 <= self.hot_share < 1:
                raise InputError(f"--hot-share must be from 0 to below 1, got {self.hot_share:g}")

    def __init__(self, params: Params, context: Context) -> None:
        """Start with all multipliers at 0: weights 1 / C and margins 1."""
        super().__init__(params, context)
        self.phi_nat, self.phi_bndy, self.log_margin = (context.per_class(0.0) for _ in range(3))
        self.hot_epochs = 0

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Fix the length of the warm-up; at least one epoch comes after it.

        Raises:
            InputError: a warm-up was asked for and there is no epoch for it.
        """
        self.hot_epochs = warm_up_epochs(self.params.hot_share, epochs)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Move the multipliers, except in the warm-up: with all of them at 0 this is TRADES."""
        if epoch.index >= self.hot_epochs:
            self.ascend(epoch.errors())

    def ascend(self, val: ClassErrors) -> None:
        """Ascend the multipliers by the violation of their constraints on the validation split."""
        p = self.params
        excess = {
            q: torch.tensor(val.rates(q) - val.average(q), dtype=torch.float32).to(self.phi_nat.device)
            for q in ("natural_error", "boundary_error")
        }
        gamma_nat = excess["natural_error"] - p.tau_nat
        gamma_bndy = excess["boundary_error"] - p.tau_bndy
        self.phi_nat = capped(self.phi_nat + p.rate_nat * gamma_nat, p.cap)
        if p.variant != "remargin":
            self.phi_bndy = capped(self.phi_bndy + p.rate_bndy * gamma_bndy, p.cap)
        if p.variant != "reweight":
            ascended = self.log_margin + p.rate_margin * gamma_bndy
            self.log_margin = ascended.clamp(math.log(MIN_MARGIN) / 2, math.log(p.max_margin) / 2)

    def margins(self) -> Tensor:
        """Return the training radius of each class in units of eps, shape (C,)."""
        return torch.exp(2 * self.log_margin)

    def eps(self, y: Tensor) -> Tensor:
        """Return eps times the margin of each sample's class."""
        return self.context.eps * self.margins()[y]

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean of C w_nat CE + beta C w_bndy KL."""
        natural, boundary = surrogates(model, x, y, adv, self.context.label_smoothing)
        w_nat, w_bndy = (
            self.context.classes * class_weights(phi)[y] for phi in (self.phi_nat, self.phi_bndy)
        )
        return (w_nat * natural).mean() + self.params.beta * (w_bndy * boundary).mean()

    def state(self) -> dict[str, Any]:
        """Return multipliers, weights and radii of every class."""
        return {
            "phi_nat": self.phi_nat.tolist(),
            "phi_bndy": self.phi_bndy.tolist(),
            "weights_nat": class_weights(self.phi_nat).tolist(),
            "weights_bndy": class_weights(self.phi_bndy).tolist(),
            "radii": self.margins().tolist(),
        }


METHOD = FRL
