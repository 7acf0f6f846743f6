"""Reweight and Remargin on the linear model: do they move the class errors to where theory says?

At each mixture and radius the bias is learnt from attacked samples at cost odds of class +1 (Reweight), at a
radius of its own for each class (Remargin), and for equal robust errors, along the best direction. The
errors of both classes are counted at that radius. The methods are those of Xu et al. (2021), the predictions
ours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy.special import ndtr

from sim.learning.biases import Learnt, learn
from sim.sampling.draws import draw_scores
from sim.studies.grid_runs import count
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict, Verdict, judge
from theory.claims.simulation import Distribution, Training
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import CLASSES, GaussianMixture
from theory.gaussian.problem import GaussianClassifier, Problem, Uniform
from theory.results.counts import ClassErrors
from theory.results.records import records_of

__all__ = ["STUDY", "Mitigation", "mitigations"]

MIXTURE: dict[str, Any] = {"dim": 20, "eta": 0.4, "sigma": 1.0}
GRID = tuple(product((0.16, 0.08, 0.24), (2.0, 3.0, 1.5)))
"""Radii and ratios K."""
ODDS = (0.0, 0.5, 1.0)
"""Cost odds of class +1 over -1, as powers of K: K itself equalises robust errors where it can."""
RADII = ((1.5, 0.5), (2.0, 0.0))
"""Training radii of class +1 and -1, in units of that of the evaluation."""
N = 1_000_000
"""Samples of each class, to train and to test."""


@dataclass(frozen=True)
class Mitigation:
    """A way of training.

    Args:
        rule: "reweight", "remargin" or "equal".
        cost_odds: cost of an error of class +1 over one of class -1.
        radii: training radius of class +1 and of class -1.
        solution: what theory says it gives.
    """

    rule: str
    cost_odds: float
    radii: tuple[float, float]
    solution: GaussianClassifier

    def learn(self, mixture: GaussianMixture, rng: np.random.Generator) -> Learnt:
        """Learn the bias from fresh samples, each attacked at the radius of its class."""
        shift = (self.radii[0] - self.radii[1]) * self.solution.rho / 2
        law = Distribution(margin=self.solution.margin, widths=mixture.scales)
        rule: Any = "equal" if self.rule == "equal" else "threshold"
        bias, log_odds = self.solution.bias - shift, float(np.log(self.cost_odds))
        found = learn(Training(distribution=law, rule=rule, bias=bias, log_odds=log_odds), N, rng)
        return Learnt(found.bias + shift, found.scale, found.tail)


def settings(n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the settings of the grid in turn."""
    cells = [GRID[i % len(GRID)] for i in range(n)]
    return [{**MIXTURE, "K": K, "eps": eps, "seed": int(rng.integers(2**31))} for eps, K in cells]


def mitigations(mixture: GaussianMixture, eps: float) -> Iterator[Mitigation]:
    """Yield every way of training at a radius, with theory's classifier."""
    given: dict[str, Any] = {
        "theta": Uniform(mixture.dim, mixture.eta),
        "sigma": mixture.sigma,
        "K": mixture.K,
    }
    problem, both = Problem(**given), (eps, eps)
    for power in ODDS:
        odds = mixture.K**power
        yield Mitigation("reweight", odds, both, Problem(**given, cost=(odds, 1.0)).optimum(both))
    for plus, minus in RADII:
        radii = plus * eps, minus * eps
        yield Mitigation("remargin", 1.0, radii, problem.optimum(radii))
    yield Mitigation("equal", 1.0, both, problem.fair(eps, direction=problem.direction(eps)))


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Train in every way, and compare the natural and robust errors of both classes with theory.

    All randomness is that of the setting's seed, which the records name.
    """
    rng = np.random.default_rng(setting["seed"])
    mixture = GaussianMixture(**{k: setting[k] for k in ("dim", "eta", "sigma", "K")})
    ways = list(mitigations(mixture, setting["eps"]))
    comparisons, records = [], []
    for mitigation in ways:
        verdicts, counted = _try(mitigation, mixture, setting["eps"], rng, alpha / (4 * len(ways)))
        radii = "{:g} {:g}".format(*mitigation.radii)
        name = f"{mitigation.rule}, odds {mitigation.cost_odds:.3g}, radii {radii}"
        comparisons += [NamedVerdict(f"{q} of {y}, {name}", v) for (q, y), v in verdicts.items()]
        for record in records_of(counted, **_common(setting, mitigation)):
            verdict = verdicts.get((record.quantity, record.label))
            records.append(replace(record, extra=asdict(verdict)) if verdict else record)
    return StudyOutcome(comparisons, records)


def _try(
    mitigation: Mitigation, mixture: GaussianMixture, eps: float, rng: np.random.Generator, alpha: float
) -> tuple[dict[tuple[str, str], Verdict], ClassErrors]:
    """Train and count; return the verdict of each quantity and class, each at level alpha, and the counts."""
    learnt = mitigation.learn(mixture, rng)
    classifier = LinearClassifier(np.full(mixture.dim, mixture.dim**-0.5), learnt.bias)
    counted = count(classifier, draw_scores(mixture, classifier, N, rng), eps)
    verdicts = {}
    for quantity, radius in (("natural_error", 0.0), ("robust_error", eps)):
        errors = counted.counts(quantity).tolist()
        ends = _ends(mitigation.solution, radius, learnt.half_width(alpha / 2))
        for label, k, (low, predicted, high) in zip(CLASSES, errors, ends, strict=True):
            verdicts[quantity, label] = judge(predicted, (low, high), k, N, alpha)
    return verdicts, counted


def _ends(solution: GaussianClassifier, eps: float, width: float) -> list[list[float]]:
    """Return for each class the error at theory's bias between those at ``width`` to either side."""
    z = solution.z_scores(eps)
    return [
        [float(ndtr(score + step * width / scale)) for step in (-1, 0, 1)]
        for score, scale in zip(z, solution.scales, strict=True)
    ]


def _common(setting: Setting, mitigation: Mitigation) -> Mapping[str, Any]:
    """Return what the records of one classifier share."""
    shown = {k: setting[k] for k in ("dim", "eta", "sigma", "K", "eps")} | {
        "eps_text": f"{setting['eps']:g}",
        "train_eps": sum(mitigation.radii) / 2,
        "radii": list(mitigation.radii),
        "cost_odds": mitigation.cost_odds,
        "rule": mitigation.rule,
        "n_train_per_class": N,
        "n_test_per_class": N,
    }
    return {
        "source": "sim",
        "setting": shown,
        "seed": setting["seed"],
        "method": f"adversarial-{mitigation.rule}",
        "attack": f"exact inner maximum, l-infinity, eps={setting['eps']:g}",
    }


STUDY = SimulationStudy(
    summary="Reweight, Remargin and equal robust errors have the class errors of theory.",
    settings=settings,
    run=run,
    seconds=1,
)
