"""Balls around inputs, one radius a sample, cut by the bounds of the data: where an attack may go."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from deep.attacks.noise import Noise

__all__ = ["UNIT", "Ball", "Bounds", "Norm", "each", "water_level"]

Norm = Literal["linf", "l2"]
Bounds = tuple[float, float] | None
UNIT = (0.0, 1.0)


def each(value: Tensor, x: Tensor) -> Tensor:
    """Return a value of each sample, shape (n,), shaped so that it broadcasts with x."""
    return value.view(-1, *[1] * (x.dim() - 1))


def water_level(weight: Tensor, slope: Tensor, room: Tensor, total: Tensor) -> Tensor:
    """Return the smallest t >= 0 with sum_i weight_i min(t slope_i, room_i) = total, shape (n,).

    The sum is concave and piecewise linear in t: sorting where its pieces end solves it exactly. It is inf
    where the sum never gets there.

    Args:
        weight: >= 0, shape (n, d).
        slope: >= 0, shape (n, d).
        room: >= 0, possibly inf, shape (n, d).
        total: >= 0, shape (n,).
    """
    full = torch.where(slope > 0, room / slope, math.inf)
    full, order = full.sort(dim=1)
    weight, slope, room = (v.gather(1, order) for v in (weight, slope, room))
    rate = weight * slope
    rest = rate.flip(1).cumsum(1).flip(1)  # slope of the sum just before each end
    amount = torch.where(rate > 0, weight * room, 0)
    filled = amount.cumsum(1).roll(1, dims=1)
    filled[:, 0] = 0
    reached = torch.where(rest > 0, filled + full * rest, filled)
    piece = (reached < total[:, None]).sum(1, keepdim=True)
    last = piece.clamp(max=weight.shape[1] - 1)
    rest, filled = (v.gather(1, last).squeeze(1) for v in (rest, filled))
    level = torch.where(rest > 0, (total - filled) / rest, 0)
    return torch.where(piece.squeeze(1) < weight.shape[1], level, math.inf)


@dataclass(frozen=True)
class Ball:
    """The points within ``eps`` of each sample, and within the bounds.

    Args:
        x: the samples, within the bounds, shape (n, ...).
        eps: radius of each sample, >= 0, shape (n,).
        norm: linf or l2.
        bounds: smallest and largest value of every coordinate; None where there are none.
    """

    x: Tensor
    eps: Tensor
    norm: Norm = "linf"
    bounds: Bounds = UNIT

    def __getitem__(self, chosen: Tensor) -> "Ball":
        """Return the balls of some of the samples, by index or mask."""
        return Ball(self.x[chosen], self.eps[chosen], self.norm, self.bounds)

    @cached_property
    def low(self) -> Tensor:
        """Return the smallest value of each coordinate in the ball."""
        low = self.x - each(self.eps, self.x)
        return low if self.bounds is None else low.clamp(min=self.bounds[0])

    @cached_property
    def high(self) -> Tensor:
        """Return the largest value of each coordinate in the ball."""
        high = self.x + each(self.eps, self.x)
        return high if self.bounds is None else high.clamp(max=self.bounds[1])

    def project(self, z: Tensor) -> Tensor:
        """Return the point of each ball that is nearest to z in the l2 norm."""
        if self.norm == "linf":
            return torch.clamp(z, self.low, self.high)
        shift = z - self.x
        return self._along(shift, self._reach(shift).clamp(max=1))

    def ascend(self, z: Tensor, gradient: Tensor, step: Tensor) -> Tensor:
        """Return z moved by steepest ascent in the norm, by ``step`` of shape (n,), and projected."""
        if self.norm == "linf":
            return self.project(z + each(step, z) * gradient.sign())
        flat = _scaled(gradient.flatten(1))
        unit = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)
        return self.project(z + each(step, z) * unit.view_as(z))

    def extreme(self, gradient: Tensor) -> Tensor:
        """Return the point of each ball where the linear function with this gradient is largest."""
        if self.norm == "linf":
            return torch.where(gradient > 0, self.high, torch.where(gradient < 0, self.low, self.x))
        scaled = _scaled(gradient.flatten(1)).view_as(gradient)
        return self._along(scaled, self._reach(scaled))

    def uniform(self, noise: Noise) -> Tensor:
        """Return a uniform point of each ball (Madry et al., 2018), drawn without bounds and projected."""
        shape = self.x.shape[1:]
        if self.norm == "linf":
            shift = each(self.eps, self.x) * (2 * noise.uniform(shape) - 1)
        else:
            normal = noise.normal(shape)
            share = noise.fork(0).uniform((1,)).flatten() ** (1 / math.prod(shape))
            length = normal.flatten(1).norm(dim=1).clamp(min=1e-12)
            shift = each(self.eps * share / length, self.x) * normal
        return self.project(self.x + shift.to(self.x.dtype))

    def _reach(self, shift: Tensor) -> Tensor:
        """Return the t at which t times the shift, cut by the bounds, has l2 norm eps; shape (n,)."""
        flat = shift.flatten(1)
        largest = flat.abs().amax(1, keepdim=True).clamp(min=1e-30)
        slope = (flat / largest).square()
        level = water_level(torch.ones_like(slope), slope, self._room(flat).square(), self.eps.square())
        return level.sqrt() / largest.squeeze(1)

    def _room(self, shift: Tensor) -> Tensor:
        """Return how far the bounds let each coordinate go the way of the shift, shape (n, d)."""
        if self.bounds is None:
            return torch.full_like(shift, math.inf)
        x = self.x.flatten(1)
        return torch.where(shift > 0, self.bounds[1] - x, x - self.bounds[0])

    def _along(self, shift: Tensor, t: Tensor) -> Tensor:
        moved = self.x + torch.where(shift == 0, 0, each(t, shift) * shift)
        return moved if self.bounds is None else moved.clamp(*self.bounds)


def _scaled(flat: Tensor) -> Tensor:
    """Return each row divided by its largest magnitude, so that squares do not underflow."""
    return flat / flat.abs().amax(1, keepdim=True).clamp(min=1e-30)
