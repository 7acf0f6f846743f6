"""What an attack of an evaluation is, as a value, and when two of them are one.

A file of today has the kind of each attack beside its name. Names of older files are mapped to kinds here,
and nowhere else is the name of an attack taken apart.
"""

import re
from collections.abc import Sequence

from theory.common.inputs import InputError, usual_radius

__all__ = ["AUTOATTACK", "CLEAN", "OTHER", "attack_key", "kinds_of"]

CLEAN = "clean"
"""Nothing at all."""
AUTOATTACK, OTHER = "autoattack", "other"
KINDS = (
    ("clean", re.compile("clean")),
    (AUTOATTACK, re.compile("AutoAttack ")),
    ("targeted", re.compile(r"PGD-\d+, margin to (\d+|each|the) ")),
    ("margin", re.compile(r"PGD-\d+, margin")),
    ("kl", re.compile(r"PGD-\d+, divergence")),
    ("pgd", re.compile(r"PGD-\d+")),
)
"""How the names of attacks begin in files that do not have their kinds."""
RADIUS = re.compile(r"(?<=\beps=)[^\s,;)]+")


def kinds_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of attacks from their names, for files that do not have them.

    >>> kinds_of(["clean", "PGD-20, cross-entropy, l-infinity, eps=0.1", "AutoAttack (4 attacks), eps=0.1"])
    ('clean', 'pgd', 'autoattack')
    """
    return tuple(next((kind for kind, start in KINDS if start.match(name)), OTHER) for name in names)


def attack_key(name: str) -> str:
    """Return what is equal for attacks that are one: the name with the usual spelling of its radius.

    >>> attack_key("PGD-20, eps=16/510, step=eps/4") == attack_key("PGD-20, eps=8/255, step=eps/4")
    True
    """
    return RADIUS.sub(lambda match: _usual(match[0]), name)


def _usual(text: str) -> str:
    try:
        return usual_radius(text)
    except InputError:  # of another program
        return text
