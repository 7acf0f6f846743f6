"""What fixes the numbers of a run, and the command line that says it."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from deep.data import DATASETS
from deep.methods import METHODS
from deep.models import MODELS
from theory.cli import Parser, add_fields, one_of, radius, real, whole
from theory.inputs import InputError, check_real, parse_radius
from theory.record import setting_id

__all__ = ["Place", "Settings", "parse"]

LARGEST_SEED = 2**63 - 1
PADDINGS = ("zero", "reflect")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that fixes the numbers of a run; each field is the flag of the same name.

    Raises:
        InputError: a value makes no sense.
    """

    method: str
    params: Any
    dataset: str
    model: str
    width: int
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    eps: str
    steps: int
    eval_steps: int
    train_per_class: int | None
    val_per_class: int
    test_per_class: int | None
    imbalance: float | None = None
    padding: Literal["zero", "reflect"] | None = None
    threads: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if parse_radius(self.eps) > 1:
            raise InputError(f"--eps must be from 0 to 1, since inputs lie in [0, 1], got {self.eps}")
        check_real("--lr", self.lr, low=0, high=1e6, strict=True)
        check_real("--weight-decay", self.weight_decay, low=0, high=1e6)
        if self.imbalance is not None:
            check_real("--imbalance", self.imbalance, low=1, high=1e6)
        if self.padding and DATASETS[self.dataset].augment is None:
            raise InputError(f"--padding is for images that are cropped, those of {self.dataset} are not")

    def as_json(self) -> dict[str, Any]:
        """Return every setting that is given, the method's hyper-parameters as the object "params"."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}

    @property
    def id(self) -> str:
        """Return the name of these settings."""
        return setting_id(self.as_json())


@dataclass(frozen=True)
class Place:
    """Where a run reads, computes and writes; it is not part of the run's id."""

    data_dir: Path | None
    device: torch.device
    out: Path
    download: bool = False


def parse(argv: Sequence[str] | None) -> tuple[Settings, Place]:
    """Return the run that a command line asks for.

    Raises:
        InputError: a value makes no sense.
    """
    first = Parser(prog="deep.train", add_help=False)
    first.add_argument("--method", type=one_of(list(METHODS)), default="pgd")
    method = first.parse_known_args(argv)[0].method
    args, params_class = vars(_parser(method).parse_args(argv)), METHODS[method].Params
    params = params_class(**{f.name: args.pop(f.name) for f in dataclasses.fields(params_class)})
    data_dir, device, out = args.pop("data_dir"), _device(args.pop("device")), args.pop("out")
    download = args.pop("download")
    for name in ("model", "epochs", "batch_size", "eps", "val_per_class"):
        if args[name] is None:
            args[name] = getattr(DATASETS[args["dataset"]], name)
    args["width"] = args["width"] or MODELS[args["model"]].width
    args["imbalance"] = None if args["imbalance"] == 1 else args["imbalance"]
    args["threads"] = args["threads"] or DATASETS[args["dataset"]].threads or os.cpu_count() or 1
    settings = Settings(params=params, **args)
    return settings, Place(data_dir, device, out or Path("runs/deep") / settings.id, download)


def _parser(method: str) -> Parser:
    """Return the parser of the command line, with the hyper-parameters of ``method``."""
    parser = Parser(
        prog="deep.train",
        description=(
            "Train a network and report the errors of every class. Without further flags it trains in "
            "seconds on the 8 x 8 digits that scikit-learn embeds. A method's own hyper-parameters: "
            "--method NAME --help."
        ),
    )
    add = parser.add_argument
    add("--method", type=one_of(list(METHODS)), default="pgd", help=f"one of {', '.join(METHODS)}")
    add("--dataset", type=one_of(list(DATASETS)), default="digits", help=f"one of {', '.join(DATASETS)}")
    add("--data-dir", type=Path, help="folder of the data files; digits are embedded")
    add("--download", action="store_true", help="fetch data files that are missing into --data-dir")
    add("--model", type=one_of(list(MODELS)), help=f"one of {', '.join(MODELS)}; by data set if None")
    add("--width", type=whole(1, 1024), help="channels of the first stage; as published if None")
    add("--epochs", type=whole(1), help="epochs in all; by data set if None")
    add("--batch-size", type=whole(2), help="images a step; by data set if None")
    add(
        "--lr",
        type=real,
        default=0.1,
        help="learning rate, divided by 10 after 50 %% and 75 %% of the epochs",
    )
    add("--weight-decay", type=real, default=5e-4, help="L2 penalty")
    add("--eps", type=radius, help="l-infinity radius on [0, 1], such as 8/255; by data set if None")
    add("--steps", type=whole(1), default=10, help="steps of the training attack, of eps / 4")
    add("--eval-steps", type=whole(1), default=20, help="steps of the evaluation attack, of eps / 4")
    add("--train-per-class", type=whole(1), help="training images of each class; all if None")
    add("--val-per-class", type=whole(1), help="validation images of each class; by data set if None")
    add("--test-per-class", type=whole(1), help="test images of each class; all if None")
    add("--imbalance", type=real, help="training images of the first class to those of the last; 1 if None")
    add("--padding", type=one_of(PADDINGS), help="border of images before a crop: zero or reflect")
    add(
        "--threads",
        type=whole(1, 1024),
        help="CPU threads, which change sums in the last digit; by data set if None",
    )
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help="seed of everything random")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--out", type=Path, help="folder of the run; runs/deep/<id> if None")
    add_fields(parser.add_argument_group(f"hyper-parameters of {method}"), METHODS[method].Params)
    return parser


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if name != "cpu" and (kind != "cuda" or not (index.isdecimal() or name == "cuda")):
        raise InputError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}")
    there = torch.cuda.device_count()
    if kind == "cuda" and int(index or 0) >= there:
        raise InputError(f"--device {name} is not there, only {there} CUDA devices are; use auto or cpu")
    return torch.device(name)
