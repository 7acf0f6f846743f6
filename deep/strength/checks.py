"""The checks of ``deep.sanity``: each says for which samples something is amiss with the attack of a run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deep.attacks.ball import Ball
from deep.attacks.binarised import plant
from deep.attacks.blackbox import random_points, square
from deep.attacks.evaluate import Attack, evaluate
from deep.attacks.linear_oracle import Linear, worst_margins
from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking, predicted, without_gradient
from deep.data import Split
from deep.runs.reload import Run
from deep.training.seeds import stream
from theory.common.digits import percent

__all__ = ["CHECKS", "Check", "Subject"]

Flags = npt.NDArray[np.bool_]
OVERALL, OF_A_CLASS = 0.01, 0.05
"""The share of all samples, and of those of a class, that may be amiss; one sample always may be.

Both are below the 95 % half-width of an error counted on 1000 samples and on 100 of a class.
"""
PLATEAU = (1, 10, 20, 50, 100)
LINEAR_SAMPLES = 5000  # that the linear network is fitted to, at most


@dataclass(frozen=True)
class Check:
    """A check, for every class and over all.

    Args:
        name: what is checked.
        says: what a sample amiss is.
        amiss: for each sample tried, shape (n,).
        labels: their classes, shape (n,).
        classes: names of the classes.
        strict: whether no sample may be amiss.
        figures: what else was found, for a person.
    """

    name: str
    says: str
    amiss: Flags
    labels: npt.NDArray[np.int64]
    classes: Sequence[str]
    strict: bool = False
    figures: str = ""

    @property
    def overall(self) -> float:
        """Return the share of samples amiss, 0 if none was tried."""
        return float(self.amiss.mean()) if len(self.amiss) else 0.0

    @property
    def per_class(self) -> dict[str, float]:
        """Return the share of samples amiss of each class that was tried."""
        tried = [(c, self.amiss[self.labels == i]) for i, c in enumerate(self.classes)]
        return {c: float(flags.mean()) for c, flags in tried if len(flags)}

    @property
    def passed(self) -> bool:
        """Return whether no more is amiss than may be, overall and in each class."""
        if self.strict:
            return not self.amiss.any()
        groups = [(OVERALL, self.amiss)]
        groups += [(OF_A_CLASS, self.amiss[self.labels == i]) for i in range(len(self.classes))]
        return all(int(flags.sum()) <= max(1, limit * len(flags)) for limit, flags in groups)

    def as_json(self) -> dict[str, Any]:
        """Return the check as JSON."""
        shares = {"overall": self.overall, "per_class": self.per_class}
        return {
            "name": self.name,
            "says": self.says,
            "passed": self.passed,
            **shares,
            "figures": self.figures,
        }

    def row(self) -> list[str]:
        """Return the check as a row of the table."""
        worst = max(self.per_class, key=lambda c: self.per_class[c], default="")
        share = f"{percent(self.per_class[worst])} ({worst})" if worst else "-"
        verdict = "pass" if self.passed else "FAIL"
        return [self.name, verdict, percent(self.overall), share, self.says, self.figures]


@dataclass(frozen=True)
class Subject:
    """What the checks look at.

    Args:
        run: the run.
        split: the test samples tried.
        chosen: their places in the test split, shape (n,).
        seed: seed of the checks.
        queries: of the square attack.
    """

    run: Run
    split: Split
    chosen: Tensor
    seed: int
    queries: int

    @classmethod
    def of(cls, run: Run, per_class: int, queries: int) -> "Subject":
        """Return the first ``per_class`` test samples of every class of a run, or all there are."""
        test = run.data.test
        chosen = test.first(per_class)
        return cls(run, test.take(chosen), chosen, stream(run.settings.seed, "test"), queries)

    @cached_property
    def withstood(self) -> Flags:
        """Return which samples withstand the attacks of the run, made again."""
        return self.ok(*self.run.attacks)

    def ok(self, *attacks: Attack, model: nn.Module | None = None) -> Flags:
        """Return which samples withstand attacks on a model, the run's if None."""
        model = self.run.model if model is None else model
        return evaluate(model, self.split, *attacks, seed=self.seed).ok_attacked

    def at(self, eps: float) -> tuple[Attack, ...]:
        """Return the attacks of the run with another radius."""
        return tuple(replace(attack, eps=eps) for attack in self.run.attacks)

    def ball(self, eps: float, chosen: Tensor | slice = slice(None)) -> Ball:
        """Return the balls of radius eps of some of the samples."""
        x = self.split.inputs(chosen)
        return Ball(x, torch.full((len(x),), eps, device=x.device))

    def broken_by(self, attack: Callable[[Ball, Tensor, Noise], Tensor]) -> Flags:
        """Return which samples withstand the attacks of the run and not another one.

        Args:
            attack: from balls, labels and random numbers to whether each sample withstands it.
        """
        chosen = torch.from_numpy(self.withstood).nonzero().squeeze(1).to(self.chosen.device)
        noise = Noise.of(self.seed, self.split.index[chosen]).fork(0)
        ok = attack(self.ball(self.run.attacks[0].eps, chosen), self.split.labels[chosen], noise)
        amiss = np.zeros(len(self.split), dtype=bool)
        amiss[chosen.cpu().numpy()] = ~ok.cpu().numpy()
        return amiss

    def check(self, name: str, says: str, amiss: Flags, **more: Any) -> Check:
        """Return a check of every sample, or of those that ``chosen`` says."""
        chosen = more.pop("chosen", slice(None))
        labels = self.split.labels[chosen].cpu().numpy()
        return Check(name, says, amiss, labels, self.run.data.classes, **more)


def reproduced(s: Subject) -> Check:
    """The flags of the run are made again."""
    left = s.run.evaluation.ok_attacked[s.chosen.cpu().numpy()]
    return s.check("reproduced", "differs from flags.npz", s.withstood != left)


def zero_radius(s: Subject) -> Check:
    """With eps = 0 the attacks do nothing, and logits do not depend on the rest of the batch."""
    with attacking(s.run.model), torch.no_grad():
        alone = torch.cat([predicted(s.run.model(x)) for x in s.split.inputs(slice(None)).split(7)])
    right = (alone == s.split.labels).cpu().numpy()
    return s.check("eps = 0", "is not as when clean, in batches of 7", s.ok(*s.at(0.0)) != right)


def unbounded(s: Subject) -> Check:
    """With a radius as large as the data nothing withstands."""
    return s.check("a unbounded", "withstands eps = 1", s.ok(*s.at(1.0)), strict=True)


def monotone(s: Subject) -> Check:
    """A larger radius breaks what a smaller one does."""
    eps = s.run.attacks[0].eps
    oks = [s.ok(*s.at(eps / 2)), s.withstood, s.ok(*s.at(min(1.0, 2 * eps)))]
    amiss = np.any([larger & ~smaller for smaller, larger in zip(oks, oks[1:], strict=False)], axis=0)
    figures = f"errors at eps / 2, eps, 2 eps: {_errors(*oks)}"
    return s.check("b monotone", "withstands a larger radius alone", amiss, figures=figures)


def one_step(s: Subject) -> Check:
    """Many steps break what one of size eps does."""
    once = s.ok(replace(s.run.attacks[0], steps=1, step=1.0))
    return s.check(
        "c iterative", "is broken in one step", s.withstood & ~once, figures=f"error {_errors(once)}"
    )


def black_box(s: Subject) -> Check:
    """The square attack breaks nothing that withstands."""
    amiss = s.broken_by(lambda ball, y, noise: square(s.run.model, ball, y, noise, s.queries))
    return s.check("d black box", f"is broken by {s.queries} square queries", amiss)


def plateau(s: Subject) -> Check:
    """More steps and restarts break little more."""
    plain, targeted = s.run.attacks
    longer = replace(plain, steps=100, restarts=5), replace(targeted, steps=50)

    def withstood(ball: Ball, y: Tensor, noise: Noise) -> Tensor:
        with attacking(s.run.model), torch.no_grad():
            clean = s.run.model(ball.x)
        ends = [attack.answers(s.run.model, ball.x, y, clean, noise) for attack in longer]
        return (ends[0] == y) & (ends[1] == y)

    steps = [s.ok(replace(plain, steps=steps)) for steps in PLATEAU]
    figures = f"errors of plain PGD at {', '.join(map(str, PLATEAU))} steps: {_errors(*steps)}"
    says = "is broken by 100 steps x 5 or 50 targeted"
    return s.check("e plateau", says, s.broken_by(withstood), figures=figures)


def random_search(s: Subject) -> Check:
    """Random points of the ball break nothing that withstands."""
    amiss = s.broken_by(lambda ball, y, noise: random_points(s.run.model, ball, y, noise, 100))
    return s.check("f random", "is broken by 100 random points", amiss)


def zero_gradient(s: Subject) -> Check:
    """The gradient of the loss at the sample is finite and not exactly 0."""
    parts = [slice(begin, begin + 500) for begin in range(0, len(s.split), 500)]
    amiss = [without_gradient(s.run.model, s.split.inputs(part), s.split.labels[part]) for part in parts]
    says = "has a gradient of exactly 0 or not finite"
    return s.check("g gradient", says, torch.cat(amiss).cpu().numpy())


def binarised(s: Subject, most: int = 100) -> Check:
    """The attack finds adversarial examples that are known to be there; it fails if none can be planted."""
    step = max(1, len(s.split) // most)
    chosen = torch.arange(0, len(s.split), step, device=s.chosen.device)
    attack, noise = s.run.attacks[0], Noise.of(s.seed, s.split.index[chosen]).fork(3)
    ball = s.ball(attack.eps, chosen)
    planted, solvable = plant(s.run.model, ball, noise)
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
    train = s.run.data.train
    every = max(1, len(train) // LINEAR_SAMPLES)
    model = Linear.fit(train.inputs(slice(None, None, every)), train.labels[::every], len(s.run.data.classes))
    model = model.to(s.split.inputs(slice(0, 1)).dtype)
    beaten, differs, missed = (np.zeros(len(s.split), dtype=bool) for _ in range(3))
    for factor in (0.25, 0.5, 1, 2):
        attacks = s.at(min(1.0, factor * s.run.attacks[0].eps))
        bound = worst_margins(model, s.ball(attacks[0].eps), s.split.labels).cpu().numpy()
        plain, targeted = (s.ok(attack, model=model) for attack in attacks)
        beaten |= ~(plain & targeted) & (bound > 1e-5)
        differs |= targeted != (bound > 0)
        missed |= plain & (bound <= 0)
    yield s.check("i linear bound", "is broken against the exact bound", beaten, strict=True)
    figures = f"plain PGD misses {percent(missed.mean())} % at four radii"
    yield s.check("i linear exact", "is not decided exactly", differs, figures=figures)


def every_check(s: Subject) -> Iterator[Check]:
    """Yield all checks."""
    for check in CHECKS:
        yield check(s)
    yield from linear_oracle(s)


CHECKS = (
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
