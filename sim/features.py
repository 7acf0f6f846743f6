"""``python -m sim.features``: which features natural and adversarial linear training lean on, on real images.

The study of Tsipras et al. (2019) on two digits: logistic classifiers trained naturally and against an
l-infinity adversary, their errors, and their weights against the correlation of each pixel with the label.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from tqdm import tqdm

from sim.sampling.images import DATA, Images, load
from sim.solvers.path import path
from sim.studies.grid_runs import count
from theory.common.arrays import packed
from theory.common.cli import Parser, one_of, radius, real, run, whole
from theory.common.files import write_atomic
from theory.common.inputs import InputError, check_real, parse_radius
from theory.common.owner import reserve_folder
from theory.common.table import Table
from theory.gaussian.linear import LinearClassifier
from theory.results.counts import ClassErrors, exact_interval
from theory.results.records import provenance, setting_id

__all__ = ["Reliance", "FeatureStudy", "correlations", "reliance", "main", "study"]

Array = npt.NDArray[np.float64]
Pair = tuple[Array, Array]

FILES = ("features.npz", "features.json")
FACTORS = (0.0, 0.5, 1.0, 2.0)
"""Radii of the evaluation, in units of that of training."""
WEAK, STRONG = 0.1, 0.3
"""A feature is weak below the first absolute correlation with the label, and strong from the second on."""


@dataclass(frozen=True)
class Reliance:
    """How the weights of a classifier lie on its features.

    Args:
        used: number of weights that are not 0.
        weak: share of ||w||_1 on features with an absolute correlation below `WEAK`.
        middle: share between.
        strong: share on features with one of `STRONG` or more.
        rank: Spearman's correlation of |w| and |correlation|, over the features that vary.
    """

    used: float
    weak: float
    middle: float
    strong: float
    rank: float


def correlations(plus: Array, minus: Array) -> Array:
    """Return Pearson's correlation of each feature with the label, shape (d,); 0 where a feature is constant.

    Args:
        plus: samples of class +1, shape (n, d).
        minus: samples of class -1, shape (m, d).
    """
    x, y = np.concatenate([plus, minus]), np.repeat([1.0, -1.0], [len(plus), len(minus)])
    x, y = x - x.mean(axis=0), y - y.mean()
    size = np.linalg.norm(x, axis=0) * np.linalg.norm(y)
    return np.asarray(np.divide(y @ x, size, out=np.zeros(x.shape[1]), where=np.ptp(x, axis=0) > 0))


def reliance(weights: Array, correlation: Array) -> Reliance:
    """Describe weights by the correlations of their features, both of shape (d,).

    Raises:
        InputError: all weights are 0.
    """
    size, strength = np.abs(weights), np.abs(correlation)
    if not size.any():
        raise InputError("training left no weight: the radius is too large for these classes; lower --eps")
    share = size / size.sum()
    parts = strength < WEAK, (strength >= WEAK) & (strength < STRONG), strength >= STRONG
    varies = strength > 0
    rank = float(spearmanr(size[varies], strength[varies]).statistic)
    weak, middle, strong = (float(share[part].sum()) for part in parts)
    return Reliance(float((size > 0).sum()), weak, middle, strong, rank)


@dataclass(frozen=True)
class FeatureStudy:
    """What was found; the dictionaries are by training, "natural" and "adversarial".

    Args:
        trained: classifiers.
        correlation: of each feature with the label, shape (d,).
        reliances: how their weights lie on the features.
        deviations: standard deviations of these numbers over trainings on resampled images.
        errors: pairs of a radius and the errors of test images there.
    """

    trained: Mapping[str, LinearClassifier]
    correlation: Array
    reliances: Mapping[str, Reliance]
    deviations: Mapping[str, Reliance]
    errors: Mapping[str, Sequence[tuple[float, ClassErrors]]]


def study(images: Images, eps: float, *, l2: float, resamples: int, seed: int) -> FeatureStudy:
    """Train both classifiers, and both again on resampled images.

    Args:
        images: of two classes.
        eps: l-infinity radius of adversarial training, > 0.
        l2: penalty of both, > 0.
        resamples: how often images are resampled, >= 2.
        seed: of the resamples.

    Raises:
        InputError: training does not converge, or leaves no weight.
    """
    rng = np.random.default_rng([seed, 1])
    radii = {"natural": 0.0, "adversarial": eps}

    def once(train: Pair) -> tuple[dict[str, LinearClassifier], dict[str, Reliance]]:
        solutions = path(*train, list(radii.values()), l2=l2)
        trained = {t: s.classifier for t, s in zip(radii, solutions, strict=True)}
        correlation = correlations(*train)
        return trained, {t: reliance(c.weights, correlation) for t, c in trained.items()}

    trained, reliances = once(images.train)
    again = []
    for _ in tqdm(range(resamples), desc="resamples", file=sys.stderr):
        plus, minus = (x[rng.integers(len(x), size=len(x))] for x in images.train)
        again.append(once((plus, minus))[1])
    spread = {t: np.std([list(vars(found[t]).values()) for found in again], axis=0, ddof=1) for t in radii}
    return FeatureStudy(
        trained,
        correlations(*images.train),
        reliances,
        {t: Reliance(*values.tolist()) for t, values in spread.items()},
        {t: [(f * eps, _errors(c, images, f * eps)) for f in FACTORS] for t, c in trained.items()},
    )


def _errors(classifier: LinearClassifier, images: Images, eps: float) -> ClassErrors:
    return count(classifier, [x @ classifier.weights + classifier.bias for x in images.test], eps)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, print what the classifiers lean on, and write it."""
    args = _parser().parse_args(argv)
    pair, eps = (args.pair[0], args.pair[1]), parse_radius(args.eps)
    if pair[0] == pair[1]:
        raise InputError(f"--pair must be two different digits, got {pair[0]} twice")
    if eps == 0:
        raise InputError("--eps must be > 0: the natural classifier is always trained as well")
    check_real("--l2", args.l2, low=0, strict=True)
    images = load(args.data, args.data_dir, pair, args.samples, args.seed)
    settings = {k: getattr(args, k) for k in ("data", "pair", "eps", "l2", "samples", "resamples", "seed")}
    settings["sha256"] = images.sha256
    name = setting_id(settings)
    with reserve_folder(args.out or Path("runs/sim") / f"features-{name}", name, FILES) as out:
        result = study(images, eps, l2=args.l2, resamples=args.resamples, seed=args.seed)
        _write(out, {"id": name, "settings": settings}, images.shape, result)
    print(_error_table(result, settings).text() + "\n")
    print(_reliance_table(result, args.resamples).text())
    print(f"arrays and numbers: {out / FILES[0]}, {out / FILES[1]}")
    return 0


def _parser() -> Parser:
    parser = Parser(prog="sim.features", description=__doc__)
    add = parser.add_argument
    add("--data", type=one_of(DATA), default="mnist", help="mnist, or the embedded digits")
    add("--data-dir", type=Path, help="folder of the idx files of MNIST")
    add("--pair", type=whole(0, 9), nargs=2, default=[5, 6], help="digits of class +1 and of class -1")
    add("--eps", type=radius, default="0.1", help="l-infinity radius of training, pixels being from 0 to 1")
    add("--l2", type=real, default=1e-3, help="penalty l2 / 2 ||w||^2 of both; separable classes need one")
    add("--samples", type=whole(10), default=2000, help="most training images of each class")
    add("--resamples", type=whole(2, 10_000), default=20, help="bootstrap trainings behind the intervals")
    add("--seed", type=whole(0, 2**63 - 1), default=0, help="seed of all draws")
    add("--out", type=Path, help="folder of the results (default: runs/sim/features-<id>)")
    return parser


def _error_table(result: FeatureStudy, settings: Mapping[str, Any]) -> Table:
    rows = []
    for training, at in result.errors.items():
        for eps, counted in at:
            wrong, n = int(counted.counts("robust_error").sum()), sum(counted.n)
            low, high = exact_interval(wrong, n)
            each = [f"{v:.4f}" for v in counted.rates("robust_error")]
            rows.append([training, f"{eps:g}", f"{wrong / n:.4f}", f"[{low:.4f}, {high:.4f}]", *each])
    first, second = settings["pair"]
    title = f"Test errors on {settings['data']}, {first} against {second}, trained at eps = {settings['eps']}"
    header = ["training", "eps", "error", "95 % interval", f"of {first}", f"of {second}"]
    return Table(title, header, rows, "eps: l-infinity radius at evaluation; 0 gives the natural error")


def _reliance_table(result: FeatureStudy, resamples: int) -> Table:
    rows = []
    for training, values in result.reliances.items():
        pairs = zip(vars(values).values(), vars(result.deviations[training]).values(), strict=True)
        rows.append([training, *(f"{v:.3g} +- {1.96 * s:.2g}" for v, s in pairs)])
    strength = np.abs(result.correlation[result.correlation != 0])
    header = ["training", "weights not 0", f"weak (< {WEAK})", "middle", f"strong (>= {STRONG})", "rank"]
    note = (
        "weak, middle, strong: share of ||w||_1 by absolute correlation of the feature with the label (of "
        f"{len(strength)} features that vary {(strength < WEAK).mean():.3g} are weak and "
        f"{(strength >= STRONG).mean():.3g} strong)\nrank: Spearman's correlation of |w| with it; +-: 1.96 "
        f"standard deviations over {resamples} trainings on resampled images"
    )
    return Table("Weights, by the correlation of their features with the label", header, rows, note)


def _write(out: Path, head: Mapping[str, Any], shape: tuple[int, int], result: FeatureStudy) -> None:
    """Write per-feature arrays of an image's shape, and all numbers."""
    arrays = {f"{t}_weights": c.weights for t, c in result.trained.items()}
    arrays["correlation"] = result.correlation
    write_atomic(out / FILES[0], packed({k: v.reshape(shape) for k, v in arrays.items()}))
    numbers = {
        t: {
            "bias": classifier.bias,
            "leaning": vars(result.reliances[t]),
            "deviation": vars(result.deviations[t]),
            "errors": [{"eps": eps, **vars(counted)} for eps, counted in result.errors[t]],
        }
        for t, classifier in result.trained.items()
    }
    content = {**head, **numbers, "provenance": provenance()}
    write_atomic(out / FILES[1], json.dumps(content, allow_nan=False) + "\n")


if __name__ == "__main__":
    run(main)
