"""Statements as LaTeX."""

import sympy as sp

from theory.claims import symbolic
from theory.claims.statement import Statement
from theory.common.table import latex_text

__all__ = ["formula", "statement_latex"]


def formula(statement: Statement) -> str:
    """Return the symbolic form of a statement, lhs - rhs = 0 or >= 0, for math mode."""
    form = sp.latex(statement.symbolic().subs(symbolic.excess, sp.Symbol("K") - 1))
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
