"""Networks of other people: whatever returns logits, as a module that attacks can use."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from theory.common.inputs import InputError

__all__ = ["Foreign", "shown"]


def shown(value: object) -> str:
    """Return in words what somebody passed, without its content."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return type(value).__name__


class Foreign(nn.Module):
    """A model that is not ours: its logits as numbers of the type of the inputs.

    The model computes in its own type, float16 or bfloat16 too, to which inputs are rounded on the way in,
    with the gradient of no rounding. So the points of an attack are exact, whatever the model's type.

    Args:
        model: a torch module, or a callable that takes inputs of shape (n, ...).
        output: which of several outputs are the logits, a place in a tuple or a name; None for the only one
            or ``.logits``, as the models of transformers have.
    """

    def __init__(self, model: Callable[..., Any], output: int | str | None = None) -> None:
        """Take the model; an exported graph, which has no modes, is called and is no child."""
        super().__init__()
        self.output = output
        plain = isinstance(model, nn.Module) and not isinstance(model, GraphModule)
        self.child = model if plain else None
        self.call = [model]  # in a list: a graph module would become a child
        tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
        kinds = {v.dtype for v in tensors if v.is_floating_point()}
        if len(kinds) > 1:
            names = ", ".join(sorted(str(k).removeprefix("torch.") for k in kinds))
            raise InputError(f"the model has weights of several types, {names}; convert it to one")
        self.own_type = kinds.pop() if kinds else None
        devices = {v.device for v in tensors}
        self.own_device = devices.pop() if len(devices) == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes), of the type of x."""
        logits = self.chosen(self.call[0](x if self.own_type is None else x.to(self.own_type)))
        return logits.to(x.dtype) if logits.is_floating_point() else logits

    def chosen(self, out: Any) -> Tensor:
        """Return the logits among what the model returns.

        Raises:
            InputError: which are the logits is not said, or they are no tensor.
        """
        logits = out if self.output is None else self._part(out)
        if self.output is None and not isinstance(out, Tensor):
            logits = getattr(out, "logits", None)
            if logits is None and isinstance(out, tuple | list | Mapping):
                parts = list(out) if isinstance(out, Mapping) else list(range(len(out)))
                raise InputError(
                    f"the model returns a {type(out).__name__} of {len(parts)}; say which are the logits by "
                    f"output=, one of {parts!r:.100}"
                )
        if not isinstance(logits, Tensor):
            raise InputError(f"the model must return logits as a tensor, got {shown(out)}")
        return logits

    def _part(self, out: Any) -> Any:
        try:
            if isinstance(self.output, str) and not isinstance(out, Mapping):
                return getattr(out, self.output)
            return out[self.output]
        except (KeyError, IndexError, TypeError, AttributeError):
            raise InputError(
                f"the model's output has no part {self.output!r:.60}, it is {shown(out)}"
            ) from None

    @property
    def input_type(self) -> torch.dtype | None:
        """Return the type that inputs are kept in, single or double; None where the model has no weights."""
        if self.own_type is None:
            return None
        return torch.float64 if self.own_type == torch.float64 else torch.float32
