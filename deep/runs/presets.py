"""Named values of flags for ``python -m deep.train --preset NAME``; flags that are given override them."""

from collections.abc import Mapping
from typing import Any

from deep.data import DATASETS
from deep.data.specs import OWN

__all__ = ["PRESETS", "values"]

CPU = {
    "model": "preact-resnet8-patch",
    "width": 64,
    "channels_last": True,
    "threads": 1,
    "epochs": 20,
    "batch_size": 128,
    "lr": 0.15,
    "schedule": "one-cycle",
    "lr_warmup": 0.2,
    "nesterov": True,
    "weight_decay": 5e-4,
    "decay": "matrices",
    "padding": "reflect",
    "crop": 2,
    "train_attack": "nfgsm",
    "train_noise": 1.0,
    "train_reach": 1.5,
    "step_size": 1.25,
    "eps_warmup": 0.25,
    "val_per_class": 100,
    "val_every": 2,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {"cpu": CPU, "cpu-long": CPU | {"epochs": 45}}
"""For 32 x 32 images on a core of a CPU; they differ in their epochs."""
OWNER = {
    **dict.fromkeys(("steps", "step_size", "train_noise", "train_reach", "replays"), "train_attack"),
    "lr_warmup": "schedule",
    "width": "model",
}
"""Flags that mean something beside a value of another one alone."""


def values(name: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of a preset that apply beside those that are given.

    Where another value of an owner is given, what the preset says of its own does not apply, nor does a crop
    to images that are not cropped, nor a number of validation images to own data.

    Args:
        name: key of `PRESETS`.
        flags: value of each flag that is given; a None is not.
    """
    preset = PRESETS[name]
    other = {flag for flag, value in preset.items() if flags.get(flag) not in (None, value)}
    spec = OWN if flags.get("data") else DATASETS.get(flags.get("dataset") or "digits")
    left_out = {"padding", "crop"} if spec is None or spec.augment is None else set()
    left_out |= {"val_per_class"} if spec is OWN else set()
    return {k: v for k, v in preset.items() if OWNER.get(k) not in other and k not in left_out}
