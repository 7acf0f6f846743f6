"""What an experiment must do to try a statement: which classifiers to train, which errors to count.

A statement describes its simulation here, without doing it; `sim` trains, samples and counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from theory.variants.stable import stable_cdf

__all__ = ["Distribution", "Rate", "Training", "Simulation", "counted", "rates_of"]

Sampler = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """The scores w.x of two classes under an adversary: y (margin + width_y noise) for y = +1, -1.

    Args:
        margin: m, the mean score less what the adversary takes.
        widths: standard deviations (scales, if ``alpha`` < 2) of class +1 and of class -1.
        alpha: of the symmetric stable noise; 2 means standard normal.
    """

    margin: float
    widths: tuple[float, float]
    alpha: float = 2.0

    def error(self, bias: float, label: int) -> float:
        """Return the probability that sign(score + bias) is not the label, +1 or -1."""
        z = (-label * bias - self.margin) / self.widths[0 if label > 0 else 1]
        return float(ndtr(z)) if self.alpha == 2 else float(stable_cdf(z, self.alpha))


@dataclass(frozen=True, kw_only=True)
class Training:
    """A bias learnt from samples of a distribution.

    Args:
        distribution: what is sampled.
        rule: "threshold" minimises the weighted 0/1 error, "equal" makes the class errors equal, the others
            minimise the loss of that name over scale and bias; "fixed" learns nothing.
        bias: what theory says it converges to, for a unit weight vector.
        log_odds: of the class weights (+1 over -1), for "threshold".
    """

    distribution: Distribution
    rule: Literal["threshold", "equal", "logistic", "exponential", "hinge", "fixed"]
    bias: float
    log_odds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A probability, or the mean of a variable, that theory predicts and that samples estimate.

    Either the error of ``label`` of what ``training`` gives on samples of ``distribution``, or the mean of
    what ``sample`` draws.

    Args:
        predicted: by theory.
        training: how the classifier is made.
        distribution: where its error is counted.
        label: of which class.
        sample: draws n independent values from a generator.
    """

    predicted: float
    training: Training | None = None
    distribution: Distribution | None = None
    label: int = 1
    sample: Sampler | None = None


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Rates, and what a statement says of them.

    Args:
        rates: to be measured.
        claim: the statement's lhs - rhs as a function of the rates, monotone in each.
    """

    rates: Sequence[Rate]
    claim: Callable[[Sequence[float]], float]


def rates_of(training: Training, distribution: Distribution | None = None) -> tuple[Rate, Rate]:
    """Return the errors of both classes of a trained classifier, on its own distribution or on another."""
    where = training.distribution if distribution is None else distribution
    plus, minus = (
        Rate(predicted=where.error(training.bias, label), training=training, distribution=where, label=label)
        for label in (1, -1)
    )
    return plus, minus


def counted(predicted: float, event: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]) -> Rate:
    """Return the probability of an event of a standard normal variable.

    Args:
        predicted: by theory.
        event: says of each of n standard normal values whether the event occurs.
    """

    def sample(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
        return np.asarray(event(rng.standard_normal(n)), np.float64)

    return Rate(predicted=predicted, sample=sample)
