"""Jacobian regularisation: Hoffman, Roberts and Yaida, 2019, https://arxiv.org/abs/1908.02729.

"Robust Learning with Jacobian Regularization": natural training with a penalty on the slope of the
logits,

CE(f(x), y) + (lam / 2) |J(x)|_F^2,  J = df / dx,

estimated from random unit vectors v of R^C as C |v' J|^2, whose mean is |J|_F^2. No input is attacked; a
step costs a forward pass, and two passes back for each vector. As in the authors' code
(facebookresearch/jacobian_regularizer) lam is .01, of one vector; ``--projections 0`` takes all C basis
vectors, which is exact.

Deviations: none known but schedule and batch size, which are those of all methods here. The gradient of
the penalty is a second derivative: a network must have one.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.methods.natural import Natural
from theory.common.inputs import check_count, check_real

__all__ = ["METHOD", "Jacobian", "squared_jacobian"]


def squared_jacobian(logits: Tensor, x: Tensor, directions: Tensor) -> Tensor:
    """Return C times the mean of |v' J|^2 over the directions v, shape (n,); it has a gradient.

    Args:
        logits: shape (n, C), made of x.
        x: inputs that require a gradient, shape (n, ...).
        directions: v, k of them for each sample, shape (k, n, C).
    """
    slopes = [torch.autograd.grad((logits * v).sum(), x, create_graph=True)[0] for v in directions]
    return logits.shape[1] * torch.stack([s.square().flatten(1).sum(1) for s in slopes]).mean(0)


class Jacobian(Natural):
    """Jacobian regularisation."""

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        lam: float = field(default=0.01, metadata={"help": "weight of the penalty"})
        projections: int = field(
            default=1, metadata={"help": "random directions of a sample; 0 for all, exactly"}
        )

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            check_real("--lam", self.lam, low=0, high=1e6)
            check_count("--projections", self.projections, low=0)

    def directions(self, logits: Tensor) -> Tensor:
        """Return unit vectors for logits of shape (n, C): random ones, or the basis, shape (k, n, C)."""
        n, classes = logits.shape
        if self.params.projections == 0:
            return torch.eye(classes, device=logits.device).to(logits)[:, None].expand(-1, n, -1)
        drawn = self.context.noise(n).normal((self.params.projections, classes)).to(logits)
        return F.normalize(drawn, dim=2).transpose(0, 1)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the cross-entropy and the penalty."""
        at = x.detach().requires_grad_(True)
        logits = model(at)
        penalty = squared_jacobian(logits, at, self.directions(logits)).mean()
        main = F.cross_entropy(logits, y, label_smoothing=self.context.label_smoothing)
        return main + self.params.lam / 2 * penalty


METHOD = Jacobian
