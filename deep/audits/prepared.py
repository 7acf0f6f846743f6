"""A model and samples of somebody else made ready for an audit, and what is amiss with them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deep.attacks.linear_oracle import Linear
from deep.attacks.pgd import attacking
from deep.audits.affine import affine_of, from_estimator, is_estimator
from deep.data import Split
from deep.data.samples import Samples, samples_of
from deep.nets.foreign import Foreign
from deep.runs.place import to_device
from theory.common.inputs import InputError

__all__ = ["doubts_of", "names_of", "notes_of", "prepared"]


@contextmanager
def prepared(
    model: Any, samples: Samples, bounds: Any, device: str, output: int | str | None
) -> Iterator[tuple[nn.Module, Split, Sequence[str] | None]]:
    """Give the model as a module, the samples as a split, and the names of the classes if they say them.

    A model on another device than the one asked for is moved there, and back when the audit is done.
    """
    bounds = None if bounds is None else tuple(map(float, bounds))
    if is_estimator(model):
        place = to_device("cpu" if device == "auto" else device)
        network, names, places = from_estimator(model, _inputs(samples, bounds))
        known = Samples(samples.x, places(samples.y), None, samples.scale)
        split = samples_of(known, bounds, dtype=torch.float64, device=place)
        yield network.to(place), split, samples.classes or names
        return
    if not callable(model):
        raise InputError(f"model must be a callable that returns logits, got {type(model).__name__}")
    foreign = model if isinstance(model, Linear) else Foreign(model, output)
    home = next((p.device for p in model.parameters()), None) if isinstance(model, nn.Module) else None
    place = home or torch.device("cpu") if device == "auto" else to_device(device)
    try:
        if home not in (None, place):
            model.to(place)
        linear = None
        if isinstance(model, nn.Module) and output is None:
            split = samples_of(samples, bounds, dtype=torch.float64, device=place)
            linear = affine_of(model, tuple(split.images.shape[1:]), place)
        kind = torch.float64 if linear else getattr(foreign, "input_type", None)
        yield linear or foreign, samples_of(samples, bounds, dtype=kind, device=place), samples.classes
    finally:
        if home not in (None, place):
            model.to(home)


def _inputs(samples: Samples, bounds: Any) -> Tensor:
    """Return some inputs of samples whose labels may be of any type."""
    n = len(samples.x)
    some = Samples(samples.x, np.zeros(n, np.int64), None, samples.scale)
    return samples_of(some, bounds, dtype=torch.float64, device=torch.device("cpu")).inputs(slice(0, 100))


def names_of(classes: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Return the names of the classes, their numbers where nobody says.

    Raises:
        InputError: there is not one name for each logit, or two are equal.
    """
    if classes is None:
        return tuple(map(str, range(count)))
    names = tuple(map(str, classes))
    if isinstance(classes, str) or len(names) != count or len(set(names)) < count:
        raise InputError(
            f"classes must be {count} different names, one for each logit, got {len(names)}: {names!r:.100}"
        )
    return names


def notes_of(model: Any, names: Sequence[str], split: Split, per_class: int | None) -> list[str]:
    """Return what a reader must know of what was audited, a sentence each."""
    notes = []
    missing = [name for c, name in enumerate(names) if not (split.labels == c).any()]
    if missing:
        notes.append(f"no sample is of class {', '.join(missing)}: left out, so nothing is said of it")
    if per_class is not None:
        counts = [int((split.labels == c).sum()) for c in range(len(names))]
        fewer = [name for name, n in zip(names, counts, strict=True) if 0 < n < per_class]
        notes.append(
            f"{per_class} samples of each class were drawn at random of {len(split)}"
            + (f", and all there are of {', '.join(fewer)}" if fewer else "")
        )
    if isinstance(model, nn.Module) and model.training:
        modes = nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd
        if any(isinstance(m, modes) for m in model.modules()):
            notes.append("the model was in training mode; it was audited in evaluation mode")
    return notes


def doubts_of(model: nn.Module, split: Split) -> list[str]:
    """Return what makes a model's errors doubtful: logits that depend on chance, or on the rest of the batch.

    Tolerated is what rounding makes in the type of the model.
    """
    x = split.take(slice(None, None, max(1, len(split) // 32))).inputs(slice(0, 32))
    kind = getattr(model, "own_type", None) or x.dtype
    with attacking(model), torch.no_grad():
        first, second = model(x), model(x)
        alone = torch.cat([model(part) for part in x.flip(0).split(5)]).flip(0)
    size = first.abs().amax().clamp(min=1e-30)
    slack = 100 * torch.finfo(kind).eps
    by_chance, by_batch = (float((other - first).abs().amax() / size) for other in (second, alone))
    if by_chance > slack:
        return [
            f"the model's output depends on chance: twice the same inputs give logits {by_chance:.1e} of the "
            "largest apart, so errors are of one draw, and attacks may be far too weak"
        ]
    if by_batch > slack:
        return [
            f"the model's output depends on the rest of the batch: logits change by {by_batch:.1e} of the "
            f"largest, "
            "as batch statistics in training mode make them, so no sample has an error of its own"
        ]
    return []
