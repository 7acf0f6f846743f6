"""Which settings of a run make no sense beside the others."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deep.data import DATASETS, spec_of
from deep.methods import METHODS
from deep.nets.networks import MODELS
from theory.common.fields import flag_of
from theory.common.inputs import InputError

if TYPE_CHECKING:
    from deep.runs.settings import Settings

__all__ = ["check_data", "check_other_runs", "check_train_attack"]

ORIGIN = {"run", "recipe", "weights"}


def check_data(settings: "Settings") -> None:
    """Refuse settings of images that the data set does not have."""
    augment, crop = spec_of(settings.dataset).augment, settings.crop
    for name in ("padding", "crop"):
        cropped = augment is not None and (augment.padding or augment.flip or crop is not None)
        if getattr(settings, name) is not None and not cropped:
            raise InputError(f"--{name} is for images that are cropped, those of {settings.dataset} are not")
    if settings.scale is not None and settings.dataset in DATASETS:
        raise InputError(f"--scale is for --data, not for {settings.dataset}")
    if settings.model not in MODELS and settings.width is not None:
        raise InputError(
            f"--width is for networks by name, got {settings.width} and --model {settings.model}"
        )


def check_train_attack(settings: "Settings") -> None:
    """Refuse a training attack that makes no sense, or is not one for the method."""
    allowed, free = METHODS[settings.method].attacks, settings.train_attack == "free"
    if settings.train_attack not in allowed:
        raise InputError(
            f"--method {settings.method} is trained with --train-attack {' or '.join(allowed)}, "
            f"got {settings.train_attack}"
        )
    for name in ("train_noise", "train_reach"):
        value = getattr(settings, name)
        if value is not None and (free or len(allowed) == 1):
            what = "--train-attack free" if free else f"--method {settings.method}"
            raise InputError(f"{what} takes no {flag_of(name)}, got {value:g}")
    if free != (settings.replays is not None):
        raise InputError("--replays is for --train-attack free")
    if free and (settings.steps != 1 or settings.attack_batch_norm != "eval"):
        flag = "--steps but 1" if settings.steps != 1 else "--attack-batch-norm"
        raise InputError(f"--train-attack free takes no {flag}: it ascends by the training step itself")


def check_other_runs(settings: "Settings") -> None:
    """Refuse runs to start from, teachers and stages that are not named as `origin` and `deep.repair` do."""
    init, names = settings.init, METHODS[settings.method].teachers
    teachers = {} if settings.teachers is None else settings.teachers
    if not isinstance(teachers, dict) or not {*teachers} <= {*names}:
        allowed = ", ".join(names) or "none"
        raise InputError(f"teachers of {settings.method} must be of {allowed}, got {teachers!r:.60}")
    for name, run in {**teachers, **({} if init is None else {"init": init})}.items():
        texts = isinstance(run, dict) and all(isinstance(v, str) for v in run.values())
        if not texts or set(run) != ORIGIN:
            raise InputError(
                f"{name} must be an object of texts {', '.join(sorted(ORIGIN))}, got {run!r:.60}"
            )
    if init and getattr(settings.params, "redraw", False):
        raise InputError(f"--init is for --no-redraw: --method {settings.method} would draw its weights anew")
    if settings.stage is not None and (
        not isinstance(settings.stage, Mapping)
        or {k: type(v) for k, v in settings.stage.items()} != {"name": str, "params": dict, "of": dict}
    ):
        raise InputError(f"stage must have a name, params and what it is of, got {settings.stage!r:.60}")
