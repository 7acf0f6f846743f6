"""Where a run reads, computes and writes, and the run that flags by name or a folder ask for."""

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deep.data import DATASETS
from deep.data.own import read_own
from deep.data.specs import is_own, own_name
from deep.methods import METHODS
from deep.runs.folder import origin
from deep.runs.presets import PRESETS, values
from deep.runs.settings import Settings
from deep.runs.shipped import run_folder
from theory.common.fields import built, check_fields, flag_of, setting
from theory.common.inputs import InputError, check_real
from theory.results.run_files import CONFIG

__all__ = ["Place", "resumed", "run_of"]


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
        raise InputError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r:.60}")
    count = torch.cuda.device_count()
    if name == "cuda" and local.isdecimal():
        index = local
    if kind == "cuda" and int(index or 0) >= count:
        raise InputError(f"--device {name} is not there, only {count} CUDA devices are; use auto or cpu")
    return torch.device(kind, int(index)) if index else torch.device(kind)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run reads, computes and writes; it is not part of the run's id.

    Args:
        data_dir: folder of the data files.
        download: whether data files that are missing are fetched.
        device: where the network is trained.
        out: folder of the run.
        stop_after: epochs after which this command stops, to be resumed by another.
        tensorboard: whether curves are written for TensorBoard.
        init: run whose weights training starts from.
        teachers: runs whose networks the method learns from, by the names of their flags.

    Raises:
        InputError: a value is not allowed, or the device is not there.
    """

    data_dir: Path | None = setting(
        None, "folder of the data files, or the path of --data where a run goes on; digits are embedded"
    )
    download: bool = setting(False, "fetch data files that are missing into --data-dir")
    device: torch.device = setting("auto", "auto, cpu, cuda or cuda:N", convert=to_device)
    out: Path = setting(None, "folder of the run; runs/deep/<id> if None", completed=True)
    stop_after: int | None = setting(None, "stop when so many epochs are done, to be resumed later")
    tensorboard: bool = setting(False, "write curves for TensorBoard too")
    init: Path | None = setting(None, "start from the weights of this run")
    teachers: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every value."""
        check_fields(self)
        if not isinstance(self.teachers, Mapping) or not all(
            isinstance(v, str | Path) for v in self.teachers.values()
        ):
            raise InputError(f"teachers must be folders by name, got {self.teachers!r:.60}")
        object.__setattr__(self, "teachers", {name: Path(v) for name, v in self.teachers.items()})


def run_of(flags: Mapping[str, Any]) -> tuple[Settings, Place]:
    """Return the run that values by the names of flags ask for; a None is not given.

    Args:
        flags: settings, hyper-parameters of the method, a place, and perhaps a preset.

    Raises:
        InputError: a name is unknown, or a value makes no sense.
    """
    flags = {k: v for k, v in flags.items() if v is not None}
    own = isinstance(flags.get("dataset"), str) and is_own(flags["dataset"])
    for name, choices in (("method", METHODS), ("dataset", DATASETS), ("preset", PRESETS)):
        if (
            name in flags
            and not (own and name == "dataset")
            and (not isinstance(flags[name], str) or flags[name] not in choices)
        ):
            raise InputError(f"--{name} must be one of {', '.join(choices)}, got {flags[name]!r:.60}")
    if "preset" in flags:
        preset = flags.pop("preset")
        flags = values(preset, flags) | flags
    if "data" in flags:
        flags = _with_own(flags)
    method = METHODS[flags.get("method", "pgd")]
    names = _names(Settings) - {"init", "params", "stage", "teachers"}
    places, params, teachers = _names(Place) - {"teachers"}, _names(method.Params), {*method.teachers}
    for name in flags:
        if name not in (every := places | names | params | teachers):
            allowed = ", ".join(sorted(map(flag_of, every)))
            raise InputError(f"{flag_of(name):.60} is no flag here; allowed: {allowed}")
    chosen = {k: _folder(k, v) for k, v in flags.items() if k in teachers}
    place: Place = built(Place, {k: v for k, v in flags.items() if k in places} | {"teachers": chosen})
    settings = Settings(
        **{k: v for k, v in flags.items() if k in names},
        params={k: v for k, v in flags.items() if k in params},
        init=origin(place.init, "--init") if place.init else None,
        teachers={name: origin(run, flag_of(name)) for name, run in chosen.items()} or None,
    )
    return settings, dataclasses.replace(place, out=place.out or Path("runs/deep") / settings.id)


def _folder(name: str, run: object) -> Path:
    """Return the folder of a run that a flag names, or of a network of the package."""
    if not isinstance(run, str | Path):
        raise InputError(f"{flag_of(name)} must be the folder of a run, got {run!r:.60}")
    return run_folder(Path(run))


def _with_own(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return flags in which the data of ``data`` are a data set by the name of their checksum, and a place.

    Raises:
        InputError: another data set is asked for too, or the data cannot be read.
    """
    for name in ("dataset", "data_dir", "download"):
        if flags.get(name):
            raise InputError(f"--data takes no {flag_of(name)}, got {flags[name]}")
    if not isinstance(flags["data"], str | Path):
        raise InputError(f"--data must be a path, got {flags['data']!r:.60}")
    path = Path(flags["data"])
    scale = None if flags.get("scale") is None else check_real("--scale", flags["scale"], low=0, strict=True)
    name = own_name(read_own(path, scale)[1].sha256)
    return {k: v for k, v in flags.items() if k != "data"} | {"dataset": name, "data_dir": path}


def _names(cls: type) -> set[str]:
    return {f.name for f in dataclasses.fields(cls)}


def resumed(config: Mapping[str, Any], run: Path, **place: Any) -> tuple[Settings, Place]:
    """Return the run of a folder.

    Args:
        config: see `deep.runs.folder.read_config`.
        run: the folder.
        place: fields of `Place` given now, None where they were not.

    Raises:
        InputError: the settings make no sense, or are not those of the run's id.
    """
    before = {name: config.get(name) for name in ("data_dir", "device", "teachers")}
    fields = {
        k: v for k, v in (before | {k: v for k, v in place.items() if v is not None}).items() if v is not None
    }
    try:
        settings = Settings.from_json(config["settings"])
        if settings.id != config["id"]:
            raise InputError(f"they are not those of its id {config['id']!r:.60}")
        return settings, built(Place, fields | {"out": run})
    except InputError as error:
        raise InputError(f"{run / CONFIG}: the settings cannot be used: {error}") from None
