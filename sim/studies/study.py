"""A study: what a sweep can run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.testing.bands import NamedVerdict
from theory.results.records import Record

__all__ = ["StudyOutcome", "Setting", "SimulationStudy"]

Setting = Mapping[str, Any]


@dataclass(frozen=True)
class StudyOutcome:
    """What a study finds at one setting: verdicts, and the class errors behind them where there are any."""

    comparisons: Sequence[NamedVerdict]
    records: Sequence[Record] = ()


@dataclass(frozen=True, kw_only=True)
class SimulationStudy:
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
    run: Callable[[Setting, np.random.Generator, float], StudyOutcome]
    refuted: bool = False
    seconds: float = 1.5
