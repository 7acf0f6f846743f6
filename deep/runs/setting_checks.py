"""Which settings of a run make no sense beside the others."""

from typing import TYPE_CHECKING

from deep.data import DATASETS, spec_of
from deep.methods import METHODS
from deep.nets.networks import MODELS
from theory.common.fields import flag_of
from theory.common.inputs import InputError

if TYPE_CHECKING:
    from deep.runs.settings import Settings

__all__ = ["check_data", "check_train_attack"]


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
