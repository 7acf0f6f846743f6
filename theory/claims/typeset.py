"""Statements as LaTeX."""

import sympy as sp
from sympy.printing.mathml import MathMLPresentationPrinter

from theory.claims import symbolic
from theory.claims.statement import Statement
from theory.common.table import latex_text

__all__ = ["formula", "mathml", "statement_latex"]


def _form(statement: Statement) -> sp.Expr:
    """Return lhs - rhs in the symbols of its claim."""
    return statement.symbolic().subs(symbolic.excess, sp.Symbol("K") - 1)


def mathml(statement: Statement) -> str:
    """Return the symbolic form of a statement, lhs - rhs = 0 or >= 0, as an element of HTML.

    It is empty where both sides are the same expression, so that there is nothing to see.
    """
    form = _form(statement)
    if form == 0:
        return ""
    printed = MathMLPresentationPrinter().doprint(form).replace("<mo>&InvisibleTimes;</mo>", "")
    sign = "=" if statement.kind == "=" else "\N{GREATER-THAN OR EQUAL TO}"
    return f"<math><mrow>{printed}<mo>{sign}</mo><mn>0</mn></mrow></math>"


def formula(statement: Statement) -> str:
    """Return the symbolic form of a statement, lhs - rhs = 0 or >= 0, for math mode."""
    form = sp.latex(_form(statement))
    return f"{form} {'=' if statement.kind == '=' else chr(92) + 'ge'} 0"


def statement_latex(statement: Statement) -> str:
    """Return a statement and its symbolic form for a document with the package amsmath.

    Args:
        statement: any.
    """
    return (
        f"% {statement.source}; {statement.status}\n{latex_text(statement.claim)}\n"
        f"\\[ {formula(statement)} \\]"
    )
