"""Training from Python: any network on tensors, by any method, with the epoch loop of ``deep.train``."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deep.attacks.evaluate import Attack
from deep.attacks.pgd import TRAIN_ATTACKS
from deep.data.splits import Dataset
from deep.data.tensors import Split
from deep.methods import METHODS
from deep.methods.base import Context
from deep.training.loop import Trainer
from deep.training.recipe import Recipe
from deep.training.seeds import stream
from theory.common.fields import built
from theory.common.inputs import InputError, check_count, parse_radius
from theory.results.counts import ClassErrors

__all__ = ["TrainedNetwork", "train"]


@dataclass(frozen=True)
class TrainedNetwork:
    """What `train` leaves.

    Args:
        model: the trained network, in evaluation mode; an average of weights where the method makes one.
        errors: its natural, boundary and robust errors of every class on the validation samples.
        history: a line for each epoch: learning rate, loss, and what the method learnt of the classes.
    """

    model: nn.Module
    errors: ClassErrors
    history: Sequence[Mapping[str, Any]]


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    method: str = "pgd",
    params: Mapping[str, Any] | None = None,
    teachers: Mapping[str, nn.Module] | None = None,
    eps: str | float = "8/255",
    validation: tuple[Tensor, Tensor],
    classes: Sequence[str] | None = None,
    train_attack: str = "pgd",
    epochs: int = 10,
    batch_size: int = 128,
    lr: float = 0.1,
    eval_steps: int = 20,
    seed: int = 0,
    **recipe: Any,
) -> TrainedNetwork:
    """Train a network on tensors by a method of the field, such as FRL (Xu et al., 2021).

    The loop, the methods and the random numbers are those of ``python -m deep.train``, which keeps a run,
    goes on with it and reports it; this is for a script or a notebook.

    Args:
        model: returns logits, shape (n, C); it is trained in place, on the device where its weights are.
        x: training inputs in [0, 1], shape (n, ...).
        y: their classes, integers from 0 to C - 1, shape (n,).
        method: one of `deep.METHODS`, such as pgd, trades or frl.
        params: hyper-parameters of the method by name; those that are left out are as published.
        teachers: trained networks that the method learns from, by the names of its flags, such as
            robust_teacher; they are left as they are.
        eps: l-infinity radius of training and of the validation errors, in units of x.
        validation: inputs and classes that methods which adapt to the classes measure errors on.
        classes: name of each class; "0", "1" and so on if None.
        train_attack: one of pgd, fgsm-rs, nfgsm or free, as far as the method allows.
        epochs: passes over the training samples.
        batch_size: samples a step.
        lr: largest learning rate of SGD with momentum 0.9.
        eval_steps: steps of the validation attack, of eps / 4.
        seed: seed of everything random.
        recipe: other fields of `deep.training.recipe.Recipe`, such as schedule or weight_decay.

    Returns:
        The trained network, its validation errors, and the history.

    Raises:
        InputError: an argument is outside its domain, or the training diverges.

    Examples:
        >>> import torch, deep
        >>> rng = torch.Generator().manual_seed(0)
        >>> y = torch.arange(200) % 2
        >>> x = (0.5 + 0.2 * (2 * y - 1)[:, None] + 0.1 * torch.randn(200, 4, generator=rng)).clamp(0, 1)
        >>> model = torch.nn.Linear(4, 2)
        >>> left = deep.train(model, x, y, validation=(x, y), eps=0.05, epochs=20, batch_size=50, lr=2.0)
        >>> left.errors.average("robust_error") < 0.05
        True
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r:.60}")
    kind = METHODS[method]
    if train_attack not in kind.attacks:
        raise InputError(
            f"method {method} is trained with train_attack {' or '.join(kind.attacks)}, "
            f"got {train_attack!r:.60}"
        )
    learnt_from = {} if teachers is None else teachers
    if not {*learnt_from} <= {*kind.teachers}:
        allowed = ", ".join(kind.teachers) or "none"
        raise InputError(f"teachers of method {method} are {allowed}, got {', '.join(learnt_from)!r:.60}")
    names = tuple(map(str, range(int(y.max()) + 1))) if classes is None else tuple(classes)
    device = next(model.parameters()).device
    samples, held_out = (_split(*pair, names, device) for pair in ((x, y), validation))
    attack = Attack(parse_radius(str(eps)), str(eps), check_count("eval_steps", eval_steps, low=1))
    ascent = TRAIN_ATTACKS[train_attack]
    context = Context(
        len(names),
        attack.eps,
        ascent.steps,
        torch.Generator(device).manual_seed(stream(seed, "attack")),
        ascent.step_size,
        start=ascent.noise,
        reach=ascent.reach,
        teachers={k: copy.deepcopy(v).eval().requires_grad_(False) for k, v in learnt_from.items()},
    )
    choices = {"weight_decay": 5e-4, "augment": None} | recipe
    unknown = set(choices) - {f.name for f in dataclasses.fields(Recipe)}
    if unknown:
        raise InputError(
            f"there is no {sorted(unknown)[0]!r:.60} in a recipe; see deep.training.recipe.Recipe"
        )
    settings = Recipe(epochs=epochs, lr=lr, batch_size=batch_size, seed=seed, **choices)
    if not 2 <= batch_size <= len(x):
        raise InputError(f"batch_size must be from 2 to {len(x)}, the training samples, got {batch_size}")
    data = Dataset("tensors", names, samples, held_out, held_out, "", None)
    trainer = Trainer(model, kind(built(kind.Params, params or {}), context), data, settings, attack)
    while not trainer.finished:
        trainer.train_epoch()
    return TrainedNetwork(trainer.chosen("last").eval(), trainer.errors(), trainer.history)


def _split(x: Tensor, y: Tensor, classes: Sequence[str], device: torch.device) -> Split:
    """Return samples as a split whose images are floats already."""
    if len(x) != len(y) or y.dim() != 1 or y.is_floating_point() or len(y) == 0:
        raise InputError(
            f"inputs need a class each, integers of shape ({len(x)},), "
            f"got {y.dtype} of shape {tuple(y.shape)}"
        )
    if not x.is_floating_point() or not bool(((x >= 0) & (x <= 1)).all()):
        raise InputError("inputs must be floats in [0, 1]")
    labels = sorted(set(y.tolist()))
    if labels != [*range(len(classes))]:
        raise InputError(f"classes must be 0 to {len(classes) - 1}, each with a sample, got {labels!r:.100}")
    return Split(x.to(device), y.long().to(device), 1, torch.arange(len(y), device=device))
