"""Figures are drawn in processes, and only those whose records or code have changed since the last time.

What was drawn is listed in ``.drawn.json`` beside the figures. A figure is drawn again when the numbers that
it shows, its module, the code that figures share, the style, or the version of a library changes, and when
its file is not what was written; nothing at all is done when no record and no code has. To have all drawn
again, give another folder, or remove that file.
"""

import hashlib
import importlib
import io
import json
import os
import pickle
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import matplotlib.style
from tqdm import tqdm

import theory
from paper_figs.page.page import Drawn
from theory.common.files import write_atomic

__all__ = ["Drawing", "Memory", "content_key", "draw", "draw_all"]

HERE = Path(__file__).parent
STYLE = HERE / "style.mplstyle"
LIST = ".drawn.json"
LIBRARIES = ("matplotlib", "numpy", "scipy", "sympy")
CODE = {".py", ".js", ".css", ".html", ".mplstyle"}
FEW = 4
"""Up to so many figures are drawn sooner here than by processes, which take a second or two to start."""


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn.

    Args:
        module: draws it.
        data: what it shows.
        name: of its files.
    """

    module: ModuleType
    data: Any
    name: str

    @property
    def key(self) -> str:
        """Return what changes with the numbers, the module of the figure, or the code that figures share."""
        own = getattr(self.module, "__file__", None)
        code = Path(own).read_bytes() if own else b""
        return _digest(shared_code().encode(), code, pickle.dumps(self.data))


def _digest(*parts: bytes) -> str:
    """Return a name of contents, each hashed by itself so that where one ends matters."""
    return hashlib.sha256(b"".join(hashlib.sha256(p).digest() for p in parts)).hexdigest()


def _files(folder: Path) -> Iterator[bytes]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in CODE):
        if path.parent != HERE / "figures" and "records" not in path.relative_to(folder).parts:
            yield path.relative_to(folder).as_posix().encode()
            yield path.read_bytes()


@cache
def shared_code() -> str:
    """Return what changes with all code but the figures' own, and with the libraries."""
    versions = [sys.version, *(metadata.version(name) for name in LIBRARIES)]
    packages = (HERE, Path(str(theory.__file__)).parent)
    return _digest(*(v.encode() for v in versions), *(part for p in packages for part in _files(p)))


def content_key(folders: Iterable[Path]) -> str:
    """Return what changes with any file of records, any code, and any library.

    Args:
        folders: of records; a file stands for itself.
    """
    parts = [shared_code().encode(), *(p.read_bytes() for p in sorted((HERE / "figures").glob("*.py")))]
    for folder in folders:
        files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
        for path in files:
            parts += [str(path).encode(), path.read_bytes() if path.is_file() else b""]
    return _digest(*parts)


class Memory:
    """What an output folder holds, by the keys that it was made with.

    Args:
        folder: of the figures; its list is taken as empty where it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        """Read the list."""
        self.folder = folder
        try:
            content = json.loads((folder / LIST).read_text("utf-8"))
            self.whole, self.printed = str(content["all"]), [str(line) for line in content["printed"]]
            self.files = {str(name): (str(key), str(sha)) for name, (key, sha) in content["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.whole, self.printed, self.files = "", [], {}

    def holds(self, name: str, key: str) -> bool:
        """Return whether a file was made with this key and is as it was written."""
        made, sha = self.files.get(name, ("", ""))
        path = self.folder / name
        return made == key and path.is_file() and _digest(path.read_bytes()) == sha

    def is_current(self, key: str) -> bool:
        """Return whether everything was made with this key and is as it was written."""
        return self.whole == key and all(self.holds(name, made) for name, (made, _) in self.files.items())

    def write(self, key: str, files: Mapping[str, tuple[str, bytes | str]], printed: Sequence[str]) -> None:
        """Write files that are not there yet, remove the last time's that are none of these, and list them.

        Args:
            key: of everything.
            files: for each name its key and content.
            printed: lines that the command printed about them.
        """
        listed = {}
        for name, (made, content) in files.items():
            data = content.encode() if isinstance(content, str) else content
            if not self.holds(name, made):
                write_atomic(self.folder / name, data)
            listed[name] = [made, _digest(data)]
        for name in self.files.keys() - listed.keys():
            (self.folder / name).unlink(missing_ok=True)
        content = {"all": key, "printed": list(printed), "files": listed}
        write_atomic(self.folder / LIST, json.dumps(content, indent=0))


def draw(module: ModuleType, data: Any, name: str) -> Drawn:
    """Return what a figure module draws of its data, as the file ``name``."""
    images = {}
    with matplotlib.style.context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # seen as a box; the tables have the letter
        figure = module.draw(data)
        for kind in ("svg", "png"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
            images[kind] = buffer.getvalue()
            figure.set_layout_engine("none")  # places stay: finding them takes a third of the time
    return _drawn(module, data, name, images)


def _drawn(module: ModuleType, data: Any, name: str, images: Mapping[str, bytes]) -> Drawn:
    """Return a figure with what is said of its data."""
    said = module.TITLE, module.finding(data), module.caption(data)
    return Drawn(name, *said, **images, key=getattr(data, "key", ""))


def _draw_there(module: str, data: Any, name: str) -> Drawn:
    """Draw in a process that has yet to load the module."""
    return draw(importlib.import_module(module), data, name)


def draw_all(drawings: Sequence[Drawing], memory: Memory, jobs: int, *, quiet: bool = False) -> list[Drawn]:
    """Return the figures, those that have not changed from their files.

    Args:
        drawings: what to draw.
        memory: of the output folder.
        jobs: processes.
        quiet: whether to show no bar, and without a terminal no line a figure.
    """
    missing = [d for d in drawings if not all(memory.holds(f"{d.name}.{k}", d.key) for k in ("svg", "png"))]
    if len(missing) <= FEW or jobs == 1:
        made: Iterable[Drawn] = (draw(d.module, d.data, d.name) for d in missing)
    else:
        parallel = joblib.Parallel(min(jobs, len(missing)), return_as="generator", batch_size=1)
        made = parallel(joblib.delayed(_draw_there)(d.module.__name__, d.data, d.name) for d in missing)
    new = {d.name: d for d in _shown(made, len(missing), quiet=quiet)}
    return [new.get(d.name) or _read(d, memory.folder) for d in drawings]


def _shown(made: Iterable[Drawn], total: int, *, quiet: bool) -> Iterator[Drawn]:
    """Yield figures and show how many there are: a bar in a terminal, else a line each."""
    quiet = quiet or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    bar = sys.stderr.isatty()
    for i, drawn in enumerate(tqdm(made, "figures", total, disable=quiet or not bar, leave=False), start=1):
        if not quiet and not bar:
            print(f"figure {i} of {total}: {drawn.name}", file=sys.stderr, flush=True)
        yield drawn


def _read(drawing: Drawing, folder: Path) -> Drawn:
    """Return a figure of the last time."""
    images = {kind: (folder / f"{drawing.name}.{kind}").read_bytes() for kind in ("svg", "png")}
    return _drawn(drawing.module, drawing.data, drawing.name, images)
