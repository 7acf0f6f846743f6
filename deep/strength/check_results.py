"""What a check of the strength of an attack says, for every class and over all, and the table of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from theory.common.digits import percent
from theory.common.table import Table

__all__ = ["Check", "Flags", "check_table"]

Flags = npt.NDArray[np.bool_]
OVERALL, OF_A_CLASS = 0.01, 0.05
"""The share of all samples, and of those of a class, that may be amiss; one sample always may be.

Both are below the 95 % half-width of an error counted on 1000 samples and on 100 of a class.
"""


@dataclass(frozen=True)
class Check:
    """A check, for every class and over all.

    Args:
        name: what is checked.
        says: what a sample amiss is.
        amiss: for each sample tried, shape (n,).
        labels: their classes, shape (n,).
        classes: names of the classes.
        strict: whether no sample may be amiss.
        figures: what else was found, for a person.
    """

    name: str
    says: str
    amiss: Flags
    labels: npt.NDArray[np.int64]
    classes: Sequence[str]
    strict: bool = False
    figures: str = ""

    @property
    def overall(self) -> float:
        """Return the share of samples amiss, 0 if none was tried."""
        return float(self.amiss.mean()) if len(self.amiss) else 0.0

    @property
    def per_class(self) -> dict[str, float]:
        """Return the share of samples amiss of each class that was tried."""
        tried = [(c, self.amiss[self.labels == i]) for i, c in enumerate(self.classes)]
        return {c: float(flags.mean()) for c, flags in tried if len(flags)}

    @property
    def passed(self) -> bool:
        """Return whether no more is amiss than may be, overall and in each class."""
        if self.strict:
            return not self.amiss.any()
        groups = [(OVERALL, self.amiss)]
        groups += [(OF_A_CLASS, self.amiss[self.labels == i]) for i in range(len(self.classes))]
        return all(int(flags.sum()) <= max(1, limit * len(flags)) for limit, flags in groups)

    def as_json(self) -> dict[str, Any]:
        """Return the check as JSON."""
        shares = {"overall": self.overall, "per_class": self.per_class}
        return {
            "name": self.name,
            "says": self.says,
            "passed": self.passed,
            **shares,
            "figures": self.figures,
        }

    def row(self) -> list[str]:
        """Return the check as a row of the table."""
        worst = max(self.per_class, key=lambda c: self.per_class[c], default="")
        share = f"{percent(self.per_class[worst])} ({worst})" if worst else "-"
        verdict = "pass" if self.passed else "FAIL"
        return [self.name, verdict, percent(self.overall), share, self.says, self.figures]


def check_table(title: str, checks: Sequence[Check]) -> Table:
    """Return checks as a table."""
    header = ["check", "verdict", "% of samples", "worst class", "a sample is amiss that", "figures"]
    note = (
        f"at most {100 * OVERALL:g} % of all samples and {100 * OF_A_CLASS:g} % of those of a class "
        "may be amiss, or one; none in a and in the linear bound. Errors in percent"
    )
    return Table(title, header, [check.row() for check in checks], note)
