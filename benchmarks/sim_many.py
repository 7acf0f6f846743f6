"""``make bench``: many problems that share their samples against L-BFGS-B, one by one, on one thread.

The problems are a grid of radii of both classes and of class weights. L-BFGS-B solves the split w = u - v,
u, v >= 0 with the fastest of 10, 30 and 60 corrections, on evenly spaced stretches of a walk through the grid
from neighbour to neighbour: from 0, or from the solution before; told the optimum and stopped at the first
evaluation within 1e-8 of it, or by its own rule, with the loosest power of ten as its tolerance that leaves
at most 1e-8 at the first problems. Ours has to prove its gap. Processor times, in turn, medians.
"""

import statistics
import time

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit
from sim_speed import MEANS, sample
from threadpoolctl import threadpool_limits

from sim.solvers.batch import solve_many
from sim.solvers.solve import Solution

Array = npt.NDArray[np.float64]
Setting = tuple[tuple[float, float], tuple[float, float]]


class _Reached(Exception):
    """The target is reached."""


def walk(radii: int, costs: int, low: float = 0.5, high: float = 0.55) -> list[Setting]:
    """Return a walk through the grid of radii and class weights, from neighbour to neighbour."""
    e, c = np.linspace(low, high, radii), np.linspace(0.9, 1.1, costs)
    settings: list[Setting] = []
    for i in range(radii):
        for j in range(radii)[:: 1 if i % 2 == 0 else -1]:
            for k in range(costs)[:: 1 if (i * radii + j) % 2 == 0 else -1]:
                settings.append(((float(e[i]), float(e[j])), (float(c[k]), 1.0)))
    return settings


class LBFGSB:
    """L-BFGS-B on the samples."""

    def __init__(self, data: tuple[Array, Array]) -> None:
        """Join the samples."""
        self.signed = np.concatenate([data[0], -data[1]])
        self.sizes = len(data[0]), len(data[1])
        self.y = np.repeat([1.0, -1.0], self.sizes)

    def __call__(
        self,
        setting: Setting,
        start: Array | None,
        target: float = -np.inf,
        tolerance: float = 0.0,
        memory: int = 10,
    ) -> tuple[Array, float]:
        """Return (u, v, b) and the objective."""
        signed, y, d = self.signed, self.y, self.signed.shape[1]
        e, a = np.repeat(setting[0], self.sizes), np.repeat(setting[1], self.sizes)
        a = a / a.sum()

        def objective(theta: Array) -> tuple[float, Array]:
            u, v = theta[:d], theta[d:-1]
            m = signed @ (u - v) + y * theta[-1] - e * (u + v).sum()
            value = float(a @ np.logaddexp(0, -m))
            if value <= target:
                raise _Reached(theta.copy(), value)
            q = a * expit(-m)
            pull = q @ signed
            gradient = np.concatenate([-pull, pull, [-(y @ q)]])
            gradient[:-1] += e @ q
            return value, gradient

        bounds = [(0, None)] * (2 * d) + [(None, None)]
        options = {"maxiter": 5000, "maxfun": 10_000, "maxcor": memory, "ftol": 0, "gtol": tolerance}
        start = np.zeros(2 * d + 1) if start is None else start
        try:
            found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        except _Reached as reached:
            return reached.args
        return found.x, float(found.fun)


def split(found: Solution) -> Array:
    """Return (u, v, b)."""
    w = found.classifier.weights
    return np.concatenate([np.maximum(w, 0), np.maximum(-w, 0), [found.classifier.bias]])


def against(d: int, kind: str, radii: int, costs: int, count: int, repeats: int) -> None:
    """Print the ratios on one grid; L-BFGS-B solves ``count`` problems a repeat."""
    data, settings = sample(kind, d), walk(radii, costs)
    eps, weights = (list(values) for values in zip(*settings, strict=True))
    rival = LBFGSB(data)
    found = solve_many(*data, eps=eps, weights=weights)
    memory = 10

    def run(first: int, warm: bool, told: bool, tolerance: float) -> tuple[float, float]:
        """Return the time and the largest error of a stretch of the walk."""
        start, worst, spent = split(found[first - 1]), 0.0, time.process_time()
        for i in range(first, first + count):
            target = found[i].objective + 1e-8 if told else -np.inf
            theta, value = rival(settings[i], start if warm else None, target, tolerance, memory)
            start, worst = theta, max(worst, value - found[i].objective)
        return (time.process_time() - spent) / count, worst

    fastest = {m: 0.0 for m in (10, 30, 60)}
    for memory in fastest:
        fastest[memory] = run(1, True, True, 0.0)[0]
    memory = min(fastest, key=lambda m: fastest[m])
    loose = 1e-4
    while run(1, True, False, loose)[1] > 1e-8:
        loose /= 10
    forms = {
        f"{'told' if told else 'own rule'}, {'warm' if warm else 'cold'}": (warm, told)
        for told in (True, False)
        for warm in (True, False)
    }
    ours, theirs = [], {name: [] for name in forms}
    for repeat in range(repeats):
        start = time.process_time()
        solve_many(*data, eps=eps, weights=weights)
        ours.append((time.process_time() - start) / len(settings))
        first = 1 + (len(settings) - count - 1) * repeat // max(repeats - 1, 1)
        for name, (warm, told) in forms.items():
            theirs[name].append(run(first, warm, told, loose)[0])
    own = statistics.median(ours)
    print(
        f"  d {d:<5} {kind:<7} {len(settings)} problems, gaps <= {max(f.gap for f in found):.0e}: "
        f"{1e3 * own:6.2f} ms = {1 / own:5.0f} problems/s; "
        f"L-BFGS-B ({memory} corrections, tolerance {loose:.0e})"
    )
    for name, times in theirs.items():
        spent = statistics.median(times)
        print(f"    {name:<15} {1e3 * spent:6.1f} ms, ratio {spent / own:5.1f}", flush=True)


def main() -> None:
    """Print the ratios at both sizes."""
    print("many problems, same samples, n = 2000, logistic, linf, gap 1e-8, radii 0.5 to 0.55 of each class")
    with threadpool_limits(1):
        for kind in MEANS:
            against(100, kind, radii=12, costs=7, count=30, repeats=5)
        for kind in MEANS:
            against(1000, kind, radii=10, costs=5, count=6, repeats=3)


if __name__ == "__main__":
    main()
