"""Names of modules from before they had rooms: ``theory.inputs`` still finds ``theory.common.inputs``."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

__all__ = ["find_in_rooms"]


class _Rooms(importlib.abc.MetaPathFinder):
    """Finds a module of a package in the one room that has it, with a `DeprecationWarning`."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != self.package or path is None:
            return None
        rooms = [file.parent.name for folder in path for file in Path(folder).glob(f"*/{name}.py")]
        if len(rooms) != 1:
            return None
        home = f"{package}.{rooms[0]}.{name}"
        warnings.warn(f"{fullname} is now {home}", DeprecationWarning, stacklevel=2)
        return importlib.machinery.ModuleSpec(fullname, _Alias(home))


class _Alias(importlib.abc.Loader):
    """Gives a module a second name."""

    def __init__(self, home: str) -> None:
        self.home = home

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.home)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has just put the one of the second name in its place


def find_in_rooms(package: str) -> None:
    """Let modules of a package be imported by their names without a room, as they were before.

    Args:
        package: name of the top-level package.
    """
    sys.meta_path.append(_Rooms(package))
