"""What the command line names: a model by its factory or file, samples by their folder, file or data set."""

import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from deep.audits.affine import from_coefficients
from deep.data import DATASETS, load
from deep.data.samples import Samples, read_samples
from deep.nets.imported import function_of, is_import_name
from theory.common.cli import one_line
from theory.common.inputs import InputError

__all__ = ["FILES", "load_model", "load_samples"]

FILES = (".pt2", ".onnx", ".npz")
"""Of models: of torch.export, of ONNX, and the coefficients of a linear classifier."""
OBJECTS = ("custom_obj_", "opaque_obj_")
"""In the names of those members of an archive of torch.export that are pickled objects."""
FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # by which torch overrides what a call says


def load_model(name: str, weights: Path | None) -> Callable[..., Any]:
    """Return the model that is named, with its weights.

    Args:
        name: ``package.module:function``, a function without arguments that returns a model, looked for in
        the
            present folder too; or a file of `FILES`.
        weights: safetensors, or what ``torch.save`` made of a state_dict, for the model of a function.

    Raises:
        InputError: there is no such model, or the weights are not its.
    """
    path = Path(name)
    if path.suffix not in FILES:
        model = _made(name)
        return model if weights is None else _filled(model, weights)
    if weights is not None:
        raise InputError(f"--weights is for a model of a function, {name} has its weights inside")
    if not path.is_file():
        raise InputError(f"there is no model {name}")
    return {".pt2": _exported, ".onnx": _converted, ".npz": from_coefficients}[path.suffix](path)


def _made(name: str) -> Callable[..., Any]:
    if not is_import_name(name):
        raise InputError(
            f"--model must be package.module:function or a file {', '.join(FILES)}, got {name!r:.60}"
        )
    factory = function_of(name)
    try:
        model = factory()
    except Exception as error:  # whatever somebody else's code raises
        raise InputError(
            f"--model {name} fails: {type(error).__name__}: {one_line(str(error)):.200}"
        ) from error
    if not callable(model):
        raise InputError(f"--model {name} must return a model, got {type(model).__name__}")
    return model  # type: ignore[no-any-return]


def _filled(model: Any, path: Path) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise InputError(f"--weights is for a torch module, got {type(model).__name__}")
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state) if isinstance(state, dict) else state
        model.load_state_dict(state)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"cannot read the weights {path}: {one_line(str(error)):.200}") from None
    except (
        Exception
    ) as error:  # what torch raises of a file that is none, or of other weights, is of many types
        raise InputError(
            f"the weights {path} are not those of the model: {one_line(str(error)):.300}"
        ) from None
    return model


def _exported(path: Path) -> nn.Module:
    """Return the model of torch.export.

    An archive may hold pickles, which run code when they are loaded, and torch loads them. So objects in it
    are refused, and its tensors are loaded with ``weights_only`` whatever it says of them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            objects = [n for n in archive.namelist() if any(prefix in n for prefix in OBJECTS)]
        if objects:
            raise InputError(
                f"the model {path} holds objects that could run code, {objects[0]:.60}: not loaded"
            )
        with _weights_only():
            return torch.export.load(path).module()
    except InputError:
        raise
    except Exception as error:  # what torch raises of a damaged archive is of many types
        raise InputError(f"cannot read the model {path}: {one_line(str(error)):.200}") from None


@contextmanager
def _weights_only() -> Iterator[None]:
    """Make every ``torch.load`` meanwhile refuse what is no tensor."""
    before = os.environ.get(FORCE)
    os.environ[FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before


def _converted(path: Path) -> nn.Module:
    """Return an ONNX model as a torch module, which has gradients as ONNX's own runtime has not."""
    import onnx
    import onnx2pytorch

    try:
        with warnings.catch_warnings(action="ignore"):  # of its copies of arrays
            model: nn.Module = onnx2pytorch.ConvertModel(onnx.load(str(path)))
    except Exception as error:  # operators that it does not know, or a file that is none
        raise InputError(f"cannot convert the model {path}: {one_line(str(error)):.200}") from None
    return model


def load_samples(
    name: str,
    data_dir: Path | None,
    *,
    download: bool,
    scale: float | None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Samples:
    """Return the samples that are named.

    Args:
        name: a folder with a folder of images for each class, a npz file of x and y, or one of `DATASETS`,
            of which it is the test images.
        data_dir: folder of the files of a data set.
        download: fetch files of a data set that are missing.
        scale: what inputs are divided by; for folders and data sets the largest pixel value.
        progress: what shows how many images of a folder are read.

    Raises:
        InputError: there are no such samples.
    """
    if name in DATASETS:
        cpu = torch.device("cpu")
        data = load(name, data_dir, seed=0, val=1, train=1, test=None, device=cpu, download=download)
        return Samples(data.test.images, data.test.labels, data.classes, scale or data.test.peak)
    path = Path(name)
    if data_dir is not None or download:
        raise InputError(f"--data-dir and --download are for {', '.join(DATASETS)}, got --data {name!r:.60}")
    if not path.is_dir() and path.suffix != ".npz":
        raise InputError(
            f"--data must be a folder of images by class, a file .npz, or one of {', '.join(DATASETS)}, "
            f"got {name!r:.60}"
        )
    found = read_samples(path, progress)
    return Samples(found.x, found.y, found.classes, scale or found.scale)
