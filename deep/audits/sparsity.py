"""Adversarial sparsity: in how many of the directions that an input may be moved an attack breaks it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deep.attacks.ball import UNIT, Ball, Bounds, each
from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking, margin, pgd, predicted
from deep.data import Split

__all__ = ["Masked", "sparsity"]


@dataclass(frozen=True)
class Masked(Ball):
    """Balls in linf of which only some coordinates of each sample may move.

    Args:
        mask: which of them, shape (n, ...).
    """

    mask: Tensor = torch.ones(())

    def __getitem__(self, chosen: Tensor) -> "Masked":
        """Return the balls of some of the samples, by index or mask."""
        return Masked(self.x[chosen], self.eps[chosen], self.norm, self.bounds, self.mask[chosen])

    @cached_property
    def low(self) -> Tensor:
        """Return the smallest value of each coordinate in the ball."""
        return torch.where(self.mask, self._cut(self.x - each(self.eps, self.x)), self.x)

    @cached_property
    def high(self) -> Tensor:
        """Return the largest value of each coordinate in the ball."""
        return torch.where(self.mask, self._cut(self.x + each(self.eps, self.x)), self.x)

    def _cut(self, x: Tensor) -> Tensor:
        return x if self.bounds is None else x.clamp(*self.bounds)


def sparsity(
    model: nn.Module,
    split: Split,
    eps: float,
    *,
    bounds: Bounds = UNIT,
    directions: int = 16,
    steps: int = 20,
    seed: int = 0,
    batch_size: int = 100,
) -> npt.NDArray[np.float64]:
    """Return how many coordinates an attack in linf must be allowed to move, the mean over random orders.

    In each order the coordinates are freed one after the other, and bisection finds how many of the first
    PGD on the margin needs to make the model wrong (Olivier and Raj, ICML 2023,
    https://arxiv.org/abs/2207.04129). A small number says that nearly every way breaks the sample. What is
    returned is the smallest number with which the attack succeeded, not the last one that was tried.

    Args:
        model: returns logits, shape (n, classes); it is left as it was.
        split: the samples.
        eps: radius.
        bounds: of the inputs, None for none.
        directions: orders of each sample.
        steps: of PGD, each of eps / 4.
        seed: seed of the orders, which depend on it and the sample alone.
        batch_size: samples attacked at once.

    Returns:
        Of each sample, shape (n,): nan where the model is wrong without an attack, and all coordinates of an
        input where it withstands the attack on all of them.

    Examples:
        >>> x, y = torch.full((1, 8), 0.5), torch.tensor([0])
        >>> model = nn.Linear(8, 2, bias=False).requires_grad_(False)
        >>> _ = model.weight.copy_(torch.stack([torch.ones(8), -torch.ones(8)]))
        >>> sparsity(model, Split(x, y, 1, torch.arange(1)), 1.0, bounds=None)  # margin 8, 2 a coordinate
        array([5.])
    """
    x, y, noise = split.inputs(slice(None)), split.labels, Noise.of(seed, split.index)
    size = math.prod(x.shape[1:])

    def broken(rows: Tensor, mask: Tensor) -> Tensor:
        radius = torch.full((len(rows),), eps, dtype=x.dtype, device=x.device)
        ball = Masked(x[rows], radius, "linf", bounds, mask.view(-1, *x.shape[1:]))
        adv = pgd(model, ball, x[rows], radius / 4, steps, margin(y[rows]), stop=y[rows])
        with attacking(model), torch.no_grad():
            return predicted(model(adv)) != y[rows]

    needed = torch.full((len(y),), math.nan, dtype=torch.float64, device=x.device)
    for some in torch.arange(len(y), device=x.device).split(batch_size):
        with attacking(model), torch.no_grad():
            right = some[predicted(model(x[some])) == y[some]]
        if len(right):
            weak = right[broken(right, torch.ones(len(right), size, dtype=torch.bool, device=x.device))]
            needed[right], needed[weak] = float(size), 0.0
            for k, rows in _orders(weak, directions, batch_size):
                rank = torch.stack(
                    [noise[r[None]].fork(int(i)).uniform((size,))[0] for i, r in zip(k, rows, strict=True)]
                )
                counts = _fewest(broken, rows, rank.argsort(dim=1).argsort(dim=1))
                needed.index_add_(0, rows, counts.double())
            needed[weak] /= directions
    return needed.cpu().numpy()


def _orders(weak: Tensor, directions: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of pairs of a direction and a sample."""
    pairs = torch.cartesian_prod(torch.arange(directions, device=weak.device), weak)
    yield from ((part[:, 0], part[:, 1]) for part in pairs.split(batch_size)) if len(weak) else ()


def _fewest(broken: Callable[[Tensor, Tensor], Tensor], rows: Tensor, rank: Tensor) -> Tensor:
    """Return how many coordinates, the first of an order, break each sample, shape (n,).

    With all of them each is broken, with none it is not.

    Args:
        broken: from samples and masks, shape (n, d), to whether an attack breaks each.
        rows: the samples, shape (n,).
        rank: of each coordinate in the order, shape (n, d).
    """
    low, high = torch.zeros_like(rows), torch.full_like(rows, rank.shape[1])
    while (high - low > 1).any():
        middle = (low + high) // 2
        enough = broken(rows, rank < middle[:, None])
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        high = torch.maximum(high, low + 1)
    return high
