"""What every command line shares: one-sentence refusals with exit code 2, flags made from dataclasses."""

import argparse
import dataclasses
import math
import os
import signal
import sys
import tempfile
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from theory.inputs import InputError, parse_object, parse_radius, read_text

__all__ = [
    "Parser",
    "add_fields",
    "claim_folder",
    "one_of",
    "radius",
    "real",
    "run",
    "whole",
    "writable_folder",
]


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one sentence on stderr, with exit code 2."""

    def __init__(self, **kwargs: Any) -> None:
        """Take argparse's arguments; abbreviated flags are off, defaults are shown in the help."""
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print one sentence and exit with code 2."""
        if message.startswith("unrecognized arguments"):
            known = sorted(o for a in self._actions for o in a.option_strings if o.startswith("--"))
            message += f"; allowed here: {', '.join(known)}"
        self.exit(2, f"{self.prog}: {one_line(message)}\n")


def real(text: str) -> float:
    """Parse a finite number.

    Raises:
        argparse.ArgumentTypeError: the text is not one.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return value


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a parser of integers from ``low`` to ``high``, both included."""
    span = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"must be {span}, got {text!r}")
        return value

    return parse


def radius(text: str) -> str:
    """Check the text of a radius such as ``8/255`` and return it unchanged.

    Raises:
        argparse.ArgumentTypeError: the text is not a radius.
    """
    try:
        parse_radius(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Return a parser that takes one of the names in ``choices``."""

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(choices)}, got {text!r}")
        return text

    return parse


def add_fields(parser: argparse.ArgumentParser, cls: type) -> None:
    """Add one flag for each field of the dataclass ``cls``: its type, default and ``help`` metadata.

    Fields are ``float``, ``int`` or a ``Literal`` of names, each possibly ``| None``, or ``bool``, False if
    the flag is not given.
    """
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        flag = "--" + field.name.replace("_", "-")
        if hints[field.name] is bool:
            parser.add_argument(flag, action="store_true", help=field.metadata["help"])
            continue
        kinds = [k for k in typing.get_args(hints[field.name]) if k is not type(None)]
        if kinds and all(isinstance(k, str) for k in kinds):
            parse: Callable[[str], object] = one_of(kinds)
        else:
            parse = {int: whole(0), float: real}[kinds[0] if kinds else hints[field.name]]
        parser.add_argument(flag, type=parse, default=field.default, help=field.metadata["help"])


def writable_folder(path: Path) -> Path:
    """Make the folder ``path`` where it is missing and return it.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot write in the output folder {path}: {reason}") from None
    return path


def claim_folder(path: Path, run_id: str, files: Sequence[str]) -> Path:
    """Make a folder for a run and return it; what another run left there is kept.

    Args:
        path: the folder.
        run_id: name of the settings of the run.
        files: what the run will write; the last is a JSON object with the run's "id".

    Raises:
        InputError: the folder cannot be written, or holds one of ``files`` from a run of other settings.
    """
    writable_folder(path)
    there = [name for name in files if (path / name).exists()]
    if there:
        marker = path / files[-1]
        found = None
        if marker.is_file():
            found = parse_object(read_text(marker), str(marker)).get("id")
        if found != run_id or any((path / name).is_dir() for name in there):
            raise InputError(
                f"--out {path} holds {there[0]} of a run with other settings; give an empty folder"
            )
    return path


def run(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run a command line and exit with its code: 2 for bad input, 130 when interrupted, also by SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main(None)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
    except InputError as error:
        code = _tell(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        code = _tell(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except KeyboardInterrupt:
        code = _tell("interrupted", code=130)
    sys.exit(code)


def _tell(sentence: str, code: int = 2) -> int:
    print(one_line(sentence), file=sys.stderr)
    return code


def one_line(text: str) -> str:
    """Return the text on one line of at most 600 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 600 else line[:597] + "..."
