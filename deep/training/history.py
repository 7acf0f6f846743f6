"""The history of a training: a line an epoch, with the validation errors of every class."""

import json
import math

from theory.common.inputs import InputError, check_real

__all__ = ["QUANTITIES", "check_history"]

QUANTITIES = ("natural_error", "robust_error")


def check_history(epoch: object, epochs: int, history: object) -> None:
    """Refuse a history that is not of so many epochs."""
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch <= epochs:
        raise InputError(f"epoch must be from 0 to {epochs}, got {epoch!r:.60}")
    good = isinstance(history, list) and all(isinstance(line, dict) for line in history)
    if not good or [line.get("epoch") for line in history] != [*range(1, epoch + 1)]:
        raise InputError(f"the history must have the {epoch} epochs that are done")
    json.dumps(history)  # a tensor is refused
    for line in history:
        check_real("a loss", line.get("loss"), low=-math.inf)
        check_real("seconds", line.get("seconds"), low=0)
        for errors in (line[q] for q in QUANTITIES if q in line):
            if not isinstance(errors, list) or not errors or set(QUANTITIES) - set(line):
                raise InputError(f"the history must have the errors of every class, got {errors!r:.60}")
            for error in errors:
                check_real("an error", error, low=0, high=1)
