"""Class offsets: C numbers added to the logits of a finished network that lift its worst class. Ours.

Let M_ij = max over the ball of f_j - f_y at sample i of class y. For any offsets b the classifier argmax(f
+ b) is robust at i iff

    s_i(b) = b_y - max over j != y of (M_ij + b_j) > 0,

and the gradient of f_j - f_y does not depend on b: one attack towards each wrong class gives the robust
flags of every b. Two Gaussian classes and a linear classifier have the fair optimum among these
(`theory.gaussian.fairness`: the robust-optimal direction with the bias m (K - 1) / (K + 1)), without the
jump that stops reweighting, at a price of second order. It holds for offsets alone: a temperature of each
class rescales the gradients.

The nearest prior work: logit adjustment by class counts (Menon et al., 2021, https://arxiv.org/abs/2007.07314).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from theory.common.inputs import InputError, check_real

__all__ = [
    "RobustMargins",
    "bagged_offsets",
    "choose_offsets",
    "cross_fitted",
    "offsets_within",
    "offsets_of_moments",
]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

WEIGHTS = (0.7, 0.5, 0.35, 0.2, 0.1)
"""Weights of the worst class that `offsets_within` tries; at 1 the average would not count."""
STEPS, TEMPERATURES, ASCENTS = (0.3, 0.1, 0.03), (0.5, 0.02), 60
"""Of the smooth ascent, in units of the median |s|: step sizes, first and last temperature, steps of each
size."""
SHARPNESS = 30.0
"""Of the soft minimum over classes: a class whose accuracy is 0.1 above the smallest weighs e^-3 of it."""
SWEEPS = 3
"""Times that every coordinate is polished."""
TIE = 1e-3
"""Weight of the average accuracy beside the objective, so that at t = 1 it decides between equals."""


@dataclass(frozen=True)
class RobustMargins:
    """What the worst attack towards each class reaches at each sample.

    Args:
        margins: M, the largest f_j - f_y in the ball, shape (n, C); the column of the label is not looked at.
        labels: y, the class of each sample, shape (n,); every class has a sample.

    Raises:
        InputError: the arrays do not fit each other, or a margin is not finite.
    """

    margins: Array
    labels: Index

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit."""
        shape, n = np.shape(self.margins), len(self.labels)
        if len(shape) != 2 or shape[0] != n or n == 0 or shape[1] < 2:
            raise InputError(f"margins must have the shape (n, classes) of n > 0 labels, got {shape} for {n}")
        if sorted(set(self.labels.tolist())) != [*range(shape[1])]:
            raise InputError(f"labels must be 0 to {shape[1] - 1}, each with a sample")
        if not np.isfinite(self.margins).all():
            raise InputError("a margin is not finite")

    @property
    def classes(self) -> int:
        """Return the number of classes C."""
        return int(self.margins.shape[1])

    def take(self, chosen: Index) -> "RobustMargins":
        """Return some of the samples, by index."""
        return RobustMargins(self.margins[chosen], self.labels[chosen])

    def scores(self, offsets: Array) -> tuple[Array, Index]:
        """Return s_i of every sample, shape (n,), and the class j that attains its maximum."""
        lifted = self.margins + offsets
        lifted[np.arange(len(lifted)), self.labels] = -np.inf
        nearest = lifted.argmax(1)
        return offsets[self.labels] - lifted.max(1), nearest

    def robust(self, offsets: Array) -> npt.NDArray[np.bool_]:
        """Return whether each sample is robust with the offsets b, shape (n,).

        Args:
            offsets: b, shape (C,), in units of the logits.

        Examples:
            >>> import numpy as np
            >>> margins = RobustMargins(np.array([[0.0, -0.5], [0.4, 0.0]]), np.array([0, 1]))
            >>> margins.robust(np.zeros(2)), margins.robust(np.array([0.0, 0.45]))
            (array([ True, False]), array([ True,  True]))
        """
        return np.asarray(self.scores(np.asarray(offsets, np.float64))[0] > 0)

    def accuracies(self, offsets: Array) -> Array:
        """Return the robust accuracy of every class with the offsets b, shape (C,)."""
        return self.shares(self.robust(offsets))

    def shares(self, flags: npt.NDArray[np.bool_]) -> Array:
        """Return the share of the samples of every class that have a flag, shape (C,)."""
        counts = np.bincount(self.labels, flags, self.classes)
        return np.asarray(counts / np.bincount(self.labels, minlength=self.classes), np.float64)


def _value(accuracies: Array, t: float) -> Array:
    """Return (1 - t) times the average plus t times the worst accuracy, over the last axis, ties broken."""
    return np.asarray((1 - t + TIE) * accuracies.mean(-1) + t * accuracies.min(-1))


def choose_offsets(margins: RobustMargins, t: float = 0.5) -> Array:
    """Return the offsets with the largest (1 - t) average + t worst robust accuracy, shape (C,).

    A smoothed objective is ascended from b = 0, then every coordinate is set to its exact optimum, the others
    kept, a few times. The objective has local maxima: the result is the best of those seen, never worse than
    b = 0. Nothing is random.

    Args:
        margins: of samples that the network was not trained on.
        t: weight of the worst class, from 0 to 1.

    Returns:
        Offsets in units of the logits, of mean 0.

    Raises:
        InputError: t is outside its domain.

    Examples:
        >>> import numpy as np
        >>> rows = [[0, -1, -2], [0, -0.5, -3], [0.4, 0, -1], [0.2, 0, -2], [-1, 0.3, 0], [-2, -0.1, 0]]
        >>> margins = RobustMargins(np.array(rows, float), np.array([0, 0, 1, 1, 2, 2]))
        >>> margins.accuracies(np.zeros(3)), margins.accuracies(choose_offsets(margins))
        (array([1. , 0. , 0.5]), array([1., 1., 1.]))
    """
    check_real("t", t, low=0, high=1)
    start = np.zeros(margins.classes)
    unit = float(np.median(np.abs(margins.scores(start)[0]))) or 1.0
    best = _polished(margins, t, max((start, _ascended(margins, t, unit)), key=_objective(margins, t)), unit)
    return np.asarray(best - best.mean(), np.float64)


def _objective(margins: RobustMargins, t: float) -> Callable[[Array], float]:
    return lambda offsets: float(_value(margins.accuracies(offsets), t))


def _ascended(margins: RobustMargins, t: float, unit: float) -> Array:
    """Return the best offsets that normalised ascent of the smoothed objective passes.

    With a_c the mean over class c of sigmoid(s_i / T) and the minimum softened to weights v_c ~ exp(-30
    a_c), the gradient is the sum over samples of ((1 - t) / C + t v_y) / n_y sigmoid'(s_i / T) / T (e_y -
    e_j), j the class that attains s_i; T falls geometrically from half to a fiftieth of the median |s|.
    """
    offsets, labels, classes = np.zeros(margins.classes), margins.labels, margins.classes
    sizes = np.bincount(labels, minlength=classes)
    best, objective = offsets, _objective(margins, t)
    value = objective(best)
    for step in STEPS:
        for temperature in unit * np.geomspace(*TEMPERATURES, ASCENTS):
            s, nearest = margins.scores(offsets)
            soft = expit(s / temperature)
            means = np.bincount(labels, soft, classes) / sizes
            weights = np.exp(-SHARPNESS * (means - means.min()))
            share = ((1 - t) / classes + t * weights / weights.sum()) / sizes
            pull = share[labels] * soft * (1 - soft)
            gradient = np.bincount(labels, pull, classes) - np.bincount(nearest, pull, classes)
            length = float(np.linalg.norm(gradient))
            if length == 0:
                break
            offsets = offsets + step * unit * gradient / length
            offsets = offsets - offsets.mean()
            if (now := objective(offsets)) > value:
                best, value = offsets, now
        offsets = best
    return best


def _polished(margins: RobustMargins, t: float, offsets: Array, unit: float) -> Array:
    """Return the offsets with every coordinate at its exact optimum in turn, the others kept."""
    for _ in range(SWEEPS):
        before = offsets
        for c in range(margins.classes):
            offsets = _best_coordinate(margins, t, offsets, c, unit)
        if np.array_equal(before, offsets):
            break
    return offsets


def _best_coordinate(margins: RobustMargins, t: float, offsets: Array, c: int, unit: float) -> Array:
    """Return the offsets with b_c in the middle of the interval where the objective is largest.

    As a function of b_c a sample of class c is robust above a threshold, a sample of another class below
    one (if it is robust against the rest at all). Between the sorted thresholds nothing changes, so the
    objective is a step function that is known everywhere. Among equals the interval nearest to the present
    b_c is taken.
    """
    labels, own = margins.labels, margins.labels == c
    without = offsets.copy()
    without[c] = -np.inf  # s without class c as a rival; of class c itself it is not looked at
    against_others = margins.scores(without)[0]
    threshold = np.where(
        own, offsets[c] - margins.scores(offsets)[0], offsets[labels] - margins.margins[:, c]
    )
    counted = own | (against_others > 0)
    ends = np.unique(threshold[counted])
    if len(ends) == 0:
        return offsets
    middles = np.concatenate([[ends[0] - unit], (ends[1:] + ends[:-1]) / 2, [ends[-1] + unit]])
    sizes = np.bincount(labels, minlength=margins.classes)
    accuracies = np.empty((len(middles), margins.classes))
    for k in range(margins.classes):
        at = np.sort(threshold[counted & (labels == k)])
        below = np.searchsorted(at, middles)
        accuracies[:, k] = (below if k == c else len(at) - below) / sizes[k]
    values = _value(accuracies, t)
    here = float(_value(margins.accuracies(offsets), t))
    if values.max() <= here:
        return offsets
    ties = middles[values >= values.max()]
    moved = offsets.copy()
    moved[c] = ties[np.abs(ties - offsets[c]).argmin()]
    return moved


def bagged_offsets(margins: RobustMargins, t: float = 0.5, *, resamples: int = 6, seed: int = 0) -> Array:
    """Return the mean of `choose_offsets` over bootstrap resamples of the samples, shape (C,).

    Args:
        margins: as there.
        t: weight of the worst class.
        resamples: how many, drawn within each class.
        seed: seed of the resamples.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(margins.labels == c) for c in range(margins.classes)]
    drawn = [np.concatenate([rng.choice(m, len(m)) for m in members]) for _ in range(resamples)]
    return np.asarray(np.mean([choose_offsets(margins.take(chosen), t) for chosen in drawn], axis=0))


def cross_fitted(
    margins: RobustMargins, choose: Callable[[RobustMargins], Array], *, folds: int = 5, seed: int = 0
) -> npt.NDArray[np.bool_]:
    """Return whether each sample is robust with offsets chosen on others, shape (n,).

    Args:
        margins: the samples; each class is divided among the folds.
        choose: returns offsets from margins.
        folds: how many parts; each is counted with offsets chosen on the rest.
        seed: seed of the division.

    Raises:
        InputError: a class has fewer samples than folds.
    """
    rng, fold = np.random.default_rng(seed), np.empty(len(margins.labels), np.int64)
    for c in range(margins.classes):
        members = np.flatnonzero(margins.labels == c)
        if len(members) < folds:
            raise InputError(f"cross-fitting needs {folds} samples of class {c}, got {len(members)}")
        fold[rng.permutation(members)] = np.arange(len(members)) % folds
    right = np.empty(len(fold), bool)
    for k in range(folds):
        part = np.flatnonzero(fold == k)
        right[part] = margins.take(part).robust(choose(margins.take(np.flatnonzero(fold != k))))
    return right


def offsets_within(
    margins: RobustMargins, budget: float, *, weights: Sequence[float] = WEIGHTS, seed: int = 0
) -> tuple[Array, float]:
    """Return offsets that cost at most a budget of average accuracy, and the weight t they were chosen with.

    The weights are tried from the largest. The first whose cross-fitted average stays within the budget is
    taken, and its offsets are chosen on all samples, bagged. With few samples that average is noise for the
    larger part, so it may miss the budget by one standard error, as in the rule of Breiman et al. (1984,
    Classification and Regression Trees, section 3.4.3) for the choice of a tree.

    Args:
        margins: of samples that the network was not trained on.
        budget: how far the average robust accuracy may fall, a fraction.
        weights: values of t to try, the largest first.
        seed: seed of folds and resamples.

    Returns:
        Offsets, shape (C,), and t; zeros and 0.0 if no weight stays within the budget.

    Examples:
        >>> rng, labels = np.random.default_rng(0), np.repeat([0, 1], 100)
        >>> margins = np.zeros((200, 2))
        >>> margins[np.arange(200), 1 - labels] = rng.normal(-1.0, 1.0 + 2 * labels)
        >>> offsets, t = offsets_within(RobustMargins(margins, labels), budget=0.05)
        >>> bool(offsets[1] > offsets[0])
        True
    """
    check_real("budget", budget, low=0, high=1)
    before = margins.robust(np.zeros(margins.classes))
    for t in weights:
        after = cross_fitted(margins, partial(bagged_offsets, t=t, resamples=3, seed=seed), seed=seed)
        lost = before.astype(float) - after
        if lost.mean() - lost.std() / np.sqrt(len(lost)) <= budget:
            return bagged_offsets(margins, t, seed=seed), t
    return np.zeros(margins.classes), 0.0


def offsets_of_moments(margins: RobustMargins) -> Array:
    """Return the offsets that two moments of the margins say, without a search, shape (C,).

    Were -M_ij of class i Gaussian with mean mu_ij and standard deviation s_ij, the errors of a pair would be
    equal at b_i - b_j = (mu_ji s_ij - mu_ij s_ji) / (s_ij + s_ji): both z-scores are (mu_ij + b_i - b_j) /
    s_ij there. Over all pairs it is least squares, each weighted by how often j is the nearest attack of i.
    """
    classes = margins.classes
    nearest = margins.scores(np.zeros(classes))[1]
    rows, values, weights = [], [], []
    members = [margins.labels == c for c in range(classes)]
    mean = np.array([-margins.margins[m].mean(0) for m in members])
    spread = np.array([margins.margins[m].std(0) for m in members])
    for i in range(classes):
        for j in range(i):
            weight = np.mean(nearest[members[i]] == j) + np.mean(nearest[members[j]] == i)
            scale = spread[i, j] + spread[j, i]
            if weight > 0 and scale > 0:
                rows.append(np.eye(classes)[i] - np.eye(classes)[j])
                values.append((mean[j, i] * spread[i, j] - mean[i, j] * spread[j, i]) / scale)
                weights.append(np.sqrt(weight))
    if not rows:
        return np.zeros(classes)
    root = np.array(weights)
    solution = np.linalg.lstsq(np.array(rows) * root[:, None], np.array(values) * root, rcond=None)[0]
    return np.asarray(solution - solution.mean())
