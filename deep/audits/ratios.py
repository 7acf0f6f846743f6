"""Robustness to several threats as a share of what networks trained for each threat reach."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from theory.common.inputs import InputError

if TYPE_CHECKING:
    from deep.audits.result import Audit

__all__ = ["accuracy_ratios", "ratios"]


def accuracy_ratios(
    accuracy: npt.ArrayLike, reference: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], float, float]:
    """Return the ratios of accuracies, their mean and the smallest: the metrics of MultiRobustBench.

    They are those of Dai et al. (ICML 2023, https://arxiv.org/abs/2302.10980), CR_avg and CR_worst, as
    fractions. A ratio above 1 stays one. Where the reference is 0 there is no ratio: nan, which counts
    nowhere.

    Args:
        accuracy: under each of K attacks, shape (K,) or (K, classes).
        reference: of a network that was trained for each of them, of the same shape.

    Raises:
        InputError: the shapes differ, an accuracy is none, or no reference is above 0.

    Examples:
        >>> accuracy_ratios([0.75, 0.25], [0.75, 0.5])
        (array([1. , 0.5]), 0.75, 0.5)
    """
    ours, theirs = np.asarray(accuracy, float), np.asarray(reference, float)
    if ours.shape != theirs.shape or not ours.size:
        raise InputError(f"accuracies need a reference each, got shapes {ours.shape} and {theirs.shape}")
    if not all(((v >= 0) & (v <= 1)).all() for v in (ours, theirs)):
        raise InputError("accuracies must be from 0 to 1")
    if not (theirs > 0).any():
        raise InputError("no reference is above 0, so there is no ratio")
    found = np.divide(ours, theirs, out=np.full(ours.shape, np.nan), where=theirs > 0)
    return found, float(np.nanmean(found)), float(np.nanmin(found))


def ratios(audit: "Audit", references: Mapping[str, "Audit"]) -> dict[str, Any]:
    """Return the ratios of an audited model over all samples, per class, and the worst cell of both.

    Args:
        audit: of the model, under one or several threats.
        references: for "clean" and for the name of each threat, the audit of a network that was trained
            for it; its accuracy there is what the model is compared with.

    Returns:
        "average" and "worst" over all samples, "each" for every threat, "classes" for every class and
        threat, and "worst_cell": the class, the threat and the ratio that is smallest.

    Raises:
        InputError: a reference is missing, or of other classes.
    """
    threats = ["clean", *(threat.name for threat in audit.threats)]
    if sorted(references) != sorted(threats):
        raise InputError(f"there must be a reference for {', '.join(threats)}, got {', '.join(references)}")
    pairs = [(_accuracy(audit, t), _accuracy(references[t], t)) for t in threats]
    classes = [audit.classes[c] for c in audit.present]
    if any([r.classes[c] for c in r.present] != classes for r in references.values()):
        raise InputError(f"the references must have samples of the classes {', '.join(classes)}")
    each, average, worst = accuracy_ratios([a[0] for a, _ in pairs], [r[0] for _, r in pairs])
    cells, _, smallest = accuracy_ratios([a[1] for a, _ in pairs], [r[1] for _, r in pairs])
    threat, place = (int(i) for i in np.unravel_index(np.nanargmin(cells), cells.shape))
    return {
        "average": average,
        "worst": worst,
        "each": dict(zip(threats, each.tolist(), strict=True)),
        "classes": {c: dict(zip(threats, cells[:, i].tolist(), strict=True)) for i, c in enumerate(classes)},
        "worst_cell": {"class": classes[place], "threat": threats[threat], "ratio": smallest},
    }


def _accuracy(audit: "Audit", threat: str) -> tuple[float, Sequence[float]]:
    """Return the accuracy over all samples and of each class under a threat, by its name.

    Raises:
        InputError: there is no such threat.
    """
    names = [t.name for t in audit.threats]
    if threat != "clean" and threat not in names:
        raise InputError(f"a reference for {threat} must have been audited under it, got {', '.join(names)}")
    errors = audit.errors() if threat == "clean" else audit.errors(names.index(threat))
    quantity = "natural_error" if threat == "clean" else "robust_error"
    return 1 - errors.average(quantity), (1 - errors.rates(quantity)).tolist()
