"""Files of weights and of the state of a training: safetensors, written whole or not at all.

A state is a tree of dicts and lists with tensors, numbers, texts and None as leaves. Its tensors are those of
the file and the rest is JSON in the file's header, with a checksum of both; nothing in it is ever executed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from theory.common.files import write_atomic
from theory.common.inputs import InputError, parse_object

__all__ = ["all_finite", "fill", "load_state", "load_weights", "save_state", "save_weights"]

MARK = "tensor"
"""The only key of the object that stands for a tensor in the JSON."""


def all_finite(weights: Mapping[str, Tensor]) -> bool:
    """Return whether every weight and statistic of a network is a finite number."""
    return all(bool(v.isfinite().all()) for v in weights.values())


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> str:
    """Write the weights of a network and return the SHA-256 of their file.

    Raises:
        InputError: one is not finite.
    """
    if not all_finite(weights):
        raise InputError(f"{path} is not written: there are weights that are not finite")
    content = safetensors.torch.save({k: _plain(v) for k, v in weights.items()})
    write_atomic(path, content)
    return hashlib.sha256(content).hexdigest()


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights of a network.

    Raises:
        InputError: the file is missing or damaged.
    """
    return _read(path)[0]


def fill(model: nn.Module, path: Path) -> None:
    """Put the weights of a file into a network that has the same ones; those of half precision fit too.

    Raises:
        InputError: the file is missing or damaged, its weights are of another network, or not all are finite.
    """
    parameters = model.state_dict()
    weights = {
        k: v.to(parameters[k].dtype) if v.dtype == torch.float16 and k in parameters else v
        for k, v in load_weights(path).items()
    }
    shapes = [{k: (v.shape, v.dtype) for k, v in kept.items()} for kept in (weights, parameters)]
    if shapes[0] != shapes[1]:
        raise InputError(f"{path} has the weights of another network")
    if not all_finite(weights):
        raise InputError(f"{path} has weights that are not finite")
    model.load_state_dict(weights)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_strip(state, "", tensors))
    header = {"state": json.dumps({"tree": text, "sha256": _checksum(text, tensors)})}
    write_atomic(path, safetensors.torch.save(tensors, metadata=header))


def load_state(path: Path) -> dict[str, Any]:
    """Return a state; its tensors are on the CPU.

    Raises:
        InputError: the file is missing or damaged.
    """
    tensors, header = _read(path)
    wrapped = parse_object(header.get("state", ""), f"the header of {path}")
    text = wrapped.get("tree")
    if not isinstance(text, str) or wrapped.get("sha256") != _checksum(text, tensors):
        raise InputError(f"{path} is damaged: its content does not have its checksum")
    tree = parse_object(text, f"the state in {path}")
    try:
        return _fill(tree, tensors)
    except (KeyError, TypeError, RecursionError):
        raise InputError(f"{path} is damaged: its state names a tensor that is not there") from None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or 'it is not a file'}") from None
    except (SafetensorError, RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged or no safetensors file: {error}") from None


def _plain(tensor: Tensor) -> Tensor:
    """Return a copy that shares no memory."""
    return tensor.detach().cpu().contiguous().clone()


def _strip(tree: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return the tree with a mark for each tensor, which is put into ``tensors``."""
    if isinstance(tree, Tensor):
        name = f"{len(tensors)}{path}"  # the number keeps names apart, the path is for a reader
        tensors[name] = _plain(tree)
        return {MARK: name}
    if isinstance(tree, Mapping):
        return {key: _strip(value, f"{path}/{key}", tensors) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_strip(value, f"{path}/{i}", tensors) for i, value in enumerate(tree)]
    return tree


def _fill(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the tree with its tensors."""
    if isinstance(tree, dict):
        if set(tree) == {MARK}:
            return tensors[tree[MARK]]
        return {key: _fill(value, tensors) for key, value in tree.items()}
    return [_fill(value, tensors) for value in tree] if isinstance(tree, list) else tree


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
