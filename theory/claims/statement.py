"""Statements of the field as checkable objects; those of the field are in `theory.theorems`.

A statement says lhs = rhs or lhs >= rhs of numbers that depend on a setting. Its residual lhs - rhs is there
twice: by the package's numeric functions, and as a sympy expression that is evaluated at 50 digits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import sympy as sp

from theory.claims import symbolic
from theory.claims.certificates import Certificate
from theory.claims.simulation import Simulation
from theory.common.inputs import InputError
from theory.common.table import Table

__all__ = ["Checked", "Setting", "Statement", "check", "log_uniform", "symbol", "table"]

Setting = Mapping[str, float]
Status = Literal["confirmed", "corrected", "refuted", "open"]

EQUAL = 1e-9
"""Largest residual of an equality; residuals are made of z-scores, logs and ratios of order one."""
ROUNDING = 1e-11
"""An inequality may be missed by rounding alone."""
BOTH_FORMS = 2
"""Settings at which `check` compares the two forms: 50 digits take a tenth of a second each."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A theorem, lemma or claim.

    Args:
        claim: what is said, in one sentence.
        source: paper, or "ours".
        status: confirmed, corrected (holds as written here, not as printed), refuted or open.
        note: what a reader should know: where our statement differs from the print, why it fails.
        kind: "=" or ">=".
        assumptions: named predicates of a setting.
        draw: returns a random setting in the domain, from a generator.
        residual: lhs - rhs by the numeric functions.
        symbolic: lhs - rhs as a sympy expression in `symbol`.
        control: the residual of a wrong version, which must be rejected.
        counterexample: of a refuted claim, a setting inside its domain where it fails.
        simulation: at a setting, the experiment that tries the statement; None where it would see nothing.
        certificate: a proof over a box of parameters, which `theory.claims.certificates` checks.
    """

    claim: str
    source: str
    status: Status
    note: str
    kind: Literal["=", ">="]
    assumptions: Mapping[str, Callable[[Setting], bool]]
    draw: Callable[[np.random.Generator], dict[str, float]]
    residual: Callable[[Setting], float]
    symbolic: Callable[[], sp.Expr]
    control: Callable[[Setting], float]
    simulation: Callable[[Setting], Simulation | None]
    counterexample: Setting | None = None
    certificate: Certificate | None = None

    def evaluate(self, setting: Setting) -> float:
        """Return the residual at a setting.

        Raises:
            InputError: an assumption does not hold; it is named with the setting.
        """
        self.require(setting)
        return float(self.residual(setting))

    def require(self, setting: Setting) -> None:
        """Check the assumptions.

        Raises:
            InputError: one does not hold.
        """
        for name, holds in self.assumptions.items():
            if not holds(setting):
                given = ", ".join(f"{k} = {v:g}" for k, v in setting.items())
                raise InputError(f"the statement assumes {name}, got {given}")

    def exact(self, setting: Setting, digits: int = 50) -> float:
        """Return the residual from the symbolic form, evaluated at ``digits`` digits."""
        values = {symbol(k): sp.Rational(v) - (1 if k == "K" else 0) for k, v in setting.items()}
        return float(self.symbolic().evalf(digits, subs=values))

    def holds(self, residual: float) -> bool:
        """Say whether a residual satisfies the statement, up to rounding."""
        return abs(residual) <= EQUAL if self.kind == "=" else residual >= -ROUNDING


def symbol(name: str) -> sp.Symbol:
    """Return the symbol of a setting's parameter; that of K is its excess over 1, as in `symbolic`."""
    own = {"m": symbolic.m, "sigma": symbolic.sigma, "K": symbolic.excess}
    return own.get(name) or sp.Symbol(name, positive=True)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number between two positive bounds, uniform in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@dataclass(frozen=True)
class Checked:
    """Outcome of a statement on random settings.

    Args:
        settings: number tried.
        violated: number at which it fails.
        slack: of an inequality the smallest residual, of an equality the largest in size.
        control_rejected: number at which the wrong version fails.
        counterexample: residual at the counterexample, if there is one.
        differ: number, of the first `BOTH_FORMS`, at which the numeric form is not the symbolic one.
    """

    settings: int
    violated: int
    slack: float
    control_rejected: int
    counterexample: float | None
    differ: int = 0

    def verdict(self, status: Status) -> str:
        """Return what to think of it: "VIOLATED", "BLIND" and "FORMS DIFFER" are failures.

        A statement is blind when its control is never rejected.
        """
        if not self.control_rejected:
            return "BLIND"
        if bool(self.violated) != (status == "refuted"):
            return "VIOLATED"
        if self.differ:
            return "FORMS DIFFER"
        if status == "refuted":
            return "fails as it should" if self.counterexample is not None else "VIOLATED"
        return "no counterexample" if status == "open" else "holds"


def check(statement: Statement, rng: np.random.Generator, n: int) -> Checked:
    """Try a statement and its negative control on n random settings.

    The counterexample of a refuted claim counts among the settings.
    """
    settings = [statement.draw(rng) for _ in range(n)]
    found = None
    if statement.counterexample is not None:
        settings.append(dict(statement.counterexample))
        found = statement.evaluate(statement.counterexample)
    residuals = [statement.evaluate(s) for s in settings]
    first = list(zip(settings, residuals, strict=True))[:BOTH_FORMS]
    worst = max(residuals, key=abs) if statement.kind == "=" else min(residuals)
    return Checked(
        settings=len(settings),
        violated=sum(not statement.holds(r) for r in residuals),
        slack=worst,
        control_rejected=sum(not statement.holds(float(statement.control(s))) for s in settings),
        counterexample=found,
        differ=sum(not _same(residual, statement.exact(s)) for s, residual in first),
    )


def _same(residual: float, exact: float) -> bool:
    """Say whether the numeric form of a residual is the symbolic one."""
    return abs(residual - exact) <= max(EQUAL, 1e-8 * abs(exact))


def table(known: Mapping[str, Statement], outcomes: Mapping[str, Checked]) -> Table:
    """Return the outcomes of statements, both by name, for a person."""
    rows = []
    for name, outcome in outcomes.items():
        s = known[name]
        rows.append(
            [name, s.source, s.status, str(outcome.settings), str(outcome.violated), f"{outcome.slack:.2e}",
             str(outcome.control_rejected), outcome.verdict(s.status)]
        )  # fmt: skip
    header = ["statement", "source", "status", "settings", "violated", "slack", "control rejected", "verdict"]
    note = (
        "slack: of an inequality the smallest lhs - rhs, of an equality the largest |lhs - rhs|; control: "
        "how often a wrong version of the statement is rejected on the same settings"
    )
    return Table("Every statement on random settings of its domain", header, rows, note)
