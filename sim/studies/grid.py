"""Training in d dimensions on a grid of mixtures, each rule against its own theory.

"threshold" picks the bias with the fewest (robust) training errors along the optimal direction and is
compared with the closed form; "logistic" fits all weights and is compared with the minimiser of the
population logistic loss.
"""

from typing import Any

import numpy as np

from sim.studies.grid_runs import GridRun, grid_runs, train_and_judge
from sim.studies.study import Setting, SimulationStudy, StudyOutcome
from sim.testing.bands import NamedVerdict
from theory.gaussian.mixture import CLASSES, GaussianMixture

__all__ = ["STUDY", "settings_of"]

DEFAULT: dict[str, Any] = {
    "dim": 20,
    "eta": 0.4,
    "sigma": 1.0,
    "Ks": [1.0, 1.5, 2.0, 3.0],
    "radii": ["0.08", "0.16", "0.24"],
}


def settings_of(**grid: Any) -> list[Setting]:
    """Return the settings of a grid, one for each training: see `sim.studies.grid_runs.grid_runs`."""
    return [
        {**vars(t.mixture), "rule": t.rule, "train_eps": t.train_eps, "evaluate": list(t.evaluate)}
        | {"seed": list(t.seed)}
        for t in grid_runs(**grid)
    ]


def run(setting: Setting, rng: np.random.Generator, alpha: float) -> StudyOutcome:
    """Train once, and compare the errors of both classes at each radius with theory."""
    mixture = GaussianMixture(**{k: setting[k] for k in ("dim", "eta", "sigma", "K")})
    evaluate, seed = tuple(setting["evaluate"]), (setting["seed"][0], setting["seed"][1])
    way = GridRun(
        mixture, setting["rule"], setting["train_eps"], evaluate, seed, alpha / (2 + 2 * len(evaluate))
    )
    rows, records = train_and_judge(way)
    comparisons = [
        NamedVerdict(f"{row.quantity} of {label}, eps={row.eps}", verdict)
        for row in rows
        for label, verdict in zip(CLASSES, row.verdicts, strict=True)
    ]
    return StudyOutcome(comparisons, records)


STUDY = SimulationStudy(
    summary="The errors of linear classifiers trained in d dimensions are those of theory.",
    settings=lambda n, rng: settings_of(**DEFAULT, seed=int(rng.integers(2**31)))[:n],
    run=run,
    seconds=1.5,
)
