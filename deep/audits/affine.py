"""Models that are one affine map, whatever layers or steps they are written as: their W and b in double."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deep.attacks.linear_oracle import Linear
from deep.nets import networks
from theory.common.arrays import read_arrays
from theory.common.inputs import InputError

__all__ = ["affine_of", "from_coefficients", "from_estimator", "is_estimator"]

Array = npt.NDArray[np.float64]
CONTAINERS = (nn.Sequential, networks.LinearNetwork)
LAYERS = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Linear, nn.Conv1d, nn.Conv2d, nn.AvgPool2d, nn.Dropout)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
"""Layers that are affine in evaluation mode; batch norms by their running statistics."""
ESTIMATORS = {
    "LinearDiscriminantAnalysis",
    "LinearSVC",
    "LogisticRegression",
    "LogisticRegressionCV",
    "PassiveAggressiveClassifier",
    "Perceptron",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SGDClassifier",
}
STEPS = {"MaxAbsScaler", "MinMaxScaler", "PCA", "RobustScaler", "StandardScaler", "TruncatedSVD"}
"""Classifiers of scikit-learn with a linear decision function, and affine steps before them."""
CHUNK = 256  # basis vectors at once


def affine_of(model: nn.Module, shape: tuple[int, ...], device: torch.device) -> Linear | None:
    """Return a torch module as one affine map of flattened inputs, None if layers do not show it.

    Args:
        model: a module.
        shape: of one input.
        device: where the map is put.
    """
    if isinstance(model, Linear):
        return Linear(model.weight.detach().double(), model.bias.detach().double()).to(device)
    if not all(map(_is_affine, model.modules())):
        return None
    wide = copy.deepcopy(model).to(device).double().eval()
    origin = torch.zeros((1, *shape), dtype=torch.float64, device=device, requires_grad=True)
    try:
        bias = wide(origin)
    except RuntimeError:  # inputs that it does not take: said where it is called
        return None
    if bias.dim() != 2:
        return None
    rows = [torch.autograd.grad(logit, origin, retain_graph=True)[0].flatten() for logit in bias[0]]
    return Linear(torch.stack(rows), bias[0].detach())


def _is_affine(layer: nn.Module) -> bool:
    plain = not (layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer))
    if type(layer) in NORMS:
        return plain and layer.running_var is not None
    zeros = getattr(layer, "padding_mode", "zeros") == "zeros"
    return plain and zeros and type(layer) in (*CONTAINERS, *LAYERS)


def is_estimator(model: object) -> bool:
    """Return whether this is an estimator of scikit-learn, or made like one."""
    return hasattr(model, "get_params") and hasattr(model, "predict")


def from_estimator(model: Any, x: Tensor) -> tuple[Linear, tuple[str, ...], Callable[[Any], Tensor]]:
    """Return a linear classifier of scikit-learn as an affine map, its classes, and what finds their places.

    Its decision function is affine, so W e_i = f(e_i) - f(0). A binary one, whose decision function is one
    number z that is positive for the second class, has the logits (0, z).

    Args:
        model: a classifier, or a pipeline of affine steps and one.
        x: samples, on which the map is compared with the classifier, shape (n, ...).

    Raises:
        InputError: it is not linear, or not fitted, or the map does not do what it does.
    """
    steps = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    wrong = [type(s).__name__ for s in steps[:-1] if s != "passthrough" and not _affine_step(s)]
    wrong += [type(s).__name__ for s in steps[-1:] if type(s).__name__ not in ESTIMATORS]
    if wrong:
        raise InputError(
            f"of scikit-learn only linear classifiers ({', '.join(sorted(ESTIMATORS))}) after affine steps "
            f"({', '.join(sorted(STEPS))}) can be audited, got {', '.join(wrong)}"
        )
    names = getattr(steps[-1], "classes_", None)
    if names is None:
        raise InputError(f"the {type(steps[-1]).__name__} is not fitted")
    size = int(getattr(model, "n_features_in_", 0)) or x[0].numel()
    if x[0].numel() != size:
        raise InputError(f"the classifier takes {size} features, got {x[0].numel()}")
    found = _linear(model.decision_function, size)
    flat = x.flatten(1).cpu().double().numpy()
    if not np.allclose(
        found(torch.from_numpy(flat)).detach().numpy(), _logits(model.decision_function(flat))
    ):
        raise InputError(f"the decision function of this {type(model).__name__} is not affine")
    return found, tuple(map(str, names)), lambda labels: _places(labels, np.asarray(names))


def _affine_step(step: object) -> bool:
    return type(step).__name__ in STEPS and not getattr(step, "clip", False)


def _logits(decision: Array) -> Array:
    """Return logits, shape (n, classes), of a decision function, shape (n,) or (n, classes)."""
    return np.stack([np.zeros(len(decision)), decision], axis=1) if decision.ndim == 1 else decision


def _linear(decision: Callable[[Array], Array], size: int) -> Linear:
    bias = _logits(decision(np.zeros((1, size))))[0]
    basis = [_logits(decision(np.eye(min(CHUNK, size - i), size, i))) - bias for i in range(0, size, CHUNK)]
    return Linear(torch.from_numpy(np.concatenate(basis).T.copy()), torch.from_numpy(bias))


def _places(labels: Any, names: npt.NDArray[Any]) -> Tensor:
    """Return the place of each label among the classes of a classifier."""
    labels = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    unknown = sorted(set(labels.ravel().tolist()) - set(names.tolist()), key=str)
    if unknown or labels.ndim != 1:
        raise InputError(
            f"labels must be of the classes of the classifier, {names.tolist()!r:.100}, got {unknown!r:.60}"
        )
    order = np.argsort(names)
    return torch.from_numpy(order[np.searchsorted(names, labels, sorter=order)].astype(np.int64))


def from_coefficients(path: Path) -> Linear:
    """Return the linear classifier of a npz file.

    It has ``coef``, shape (classes, d), or (1, d) or (d,) for two classes, and ``intercept``, as the
    attributes of a classifier of scikit-learn; and ``mean`` and ``scale``, shape (d,), if a scaler comes
    before it.

    Raises:
        InputError: the file has no such arrays.
    """
    arrays = read_arrays(path, 1 << 32)
    kinds = {name: array.dtype.kind for name, array in arrays.items()}
    if not {"coef", "intercept"} <= set(arrays) <= {"coef", "intercept", "mean", "scale"}:
        raise InputError(f"{path} must hold coef, intercept and perhaps mean and scale, got {sorted(arrays)}")
    if not set(kinds.values()) <= {"f", "i"} or not all(np.isfinite(a).all() for a in arrays.values()):
        raise InputError(f"{path} must hold finite numbers, got {kinds}")
    coef = np.atleast_2d(arrays["coef"].astype(float))
    intercept = np.atleast_1d(arrays["intercept"].astype(float))
    scale, mean = (arrays.get(name, np.array(v)).astype(float) for name, v in (("scale", 1.0), ("mean", 0.0)))
    fits = coef.ndim == 2 and intercept.shape == coef.shape[:1]
    if not fits or not all(v.shape in ((), coef.shape[1:]) for v in (scale, mean)) or (scale == 0).any():
        shapes = {name: array.shape for name, array in arrays.items()}
        raise InputError(
            f"{path} needs coef (k, d), intercept (k,), mean (d,), scale (d,) without 0, got {shapes}"
        )
    coef = coef / scale
    intercept = intercept - (coef * mean).sum(1)
    if len(coef) == 1:
        coef, intercept = np.vstack([0 * coef, coef]), np.append(0.0, intercept)
    return Linear(torch.from_numpy(coef), torch.from_numpy(intercept))
