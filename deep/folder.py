"""The folder of a run: its files, who it belongs to, and how far it is."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from theory.cli import claim_folder
from theory.inputs import InputError, parse_object
from theory.record import setting_id

__all__ = [
    "BEST",
    "CHECKPOINT",
    "CONFIG",
    "FILES",
    "FLAGS",
    "HISTORY",
    "LAST",
    "RECORDS",
    "RESULT",
    "WEIGHTS",
    "claim",
    "has_history",
    "is_finished",
    "origin",
    "read_config",
]

CONFIG = "config.json"
"""Its settings and where it was started, written first."""
CHECKPOINT = "checkpoint.safetensors"
"""The state of the training after the last finished epoch; removed when the run is finished."""
WEIGHTS = "model.safetensors"
"""The weights whose errors are reported."""
BEST = "best.safetensors"
"""The weights of the epoch with the smallest validation error."""
LAST = "last.safetensors"
"""The weights of the last epoch, where they are not those reported."""
FLAGS = "flags.npz"
"""Whether each test sample is classified right."""
HISTORY = "history.jsonl"
"""A line an epoch."""
RECORDS = "records.jsonl"
"""The errors as records."""
RESULT = "result.json"
"""The errors, written last: with it the run is finished."""
FILES = (CHECKPOINT, WEIGHTS, BEST, LAST, FLAGS, HISTORY, RECORDS, RESULT, CONFIG)
"""All of them; the last says whose they are."""


def read_config(run: Path) -> Mapping[str, Any]:
    """Return what the folder of a run says of it: "id", "settings", "data_dir", "data_sha256".

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = run / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{run} is not the folder of a run: cannot read {path} ({getattr(error, 'strerror', 'not text')})"
        ) from None
    config = parse_object(text, str(path))
    for name, kind in (("id", str), ("settings", dict), ("data_sha256", str)):
        if not isinstance(config.get(name), kind):
            raise InputError(
                f"{path} is damaged: {name} must be a {kind.__name__}, got {config.get(name)!r:.60}"
            )
    if _named(config["settings"]) != config["id"]:
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
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else "a folder"
    if parse_object(text, str(path)).get("id") != run_id:
        raise InputError(f"--out {run} holds {RESULT} of a run with other settings; give an empty folder")
    return True


def claim(run: Path, run_id: str) -> bool:
    """Make the folder of a run, or take what it holds if that is of the same settings.

    Returns:
        Whether there is a checkpoint.

    Raises:
        InputError: the folder cannot be written, or belongs to another run.
    """
    claim_folder(run, run_id, FILES)
    for leftover in run.glob(".*.partial"):  # of a process that was killed while it wrote
        leftover.unlink()
    return (run / CHECKPOINT).is_file()


def has_history(run: Path) -> bool:
    """Return whether an epoch was finished in this folder."""
    path = run / HISTORY
    return path.exists() and (path.is_dir() or path.stat().st_size > 0)


def origin(run: Path) -> dict[str, str]:
    """Return how a run is recorded whose weights another starts from.

    Returns:
        Its "run" (id), "recipe" (name of its settings without seeds) and "weights" (their SHA-256).

    Raises:
        InputError: it is not the folder of a finished run.
    """
    config = read_config(run)
    before = config["settings"].get("init")
    settings = {k: v for k, v in config["settings"].items() if k != "seed"}
    settings["init"] = before.get("recipe") if isinstance(before, dict) else None
    try:
        weights = hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"--init {run} is not finished: cannot read {run / WEIGHTS} ({error.strerror})"
        ) from None
    return {"run": config["id"], "recipe": _named(settings), "weights": weights}


def _named(settings: Mapping[str, Any]) -> str:
    try:
        return setting_id(settings)
    except (ValueError, RecursionError):  # not a number, or a depth that no setting has
        return ""
