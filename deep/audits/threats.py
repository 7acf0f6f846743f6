"""What an adversary may do, and the attacks that try it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from deep.attacks.autoattack import AutoAttack
from deep.attacks.ball import Bounds, Norm
from deep.attacks.evaluate import NORMS, Attack, Attacker
from deep.attacks.linear_oracle import Exact
from theory.common.inputs import InputError, check_real, parse_radius

__all__ = ["ATTACKS", "Effort", "Threat", "attackers", "threats_of"]

ATTACKS = ("pgd", "kl", "margin", "targeted", "autoattack")


@dataclass(frozen=True)
class Threat:
    """A ball in which inputs may be moved.

    Args:
        norm: linf, l2 or l1.
        eps: radius, in the units of the inputs.
        eps_text: the same as it was given.
        bounds: smallest and largest value of an input, None for none.
    """

    norm: Norm
    eps: float
    eps_text: str
    bounds: Bounds

    @property
    def name(self) -> str:
        """Return the threat in words."""
        return f"{NORMS[self.norm]}, eps={self.eps_text}"


@dataclass(frozen=True)
class Effort:
    """How hard attacks try.

    Args:
        steps: of PGD, each of eps / 4.
        restarts: random starts of PGD.
        targets: most wrong classes that the targeted attack tries, the likeliest; it tries all if there are
            no more.
    """

    steps: int
    restarts: int
    targets: int


def threats_of(eps: object, norm: str | Sequence[str], bounds: Bounds, size: int) -> tuple[Threat, ...]:
    """Return one threat for each radius and norm.

    Args:
        eps: a radius as text or number, or several.
        norm: a norm, or several, as many as radii.
        bounds: smallest and largest value of an input, None for none.
        size: numbers of an input.

    Raises:
        InputError: a radius or norm is none, or is larger than the inputs are; or one is there twice.
    """
    radii = list(eps) if isinstance(eps, list | tuple) else [eps]
    norms = [norm] if isinstance(norm, str) else list(norm)
    if len(radii) != len(norms) or not radii:
        raise InputError(f"there must be a norm for each radius, got eps={eps!r:.60} and norm={norm!r:.60}")
    found = tuple(_threat(*pair, bounds, size) for pair in zip(radii, norms, strict=True))
    if len({(t.norm, t.eps) for t in found}) < len(found):
        raise InputError(f"the threats must differ, got eps={eps!r:.60} and norm={norm!r:.60}")
    return found


def _threat(eps: object, norm: str, bounds: Bounds, size: int) -> Threat:
    if norm not in get_args(Norm):
        raise InputError(f"norm must be one of {', '.join(get_args(Norm))}, got {norm!r:.60}")
    text = eps if isinstance(eps, str) else f"{check_real('eps', eps, low=0)!r}"
    radius = parse_radius(text)
    if bounds is not None:
        most = (bounds[1] - bounds[0]) * {"linf": 1.0, "l2": math.sqrt(size), "l1": float(size)}[norm]
        if radius > most:
            raise InputError(
                f"eps must be at most {most:g}, the size of the inputs in {norm}, got {text}; it is in the "
                f"units "
                f"of the inputs, which lie in {bounds[0]:g} to {bounds[1]:g}, so 8 grey levels of 255 are "
                f"8/255"
            )
    return Threat(norm, radius, text, bounds)  # type: ignore[arg-type]


def attackers(
    names: Sequence[str], threat: Threat, classes: int, effort: Effort, *, linear: bool
) -> tuple[Attacker, ...]:
    """Return the attacks of some names, and the exact worst case of a linear model.

    Raises:
        InputError: a name is none, or is AutoAttack's where it cannot be made.
    """
    names = [names] if isinstance(names, str) else list(names)
    wrong = [name for name in names if name not in ATTACKS]
    if wrong or not names:
        raise InputError(
            f"attacks must be of {', '.join(ATTACKS)}, got {', '.join(map(repr, wrong)) or 'none'}"
        )
    made = [_attacker(name, threat, classes, effort) for name in dict.fromkeys(names)]
    exact = [Exact(threat.eps, threat.eps_text, threat.norm, threat.bounds)] if linear else []
    return (*made, *exact)


def _attacker(name: str, threat: Threat, classes: int, effort: Effort) -> Attacker:
    if name == "autoattack":
        if threat.bounds != (0, 1) or threat.norm == "l1":
            raise InputError(
                "attacks: autoattack is for linf and l2 and inputs in 0 to 1, to which it clamps, got "
                f"{threat.norm} and bounds {threat.bounds}"
            )
        return AutoAttack(threat.eps, threat.eps_text, classes, threat.norm)
    return Attack(
        threat.eps,
        threat.eps_text,
        effort.steps,
        norm=threat.norm,
        objective="ce" if name == "pgd" else name,  # type: ignore[arg-type]
        restarts=effort.restarts,
        targets=min(effort.targets, classes - 1),
        among=classes - 1,
        bounds=threat.bounds,
    )
