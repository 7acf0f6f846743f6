"""Training for several norms at once: Maini, Wong and Kolter, ICML 2020, https://arxiv.org/abs/1909.04068.

"Adversarial Robustness Against the Union of Multiple Perturbation Models": linf, l2 and l1 together, by
``--rule``

- max: PGD in each norm; each sample is trained on at the example of largest loss (Tramer and Boneh, 2019);
- avg: the same examples, and the mean of their losses;
- msd: one attack, whose every step tries one in each norm from where it is, and takes that of largest loss;
- adaptive-like: max, with budgets: after each epoch the radius of a norm that gives the largest loss more
  often than the others is made smaller, r_k <- r_k exp(-rate (K s_k - 1)) for its share s_k of the samples,
  all divided by the largest, so that no norm dominates.

The l2 and l1 balls that surround the linf ball have radii eps sqrt(d) and eps d, of inputs of d numbers;
``--l2-share`` and ``--l1-share`` are shares of those. The defaults are those of the paper's CIFAR-10 (.03, .5
and 12), and a share of 0 leaves the norm out. How robust each class is in each norm, and the worst cell, is
shown by ``deep.report RUN --norm linf l2 l1 --eps EPS EPS EPS``.

Deviations: avg takes one step of the optimiser a batch, as in the paper, where the authors' code
(locuslab/robust_union) takes one for each norm; one l2 radius for all rules, where there max and avg train
with .3; 10 steps of a quarter of the radius, where there are 50; steps in l1 move 1 % of the coordinates,
there 5 to 20; attacks normalise by the running statistics, there by those of the batch. The rule of the
adaptive budgets of Wang et al., CVPR 2023, is not known to us: the one here is ours, and only like it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball, Norm, each
from deep.attacks.pgd import attacking, cross_entropy, gradient_of, pgd
from deep.methods.base import Context, Epoch, Method
from deep.methods.trades import smoothed
from deep.nets.folded import folded
from theory.common.fields import check_fields, setting

__all__ = ["METHOD", "Union", "balanced", "steepest", "worst_of"]


def worst_of(model: nn.Module, sets: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the example of each sample with the largest cross-entropy, its loss, and its place.

    Args:
        model: returns logits; it gets no gradient.
        sets: k examples of each sample, shape (k, n, ...).
        y: labels, shape (n,).

    Returns:
        Shapes (n, ...), (n,) and (n,), places from 0 to k - 1.
    """
    with torch.no_grad():
        losses = torch.stack([F.cross_entropy(model(adv), y, reduction="none") for adv in sets])
    highest, place = losses.max(0)
    return sets[place, torch.arange(len(y), device=y.device)], highest, place


def steepest(
    model: nn.Module, balls: Sequence[Ball], start: Tensor, steps: Sequence[Tensor], count: int, y: Tensor
) -> Tensor:
    """Return the example of largest loss that multi steepest descent visits (Maini et al., algorithm 1).

    Args:
        model: returns logits, with parameters that need no gradient.
        balls: one for each norm; each iterate is in one of them.
        start: where it starts, projected to the first ball, shape (n, ...).
        steps: step of each sample in each norm, shape (n,) each.
        count: number of steps.
        y: labels, shape (n,).
    """
    adv = best = balls[0].project(start)
    highest = torch.full(y.shape, -math.inf, device=y.device)
    for _ in range(count):
        adv.requires_grad_(True)
        gradient = gradient_of(cross_entropy(y)(model(adv)), adv).nan_to_num(0.0)
        tried = [ball.ascend(adv.detach(), gradient, step) for ball, step in zip(balls, steps, strict=True)]
        adv, loss, _ = worst_of(model, torch.stack(tried), y)
        best = torch.where(each(loss > highest, adv), adv, best)
        highest = torch.maximum(loss, highest)
    return best.detach()


def balanced(budgets: Tensor, wins: Tensor, rate: float) -> Tensor:
    """Return budgets of norms, shape (k,), after an epoch; those of norms that win too often are smaller.

    Args:
        budgets: of the epoch, in units of each norm's radius, the largest 1, shape (k,).
        wins: samples whose loss was largest in each norm, shape (k,).
        rate: how fast they move.
    """
    share = wins / wins.sum().clamp(min=1)
    moved = budgets * torch.exp(-rate * (len(wins) * share - 1))
    return moved / moved.max()


class Union(Method):
    """Adversarial training in several norms."""

    attacks = ("pgd",)  # of a step in l1 one per cent of the coordinates move: one step is no attack

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        rule: Literal["max", "avg", "msd", "adaptive-like"] = setting(
            "msd", "what is made of the norms: max, avg, msd or adaptive-like"
        )
        l2_share: float = setting(0.3, "l2 radius, in units of eps sqrt(d); no l2 if 0", low=0, high=1)
        l1_share: float = setting(0.13, "l1 radius, in units of eps d; no l1 if 0", low=0, high=1)
        rate: float = setting(0.1, "of the budgets of adaptive-like", low=0, high=10)

        def __post_init__(self) -> None:
            """Check every value."""
            check_fields(self)

    params: Params

    def __init__(self, params: Any, context: Context) -> None:
        """Start with whole budgets and inputs of a size that is not known."""
        super().__init__(params, context)
        device = context.generator.device
        self.budgets, self.wins = torch.ones(len(self.norms), device=device), self._none()
        self.size = 0

    def _none(self) -> Tensor:
        return torch.zeros(len(self.norms), device=self.context.generator.device)

    @property
    def norms(self) -> list[Norm]:
        """Return the norms that are trained for, linf first."""
        shares: dict[Norm, float] = {"linf": 1.0, "l2": self.params.l2_share, "l1": self.params.l1_share}
        return [norm for norm, share in shares.items() if share > 0]

    def radii(self) -> list[float]:
        """Return the radius of each norm, in units of eps; of inputs not yet seen, of one number."""
        size = max(self.size, 1)
        whole = {
            "linf": 1.0,
            "l2": self.params.l2_share * math.sqrt(size),
            "l1": self.params.l1_share * size,
        }
        return [whole[norm] * budget for norm, budget in zip(self.norms, self.budgets.tolist(), strict=True)]

    def balls(self, x: Tensor, y: Tensor) -> list[Ball]:
        """Return the balls of each norm around inputs x with labels y."""
        self.size, eps = x[0].numel(), self.eps(y)
        return [Ball(x, r * eps, norm) for norm, r in zip(self.norms, self.radii(), strict=True)]

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the example of each sample by the rule; of avg those of all norms, shape (k, n, ...)."""
        balls, noise, count = self.balls(x, y), self.context.noise(len(y)), self.context.steps
        steps, bn = [self.step(y, ball.eps) for ball in balls], self.context.batch_norm
        if self.params.rule == "msd":
            with attacking(model, bn):
                return steepest(folded(model), balls, balls[0].uniform(noise), steps, count, y)
        made = [
            pgd(model, ball, ball.uniform(noise.fork(k)), step, count, cross_entropy(y), batch_norm=bn)
            for k, (ball, step) in enumerate(zip(balls, steps, strict=True))
        ]
        sets = torch.stack(made)
        if self.params.rule == "avg":
            return sets
        with attacking(model, bn):
            adv, _, place = worst_of(folded(model), sets, y)
        won = torch.bincount(place, minlength=len(balls)).to(self.wins)
        self.wins = self.wins + self.context.world.total(won)
        return adv

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean cross-entropy at the examples, over the norms too with avg."""
        if self.params.rule != "avg":
            return super().loss(model, x, y, adv)
        logits = model(adv.flatten(0, 1))
        return smoothed(logits, y.repeat(len(adv)), self.context.label_smoothing).mean()

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Count anew."""
        self.wins = self._none()

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Move the budgets."""
        if self.params.rule == "adaptive-like":
            self.budgets = balanced(self.budgets, self.wins, self.params.rate)

    def state(self) -> dict[str, Any]:
        """Return the radius of each norm, and of how many samples of the epoch it gave the largest loss."""
        radii, wins = [r * self.context.eps for r in self.radii()], self.wins.tolist()
        state: dict[str, Any] = {"norm_radii": dict(zip(self.norms, radii, strict=True))}
        if self.params.rule in ("max", "adaptive-like"):
            state["norm_wins"] = dict(zip(self.norms, wins, strict=True))
        return state


METHOD = Union
