"""One training run of the grid: train, count errors on fresh samples, compare with theory."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from sim.learning.threshold import train_bias
from sim.sampling.draws import draw, draw_scores
from sim.solvers.solve import solve
from sim.testing.bands import BUDGET, Bands, Verdict, bias_bands, judge, logistic_bands
from theory.common.inputs import InputError, parse_radius
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import CLASSES, GaussianMixture
from theory.gaussian.problem import optimal_classifier
from theory.gaussian.surrogate import logistic_optimum
from theory.results.counts import ClassErrors
from theory.results.records import Record, records_of

__all__ = ["SAMPLES", "GridRun", "Row", "count", "grid_runs", "train_and_judge"]

Array = npt.NDArray[np.float64]

SAMPLES = {"threshold": (2_000_000, 1_000_000), "logistic": (100_000, 100_000)}
"""Training and test samples of each class."""


@dataclass(frozen=True)
class GridRun:
    """One training run and its evaluation at each radius of ``evaluate``."""

    mixture: GaussianMixture
    rule: str
    train_eps: str
    evaluate: tuple[str, ...]
    seed: tuple[int, ...]
    alpha: float

    @property
    def training(self) -> str:
        """Say whether training is natural or adversarial."""
        return "adversarial" if parse_radius(self.train_eps) > 0 else "natural"


@dataclass(frozen=True)
class Row:
    """The verdicts of one error of one classifier, for class +1 and class -1."""

    run: GridRun
    eps: str
    quantity: str
    verdicts: tuple[Verdict, Verdict]


def grid_runs(
    dim: int, eta: float, sigma: float, Ks: Sequence[float], radii: Sequence[str], seed: int
) -> list[GridRun]:
    """Return every training run of a grid.

    Args:
        dim: dimension d.
        eta: coordinate of the class mean.
        sigma: standard deviation of class -1.
        Ks: ratios of standard deviations.
        radii: texts of radii in (0, eta).
        seed: seed of the sweep; each run has its own stream.

    Raises:
        InputError: a parameter is outside its domain.
    """
    for eps in radii:
        if not 0 < parse_radius(eps) < eta:
            raise InputError(
                f"eps must be above 0 and below eta = {eta:g}, "
                f"where logistic training has a direction, got {eps}"
            )
    trained = ["0", *radii]
    comparisons = len(Ks) * len(SAMPLES) * 2 * (1 + 3 * len(radii))  # natural: 1 + r errors, adversarial: 2 r
    out = []
    for i, (K, rule, eps) in enumerate(product(Ks, SAMPLES, trained)):
        mixture = GaussianMixture(dim=dim, eta=eta, sigma=sigma, K=K)
        for theory in (optimal_classifier, logistic_optimum):
            theory(mixture, parse_radius(eps))  # refuses what cannot be solved before any work
        evaluate = tuple(radii) if eps == "0" else (eps,)
        out.append(GridRun(mixture, rule, eps, evaluate, (seed, i), BUDGET / comparisons))
    return out


def train_and_judge(run: GridRun) -> tuple[list[Row], list[Record]]:
    """Train, count the errors on fresh samples and compare them with theory; records have no provenance."""
    with threadpool_limits(1):
        rng = np.random.default_rng(run.seed)
        n_train, n_test = SAMPLES[run.rule]
        eps = parse_radius(run.train_eps)
        if run.rule == "logistic":
            classifier = solve(*draw(run.mixture, n_train, rng), eps=eps).classifier
            scores = tuple(x @ classifier.weights + classifier.bias for x in draw(run.mixture, n_test, rng))
        else:
            weights = optimal_classifier(run.mixture, eps).linear().weights
            direction = LinearClassifier(weights, 0.0)
            classifier = train_bias(weights, *draw_scores(run.mixture, direction, n_train, rng), eps)
            scores = draw_scores(run.mixture, classifier, n_test, rng)
        rows, records = [], []
        for i, text in enumerate(run.evaluate):
            counted = count(classifier, scores, parse_radius(text))
            new = [_row(run, "robust_error", text, counted)]
            if i == 0:
                new.insert(0, _row(run, "natural_error", "0", counted))
            rows += new
            records += list(_records(run, text, counted, new))
    return rows, records


def count(classifier: LinearClassifier, scores: Sequence[Array], eps: float) -> ClassErrors:
    """Count errors from scores w.x + b of both classes; the adversary takes exactly eps ||w||_1."""
    shift = eps * float(np.abs(classifier.weights).sum())
    margins = scores[0], -scores[1]
    natural, robust = (tuple(int((m <= r).sum()) for m in margins) for r in (0.0, shift))
    return ClassErrors(CLASSES, tuple(len(m) for m in margins), natural, robust)


def _row(run: GridRun, quantity: str, eps: str, counted: ClassErrors) -> Row:
    predicted, bands = _theory(run, parse_radius(eps))
    errors = counted.counts(quantity)
    first, second = (
        judge(p, band, int(k), n, run.alpha)
        for p, band, k, n in zip(predicted, bands, errors, counted.n, strict=True)
    )
    return Row(run, eps, quantity, (first, second))


def _theory(run: GridRun, eps: float) -> tuple[Array, Bands]:
    """Return the predicted errors of both classes at radius ``eps`` and the bands of training."""
    train_eps, n = parse_radius(run.train_eps), 2 * SAMPLES[run.rule][0]
    if run.rule == "logistic":
        optimum = logistic_optimum(run.mixture, train_eps)
        z = optimum.linear().z_scores(run.mixture, eps)
        return ndtr(z), logistic_bands(optimum, n, eps, run.alpha)
    optimal = optimal_classifier(run.mixture, train_eps)
    return ndtr(optimal.z_scores(eps)), bias_bands(optimal, n, eps, run.alpha)


def _records(run: GridRun, eps: str, counted: ClassErrors, rows: list[Row]) -> Iterator[Record]:
    n_train, n_test = SAMPLES[run.rule]
    setting = asdict(run.mixture) | {
        "eps": parse_radius(eps),
        "eps_text": eps,
        "train_eps": parse_radius(run.train_eps),
        "training": run.training,
        "rule": run.rule,
        "n_train_per_class": n_train,
        "n_test_per_class": n_test,
    }
    verdicts = {(row.quantity, y): v for row in rows for y, v in zip(CLASSES, row.verdicts, strict=True)}
    common = {
        "source": "sim",
        "setting": setting,
        "seed": run.seed[0],
        "method": f"{run.training}-{run.rule}",
        "provenance": {},
    }
    for record in records_of(counted, **common, attack=f"exact inner maximum, l-infinity, eps={eps}"):
        verdict = verdicts.get((record.quantity, record.label))
        yield record if verdict is None else Record(**(vars(record) | {"extra": asdict(verdict)}))
