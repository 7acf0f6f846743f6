"""Mean class errors of training on few samples, as ``sim.sweep --study few_samples`` writes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError, check_array, check_real, parse_object, read_lines
from theory.results.run_files import VERDICT_LINES

__all__ = ["SampledErrors", "read_sampled_errors"]

STUDY = "few_samples"
QUANTITY = ", robust error of "
FIXED = ("dim", "alpha", "K", "norm_theta", "sigma", "eps")


@dataclass(frozen=True)
class SampledErrors:
    """One way of training at one setting.

    Args:
        setting: dim, alpha = n / d, K, norm_theta, sigma, eps.
        method: averaging, max-margin or logistic.
        errors: robust error of class +1 and of class -1, each (mean, low, high) with 95 % intervals over
            data sets, shape (2, 3).
    """

    setting: Mapping[str, float]
    method: str
    errors: npt.NDArray[np.float64]


def read_sampled_errors(folder: Path) -> Iterator[SampledErrors]:
    """Yield the errors in the files of verdicts in or below a folder.

    Raises:
        InputError: a line is damaged (file and line are named).
    """
    for path in sorted(folder.rglob(VERDICT_LINES)):
        for number, line in read_lines(path):
            task = parse_object(line, f"{path}, line {number}")
            if str(task.get("task")).split()[:1] == [STUDY]:
                try:
                    yield from _errors(task)
                except (KeyError, TypeError, ValueError, InputError):
                    raise InputError(
                        f"{path}, line {number} is not one of sim.sweep --study {STUDY}"
                    ) from None


def _errors(task: Mapping[str, Any]) -> Iterator[SampledErrors]:
    setting = {name: check_real(name, task["setting"][name], low=0) for name in FIXED}
    rows: dict[str, dict[str, list[float]]] = {}
    for verdict in task["verdicts"]:
        method, label = verdict["what"].split(QUANTITY)
        rows.setdefault(method, {})[label] = [verdict["measured"], *verdict["interval"]]
    for method, by_class in rows.items():
        errors = check_array(method, [by_class["+1"], by_class["-1"]], low=-1)
        if errors.shape != (2, 3):
            raise ValueError(method)
        yield SampledErrors(setting, method, errors)
