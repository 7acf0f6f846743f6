"""The flags of ``python -m deep.train``."""

import argparse
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deep.attacks.pgd import BATCH_NORM, TRAIN_ATTACKS
from deep.data import DATASETS
from deep.methods import METHODS
from deep.nets.networks import MODELS
from deep.runs.presets import PRESETS, values
from deep.training.recipe import AMP, CRITERIA, DECAYS, ON_COLLAPSE, SCHEDULES
from theory.common.cli import Parser, add_fields, one_of, radius, real, whole
from theory.common.inputs import InputError

__all__ = ["add_place", "arguments", "parser_of", "to_device"]

LARGEST_SEED = 2**63 - 1
REPORT = ("last", "best")
PADDINGS = ("zero", "reflect")


def parser_of(method: str, kind: type[Parser]) -> Parser:
    """Return the parser of the command line, with the hyper-parameters of ``method``."""
    parser = kind(
        prog="deep.train",
        description=(
            "Train a network and report the errors of every class. Without further flags it trains in "
            "seconds on the 8 x 8 digits that scikit-learn embeds. A method's own hyper-parameters: "
            "--method NAME --help. A run that was interrupted: the same command, or --resume RUN."
        ),
    )
    add = parser.add_argument
    add("--method", type=one_of(list(METHODS)), default="pgd", help=f"one of {', '.join(METHODS)}")
    add(
        "--preset",
        type=one_of(list(PRESETS)),
        help=f"values for flags that are not given: {' or '.join(PRESETS)}; --preset NAME --help shows them",
    )
    add("--dataset", type=one_of(list(DATASETS)), default="digits", help=f"one of {', '.join(DATASETS)}")
    add("--model", type=one_of(list(MODELS)), help=f"one of {', '.join(MODELS)}; by data set if None")
    add("--width", type=whole(1, 1024), help="channels of the first stage; as published if None")
    add("--init", type=Path, metavar="RUN", help="start from the weights of this run")
    add("--train-per-class", type=whole(1), help="training images of each class; all if None")
    add("--val-per-class", type=whole(1), help="validation images of each class; by data set if None")
    add("--test-per-class", type=whole(1), help="test images of each class; all if None")
    add("--imbalance", type=real, help="training images of the first class to those of the last; 1 if None")
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help="seed of everything random")
    _add_training(parser.add_argument_group("training"))
    _add_attack(parser.add_argument_group("attack and choice"))
    add_place(parser.add_argument_group("place, which is no part of the settings"))
    add_fields(parser.add_argument_group(f"hyper-parameters of {method}"), METHODS[method].Params)
    return parser


def _add_training(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--epochs", type=whole(1), help="epochs in all; by data set if None")
    add("--batch-size", type=whole(2), help="images a step, over all devices; by data set if None")
    add("--lr", type=real, default=0.1, help="largest learning rate")
    add(
        "--schedule",
        type=one_of(list(SCHEDULES)),
        default="piecewise",
        help="learning rate: piecewise (divided by 10 after 50 %% and 75 %% of the epochs), trades (after "
        "75 %% and 90 %%), cosine (to 0), one-cycle (up in a straight line, then down to 0)",
    )
    add("--lr-warmup", type=real, help="share of the training in which one-cycle goes up; 0.4 if None")
    add("--nesterov", action=argparse.BooleanOptionalAction, default=False, help="Nesterov's momentum")
    add("--weight-decay", type=real, default=5e-4, help="L2 penalty")
    add("--decay", type=one_of(DECAYS), default="all", help="what it is for: all, or matrices alone")
    add("--label-smoothing", type=real, default=0.0, help="weight of the uniform label in what is trained on")
    add("--padding", type=one_of(PADDINGS), help="border of images before a crop: zero or reflect")
    add("--crop", type=whole(0, 64), help="pixels of that border; by data set if None")
    add(
        "--ema",
        type=real,
        default=0.0,
        help="decay a step of the averaged weights that are evaluated; off if 0",
    )
    add(
        "--amp",
        type=one_of(AMP),
        default="off",
        help="what is computed in bfloat16: off, train (not attacks), all (training attacks too); on a CPU "
        "it is fast where there are instructions for it, such as avx512_bf16",
    )
    add(
        "--channels-last",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="another order of the network's memory",
    )
    add("--compile", action="store_true", help="compile the network by torch.compile")
    add(
        "--threads",
        type=whole(1, 1024),
        help="CPU threads, which change sums in the last digit; by data set if None",
    )


def _add_attack(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--eps", type=radius, help="l-infinity radius on [0, 1], such as 8/255; by data set if None")
    add(
        "--train-attack",
        type=one_of(list(TRAIN_ATTACKS)),
        default="pgd",
        help="training attack: pgd, fgsm-rs (one step from noise in the ball), nfgsm (one step from wider "
        "noise, not projected), free (the training step is that of the attack too)",
    )
    add("--steps", type=whole(1), help="its steps; 10 of pgd and 1 of others if None")
    add("--step-size", type=real, help="its step, in units of eps; by --train-attack if None")
    add(
        "--train-noise", type=real, help="half width of its noise, in units of eps; by --train-attack if None"
    )
    add(
        "--train-reach", type=real, help="what it is projected to, in units of eps; by --train-attack if None"
    )
    add("--replays", type=whole(1, 1024), help="times that free trains on a batch in a row; 8 if None")
    add("--attack-batch-norm", type=one_of(BATCH_NORM), default="eval", help="its batch norm: eval or train")
    add(
        "--eps-warmup",
        type=real,
        default=0.0,
        help="share of the training in which the training radius rises, from eps / 4",
    )
    add("--eval-steps", type=whole(1), default=20, help="steps of the evaluation attack, of eps / 4")
    add("--val-every", type=whole(1), default=1, help="epochs from one validation to the next")
    add(
        "--select",
        type=one_of(list(CRITERIA)),
        default="average",
        help="the best epoch has the smallest robust validation error: average, or of the worst class",
    )
    add(
        "--on-collapse",
        type=one_of(ON_COLLAPSE),
        default="warn",
        help="at catastrophic overfitting: warn, or stop with the weights of the last validation before",
    )
    add(
        "--report",
        type=one_of(REPORT),
        default="last",
        help="weights whose test errors are reported: of the last or the best epoch; both are kept",
    )


def add_place(group: argparse._ActionsContainer) -> None:
    """Add the flags that are no part of the settings: those of `deep.runs.settings.Place`."""
    add = group.add_argument
    add("--data-dir", type=Path, help="folder of the data files; digits are embedded")
    add("--download", action="store_true", help="fetch data files that are missing into --data-dir")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--out", type=Path, help="folder of the run; runs/deep/<id> if None")
    add(
        "--stop-after",
        type=whole(0),
        metavar="EPOCHS",
        help="stop when so many are done, to be resumed later",
    )
    add("--tensorboard", action="store_true", help="write curves for TensorBoard too")


def to_device(name: str) -> torch.device:
    """Return the device that --device names; under torchrun, "cuda" is the one of this process.

    Raises:
        InputError: the name is not one, or the device is not there.
    """
    local = os.environ.get("LOCAL_RANK", "")  # set by torchrun
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if name != "cpu" and (kind != "cuda" or not (re.fullmatch("[0-9]{1,4}", index) or name == "cuda")):
        raise InputError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}")
    there = torch.cuda.device_count()
    if name == "cuda" and local.isdecimal():
        index = local
    if kind == "cuda" and int(index or 0) >= there:
        raise InputError(f"--device {name} is not there, only {there} CUDA devices are; use auto or cpu")
    return torch.device(kind, int(index)) if index else torch.device(kind)


def arguments(given: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line that say the settings ``given``, by name of the flag.

    A preset is written out, so that what is given beside it may be false too.

    Raises:
        InputError: a value is neither a number, a text nor true or false.
    """
    words = []
    if isinstance(given.get("preset"), str) and given["preset"] in PRESETS:
        given = values(given["preset"], given) | {k: v for k, v in given.items() if k != "preset"}
    for name, value in given.items():
        if isinstance(value, bool):
            words += [f"--{name.replace('_', '-')}"] * value
        elif isinstance(value, int | float | str):
            words.append(f"--{name.replace('_', '-')}={value}")
        else:
            raise InputError(f"{name} must be a number, a text, true or false, got {value!r:.60}")
    return words
