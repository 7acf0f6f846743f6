"""What fixes the numbers of a run, and the command line that says it."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch

from deep.attacks.evaluate import Attack
from deep.attacks.pgd import TRAIN_ATTACKS, BatchNorm, TrainAttack
from deep.data import DATASETS
from deep.methods import METHODS
from deep.nets.networks import MODELS
from deep.runs.flags import add_place, arguments, parser_of, to_device
from deep.runs.folder import CONFIG, origin, read_config
from deep.runs.presets import PRESETS, values
from theory.common.cli import Parser, one_line, one_of
from theory.common.inputs import InputError, check_real, parse_radius
from theory.results.records import setting_id

__all__ = ["Place", "Settings", "checked", "parse", "resumed"]


ORIGIN = {"run", "recipe", "weights"}
REPLAYS = 8  # Shafahi et al., NeurIPS 2019, for CIFAR-10


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that fixes the numbers of a run; each field is the flag of the same name.

    What has a default here came when runs had been committed. At its default it is no part of a run's name
    and records, so that those of such runs stay as they are.

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
    schedule: str
    ema: float
    amp: str
    channels_last: bool
    compile: bool
    eps: str
    steps: int
    step_size: float
    eval_steps: int
    val_every: int
    select: str
    report: str
    init: Mapping[str, str] | None
    train_per_class: int | None
    val_per_class: int
    test_per_class: int | None
    imbalance: float | None
    padding: Literal["zero", "reflect"] | None
    threads: int
    seed: int
    train_attack: str = "pgd"
    train_noise: float | None = None
    train_reach: float | None = None
    replays: int | None = None
    attack_batch_norm: BatchNorm = "eval"
    eps_warmup: float = 0.0
    nesterov: bool = False
    decay: str = "all"
    lr_warmup: float | None = None
    label_smoothing: float = 0.0
    crop: int | None = None
    on_collapse: str = "warn"

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if parse_radius(self.eps) > 1:
            raise InputError(f"--eps must be from 0 to 1, since inputs lie in [0, 1], got {self.eps}")
        check_real("--lr", self.lr, low=0, high=1e6, strict=True)
        check_real("--weight-decay", self.weight_decay, low=0, high=1e6)
        check_real("--step-size", self.step_size, low=0, high=1e6, strict=True)
        if not 0 <= self.ema < 1:
            raise InputError(f"--ema must be from 0 to below 1, got {self.ema:g}")
        if self.imbalance is not None:
            check_real("--imbalance", self.imbalance, low=1, high=1e6)
        for name in ("padding", "crop"):
            if getattr(self, name) is not None and DATASETS[self.dataset].augment is None:
                raise InputError(f"--{name} is for images that are cropped, those of {self.dataset} are not")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"--label-smoothing must be from 0 to below 1, got {self.label_smoothing:g}")
        self._check_schedules()
        self._check_train_attack()
        init = self.init or dict.fromkeys(ORIGIN, "")
        if (
            not isinstance(init, dict)
            or set(init) != ORIGIN
            or not all(isinstance(v, str) for v in init.values())
        ):
            raise InputError(f"init must be an object of texts {', '.join(sorted(ORIGIN))}, got {init!r:.60}")

    def _check_schedules(self) -> None:
        """Refuse a warm-up that makes no sense."""
        if self.lr_warmup is not None:
            if self.schedule != "one-cycle":
                raise InputError(f"--lr-warmup is for --schedule one-cycle, got {self.schedule}")
            if not 0 < self.lr_warmup < 1:
                raise InputError(f"--lr-warmup must be between 0 and 1, got {self.lr_warmup:g}")
        if not 0 <= self.eps_warmup <= 1:
            raise InputError(f"--eps-warmup must be from 0 to 1, got {self.eps_warmup:g}")

    def _check_train_attack(self) -> None:
        """Refuse a training attack that makes no sense, or is not one for the method."""
        allowed, free = METHODS[self.method].attacks, self.train_attack == "free"
        if self.train_attack not in allowed:
            raise InputError(
                f"--method {self.method} is trained with --train-attack {' or '.join(allowed)}, "
                f"got {self.train_attack}"
            )
        for name in ("train_noise", "train_reach"):
            flag, value = f"--{name.replace('_', '-')}", getattr(self, name)
            if value is not None:
                check_real(flag, value, low=0, high=1e6)
                if free or len(allowed) == 1:
                    what = "--train-attack free" if free else f"--method {self.method}"
                    raise InputError(f"{what} takes no {flag}, got {value:g}")
        if free != (self.replays is not None):
            raise InputError("--replays is for --train-attack free")
        if free and (self.steps != 1 or self.attack_batch_norm != "eval"):
            flag = "--steps but 1" if self.steps != 1 else "--attack-batch-norm"
            raise InputError(f"--train-attack free takes no {flag}: it ascends by the training step itself")

    @property
    def train_ascent(self) -> TrainAttack:
        """Return the training attack with what was said of it."""
        kind = TRAIN_ATTACKS[self.train_attack]
        noise = kind.noise if self.train_noise is None else self.train_noise
        reach = kind.reach if self.train_reach is None else self.train_reach
        return TrainAttack(self.steps, self.step_size, noise, reach)

    @property
    def attack(self) -> Attack:
        """Return the attack of the validation errors, the first of those that are reported."""
        return Attack(parse_radius(self.eps), self.eps, self.eval_steps)

    def as_json(self) -> dict[str, Any]:
        """Return every setting that is given, the method's hyper-parameters as the object "params"."""
        default = {f.name: f.default for f in dataclasses.fields(self)}
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None and v != default[k]}

    @property
    def id(self) -> str:
        """Return the name of these settings."""
        return setting_id(self.as_json())


@dataclass(frozen=True)
class Place:
    """Where a run reads, computes and writes; it is not part of the run's id.

    Args:
        data_dir: folder of the data files.
        download: whether data files that are missing are fetched.
        device: where the network is trained.
        out: folder of the run.
        init: run whose weights training starts from.
        stop_after: epochs after which this command stops, to be resumed by another.
        tensorboard: whether curves are written for TensorBoard.
    """

    data_dir: Path | None
    download: bool
    device: torch.device
    out: Path
    init: Path | None = None
    stop_after: int | None = None
    tensorboard: bool = False


class _Checker(Parser):
    """A parser of words that do not come from a command line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"add_help": False})

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{one_line(message):.1000}")


def parse(argv: Sequence[str] | None, kind: type[Parser] = Parser) -> tuple[Settings, Place]:
    """Return the run that a command line asks for.

    Raises:
        InputError: a value makes no sense.
    """
    first = kind(prog="deep.train", add_help=False)
    first.add_argument("--method", type=one_of(list(METHODS)), default="pgd")
    first.add_argument("--preset", type=one_of(list(PRESETS)))
    first.add_argument("--resume", type=Path)
    for flag in ("--dataset", "--train-attack", "--schedule", "--model"):
        first.add_argument(flag)
    known = first.parse_known_args(argv)[0]
    if known.resume:
        return _parse_resume(argv, kind)
    method, parser = known.method, parser_of(known.method, kind)
    if known.preset:
        parser.set_defaults(**values(known.preset, vars(known)))
    args, params_class = vars(parser.parse_args(argv)), METHODS[method].Params
    del args["preset"]  # what it says is what is kept
    params = params_class(**{f.name: args.pop(f.name) for f in dataclasses.fields(params_class)})
    fields = {f.name for f in dataclasses.fields(Place)} - {"init"}
    place = {name: args.pop(name) for name in fields}
    place |= {"device": to_device(place["device"]), "init": args["init"]}
    for name in ("model", "epochs", "batch_size", "eps", "val_per_class"):
        if args[name] is None:
            args[name] = getattr(DATASETS[args["dataset"]], name)
    kind_of = TRAIN_ATTACKS[args["train_attack"]]
    for name in ("steps", "step_size"):
        args[name] = getattr(kind_of, name) if args[name] is None else args[name]
    if args["train_attack"] == "free" and args["replays"] is None:
        args["replays"] = REPLAYS
    args["width"] = args["width"] or MODELS[args["model"]].width
    args["imbalance"] = None if args["imbalance"] == 1 else args["imbalance"]
    args["threads"] = args["threads"] or DATASETS[args["dataset"]].threads or os.cpu_count() or 1
    args["init"] = origin(args["init"]) if args["init"] else None
    settings = Settings(params=params, **args)
    place["out"] = place["out"] or Path("runs/deep") / settings.id
    return settings, Place(**place)


def _parse_resume(argv: Sequence[str] | None, kind: type[Parser]) -> tuple[Settings, Place]:
    """Return the run of the folder after --resume; only flags of its place go with that."""
    parser = kind(prog="deep.train", description="Go on with a run; its settings are in its folder.")
    parser.add_argument("--resume", type=Path, required=True, metavar="RUN", help="folder of the run")
    add_place(parser)
    parser.set_defaults(device=None)  # the one that the run had
    args = vars(parser.parse_args(argv))
    run = args.pop("resume")
    args["data_dir"] = args["data_dir"] and str(args["data_dir"])
    if args.pop("out"):
        raise InputError("--resume RUN takes no --out: the run stays in its folder")
    return resumed(read_config(run), run, **args)


def checked(given: Mapping[str, Any]) -> tuple[Settings, Place]:
    """Return the run that flags given by name ask for, checked as those of a command line are.

    Raises:
        InputError: a flag is unknown or a value makes no sense.
    """
    return parse(arguments(given), _Checker)


def resumed(config: Mapping[str, Any], run: Path, **place: Any) -> tuple[Settings, Place]:
    """Return the run of a folder.

    Args:
        config: see `read_config`.
        run: the folder.
        place: flags of `Place` given now, None where they were not.

    Raises:
        InputError: the settings make no sense, or are not those of the run's id.
    """
    given = dict(config["settings"])
    init, params = given.pop("init", None), given.pop("params", {})
    place = {name: config.get(name) for name in ("data_dir", "device")} | {
        k: v for k, v in place.items() if v is not None
    }
    try:
        if not isinstance(params, dict):
            raise InputError(f"params must be an object, got {params!r:.60}")
        flags = given | {k: v for k, v in (params | place | {"out": str(run)}).items() if v is not None}
        settings, where = checked(flags)
        settings = dataclasses.replace(settings, init=init)
        if settings.id != config["id"]:
            raise InputError(f"they are not those of its id {config['id']!r:.60}")
    except (InputError, ValueError) as error:
        raise InputError(f"{run / CONFIG}: the settings cannot be used: {error}") from None
    return settings, where
