"""Teachers: the networks of finished runs that a method learns from, read back and frozen."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from deep.data import Dataset
from deep.runs.folder import read_config, weights_sha256
from deep.runs.place import Place
from deep.runs.reload import Run, load_run
from deep.runs.settings import Settings
from theory.common.cli import caution
from theory.common.fields import flag_of
from theory.common.inputs import InputError
from theory.results.run_files import CONFIG

__all__ = ["teachers_of"]


def teachers_of(settings: Settings, place: Place, data: Dataset) -> dict[str, nn.Module]:
    """Return the teachers of a run by the names of their flags, in evaluation mode, without gradients.

    Args:
        settings: of the run; they say which runs the teachers are.
        place: of the run; it says where those are.
        data: of the run.

    Raises:
        InputError: a teacher is missing or damaged, or is not what it was when the run began; or it is of
            other data, or was trained on images that the run is tested or validated on.
    """
    teachers = {}
    for name, named in (settings.teachers or {}).items():
        run = _read(flag_of(name), named, place.teachers.get(name), place, data)
        teachers[name] = run.model.requires_grad_(False)
    return teachers


def _read(flag: str, named: Mapping[str, str], folder: Path | None, place: Place, data: Dataset) -> Run:
    """Return the run of a teacher."""
    if folder is None or not (folder / CONFIG).is_file():
        raise InputError(
            f"{flag}: the run {named['run']} is not in {folder} any more; give the command that started this "
            f"run, with {flag} where that is now"
        )
    try:
        dataset = read_config(folder)["settings"].get("dataset")
        if dataset != data.name:
            raise InputError(f"{folder} is a run on {dataset}, and this is {data.name}")
        if weights_sha256(folder)[0] != named["weights"]:
            raise InputError(f"{folder} has other weights than the run {named['run']}, which it was before")
        run = load_run(folder, data_dir=place.data_dir, device=str(place.device))
        _refuse_seen(folder, run.data, data)
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None
    for warning in run.warnings:
        caution(f"{flag}: {warning}")
    return run


def _refuse_seen(folder: Path, theirs: Dataset, ours: Dataset) -> None:
    """Refuse a teacher that knows the answers: it was trained on images that errors are measured on."""
    drawn = {"validation": ours.val} | ({"test": ours.test} if ours.spec.held_out is not None else {})
    seen = {*theirs.train.index.tolist()}
    for use, split in drawn.items():
        if common := seen & {*split.index.tolist()}:
            raise InputError(
                f"{folder} was trained on {len(common)} of the {use} images of this run; "
                "take one of the same --seed, and of no fewer --val-per-class"
            )
