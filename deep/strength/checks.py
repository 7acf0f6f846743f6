"""The checks of ``deep.sanity``: each says for which samples something is amiss with the attack of a run."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deep.attacks.ball import Ball
from deep.attacks.binarised import plant, readable
from deep.attacks.blackbox import random_points, square
from deep.attacks.evaluate import Attack, evaluate
from deep.attacks.linear_oracle import Linear, worst_margins
from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking, predicted, without_gradient
from deep.data import Split
from deep.runs.reload import Run
from deep.strength.check_results import Check, Flags
from deep.training.seeds import stream
from theory.common.digits import percent

__all__ = ["CHECKS", "Subject", "every_check"]

PLATEAU = (1, 10, 20, 50, 100)
LINEAR_SAMPLES = 5000  # that the linear network is fitted to, at most


@dataclass(frozen=True)
class Subject:
    """What the checks look at.

    Args:
        model: the network.
        attacks: plain PGD and the targeted attack, of equal norm, radius and bounds.
        split: the samples tried.
        left: which of them were found to withstand the attacks, shape (n,).
        train: samples that a linear network is fitted to.
        classes: names of the classes.
        seed: seed of the checks.
        queries: of the square attack.
    """

    model: nn.Module
    attacks: tuple[Attack, ...]
    split: Split
    left: Flags
    train: Split
    classes: Sequence[str]
    seed: int
    queries: int

    @classmethod
    def of(cls, run: Run, per_class: int, queries: int) -> "Subject":
        """Return the first ``per_class`` test samples of every class of a run, or all there are."""
        chosen, seed = run.data.test.first(per_class), stream(run.settings.seed, "test")
        left = run.evaluation.ok_attacked[chosen.cpu().numpy()]
        data, attacks = run.data, run.attacks
        return cls(run.model, attacks, data.test.take(chosen), left, data.train, data.classes, seed, queries)

    @cached_property
    def withstood(self) -> Flags:
        """Return which samples withstand the attacks of the run, made again."""
        return self.ok(*self.attacks)

    def ok(self, *attacks: Attack, model: nn.Module | None = None) -> Flags:
        """Return which samples withstand attacks on a model, the run's if None."""
        model = self.model if model is None else model
        return evaluate(model, self.split, *attacks, seed=self.seed).ok_attacked

    def at(self, eps: float) -> tuple[Attack, ...]:
        """Return the attacks of the run with another radius."""
        return tuple(replace(attack, eps=eps) for attack in self.attacks)

    def ball(self, eps: float, chosen: Tensor | slice = slice(None)) -> Ball:
        """Return the balls of radius eps of some of the samples."""
        x = self.split.inputs(chosen)
        radius = torch.full((len(x),), eps, dtype=x.dtype, device=x.device)
        return Ball(x, radius, self.attacks[0].norm, self.attacks[0].bounds)

    @property
    def widest(self) -> float:
        """Return the radius of a ball that holds all inputs, inf if they have no bounds."""
        attack = self.attacks[0]
        if attack.bounds is None:
            return math.inf
        size = math.prod(self.split.images.shape[1:])
        power = {"linf": 0.0, "l2": 0.5, "l1": 1.0}[attack.norm]
        return float((attack.bounds[1] - attack.bounds[0]) * size**power)

    def broken_by(self, attack: Callable[[Ball, Tensor, Noise], Tensor]) -> Flags:
        """Return which samples withstand the attacks of the run and not another one.

        Args:
            attack: from balls, labels and random numbers to whether each sample withstands it.
        """
        chosen = torch.from_numpy(self.withstood).nonzero().squeeze(1).to(self.split.index.device)
        noise = Noise.of(self.seed, self.split.index[chosen]).fork(0)
        ok = attack(self.ball(self.attacks[0].eps, chosen), self.split.labels[chosen], noise)
        amiss = np.zeros(len(self.split), dtype=bool)
        amiss[chosen.cpu().numpy()] = ~ok.cpu().numpy()
        return amiss

    def check(self, name: str, says: str, amiss: Flags, **more: Any) -> Check:
        """Return a check of every sample, or of those that ``chosen`` says."""
        chosen = more.pop("chosen", slice(None))
        labels = self.split.labels[chosen].cpu().numpy()
        return Check(name, says, amiss, labels, self.classes, **more)


def reproduced(s: Subject) -> Check:
    """The flags of the run are made again."""
    return s.check("reproduced", "differs from the flags left", s.withstood != s.left)


def zero_radius(s: Subject) -> Check:
    """With eps = 0 the attacks do nothing, and logits do not depend on the rest of the batch."""
    with attacking(s.model), torch.no_grad():
        alone = torch.cat([predicted(s.model(x)) for x in s.split.inputs(slice(None)).split(7)])
    right = (alone == s.split.labels).cpu().numpy()
    return s.check("eps = 0", "is not as when clean, in batches of 7", s.ok(*s.at(0.0)) != right)


def unbounded(s: Subject) -> Check | None:
    """With a radius as large as the data nothing withstands."""
    if math.isinf(s.widest):
        return None
    return s.check("a unbounded", f"withstands eps = {s.widest:g}", s.ok(*s.at(s.widest)), strict=True)


def monotone(s: Subject) -> Check:
    """A larger radius breaks what a smaller one does."""
    eps = s.attacks[0].eps
    oks = [s.ok(*s.at(eps / 2)), s.withstood, s.ok(*s.at(min(s.widest, 2 * eps)))]
    amiss = np.any([larger & ~smaller for smaller, larger in zip(oks, oks[1:], strict=False)], axis=0)
    figures = f"errors at eps / 2, eps, 2 eps: {_errors(*oks)}"
    return s.check("b monotone", "withstands a larger radius alone", amiss, figures=figures)


def one_step(s: Subject) -> Check:
    """Many steps break what one of size eps does."""
    once = s.ok(replace(s.attacks[0], steps=1, step=1.0))
    return s.check(
        "c iterative", "is broken in one step", s.withstood & ~once, figures=f"error {_errors(once)}"
    )


def black_box(s: Subject) -> Check | None:
    """The square attack, which is for images, breaks nothing that withstands."""
    if s.split.images.dim() != 4:
        return None
    amiss = s.broken_by(lambda ball, y, noise: square(s.model, ball, y, noise, s.queries))
    return s.check("d black box", f"is broken by {s.queries} square queries", amiss)


def plateau(s: Subject) -> Check:
    """More steps and restarts break little more."""
    plain, targeted = s.attacks
    longer = replace(plain, steps=100, restarts=5), replace(targeted, steps=50)

    def withstood(ball: Ball, y: Tensor, noise: Noise) -> Tensor:
        with attacking(s.model), torch.no_grad():
            clean = s.model(ball.x)
        ends = [attack.answers(s.model, ball.x, y, clean, noise) for attack in longer]
        return (ends[0] == y) & (ends[1] == y)

    steps = [s.ok(replace(plain, steps=steps)) for steps in PLATEAU]
    figures = f"errors of plain PGD at {', '.join(map(str, PLATEAU))} steps: {_errors(*steps)}"
    says = "is broken by 100 steps x 5 or 50 targeted"
    return s.check("e plateau", says, s.broken_by(withstood), figures=figures)


def random_search(s: Subject) -> Check:
    """Random points of the ball break nothing that withstands."""
    amiss = s.broken_by(lambda ball, y, noise: random_points(s.model, ball, y, noise, 100))
    return s.check("f random", "is broken by 100 random points", amiss)


def zero_gradient(s: Subject) -> Check:
    """The gradient of the loss at the sample is finite and not exactly 0."""
    parts = [slice(begin, begin + 500) for begin in range(0, len(s.split), 500)]
    amiss = [without_gradient(s.model, s.split.inputs(part), s.split.labels[part]) for part in parts]
    says = "has a gradient of exactly 0 or not finite"
    return s.check("g gradient", says, torch.cat(amiss).cpu().numpy())


def binarised(s: Subject, most: int = 100) -> Check | None:
    """The attack finds adversarial examples that are known to be there; it fails if none can be planted.

    A network whose last layer cannot be replaced, as it has no linear one or is a graph, is not checked.
    """
    if not readable(s.model, s.split.inputs(slice(0, 1))):
        return None
    step = max(1, len(s.split) // most)
    chosen = torch.arange(0, len(s.split), step, device=s.split.index.device)
    attack, noise = s.attacks[0], Noise.of(s.seed, s.split.index[chosen]).fork(3)
    ball = s.ball(attack.eps, chosen)
    planted, solvable = plant(s.model, ball, noise)
    found = planted.found(ball, attack.step * ball.eps, attack.steps, noise)
    by_chance = ~random_points(planted, ball, torch.zeros_like(chosen), noise.fork(4), 100) & solvable
    count = int(solvable.sum())
    figures = f"{count} planted; 100 random points find {int(by_chance.sum())}"
    tried = solvable if count else ~solvable
    amiss = (~found | ~solvable)[tried].cpu().numpy()
    says = "has one that PGD does not find"
    return s.check("h binarised", says, amiss, chosen=chosen[tried], figures=figures)


def _errors(*oks: Flags) -> str:
    return ", ".join(percent((~ok).mean()) for ok in oks)


def linear_oracle(s: Subject) -> Iterator[Check]:
    """On a linear network for the data no attack beats the exact bound, and multi-targeted PGD equals it."""
    train = s.train
    every = max(1, len(train) // LINEAR_SAMPLES)
    model = Linear.fit(train.inputs(slice(None, None, every)), train.labels[::every], len(s.classes))
    model = model.to(s.split.inputs(slice(0, 1)).dtype)
    beaten, differs, missed = (np.zeros(len(s.split), dtype=bool) for _ in range(3))
    for factor in (0.25, 0.5, 1, 2):
        attacks = s.at(min(s.widest, factor * s.attacks[0].eps))
        bound = worst_margins(model, s.ball(attacks[0].eps), s.split.labels).cpu().numpy()
        plain, targeted = (s.ok(attack, model=model) for attack in attacks)
        beaten |= ~(plain & targeted) & (bound > 1e-5)
        differs |= targeted != (bound > 0)
        missed |= plain & (bound <= 0)
    yield s.check("i linear bound", "is broken against the exact bound", beaten, strict=True)
    figures = f"plain PGD misses {percent(missed.mean())} % at four radii"
    yield s.check("i linear exact", "is not decided exactly", differs, figures=figures)


def every_check(s: Subject) -> Iterator[Check]:
    """Yield all checks that can be made."""
    for check in CHECKS:
        made = check(s)
        if made is not None:
            yield made
    yield from linear_oracle(s)


CHECKS: tuple[Callable[[Subject], Check | None], ...] = (
    reproduced,
    zero_radius,
    unbounded,
    monotone,
    one_step,
    black_box,
    plateau,
    random_search,
    zero_gradient,
    binarised,
)
