"""Fair-Robust-Learning on the linear model: does dual ascent reach the solution, or jump for ever?

The multipliers of the paper's algorithm (Xu et al., 2021) only set the cost odds r = (1 + phi) / (1 - phi)
with phi = phi_+ - phi_-. Each epoch trains exactly at these odds and moves phi by the violation of
|R_+ - R_-| <= 2 tau. Where theory sees no duality gap it must settle at phi = 2 lambda. Where it sees one,
the trained classifier must jump between a constant and a far less weighted one
(`theory.gaussian.fairness.reachable_bias`), with phi near the odds of the jump. With a convex surrogate
nothing jumps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from sim.learning.biases import Learnt, draw_scores, threshold_scale
from sim.learning.threshold import Thresholds
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict, Verdict, judge
from theory.claims.simulation import Distribution, Training
from theory.gaussian.constrained import frl
from theory.gaussian.fairness import reachable_bias, reweight_odds

__all__ = ["STUDY", "Ascent", "ascend"]

Array = npt.NDArray[np.float64]
Train = Callable[[float], float]
"""From the log odds of the class weights to a bias."""

SETTINGS = (
    {"K": 2.0, "m": 2.0, "tau": 0.0, "loss": "0/1", "rate": 1.5},
    {"K": 1.5, "m": 1.0, "tau": 0.01, "loss": "0/1", "rate": 1.5},
    {"K": 2.0, "m": 3.0, "tau": 0.005, "loss": "0/1", "rate": 1.5},
    {"K": 4.0, "m": 1.0, "tau": 0.0, "loss": "0/1", "rate": 0.05},
    {"K": 3.0, "m": 0.8, "tau": 0.02, "loss": "0/1", "rate": 0.05},
    {"K": 4.0, "m": 1.0, "tau": 0.0, "loss": "logistic", "rate": 0.5},
)
N = 1_000_000
EPOCHS = 200
JUMP = 0.2
"""A change of a class error from one epoch to the next that is called a jump, in the second half."""


@dataclass(frozen=True)
class Ascent:
    """History of a dual ascent, one entry an epoch, shape (epochs,) each."""

    phi: Array
    bias: Array
    plus: Array
    minus: Array

    @property
    def late(self) -> slice:
        """The second half, where a convergent ascent has settled."""
        return slice(len(self.phi) // 2, None)

    @property
    def jumps(self) -> int:
        """Number of jumps in the second half."""
        return int((np.abs(np.diff(self.minus[self.late])) > JUMP).sum())


def ascend(train: Train, distribution: Distribution, tau: float, rate: float, epochs: int = EPOCHS) -> Ascent:
    """Run the paper's dual ascent with exact training.

    Args:
        train: the inner problem.
        distribution: of the scores, for the errors of a bias.
        tau: allowed excess of a class error over the average.
        rate: dual rate.
        epochs: number of steps.
    """
    phi = np.zeros(2)
    rows = []
    for _ in range(epochs):
        net = float(phi[0] - phi[1])
        bias = train(float(2 * np.arctanh(net)))
        errors = np.array([distribution.error(bias, 1), distribution.error(bias, -1)])
        rows.append((net, bias, *errors))
        phi = np.clip(phi + rate * (errors - errors.mean() - tau), 0, 0.99)
    return Ascent(*np.array(rows).T)


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Ascend, and compare where it ends with theory."""
    K, m, tau = setting["K"], setting["m"], setting["tau"]
    distribution = Distribution(margin=m, widths=(K, 1.0))
    plus, minus = (draw_scores(distribution, label, N, rng) for label in (1, -1))
    if setting["loss"] == "logistic":
        ascent = ascend(
            _logistic(plus[:20_000], minus[:20_000]), distribution, tau, setting["rate"], epochs=60
        )
        return StudyOutcome([_counted("jumps of logistic training", 0, ascent.jumps)])
    ascent = ascend(Thresholds(-plus, -minus).best, distribution, tau, setting["rate"])
    solution = frl(m, 1.0, K, tau)
    if solution.duality_gap:
        odds = float(reachable_bias(m, 1.0, K)[1])
        return StudyOutcome([
            _near("phi at the jump", (odds - 1) / (odds + 1), ascent, 0.05),
            _counted("settled", 0, int(ascent.jumps < 3)),
        ])  # fmt: skip
    log_odds = float(reweight_odds(solution.bias, m, 1.0, K))
    training = Training(
        distribution=distribution, rule="threshold", bias=float(solution.bias), log_odds=log_odds
    )
    width = Learnt(0.0, threshold_scale(training, N), "chernoff").half_width(alpha / 6)
    bias = float(ascent.bias[ascent.late].mean())
    comparisons = [_counted("jumps", 0, ascent.jumps)]
    for name, label in (("+1", 1), ("-1", -1)):
        ends = sorted(distribution.error(training.bias + shift, label) for shift in (-width, width))
        errors = int((label * (draw_scores(distribution, label, N, rng) + bias) <= 0).sum())
        predicted = distribution.error(training.bias, label)
        verdict = judge(predicted, (ends[0], ends[1]), errors, N, alpha / 3)
        comparisons.append(NamedVerdict(f"error of {name}", verdict))
    slope = np.diff([float(reweight_odds(training.bias + s, m, 1.0, K)) for s in (-width, width)])[0]
    comparisons.append(_near("phi", 2 * float(solution.multiplier), ascent, 0.02 + abs(float(slope)) / 4))
    return StudyOutcome(comparisons)


def _near(what: str, predicted: float, ascent: Ascent, tolerance: float) -> NamedVerdict:
    """Compare the mean of phi in the second half with a prediction, within a numerical reach."""
    measured = float(ascent.phi[ascent.late].mean())
    verdict = "differs" if abs(measured - predicted) > tolerance else "agrees"
    interval = (measured - tolerance, measured + tolerance)
    return NamedVerdict(
        what, Verdict(predicted, measured, interval, 0.0 if verdict == "differs" else 1.0, tolerance, verdict)
    )


def _counted(what: str, predicted: int, found: int) -> NamedVerdict:
    """Compare a number that theory gives exactly."""
    same = found == predicted
    verdict = "agrees" if same else "differs"
    return NamedVerdict(what, Verdict(predicted, found, (found, found), float(same), 0.0, verdict))


def _logistic(plus: Array, minus: Array) -> Train:
    """Return weighted logistic training of scale and bias, warm from one call to the next."""
    theta = np.array([1.0, 0.0])

    def train(log_odds: float) -> float:
        weights = expit(np.array([log_odds, -log_odds]))

        def loss(t: Array) -> tuple[float, Array]:
            total, gradient = 0.0, np.zeros(2)
            for sign, scores, weight in ((1, plus, weights[0]), (-1, minus, weights[1])):
                margins = sign * (t[0] * scores + t[1])
                p = expit(-margins)
                total += weight * float(np.logaddexp(0, -margins).mean())
                gradient -= weight * sign * np.array([(p * scores).mean(), p.mean()])
            return total, gradient

        theta[:] = minimize(loss, theta, jac=True, method="BFGS", options={"gtol": 1e-7}).x
        return float(theta[1] / theta[0])

    return train


STUDY = SimulationStudy(
    summary="Dual ascent settles at theory's multiplier, or jumps for ever where there is a duality gap.",
    settings=lambda n, rng: SETTINGS,
    run=run,
    seconds=4,
)
