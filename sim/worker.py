"""What a worker process of a sweep does."""

import os
import time
from functools import cache
from threading import Thread
from typing import Any

from sim.study import Task, execute

__all__ = ["work"]


def work(task: Task, sweep: int) -> dict[str, Any]:
    """Return the line of a task; a worker that the sweep itself has started ends when the sweep does.

    Args:
        task: the task.
        sweep: process of the sweep.
    """
    if os.getppid() == sweep:
        _end_with_parent()
    return execute(task)


@cache
def _end_with_parent() -> None:
    """Watch for the end of the process that started this one: a worker of loky waits 5 minutes for more."""
    Thread(target=_watch, args=[os.getppid()], daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
