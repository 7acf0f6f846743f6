"""``make bench``: the four errors of a million settings against the bare ndtr calls they need.

Both are timed in turn in one process, several times, and the medians compared. The four errors are the
natural and the robust error of both classes of the optimal robust classifier, all parameters drawn at random.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from theory.gaussian.optimal import optimal_z_scores

N = 1_000_000
REPEATS = 7


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Time both and print the ratio of the medians."""
    rng = np.random.default_rng(0)
    margin, shift, K = rng.uniform(0.1, 4, N), rng.uniform(0.01, 2, N), rng.uniform(1.01, 4, N)
    z = rng.normal(-1, 1.5, (4, N))

    def four_errors() -> None:
        plus, minus = optimal_z_scores(margin, 1.0, K)
        for u in (plus, minus, plus - shift / K, minus - shift):
            ndtr(u)

    def bare() -> None:
        for u in z:
            ndtr(u)

    times = {name: [] for name in ("four errors", "bare ndtr")}
    for _ in range(REPEATS):
        times["four errors"].append(seconds(four_errors))
        times["bare ndtr"].append(seconds(bare))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        low, high = 1e3 * min(times[name]), 1e3 * max(times[name])
        print(f"{name:<12} {1e3 * value:7.1f} ms (from {low:.1f} to {high:.1f})")
    print(
        f"ratio {medians['four errors'] / medians['bare ndtr']:.2f}, {N} settings, {REPEATS} repeats, medians"
    )


if __name__ == "__main__":
    main()
