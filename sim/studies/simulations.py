"""Simulations of statements: train, sample, count, and what the counts mean for theory and the claim."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from scipy.special import ndtri

from sim.learning.biases import Learnt, draw_scores, learn, threshold_scale
from sim.studies.study import SimulationStudy, StudyOutcome
from sim.testing.bands import RESOLUTION, Band, NamedVerdict, Verdict, judge, judge_mean
from theory.claims.simulation import Distribution, Rate, Simulation, Training
from theory.claims.statement import Setting, Statement
from theory.results.counts import exact_interval

__all__ = ["SIZES", "Sizes", "Tried", "attempt", "settings_to_try"]

LOWEST = 0.02
"""Smallest predicted rate (and distance from 1) of a setting that is tried: smaller ones show little."""

LARGEST_WIDTH = 0.015
"""Largest effect of chance on a rate of a setting that is tried."""
CANDIDATES = 8
"""Settings that are looked at for each one that is tried."""


@dataclass(frozen=True)
class Sizes:
    """Samples of each class, or values: to learn a threshold, to learn by a loss, to count, to average."""

    threshold: int = 2_000_000
    loss: int = 300_000
    test: int = 1_000_000
    values: int = 100_000


SIZES = Sizes()


@dataclass(frozen=True)
class Tried:
    """StudyOutcome of one simulation.

    Args:
        rates: verdict of each rate: does theory predict what was counted?
        claim: verdict of the statement: predicted and measured lhs - rhs. "differs" means that it fails here.
    """

    rates: tuple[Verdict, ...]
    claim: Verdict


def settings_to_try(statement: Statement, n: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """Return n settings of a statement at which samples can show something.

    The counterexample of a refuted claim comes first. The others are drawn from the statement's domain until
    there are `CANDIDATES` for each place whose rates can be counted; those with the largest power are kept.
    """
    found: list[tuple[float, dict[str, float]]] = []
    for _ in range(1000 * n):
        setting = statement.draw(rng)
        simulation = statement.simulation(setting)
        if simulation and all(_countable(rate) for rate in simulation.rates):
            found.append((_power(statement.kind, simulation), setting))
        if len(found) == CANDIDATES * n:
            break
    best = [setting for _, setting in sorted(found, key=lambda pair: -pair[0])]
    first = [dict(statement.counterexample)] if statement.counterexample else []
    return [*first, *best][:n]


def _power(kind: str, simulation: Simulation) -> float:
    """Return |lhs - rhs| (1 for an equality) in units of what chance in the rates would do to it."""
    rates = [rate.predicted for rate in simulation.rates]
    boxes = [
        (p - _half_width(rate), p + _half_width(rate))
        for p, rate in zip(rates, simulation.rates, strict=True)
    ]
    values = [simulation.claim(corner) for corner in product(*boxes)]
    return (abs(simulation.claim(rates)) if kind == ">=" else 1.0) / (max(values) - min(values))


def _half_width(rate: Rate) -> float:
    """Return how far chance may take a rate: counts, and the slow convergence of a threshold."""
    if rate.training is None or rate.distribution is None or rate.training.rule != "threshold":
        return 0.002
    shift = 2 * threshold_scale(rate.training, SIZES.threshold)
    ends = [rate.distribution.error(rate.training.bias + s, rate.label) for s in (-shift, shift)]
    return 0.002 + abs(ends[1] - ends[0]) / 2


def _countable(rate: Rate) -> bool:
    """Say whether the classifier is no constant one, and chance far smaller than the rate."""
    if rate.training is not None:
        errors = [rate.training.distribution.error(rate.training.bias, y) for y in (1, -1)]
        if not all(LOWEST <= error <= 1 - LOWEST for error in errors):
            return False
    return _half_width(rate) < LARGEST_WIDTH and (
        LOWEST <= rate.predicted <= 1 - LOWEST or rate.sample is not None
    )


def attempt(
    statement: Statement, setting: Setting, rng: np.random.Generator, *, alpha: float, sizes: Sizes = SIZES
) -> Tried:
    """Try a statement at a setting.

    Args:
        statement: what to try.
        setting: in its domain, with a simulation.
        rng: source of all samples.
        alpha: probability that a true theory, or a true claim, is called wrong here.
        sizes: how much to sample.
    """
    simulation = statement.simulation(setting)
    assert simulation is not None, setting
    budget = alpha / (len(simulation.rates) + 1)
    learnt: dict[Training, Learnt] = {}
    measured = []
    for rate in simulation.rates:
        if rate.training is not None and rate.training not in learnt:
            smooth = rate.training.rule in ("logistic", "exponential", "hinge")
            learnt[rate.training] = learn(rate.training, sizes.loss if smooth else sizes.threshold, rng)
        measured.append(_measure(rate, learnt, rng, sizes))
    verdicts = tuple(m.verdict(budget) for m in measured)
    return Tried(verdicts, _claim(statement.kind, simulation, measured, budget))


@dataclass(frozen=True)
class _Measured:
    """What was seen of a rate: counts of errors, or a mean and its standard error."""

    rate: Rate
    learnt: Learnt | None
    errors: int
    n: int
    mean: float
    deviation: float | None = None

    def band(self, alpha: float) -> Band:
        """Return the rates that training may leave, except with probability alpha."""
        rate = self.rate
        if rate.training is None or rate.distribution is None or self.learnt is None or not self.learnt.scale:
            return rate.predicted, rate.predicted
        width = self.learnt.half_width(alpha)
        low, middle, high = sorted(
            rate.distribution.error(rate.training.bias + shift, rate.label) for shift in (-width, 0.0, width)
        )
        return max(0.0, rate.predicted + low - middle), min(1.0, rate.predicted + high - middle)

    def interval(self, alpha: float) -> Band:
        """Return an interval for the rate of what theory speaks of: chance of the count, then of training."""
        if self.deviation is None:
            low, high = (float(v) for v in exact_interval(self.errors, self.n, 1 - alpha / 2))
        else:
            half_width = -float(ndtri(alpha / 4)) * self.deviation
            low, high = self.mean - half_width, self.mean + half_width
        below, above = self.band(alpha / 2)
        low, high = low - (above - self.rate.predicted), high + (self.rate.predicted - below)
        return (max(low, 1e-12), min(high, 1 - 1e-12)) if self.deviation is None else (low, high)

    def verdict(self, alpha: float) -> Verdict:
        """Return what the count says of the predicted rate."""
        if self.deviation is None:
            return judge(self.rate.predicted, self.band(alpha / 2), self.errors, self.n, alpha)
        return judge_mean(self.rate.predicted, self.mean, self.deviation, alpha)


def _measure(
    rate: Rate, learnt: Mapping[Training, Learnt], rng: np.random.Generator, sizes: Sizes
) -> _Measured:
    if rate.sample is not None:
        chunks = [rate.sample(rng, min(10_000, sizes.values)) for _ in range(max(1, sizes.values // 10_000))]
        values = np.concatenate(chunks)
        if np.isin(values, (0.0, 1.0)).all():
            return _Measured(rate, None, int(values.sum()), len(values), float(values.mean()))
        deviation = float(values.std(ddof=1)) / len(values) ** 0.5
        return _Measured(rate, None, 0, len(values), float(values.mean()), deviation)
    assert rate.training is not None and rate.distribution is not None
    result = learnt[rate.training]
    errors = _errors(rate.distribution, result.bias, rate.label, sizes.test, rng)
    return _Measured(rate, result, errors, sizes.test, errors / sizes.test)


def _errors(distribution: Distribution, bias: float, label: int, n: int, rng: np.random.Generator) -> int:
    """Count the errors of sign(score + bias) among n fresh samples of a class."""
    return int((label * (draw_scores(distribution, label, n, rng) + bias) <= 0).sum())


def _claim(kind: str, simulation: Simulation, measured: Sequence[_Measured], alpha: float) -> Verdict:
    """Judge lhs - rhs by its range over the intervals of its rates; the claim is monotone in each."""
    predicted = simulation.claim([r.predicted for r in simulation.rates])
    value = simulation.claim([min(max(m.mean, 1e-12), _most(m)) for m in measured])
    span = partial(_range, simulation, measured)
    low, high = span(alpha)

    def wrong(a: float) -> bool:
        bounds = span(a)
        return bounds[1] < 0 or (kind == "=" and bounds[0] > 0)

    p_value = _smallest(wrong)
    detectable = max(high - value, value - low)
    sure = low >= 0 if kind == ">=" else detectable <= RESOLUTION * (1 + abs(predicted))
    verdict = "differs" if wrong(alpha) else "agrees" if sure else "cannot tell"
    return Verdict(predicted, value, span(0.05), p_value, detectable, verdict)


def _most(measured: _Measured) -> float:
    return 1 - 1e-12 if measured.deviation is None else np.inf


def _range(simulation: Simulation, measured: Sequence[_Measured], alpha: float) -> Band:
    boxes = [m.interval(alpha / len(measured)) for m in measured]
    values = [simulation.claim(corner) for corner in product(*boxes)]
    return min(values), max(values)


def _smallest(wrong: Callable[[float], bool]) -> float:
    """Return the smallest level at which a claim is wrong, by bisection of its logarithm; 1 if none."""
    if not wrong(0.5):
        return 1.0
    low, high = -60.0, float(np.log(0.5))
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if wrong(float(np.exp(middle))) else (middle, high)
    return float(np.exp(high))


def study_of_statement(statement: Statement) -> SimulationStudy:
    """Return the study that tries a statement."""

    def run(setting: Mapping[str, Any], rng: np.random.Generator, alpha: float) -> StudyOutcome:
        tried = attempt(statement, setting, rng, alpha=alpha)
        rates = [NamedVerdict(f"rate {i + 1}", verdict) for i, verdict in enumerate(tried.rates)]
        return StudyOutcome([*rates, NamedVerdict("claim", tried.claim, claim=True)])

    return SimulationStudy(
        summary=statement.claim,
        settings=lambda n, rng: settings_to_try(statement, n, rng),
        run=run,
        refuted=statement.status == "refuted",
    )
