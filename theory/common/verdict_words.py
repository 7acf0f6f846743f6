"""The verdicts of a comparison, as files have them and as tables show them."""

__all__ = ["VERDICTS", "shown"]

VERDICTS = ("agrees", "differs", "cannot tell")
"""As files have them; the last is of a comparison that would not have seen a relevant difference."""


def shown(verdict: str) -> str:
    """Return a verdict as a table shows it.

    >>> [shown(verdict) for verdict in VERDICTS]
    ['agrees', 'differs', 'inconclusive']
    """
    return "inconclusive" if verdict == VERDICTS[-1] else verdict
