"""How often the verdicts of `sim` are wrong, and how often they see a theory that is off.

On random true settings at a level that can be measured: python benchmarks/sim_calibration.py [SETTINGS]
"""

import sys
from dataclasses import replace

import numpy as np

from sim.studies.simulations import Sizes, attempt
from theory.claims.simulation import Law, Training, Trial, rates_of
from theory.claims.statement import Statement
from theory.gaussian.fairness import fair_bias
from theory.gaussian.optimal import optimal_bias
from theory.gaussian.surrogate import exponential_optimum, hinge_optimum
from theory.results.counts import exact_interval
from theory.theorems import statements

LEVEL = 0.15
"""Alpha of each simulation: 0.05 for each of its two rates, and for its claim."""
SIZES = Sizes(threshold=20_000, loss=5000, test=20_000)


def training(rule: str, K: float, m: float) -> Training:
    """Return a training that theory speaks of, with theory's bias."""
    law = Law(margin=m, widths=(K, 1.0))
    bias = {
        "fixed": lambda: 0.3 * m,
        "equal": lambda: float(fair_bias(m, K)),
        "threshold": lambda: float(optimal_bias(m, 1.0, K)),
        "exponential": lambda: float(exponential_optimum(m, 1.0, K)[1]),
        "hinge": lambda: float(hinge_optimum(m, 1.0, K)[1]),
    }[rule]()
    return Training(law=law, rule=rule, bias=bias)


def trial(rule: str, K: float, m: float, off: float) -> Statement:
    """Return a statement whose rates are predicted ``off`` standard errors of the count too high."""
    rates = [
        replace(r, predicted=r.predicted + off * (r.predicted * (1 - r.predicted) / SIZES.test) ** 0.5)
        for r in rates_of(training(rule, K, m))
    ]
    result = Trial(rates=rates, claim=lambda p: 1.0)
    return replace(statements()["xu2021_stationarity"], simulation=lambda s: result)


def measure(rule: str, settings: int, off: float, seed: int = 0) -> tuple[int, int]:
    """Return how many predictions are called different, and of how many."""
    rng = np.random.default_rng([seed, *rule.encode(), int(10 * off)])
    wrong = total = 0
    for _ in range(settings):
        K, m = float(rng.uniform(1.2, 3)), float(rng.uniform(0.5, 2))
        for verdict in attempt(trial(rule, K, m, off), {}, rng, alpha=LEVEL, sizes=SIZES).rates:
            wrong += verdict.verdict == "differs"
            total += 1
    return wrong, total


def main() -> None:
    """Print the rates of false alarms and the power, by rule, with exact 95 % intervals."""
    settings = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{settings} settings a rule and column; level of each prediction {LEVEL / 3:.2g}")
    print("rule         called wrong when true      seen when off by 3 se     by 6 se")
    for rule in ("fixed", "equal", "threshold", "exponential", "hinge"):
        cells = []
        for off in (0.0, 3.0, 6.0):
            wrong, total = measure(rule, settings, off)
            low, high = exact_interval(wrong, total)
            cells.append(f"{wrong / total:.4f} [{float(low):.4f}, {float(high):.4f}]")
        print(f"{rule:<12} " + "   ".join(cells), flush=True)


if __name__ == "__main__":
    main()
