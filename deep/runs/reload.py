"""The folder of a run of deep.train, read back: its settings, data, network and evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deep.attacks.evaluate import Attack, reported
from deep.data import DATASETS, Dataset, restore
from deep.nets.imported import source_sha256
from deep.nets.networks import MODELS, build
from deep.runs.folder import check_data, is_finished, read_config, weights_sha256
from deep.runs.place import resumed
from deep.runs.settings import Settings
from deep.runs.shipped import found
from deep.training.checkpoint import fill
from deep.training.seeds import stream
from theory.common.inputs import InputError
from theory.results.attacks import attack_key
from theory.results.flags import Evaluation
from theory.results.run_files import CONFIG, FLAGS, RESULT, SPLIT, WEIGHTS

__all__ = ["Run", "attacks_on", "code_of", "code_warning", "load_run", "network"]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        settings: what fixes its numbers.
        data: its three splits, made again.
        model: its network, on the device of the data, in evaluation mode.
        evaluation: what it left.
        warnings: what a person must know of its weights and data, a sentence each.
    """

    settings: Settings
    data: Dataset
    model: nn.Module
    evaluation: Evaluation
    warnings: tuple[str, ...] = ()

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """Return the attacks of the evaluation, plain PGD first."""
        return attacks_on(self.settings, self.data)


def attacks_on(settings: Settings, data: Dataset) -> tuple[Attack, ...]:
    """Return the attacks behind the errors of a run; on own data their names say which classes are tried."""
    return reported(settings.attack, None if data.name in DATASETS else len(data.classes) - 1)


def load_run(folder: Path | str, *, data_dir: Path | str | None = None, device: str = "cpu") -> Run:
    """Return the run that deep.train left in a folder.

    Args:
        folder: holds the files that `deep.runs.folder` names; or the name of a network that comes with the
            package, see `deep.runs.shipped`.
        data_dir: folder of the data files; the one that the run had if None.
        device: as on the command line: auto, cpu, cuda or cuda:N.

    Raises:
        InputError: a file is missing, malformed, or does not belong to the others.

    Examples:
        >>> import tempfile
        >>> from deep.train import main
        >>> words = "--epochs 1 --train-per-class 20 --test-per-class 5 --width 4 --out".split()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     code = main([*words, folder + "/run"])  # doctest: +ELLIPSIS
        ...     load_run(Path(folder, "run")).settings.method
        pgd ...
        'pgd'
    """
    folder = found(Path(folder))
    config = read_config(folder)
    if not is_finished(folder, config["id"]):
        raise InputError(f"{folder} is not finished: it has no {RESULT}")
    settings, place = resumed(config, folder, data_dir=data_dir and str(data_dir), device=device)
    data = restore(folder / SPLIT, place.data_dir, place.device, scale=settings.scale)
    check_data(folder, data.sha256, data.to_json())
    model = network(settings, data)
    warning = weights_sha256(folder)[1]
    fill(model, folder / WEIGHTS)
    left = Evaluation.read(folder / FLAGS, len(data.test))
    tested = (data.test.index.tolist(), data.test.labels.tolist())
    if (left.index.tolist(), left.labels.tolist()) != tested:
        raise InputError(f"{folder / FLAGS} is not of the {len(data.test)} test samples of {folder / SPLIT}")
    warnings = tuple(filter(None, (warning, data.warning, code_warning(config, settings))))
    model.to(place.device).eval()
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = Run(settings, data, model, left, warnings)
    if left.keys[1:] != tuple(attack_key(attack.name) for attack in run.attacks):
        raise InputError(f"{folder / FLAGS} is of other attacks than those of {folder / CONFIG}")
    return run


def code_of(settings: Settings) -> dict[str, str | None]:
    """Return what the folder of a run keeps of the code of a network that is not ours: its checksum."""
    return {} if settings.model in MODELS else {"model_sha256": source_sha256(settings.model)}


def code_warning(config: Mapping[str, Any], settings: Settings) -> str:
    """Return in a sentence whether the code of a run's network has changed since, or nothing."""
    now = code_of(settings)
    if all(config.get(name) == checksum for name, checksum in now.items()):
        return ""
    return (
        f"the file of --model {settings.model} has changed since: what is made now may be of another network"
    )


def network(settings: Settings, data: Dataset) -> nn.Module:
    """Return the untrained network of a run."""
    torch.manual_seed(stream(settings.seed, "weights"))
    return build(settings.model, settings.width, len(data.classes), data.spec)
