"""What every command line shares: words that are checked, one-sentence refusals with exit code 2."""

import argparse
import codecs
import contextlib
import io
import math
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from theory.common.inputs import DoubtWarning, InputError, parse_number, parse_radius

__all__ = [
    "PARENT",
    "Parser",
    "add_jobs",
    "call_as_function",
    "caution",
    "missing",
    "one_of",
    "radius",
    "real",
    "refuse_without_extras",
    "run",
    "whole",
    "workers",
    "writable_folder",
]

PARENT = "ROBUST_FAIRNESS_ENDS_WITH_STDIN"
"""Environment variable of a command whose parent holds the other end of its stdin, and that ends with it."""
EXTRAS = {
    **dict.fromkeys(("pooch", "safetensors", "sklearn", "torch"), "deep"),
    **{"pyautoattack": "attacks", "distributed": "dask", "ray": "ray", "flint": "certify"},
    **{"submitit": "slurm", "tensorboard": "track", "onnx": "onnx", "onnx2pytorch": "onnx", "PIL": "images"},
}
"""The extra of pyproject.toml that installs a package."""


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one sentence on stderr, with exit code 2."""

    def __init__(self, **kwargs: Any) -> None:
        """Take argparse's arguments; abbreviated flags are off, defaults are shown in the help."""
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print one sentence and exit with code 2."""
        if message.startswith("unrecognized arguments"):
            flags = sorted(o for a in self._actions for o in a.option_strings if o.startswith("--"))
            message += f"; allowed here: {', '.join(flags)}"
        self.exit(2, f"{self.prog}: {one_line(message)}\n")


def real(text: str) -> float:
    """Parse a finite number.

    Raises:
        argparse.ArgumentTypeError: the text is not one.
    """
    value = parse_number(text)
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r:.60}")
    return value


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a parser of integers from ``low`` to ``high``, both included."""
    span = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"

    def parse(text: str) -> int:
        value = parse_number(text, int)
        if not low <= value <= (math.inf if high is None else high):
            raise argparse.ArgumentTypeError(f"must be {span}, got {text!r:.60}")
        return int(value)

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


def add_jobs(parser: argparse.ArgumentParser, default: int, text: str) -> None:
    """Add --jobs, with what it counts, and the flag that lets it exceed the cores."""
    parser.add_argument("--jobs", type=whole(1, 1024), default=default, help=text)
    parser.add_argument("--oversubscribe", action="store_true", help="let --jobs exceed the cores")


def workers(args: argparse.Namespace, tasks: int) -> int:
    """Return how many workers `add_jobs` asks for, which are never more than the tasks.

    Nor more than the cores that this process may use, which is said, but with --oversubscribe.
    """
    import joblib

    wanted, cores = max(1, min(int(args.jobs), tasks)), int(joblib.cpu_count())
    if wanted <= cores or args.oversubscribe:
        return wanted
    print(
        f"{cores} workers, one for each core, for --jobs {args.jobs}; --oversubscribe for {wanted}",
        file=sys.stderr,
    )
    return cores


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


def run(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run a command line and exit with its code: 2 for bad input, 130 when interrupted.

    SIGTERM interrupts, and so does SIGHUP, unless the caller ignores it as nohup does. With `PARENT` in the
    environment the end of stdin interrupts as well.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.showwarning = _show
    warnings.simplefilter("default", DoubtWarning)  # whatever filters there are: a run does not end by it
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    if os.environ.pop(PARENT, None):
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    _open_streams()
    try:
        code = main(None)
        sys.stdout.flush()
    except InputError as error:
        code = _tell(str(error))
    except ModuleNotFoundError as error:
        code = _tell(missing(error))
    except MemoryError as error:
        code = _tell(f"not enough memory: {error}")
    except BrokenPipeError:
        code = 1
    except OSError as error:
        code = _tell(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except KeyboardInterrupt:
        code = _tell("interrupted", code=130)
    finally:
        _drop_unwritten()
    sys.exit(code)


_as_python_does = warnings.showwarning


def _show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Say a doubt in a sentence, and another warning as Python does."""
    if issubclass(category, DoubtWarning):
        caution(str(message))
    else:
        _as_python_does(message, category, *place, **more)


def _end_with_stdin() -> None:
    """Interrupt the command when the other end of its stdin is closed: then its parent has ended."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    while True:  # again, where an interruption was lost in a callback
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        time.sleep(10)


def _open_streams() -> None:
    """Send what is printed to a stream that the caller closed nowhere, and escape what a terminal lacks."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file would be taken for the stream
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            codecs.register_error("plain", _plain)
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Return letters that a terminal lacks as it can show them: +- for a plus-minus sign, else escaped."""
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end].replace("±", "+-")
    return letters.encode("ascii", "backslashreplace").decode(), error.end


def _drop_unwritten() -> None:
    """Flush both streams, so that Python does not fail to when it ends; what cannot be written is dropped."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def missing(error: ModuleNotFoundError) -> str:
    """Return in one sentence which package is not installed, and how it is.

    Raises:
        ModuleNotFoundError: it is none of an extra, so that the fault is ours.
    """
    package = str(error.name).split(".")[0]
    if package not in EXTRAS:
        raise error
    return f"this needs {package}, which is not installed: pip install 'robust-fairness[{EXTRAS[package]}]'"


def refuse_without_extras() -> None:
    """Make a command of Python that starts say in one sentence that what it imports is not installed.

    For packages whose modules import an extra before their command line gets to `run`.
    """
    if sys.argv[:1] == ["-m"]:  # so it is while `python -m` imports the package of a command, and never later
        sys.excepthook = _refuse


def _refuse(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] in EXTRAS:
        _open_streams()
        sys.exit(_tell(missing(error)))
    sys.__excepthook__(kind, error, trace)


def call_as_function(module: str, function: Callable[..., Any]) -> None:
    """Let the module of a command be called as the function of the same name.

    ``import deep.train`` puts the module in the place of the function ``deep.train``; so both can be called.

    Args:
        module: name of the module, which is being imported.
        function: what is called.
    """

    class Command(ModuleType):
        __call__ = staticmethod(function)

    sys.modules[module].__class__ = Command


def caution(sentence: str) -> None:
    """Warn a person in one sentence on stderr."""
    print(f"warning: {one_line(sentence)}", file=sys.stderr, flush=True)


def _tell(sentence: str, code: int = 2) -> int:
    with contextlib.suppress(OSError):
        print(one_line(sentence), file=sys.stderr)
    return code


def one_line(text: str) -> str:
    """Return the text on one line of at most 600 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 600 else line[:597] + "..."
