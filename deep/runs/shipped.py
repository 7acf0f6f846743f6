"""Networks that come with the package: the folder of a finished run each, under a name."""

import os
import shutil
import tempfile
from pathlib import Path

from theory.common.cli import caution, writable_folder
from theory.common.inputs import InputError
from theory.results.run_files import CONFIG

__all__ = ["NETWORKS", "run_folder", "shipped", "working_copy"]

NETWORKS = Path(__file__).with_name("networks")
"""Where they are; ``deep.promote --network NAME --to deep/runs/networks`` adds one."""
COPIES = Path("runs")
"""Where commands put their copies, so that what they write stays out of the package."""


def shipped() -> tuple[str, ...]:
    """Return the names of the networks that come with the package."""
    return tuple(sorted(path.parent.name for path in NETWORKS.glob(f"*/{CONFIG}")))


def run_folder(run: Path) -> Path:
    """Return the folder of a run: the one that is given, or that of a network of the package by its name."""
    return NETWORKS / run.name if not run.exists() and str(run) in shipped() else run


def working_copy(word: str) -> Path:
    """Return the folder of a run that a command may write into, by its path or the name of a shipped one.

    A network of the package is copied to ``runs/NAME`` the first time.

    Raises:
        InputError: the copy cannot be written.
    """
    folder, source = COPIES / word, run_folder(Path(word))
    if source == Path(word) or folder.exists():
        return Path(word) if source == Path(word) else folder
    writable_folder(COPIES)
    with tempfile.TemporaryDirectory(dir=COPIES) as part:  # a copy that is cut off leaves nothing half there
        copy = shutil.copytree(source, Path(part, word))
        try:
            os.replace(copy, folder)
        except OSError as error:  # another process was first, or the place is taken
            if not (folder / CONFIG).is_file():
                raise InputError(f"cannot copy {word} to {folder}: {error.strerror}") from None
            return folder
    caution(f"{word} comes with the package and was copied to {folder}")
    return folder
