"""Tasks: what a sweep does one by one, and what is left of each."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from sim.studies import studies
from sim.studies.study import Setting
from sim.testing.bands import BUDGET

__all__ = ["Task", "execute", "tasks"]


@dataclass(frozen=True)
class Task:
    """One setting of one study, with its own stream of random numbers and its share of the budget."""

    study: str
    index: int
    setting: Setting
    seed: int
    alpha: float
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the name of the task within its sweep."""
        return f"{self.study} {self.index}"


def tasks(
    names: Sequence[str], n: int, seed: int, source: Mapping[str, Any], alpha: float | None = None
) -> Iterator[Task]:
    """Yield the tasks of studies, in order.

    Args:
        names: keys of `studies`.
        n: settings of each.
        seed: seed of the sweep.
        source: provenance of the records.
        alpha: budget of each task; an equal share of `BUDGET` if None.
    """
    share = BUDGET / (len(names) * n) if alpha is None else alpha
    for name in names:
        rng = np.random.default_rng([seed, *name.encode()])
        for i, setting in enumerate(studies()[name].settings(n, rng)):
            yield Task(name, i, setting, seed, share, source)


def execute(task: Task) -> dict[str, Any]:
    """Run a task and return its line: a JSON object with its verdicts and records."""
    with threadpool_limits(1):
        started = time.perf_counter()
        rng = np.random.default_rng([task.seed, task.index, 1, *task.study.encode()])
        outcome = studies()[task.study].run(task.setting, rng, task.alpha)
        seconds = round(time.perf_counter() - started, 3)
    verdicts = [
        {"what": c.what, "claim": c.claim} | {k: _finite(v) for k, v in asdict(c.verdict).items()}
        for c in outcome.comparisons
    ]
    source = {**task.source, "seconds": seconds}
    records = [asdict(r) | {"provenance": source} for r in outcome.records]
    records = [{k: v for k, v in r.items() if v is not None and v != {}} for r in records]
    line = {"task": task.key, "setting": dict(task.setting), "seed": task.seed, "alpha": task.alpha}
    return line | {"seconds": seconds, "verdicts": verdicts} | ({"records": records} if records else {})


def _finite(value: Any) -> Any:
    """Return a number that strict JSON has."""
    if isinstance(value, tuple):
        return [_finite(v) for v in value]
    return max(-1e300, min(1e300, value)) if isinstance(value, float) and not math.isnan(value) else value
