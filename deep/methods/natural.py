"""Natural training: the cross-entropy on the inputs themselves, without an attack."""

from torch import Tensor, nn

from deep.methods.base import Method

__all__ = ["METHOD", "Natural"]


class Natural(Method):
    """Natural training."""

    attacks = ("pgd", "fgsm-rs", "nfgsm")  # all are nothing to it, but "free" would show it each batch again

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return x."""
        return x


METHOD = Natural
