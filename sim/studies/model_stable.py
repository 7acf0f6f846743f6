"""Independent coordinates with symmetric stable noise, Cauchy first: Hu et al. (2023).

The optimal weights are w_i ~ S_i^(1 / (alpha - 1)) with S the soft threshold of theta at the radius; for the
Cauchy distribution all weight is on the largest coordinate. Gaussian noise is alpha = 2, of variance 2.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from sim.sampling.draws import Stable
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict
from sim.testing.counting import SAMPLES, compare_errors
from theory.gaussian.linear import LinearClassifier
from theory.variants.stable import stable_cdf, stable_margin, stable_optimum

__all__ = ["STUDY", "direction"]

ALPHAS = (1.0, 1.5, 1.2, 1.8, 2.0)


def settings(n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return random settings, the indices `ALPHAS` in turn; priors are too even for a constant optimum."""
    return [_draw(rng, ALPHAS[i % len(ALPHAS)]) for i in range(n)]


def _draw(rng: np.random.Generator, alpha: float) -> dict[str, Any]:
    d = int(rng.integers(2, 12))
    theta = rng.uniform(0.3, 1, d) * rng.choice([-1.0, 1.0], d)
    return {
        "theta": [round(float(v), 4) for v in theta],
        "scale": round(float(rng.uniform(0.3, 0.6) * stable_margin(theta, 0.0, alpha)), 4),
        "alpha": alpha,
        "eps": round(float(rng.uniform(0.1, 0.25) * np.abs(theta).max()), 4),
        "R": round(float(np.exp(rng.uniform(-0.7, 0.7))), 3),
    }


def direction(theta: npt.ArrayLike, eps: float, alpha: float) -> npt.NDArray[np.float64]:
    """Return the best weights w with ||w||_alpha = 1 under an l-infinity adversary, shape (d,).

    Args:
        theta: mean of class +1, shape (d,).
        eps: radius, below the largest |theta_i|.
        alpha: index, from 1 to 2.
    """
    t = np.asarray(theta, np.float64)
    kept = np.maximum(np.abs(t) - eps, 0)
    size = kept == kept.max() if alpha == 1 else (kept / kept.max()) ** (1 / (alpha - 1))
    w = np.sign(t) * size
    return np.asarray(w / (np.abs(w) ** alpha).sum() ** (1 / alpha))


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Count the errors of both classes under the natural and under the robust optimum."""
    theta, scale, index, eps = (setting[k] for k in ("theta", "scale", "alpha", "eps"))
    samples = Stable(np.array(theta), scale, index).draw(rng, SAMPLES)
    found: list[NamedVerdict] = []
    for name, radius in (("natural", 0.0), ("robust", eps)):
        w = direction(theta, radius, index)
        margin = stable_margin(theta, radius, index)
        optimum = stable_optimum(margin, scale, setting["R"], index)

        def errors(taken: float, b: float = optimum.bias, m: float = margin) -> tuple[float, float]:
            plus, minus = (stable_cdf((taken - m - y * b) / scale, index) for y in (1, -1))
            return plus, minus

        norm = float(np.abs(w).sum())
        predicted = {e: errors((e - radius) * norm) for e in (0.0, eps)} | {radius: optimum.errors}
        classifier = LinearClassifier(w, optimum.bias)
        found += compare_errors(name, classifier, samples, predicted, norm="linf", alpha=alpha / 2)
    return StudyOutcome(found)


STUDY = SimulationStudy(
    summary="With stable noise of any index the errors of attacked samples are those of theory.",
    settings=settings,
    run=run,
    seconds=0.6,
)
