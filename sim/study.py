"""Studies: what a sweep can run. Each statement of `theory` is one; the others are in `sim.studies`."""

import importlib
import math
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from sim import studies as folder
from sim.compare import BUDGET, Verdict
from sim.trials import attempt, settings_to_try
from theory.record import Record
from theory.statement import Statement, statements

__all__ = ["Comparison", "Outcome", "Study", "Task", "execute", "studies", "tasks"]

Setting = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """One verdict.

    Args:
        what: what was measured.
        verdict: prediction against measurement.
        claim: whether it judges a statement rather than a prediction.
    """

    what: str
    verdict: Verdict
    claim: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a study finds at one setting: verdicts, and the class errors behind them where there are any."""

    comparisons: Sequence[Comparison]
    records: Sequence[Record] = ()


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is tried, and where.

    Args:
        summary: what it shows, in one sentence.
        settings: returns n settings, as JSON objects, from a generator.
        run: tries one setting with a generator and the probability of a false alarm that it may use.
        refuted: whether its claim is known to fail, at least at the first setting.
        seconds: time a setting takes on one core, about; for ``--dry-run``.
    """

    summary: str
    settings: Callable[[int, np.random.Generator], Sequence[Setting]]
    run: Callable[[Setting, np.random.Generator, float], Outcome]
    refuted: bool = False
    seconds: float = 1.5


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


@cache
def studies() -> Mapping[str, Study]:
    """Return every study by its name."""
    own = {m.name: importlib.import_module(f"sim.studies.{m.name}").STUDY
           for m in pkgutil.iter_modules(folder.__path__)}  # fmt: skip
    return MappingProxyType({name: _of_statement(s) for name, s in statements().items()} | own)


def _of_statement(statement: Statement) -> Study:
    def run(setting: Setting, rng: np.random.Generator, alpha: float) -> Outcome:
        tried = attempt(statement, setting, rng, alpha=alpha)
        rates = [Comparison(f"rate {i + 1}", verdict) for i, verdict in enumerate(tried.rates)]
        return Outcome([*rates, Comparison("claim", tried.claim, claim=True)])

    return Study(
        summary=statement.claim,
        settings=lambda n, rng: settings_to_try(statement, n, rng),
        run=run,
        refuted=statement.status == "refuted",
    )


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
