"""What the theory says of a change of training, beside what it changed in each class of a network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deep.folder import HISTORY
from deep.linked import QUANTITIES, Link
from theory.direction import Change, bias_shift, error_change, judged
from theory.evaluation import Evaluation
from theory.inputs import InputError, parse_object

__all__ = ["directions"]

Floats = npt.NDArray[np.float64]


def directions(links: Sequence[Link]) -> dict[int, dict[str, list[Change]]]:
    """Return, for each place among the links, against what it is compared and each class's change.

    Raises:
        InputError: the history of a run is damaged.
    """
    found: dict[int, dict[str, list[Change]]] = {}
    for i, one in enumerate(links):
        settings = one.run.settings
        if settings.method == "natural":
            continue
        base = _first(links, one, method="natural")
        if base is not None:
            shift = [bias_shift(m, 0.0, 1.0) for m in (base.prediction.model, *base.prediction.models)]
            found.setdefault(i, {})[base.label] = _changes(base, one, shift, ["natural_error"])
        state = _state(one)
        beta = getattr(settings.params, "beta", None)
        trades = _first(links, one, method="trades", beta=beta) if state else None
        if state and trades is not None:
            models = (trades.prediction.model, *trades.prediction.models)
            shift = [bias_shift(m, 1.0, state[1], np.log(state[0])) for m in models]
            found.setdefault(i, {})[trades.label] = _changes(trades, one, shift, QUANTITIES)
    return found


def _first(links: Sequence[Link], one: Link, method: str, **params: Any) -> Link | None:
    """Return the first run of a method with these hyper-parameters and the split of another run."""
    split = one.run.data.to_json()
    for other in links:
        settings = other.run.settings
        if settings.method != method or other.run.data.to_json() != split:
            continue
        if all(getattr(settings.params, k) == v for k, v in params.items()):
            return other
    return None


def _changes(base: Link, one: Link, shifts: Sequence[Floats], quantities: Sequence[str]) -> list[Change]:
    """Return the change of each class from one run to another; the first shift is of the fitted model."""
    models = (base.prediction.model, *base.prediction.models)
    out = []
    for quantity in quantities:
        attacked = quantity == "robust_error"
        drawn = np.array([error_change(m, s, attacked=attacked) for m, s in zip(models, shifts, strict=True)])
        low, high = np.quantile(drawn[1:], [0.025, 0.975], axis=0)
        before, after = ((e.ok_attacked if attacked else e.ok_natural) for e in _same(base, one))
        for c, name in enumerate(one.run.data.classes):
            members = one.evaluation.labels == c
            predicted = float(drawn[0, c]), float(low[c]), float(high[c])
            out.append(judged(name, quantity, predicted, before[members], after[members]))
    return out


def _same(base: Link, one: Link) -> tuple[Evaluation, Evaluation]:
    if not np.array_equal(base.evaluation.index, one.evaluation.index):
        raise InputError(f"{base.folder} and {one.folder} were not compared on the same samples")
    return base.evaluation, one.evaluation


def _state(one: Link) -> tuple[Floats, Floats] | None:
    """Return the last weights and radii (in units of eps) of each class, if the method has any.

    The loss weighs both errors, the boundary error beta times: the weight of a class is their mean.

    Raises:
        InputError: the history is missing or damaged.
    """
    path = one.folder / HISTORY
    try:
        last = path.read_text(encoding="utf-8").splitlines()[-1]
    except (OSError, UnicodeDecodeError, IndexError):
        raise InputError(
            f"{path} is missing or damaged; it says what the run learnt of its classes"
        ) from None
    state, size = parse_object(last, str(path)), len(one.run.data.classes)
    if not {"weights_nat", "weights_bndy", "margins"} <= set(state):
        return None
    beta = one.run.settings.params.beta
    try:
        natural, boundary, radii = (
            np.array(state[k], np.float64) for k in ("weights_nat", "weights_bndy", "margins")
        )
        good = all(v.shape == (size,) and (v > 0).all() for v in (natural, boundary, radii))
    except (TypeError, ValueError):
        good = False
    if not good:
        raise InputError(f"{path} is damaged: weights and margins must be {size} numbers > 0")
    return (natural + beta * boundary) / (1 + beta), radii
