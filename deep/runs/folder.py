"""The folder of a run: its files, who it belongs to, and how far it is."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from theory.common.inputs import InputError, parse_object, read_text, usual_radius
from theory.common.owner import reserve_folder
from theory.results.records import setting_id
from theory.results.run_files import (
    BEST,
    CHECKPOINT,
    CONFIG,
    FLAGS,
    HISTORY,
    LAST,
    RECORDS,
    RESULT,
    SHARDS,
    SPLIT,
    WEIGHTS,
)

__all__ = [
    "FILES",
    "check_data",
    "claim",
    "has_history",
    "is_finished",
    "named_data",
    "origin",
    "read_config",
    "settings_id",
    "tidy",
    "weights_sha256",
]

FILES = (SPLIT, CHECKPOINT, WEIGHTS, BEST, LAST, FLAGS, HISTORY, RECORDS, RESULT, CONFIG)
"""All of them; the last says whose they are."""


def read_config(run: Path) -> Mapping[str, Any]:
    """Return what the folder of a run says of it: its id, settings, data, and where it was started.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = run / CONFIG
    try:
        text = read_text(path)
    except InputError as error:
        raise InputError(f"{str(run):.200} is not the folder of a run: {error}") from None
    config = parse_object(text, str(path))
    for name, kind in {"id": str, "settings": dict, "data_sha256": str, "split_sha256": str}.items():
        if not isinstance(config.get(name), kind):
            raise InputError(
                f"{path} is damaged: {name} must be a {kind.__name__}, got {config.get(name)!r:.60}"
            )
    if settings_id(config["settings"]) != config["id"]:
        raise InputError(f"{path} is damaged: its settings are not those of its id {config['id']!r:.60}")
    return config


def is_finished(run: Path, run_id: str) -> bool:
    """Return whether the run of these settings is finished in this folder.

    Raises:
        InputError: the result that is there is damaged, or of another run.
    """
    path = run / RESULT
    if not path.exists():
        return False
    if parse_object(read_text(path), str(path)).get("id") != run_id:
        raise InputError(f"{path} is of a run with other settings; a folder is for one run")
    return True


@contextmanager
def claim(run: Path, run_id: str) -> Iterator[None]:
    """Own the folder of a run, which is made or holds what is of the same settings.

    Raises:
        InputError: the folder cannot be written, another process works there, or it belongs to another run.
    """
    with reserve_folder(run, run_id, FILES):
        if is_finished(run, run_id):
            raise InputError(f"{run} was finished by another process just now; there is nothing left to do")
        yield


def tidy(run: Path) -> None:
    """Remove what only an unfinished run needs."""
    (run / CHECKPOINT).unlink(missing_ok=True)
    shutil.rmtree(run / SHARDS, ignore_errors=True)


def named_data(sha256: str, split: str) -> dict[str, str]:
    """Return how a run names its data: the checksum of their files, and that of the content of `SPLIT`."""
    return {"data_sha256": sha256, "split_sha256": hashlib.sha256(split.encode()).hexdigest()}


def check_data(run: Path, sha256: str, split: str) -> None:
    """Refuse data that are not those of a run.

    Raises:
        InputError: the files are others, or the split is.
    """
    config = read_config(run)
    for name, now in named_data(sha256, split).items():
        if config[name] != now:
            raise InputError(f"{run} was made from other data: {name} was {config[name]:.64}, now {now}")


def has_history(run: Path) -> bool:
    """Return whether an epoch was finished in this folder."""
    path = run / HISTORY
    return path.exists() and (path.is_dir() or path.stat().st_size > 0)


def origin(run: Path, flag: str) -> dict[str, str]:
    """Return how a run is recorded whose network another run needs.

    Args:
        run: its folder.
        flag: what names it, for messages.

    Returns:
        Its "run" (id), "recipe" (name of its settings without seeds) and "weights" (their SHA-256).

    Raises:
        InputError: it is not the folder of a finished run.
    """
    try:
        config = read_config(run)
        if not is_finished(run, config["id"]):
            raise InputError(f"{run} is not finished: it has no {RESULT}")
        weights = weights_sha256(run)[0]
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None
    settings = {k: v for k, v in config["settings"].items() if k != "seed"}
    settings["init"] = _recipe(settings.get("init"))
    if isinstance(teachers := settings.get("teachers"), dict):
        settings["teachers"] = {name: _recipe(teacher) for name, teacher in teachers.items()}
    return {"run": config["id"], "recipe": settings_id(settings), "weights": weights}


def _recipe(run: object) -> object:
    """Return the recipe of what `origin` returned."""
    return run.get("recipe") if isinstance(run, dict) else None


def weights_sha256(run: Path) -> tuple[str, str]:
    """Return the SHA-256 of the weights of a finished run, and a warning if its result does not name it.

    Raises:
        InputError: the file cannot be read, or the result names another.
    """
    path, result = run / WEIGHTS, run / RESULT
    try:
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    named = parse_object(read_text(result), str(result)).get("sha256")
    if named is None:
        return (
            checksum,
            f"{result} is of an older version: nothing says whether {WEIGHTS} is still of that run",
        )
    if not isinstance(named, dict) or named.get(WEIGHTS) != checksum:
        raise InputError(f"{path} is not what the run wrote: its SHA-256 is not the one in {result}")
    return checksum, ""


def settings_id(settings: Mapping[str, Any]) -> str:
    """Return the name of settings in JSON, in which a radius counts by its value; nothing if they have none.

    Committed runs have radii in their usual spelling, so that their names are those of the settings as such.
    """
    try:
        radii = {k: usual_radius(settings[k]) for k in ("eps", "train_eps") if k in settings}
        return setting_id({**settings, **radii})
    except (ValueError, TypeError, RecursionError):  # not a number, or a depth that no setting has
        return ""
