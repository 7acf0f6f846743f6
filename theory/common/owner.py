"""One owner for each output folder: a lock that a process holds for as long as it works there."""

import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from theory.common.cli import writable_folder
from theory.common.files import naming
from theory.common.inputs import InputError, parse_object, read_text

__all__ = ["reserve_folder", "own_folder"]

LOCK = ".lock"
GRACE = 2.0
"""Seconds to wait for a lock: a run whose grid was killed takes some to end, and may be started again."""
LEFT = re.compile(r"\..+\.\d+\.partial")
"""Names of what `theory.common.files.write_atomic` leaves where its process is killed."""


@contextmanager
def own_folder(path: Path) -> Iterator[Path]:
    """Make the folder ``path`` where it is missing, and let no other process write there.

    The lock is the operating system's, which ends it with the process, however that ends. Only its owner
    removes what a process left that was killed while it wrote.

    Raises:
        InputError: the folder cannot be written, or another process works there.
    """
    file = writable_folder(path) / LOCK
    lock = FileLock(file, timeout=GRACE, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{_owner(file)} works in {path}; wait until it is done, or give another folder"
        ) from None
    except OSError as error:
        raise InputError(f"cannot lock the output folder {path}: {error.strerror}") from None
    try:
        with naming(file):
            file.write_text(f"{os.getpid()} {socket.gethostname()} {time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n")
        _drop_partial(path)
        yield path
    finally:
        file.unlink(missing_ok=True)  # while it is locked: who opened it before sees that it is gone
        lock.release()


def _owner(file: Path) -> str:
    """Return who holds a lock; its file may be of an earlier owner that was killed, or half written."""
    try:
        pid, host, since = file.read_text(encoding="utf-8").split()
        if host == socket.gethostname() and not _is_alive(int(pid)):
            return "another process"
    except (OSError, ValueError):
        return "another process"
    return f"process {pid} on {host}, since {since},"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # of another user
        return True
    except (OSError, OverflowError):
        return False
    return True


def _drop_partial(path: Path) -> None:
    for leftover in path.glob(".*.partial"):
        if LEFT.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)


@contextmanager
def reserve_folder(path: Path, run_id: str, files: Sequence[str]) -> Iterator[Path]:
    """Own a folder for a run; what another run left there is kept.

    Args:
        path: the folder.
        run_id: name of the settings of the run.
        files: what the run will write; the last is a JSON object with the run's "id".

    Raises:
        InputError: the folder cannot be written, another process works there, or it holds one of ``files``
            from a run of other settings.
    """
    with own_folder(path):
        present = [name for name in files if (path / name).exists()]
        if present:
            marker = path / files[-1]
            owner = None
            if marker.is_file():
                owner = parse_object(read_text(marker), str(marker)).get("id")
            if owner != run_id or any((path / name).is_dir() for name in present):
                raise InputError(
                    f"--out {path} holds {present[0]} of a run with other settings; give an empty folder"
                )
        yield path
