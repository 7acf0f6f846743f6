"""What the theory says of a change of training, beside what it changed in each class of a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deep.margins.fitted_margin_model import FittedMarginModel
from theory.common.inputs import InputError, parse_object, read_lines
from theory.networks.changes import PredictedChange, bias_shift, error_change, judged
from theory.results.flags import Evaluation
from theory.results.margin_report import ERRORS
from theory.results.run_files import HISTORY

__all__ = ["directions"]

WEIGHTS = ("weights", "weights_nat", "weights_bndy")
Floats = npt.NDArray[np.float64]


def directions(fits: Sequence[FittedMarginModel], fit: FittedMarginModel) -> dict[str, list[PredictedChange]]:
    """Return against what a run is compared among others, and each class's change.

    Raises:
        InputError: the history of the run is damaged.
    """
    settings, changes = fit.run.settings, dict[str, list[PredictedChange]]()
    if settings.method == "natural":
        return changes
    base = _first(fits, fit, method="natural")
    if base is not None:
        shift = [bias_shift(m, 0.0, _radius(fit)) for m in (base.prediction.model, *base.prediction.models)]
        changes[base.label] = _changes(base, fit, shift, ["natural_error"])
    state, method = _state(fit), settings.method_id
    if state is None:
        return changes
    beta = {"beta": method.beta} if method.base_name == "trades" else {}
    plain = _first(fits, fit, method=str(method.base_name), **beta)
    if plain is not None:
        models = (plain.prediction.model, *plain.prediction.models)
        radii, before = state[1] * _radius(fit), _radius(plain)
        shift = [bias_shift(m, before, radii, np.log(state[0])) for m in models]
        changes[plain.label] = _changes(plain, fit, shift, ERRORS)
    return changes


def _first(
    fits: Sequence[FittedMarginModel], fit: FittedMarginModel, method: str, **params: Any
) -> FittedMarginModel | None:
    """Return the first run of a method with these hyper-parameters and the split of another run."""
    split = fit.run.data.to_json()
    for other in fits:
        settings = other.run.settings
        if settings.method != method or other.run.data.to_json() != split:
            continue
        if all(getattr(settings.params, k) == v for k, v in params.items()):
            return other
    return None


def _radius(fit: FittedMarginModel) -> float:
    """Return the training radius in units of the radius of the attack."""
    settings = fit.run.settings
    same = settings.train_eps is None or settings.attack.eps == 0
    return 1.0 if same else settings.train_radius / settings.attack.eps


def _changes(
    base: FittedMarginModel, fit: FittedMarginModel, shifts: Sequence[Floats], quantities: Sequence[str]
) -> list[PredictedChange]:
    """Return the change of each class from one run to another; the first shift is of the fitted model."""
    models = (base.prediction.model, *base.prediction.models)
    out = []
    for quantity in quantities:
        attacked = quantity == "robust_error"
        drawn = np.array([error_change(m, s, attacked=attacked) for m, s in zip(models, shifts, strict=True)])
        low, high = np.quantile(drawn[1:], [0.025, 0.975], axis=0)
        before, after = ((e.ok_attacked if attacked else e.ok_natural) for e in _same(base, fit))
        for c, name in enumerate(fit.run.data.classes):
            members = fit.evaluation.labels == c
            predicted = float(drawn[0, c]), float(low[c]), float(high[c])
            out.append(judged(name, quantity, predicted, before[members], after[members]))
    return out


def _same(base: FittedMarginModel, fit: FittedMarginModel) -> tuple[Evaluation, Evaluation]:
    if not np.array_equal(base.evaluation.index, fit.evaluation.index):
        raise InputError(f"{base.folder} and {fit.folder} were not compared on the same samples")
    return base.evaluation, fit.evaluation


def _state(fit: FittedMarginModel) -> tuple[Floats, Floats] | None:
    """Return the last weights and radii (in units of eps) of each class, if the method has any.

    The names are those of `deep.methods.base.Method.state`. Where natural and boundary part have weights of
    their own, that of a class is their mean as the loss has them: the boundary part counts beta times.

    Raises:
        InputError: the history is missing or damaged.
    """
    path, size = fit.folder / HISTORY, len(fit.run.data.classes)
    try:
        *_, (_, last) = read_lines(path)
    except ValueError:  # also that there is no line
        raise InputError(
            f"{path} is missing or damaged; it says what the run learnt of its classes"
        ) from None
    state = parse_object(last, str(path))
    named = {k: _vector(path, k, state[k], size) for k in WEIGHTS if k in state}
    if not named:
        return None
    radii = _vector(path, "radii", state["radii"], size) if "radii" in state else np.ones(size)
    if "weights" in named:
        return named["weights"], radii
    beta, one_each = fit.run.settings.params.beta, np.ones(size)
    parts = [named.get(k, one_each) for k in WEIGHTS[1:]]
    natural, boundary = (v / v.mean() for v in parts)
    return (natural + beta * boundary) / (1 + beta), radii


def _vector(path: Path, name: str, value: object, size: int) -> Floats:
    """Return numbers > 0, one a class, that were read."""
    try:
        vector = np.array(value, np.float64)
    except (TypeError, ValueError):
        vector = np.empty(0)
    if vector.shape != (size,) or not np.isfinite(vector).all() or not (vector > 0).all():
        raise InputError(f"{path} is damaged: {name} must be {size} numbers > 0")
    return vector
