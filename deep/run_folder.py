"""The folder of a run of deep.train, read back: its settings, data, network and evaluation."""

import contextlib
import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from deep.data import Dataset, restore
from deep.evaluate import Attack, reported
from deep.methods import METHODS
from deep.settings import Settings, parse
from deep.train import network
from theory.evaluation import Evaluation
from theory.inputs import InputError, parse_object, parse_radius

__all__ = ["Run", "load_run"]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        settings: what fixes its numbers.
        data: its three splits, made again.
        model: its network, on the device of the data, in evaluation mode.
        evaluation: what it left.
    """

    settings: Settings
    data: Dataset
    model: nn.Module
    evaluation: Evaluation

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """Return the attacks of the evaluation, plain PGD first."""
        return reported(Attack(parse_radius(self.settings.eps), self.settings.eps, self.settings.eval_steps))


def load_run(folder: Path, *, data_dir: Path | None = None, device: str = "cpu") -> Run:
    """Return the run that deep.train left in a folder.

    Args:
        folder: holds result.json, split.json, model.safetensors and flags.npz.
        data_dir: folder of the data files, for data sets that are not embedded.
        device: as on the command line: auto, cpu, cuda or cuda:N.

    Raises:
        InputError: a file is missing, malformed, or does not belong to the others.
    """
    path = folder / "result.json"
    try:
        result = parse_object(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', 'not text')}") from None
    settings, on = _settings(result, str(path), device)
    data = restore(folder / "split.json", data_dir, on)
    source = result.get("provenance")
    if not isinstance(source, Mapping) or source.get("data_sha256") != data.sha256:
        raise InputError(f"{path} was made from other data than these, by their SHA-256")
    model = network(settings, data)
    _load_weights(model, folder / "model.safetensors")
    left = Evaluation.read(folder / "flags.npz")
    if left.labels.tolist() != data.test.labels.tolist():
        raise InputError(f"{folder / 'flags.npz'} is not of the {len(data.test)} test samples of {path}")
    run = Run(settings, data, model.to(on).eval(), left)
    if left.attacks[1:] != tuple(attack.name for attack in run.attacks):
        raise InputError(f"{folder / 'flags.npz'} is of other attacks than those of {path}")
    return run


def _settings(result: Mapping[str, Any], where: str, device: str) -> tuple[Settings, torch.device]:
    """Return the settings that a result says it was made with, checked as those of a command line."""
    setting, method = result.get("setting"), result.get("method")
    params = setting.get("params") if isinstance(setting, Mapping) else None
    if not isinstance(method, str) or method not in METHODS or not isinstance(params, Mapping):
        raise InputError(f"{where} is no result of deep.train: it lacks a method or its setting")
    flags = {k: v for k, v in setting.items() if k not in ("params", "n_train", "eps_text")}
    flags |= {"method": method, "seed": result.get("seed"), "eps": setting.get("eps_text")}
    known = {f.name for f in dataclasses.fields(Settings)} - {"params"}
    hyper = {f.name for f in dataclasses.fields(METHODS[method].Params)}
    if not set(flags) <= known or not set(params) <= hyper:
        unknown = ", ".join(sorted((set(flags) - known) | (set(params) - hyper)))
        raise InputError(f"{where} has settings that are not known here: {unknown}")
    words = [f"--{k.replace('_', '-')}={v}" for k, v in (flags | dict(params)).items() if v is not None]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            settings, place = parse([*words, f"--device={device}"])
    except SystemExit:
        raise InputError(f"{where} has settings that make no sense: {said.getvalue()}") from None
    except InputError as error:
        raise InputError(f"{where} has settings that make no sense: {error}") from None
    if settings.id != result.get("id"):
        raise InputError(f"{where} has the id {result.get('id')!r:.40}, its settings have {settings.id}")
    return settings, place.device


def _load_weights(model: nn.Module, path: Path) -> None:
    """Put the weights of a file into a model that has the same ones, all of them finite."""
    try:
        weights = safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError, OverflowError):
        raise InputError(f"{path} is damaged or not a safetensors file") from None
    own = {k: (tuple(v.shape), v.dtype) for k, v in model.state_dict().items()}
    if {k: (tuple(v.shape), v.dtype) for k, v in weights.items()} != own:
        raise InputError(f"{path} has not the weights of the network that result.json names")
    if not all(bool(v.isfinite().all()) for v in weights.values()):
        raise InputError(f"{path} has weights that are not finite")
    model.load_state_dict(weights)
