"""What fixes the numbers of a run."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deep.attacks.evaluate import Attack
from deep.attacks.pgd import BATCH_NORM, TRAIN_ATTACKS, BatchNorm, TrainAttack
from deep.data import DATASETS, spec_of
from deep.methods import METHODS
from deep.nets.imported import is_import_name
from deep.nets.networks import MODELS
from deep.runs.folder import settings_id
from deep.runs.setting_checks import check_data, check_other_runs, check_train_attack
from deep.training.recipe import AMP, CRITERIA, DECAYS, ON_COLLAPSE, SCHEDULES
from theory.common.fields import built, check_fields, flag_of, setting
from theory.common.inputs import InputError, parse_radius
from theory.results.methods import MethodId

__all__ = ["Settings"]

REPLAYS = 8  # Shafahi et al., NeurIPS 2019, for CIFAR-10
LARGEST_SEED = 2**63 - 1
REPORT = ("last", "best")
PADDINGS = ("zero", "reflect")
BY_DATASET = ("model", "epochs", "batch_size", "eps", "val_per_class")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that fixes the numbers of a run; each field is the flag of the same name.

    A value that is None and stands for one "by data set" and the like is filled in. What is ``later`` came
    when runs had been committed: at its default it is no part of a run's name and records, so that those of
    such runs stay as they are.

    Raises:
        InputError: a value is not allowed, or makes no sense beside the others.

    >>> Settings(method="trades", params={"beta": 3}, seed=1).params.beta
    3.0
    """

    method: str = setting("pgd", f"one of {', '.join(METHODS)}", choices=METHODS)
    params: Any = None
    dataset: str = setting("digits", f"one of {', '.join(DATASETS)}; or --data")
    model: str = setting(
        None,
        f"one of {', '.join(MODELS)}, or package.module:function, which takes the number of classes as "
        "classes; by data set if None",
        completed=True,
    )
    width: int | None = setting(
        None, "channels of the first stage; as published if None", low=1, high=1024, completed=True
    )
    epochs: int = setting(None, "epochs in all; by data set if None", low=1, completed=True)
    batch_size: int = setting(
        None, "images a step, over all devices; by data set if None", low=2, completed=True
    )
    lr: float = setting(0.1, "largest learning rate", low=0, high=1e6, strict=True)
    weight_decay: float = setting(5e-4, "L2 penalty", low=0, high=1e6)
    schedule: str = setting(
        "piecewise",
        "learning rate: piecewise (divided by 10 after 50 %% and 75 %% of the epochs), trades (after 75 %% "
        "and 90 %%), cosine (to 0), one-cycle (up in a straight line, then down to 0)",
        choices=SCHEDULES,
    )
    ema: float = setting(
        0.0, "decay a step of the averaged weights that are evaluated; off if 0", low=0, below=1
    )
    amp: str = setting(
        "off",
        "what is computed in bfloat16: off, train (not attacks), all (training attacks too); on a CPU it is "
        "fast where there are instructions for it, such as avx512_bf16",
        choices=AMP,
    )
    channels_last: bool = setting(False, "another order of the network's memory")
    compile: bool = setting(False, "compile the network by torch.compile")
    eps: str = setting(
        None, "l-infinity radius on [0, 1], such as 8/255; by data set if None", radius=True, completed=True
    )
    steps: int = setting(
        None, "steps of the training attack; 10 of pgd and 1 of others if None", low=1, completed=True
    )
    step_size: float = setting(
        None,
        "step of the training attack, in units of its radius; by --train-attack if None",
        low=0,
        high=1e6,
        strict=True,
        completed=True,
    )
    eval_steps: int = setting(20, "steps of the evaluation attack, of eps / 4", low=1)
    val_every: int = setting(1, "epochs from one validation to the next", low=1)
    select: str = setting(
        "average",
        "the best epoch has the smallest robust validation error: average, or of the worst class",
        choices=CRITERIA,
    )
    report: str = setting(
        "last",
        "weights whose test errors are reported: of the last or the best epoch; both are kept",
        choices=REPORT,
    )
    init: Mapping[str, str] | None = None
    stage: Mapping[str, Any] | None = None
    teachers: Mapping[str, Mapping[str, str]] | None = None
    train_per_class: int | None = setting(None, "training images of each class; all if None", low=1)
    val_per_class: int | None = setting(
        None, "validation images of each class; by data set if None", low=1, completed=True
    )
    test_per_class: int | None = setting(None, "test images of each class; all if None", low=1)
    imbalance: float | None = setting(
        None, "training images of the first class to those of the last; 1 if None", low=1, high=1e6
    )
    padding: str | None = setting(None, "border of images before a crop: zero or reflect", choices=PADDINGS)
    threads: int = setting(
        None,
        "CPU threads, which change sums in the last digit; by data set if None",
        low=1,
        high=1024,
        completed=True,
    )
    seed: int = setting(0, "seed of everything random", low=0, high=LARGEST_SEED)
    train_attack: str = setting(
        "pgd",
        "training attack: pgd, fgsm-rs (one step from noise in the ball), nfgsm (one step from wider noise, "
        "not projected), free (the training step is that of the attack too)",
        choices=TRAIN_ATTACKS,
        later=True,
    )
    train_noise: float | None = setting(
        None,
        "half width of its noise, in units of its radius; by --train-attack if None",
        low=0,
        high=1e6,
        later=True,
    )
    train_reach: float | None = setting(
        None,
        "what it is projected to, in units of its radius; by --train-attack if None",
        low=0,
        high=1e6,
        later=True,
    )
    replays: int | None = setting(
        None, "times that free trains on a batch in a row; 8 if None", low=1, high=1024, later=True
    )
    attack_batch_norm: BatchNorm = setting(
        "eval", "batch norm of the training attack: eval or train", choices=BATCH_NORM, later=True
    )
    eps_warmup: float = setting(
        0.0,
        "share of the training in which the training radius rises, from a quarter of it",
        low=0,
        high=1,
        later=True,
    )
    nesterov: bool = setting(False, "Nesterov's momentum", later=True)
    decay: str = setting(
        "all", "what weight decay is for: all, or matrices alone", choices=DECAYS, later=True
    )
    lr_warmup: float | None = setting(
        None,
        "share of the training in which one-cycle goes up; 0.4 if None",
        low=0,
        strict=True,
        below=1,
        later=True,
    )
    label_smoothing: float = setting(
        0.0, "weight of the uniform label in what is trained on", low=0, below=1, later=True
    )
    label_noise: float = setting(
        0.0,
        "share of the training images of each class whose label is another, drawn by seed",
        low=0,
        below=1,
        later=True,
    )
    crop: int | None = setting(
        None, "pixels of the border of images; by data set if None", low=0, high=64, later=True
    )
    on_collapse: str = setting(
        "warn",
        "at catastrophic overfitting: warn, or stop with the weights of the last validation before",
        choices=ON_COLLAPSE,
        later=True,
    )
    train_eps: str | None = setting(
        None, "l-infinity radius of the training attack; --eps if None", radius=True, later=True
    )
    scale: float | None = setting(
        None, "what inputs of --data are divided by, 255 for 8 bits", low=0, strict=True, later=True
    )

    def __post_init__(self) -> None:
        """Check every value, fill in what is by data set and the like, and refuse what makes no sense."""
        check_fields(self)
        self._complete()
        for name in ("eps", "train_eps"):
            text = getattr(self, name)
            if text is not None and parse_radius(text) > 1:
                raise InputError(
                    f"{flag_of(name)} must be from 0 to 1, since inputs lie in [0, 1], got {text}"
                )
        check_data(self)
        if self.lr_warmup is not None and self.schedule != "one-cycle":
            raise InputError(f"--lr-warmup is for --schedule one-cycle, got {self.schedule}")
        check_train_attack(self)
        check_other_runs(self)

    def _complete(self) -> None:
        """Fill in the hyper-parameters, and what is None and by data set, network or training attack."""
        kind, data = METHODS[self.method].Params, spec_of(self.dataset)
        model = self.model or data.model
        if model not in MODELS and not is_import_name(model):
            raise InputError(
                f"--model must be one of {', '.join(MODELS)}, or package.module:function, got {model!r:.60}"
            )
        attack, free = TRAIN_ATTACKS[self.train_attack], self.train_attack == "free"
        params = {} if self.params is None else self.params
        if not isinstance(params, kind) and not isinstance(params, Mapping):
            raise InputError(f"params must be an object, got {self.params!r:.60}")
        filled = {
            "params": built(kind, params) if isinstance(params, Mapping) else params,
            **{name: getattr(data, name) for name in BY_DATASET},
            "width": MODELS[model].width if model in MODELS else None,
            "steps": attack.steps,
            "step_size": attack.step_size,
            "replays": REPLAYS if free else None,
            "threads": data.threads or os.cpu_count() or 1,
        }
        for name, value in filled.items():
            if name == "params" or getattr(self, name) is None:
                object.__setattr__(self, name, value)
        check_fields(self.params)
        if self.eps is None:
            raise InputError("--eps must be given: data of your own have no usual radius")
        same = self.train_eps is not None and parse_radius(self.train_eps) == parse_radius(self.eps)
        for name in ["imbalance"] * (self.imbalance == 1) + ["train_eps"] * same:
            object.__setattr__(self, name, None)  # as though it had not been given

    @property
    def network(self) -> str:
        """Return the network in words."""
        return self.model if self.width is None else f"{self.model}, width {self.width}"

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

    @property
    def train_radius(self) -> float:
        """Return the radius of the training attack."""
        return parse_radius(self.train_eps or self.eps)

    @property
    def method_id(self) -> MethodId:
        """Return the method with its hyper-parameters, as `theory.results.methods` compares them."""
        init = self.init["recipe"] if self.init else None
        params = dataclasses.asdict(self.params) | self.teacher_recipes
        return MethodId.of(self.method, params, init, self.stage)

    @property
    def teacher_recipes(self) -> dict[str, str]:
        """Return the recipe of the run of each teacher, which is the same for every seed."""
        return {name: run["recipe"] for name, run in (self.teachers or {}).items()}

    def as_json(self) -> dict[str, Any]:
        """Return every setting that is given, the method's hyper-parameters as the object "params"."""
        later = {f.name: f.default for f in dataclasses.fields(self) if f.metadata.get("later")}
        every = dataclasses.asdict(self)
        return {k: v for k, v in every.items() if v is not None and not (k in later and v == later[k])}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Settings":
        """Return the settings of an object of JSON, such as `as_json` returns.

        Raises:
            InputError: a name is unknown, or a value makes no sense.
        """
        settings: Settings = built(cls, values)
        return settings

    @property
    def id(self) -> str:
        """Return the name of these settings: equal for radii of one value, however they are spelled."""
        return settings_id(self.as_json())
