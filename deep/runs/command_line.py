"""The command line of ``python -m deep.train``: flags made from `deep.runs.settings`."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deep.methods import METHODS
from deep.runs.folder import read_config
from deep.runs.place import Place, resumed, run_of
from deep.runs.presets import PRESETS, values
from deep.runs.settings import Settings
from theory.common.cli import Parser, one_of
from theory.common.fields import add_fields, flag_of
from theory.common.inputs import InputError

__all__ = ["parse", "parser_of", "words_of"]

HEAD = ("dataset", "model", "width")
DATA = ("scale", "train_per_class", "val_per_class", "test_per_class", "imbalance", "label_noise", "seed")
TRAINING = (
    *("epochs", "batch_size", "lr", "schedule", "lr_warmup", "nesterov", "weight_decay", "decay"),
    *("label_smoothing", "padding", "crop", "ema", "amp", "channels_last", "compile", "threads"),
)
ATTACK = (
    *("eps", "train_eps", "train_attack", "steps", "step_size", "train_noise", "train_reach", "replays"),
    *("attack_batch_norm", "eps_warmup", "eval_steps", "val_every", "select", "on_collapse", "report"),
)
PLACE = ("data_dir", "download", "device", "out", "stop_after", "tensorboard")


def parser_of(method: str) -> Parser:
    """Return the parser of the command line, with the hyper-parameters of ``method``."""
    parser = Parser(
        prog="deep.train",
        description=(
            "Train a network and report the errors of every class. Without further flags it trains in "
            "seconds on the 8 x 8 digits that scikit-learn embeds. A method's own hyper-parameters: "
            "--method NAME --help. A run that was interrupted: the same command, or --resume RUN."
        ),
    )
    add_fields(parser, Settings, ["method"])
    parser.add_argument(
        "--preset",
        type=one_of(list(PRESETS)),
        help=f"values for flags that are not given: {' or '.join(PRESETS)}; --preset NAME --help shows them",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="data of your own, drawn into splits: a folder with a folder of images for each class, or a npz "
        "file of x and y; needs --eps",
    )
    add_fields(parser, Settings, HEAD)
    add_fields(parser, Place, ["init"])
    add_fields(parser, Settings, DATA)
    add_fields(parser.add_argument_group("training"), Settings, TRAINING)
    add_fields(parser.add_argument_group("attack and choice"), Settings, ATTACK)
    add_fields(parser.add_argument_group("place, which is no part of the settings"), Place, PLACE)
    about = inspect.getdoc(sys.modules[METHODS[method].__module__])
    group = parser.add_argument_group(f"hyper-parameters of {method}", about)
    add_fields(group, METHODS[method].Params)
    for name, text in METHODS[method].teachers.items():
        group.add_argument(flag_of(name), type=Path, metavar="RUN", help=text)
    return parser


def parse(argv: Sequence[str] | None) -> tuple[Settings, Place]:
    """Return the run that a command line asks for.

    Raises:
        InputError: a value makes no sense.
    """
    first = Parser(prog="deep.train", add_help=False)
    first.add_argument("--method", type=one_of(list(METHODS)), default="pgd")
    first.add_argument("--preset", type=one_of(list(PRESETS)))
    first.add_argument("--resume", type=Path)
    for flag in ("--data", "--dataset", "--train-attack", "--schedule", "--model"):
        first.add_argument(flag)
    chosen = first.parse_known_args(argv)[0]
    if chosen.resume:
        return _parse_resume(argv)
    parser = parser_of(chosen.method)
    if chosen.preset:
        parser.set_defaults(**values(chosen.preset, vars(chosen)))
    args = vars(parser.parse_args(argv))
    del args["preset"]  # what it says is what is kept
    if args["data"] and chosen.dataset is None:
        del args["dataset"]  # its default
    return run_of(args)


def _parse_resume(argv: Sequence[str] | None) -> tuple[Settings, Place]:
    """Return the run of the folder after --resume; only flags of its place go with that."""
    parser = Parser(prog="deep.train", description="Go on with a run; its settings are in its folder.")
    parser.add_argument("--resume", type=Path, required=True, metavar="RUN", help="folder of the run")
    add_fields(parser, Place, PLACE)
    parser.set_defaults(device=None)  # the one that the run had
    args = vars(parser.parse_args(argv))
    run = args.pop("resume")
    if args.pop("out"):
        raise InputError("--resume RUN takes no --out: the run stays in its folder")
    return resumed(read_config(run), run, **args)


def words_of(flags: Mapping[str, Any]) -> list[str]:
    """Return the words of a command that asks for values by the names of flags; see `run_of`."""
    command = []
    for name, value in flags.items():
        flag = flag_of(name)
        if isinstance(value, bool):
            command.append(flag if value else f"--no-{flag[2:]}")
        else:
            command.append(f"{flag}={value}")
    return command
