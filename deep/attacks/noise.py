"""Random numbers keyed by sample: whatever batch, shard or order a sample comes in, it gets the same ones.

A value is a hash of (seed, sample, position): Steele, Lea and Flood (2014), "Fast splittable
pseudorandom number generators", whose finaliser (Stafford's variant 13) is written here on int64 tensors,
which wrap around, so that it runs on every device and gives the same bits there.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Noise"]

GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, odd, as int64
FIRST = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
SECOND = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    """Return the logical right shift; that of int64 copies the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """Return a one-to-one scrambling of int64."""
    x = (x ^ _shift(x, 30)) * FIRST
    x = (x ^ _shift(x, 27)) * SECOND
    return x ^ _shift(x, 31)


@dataclass(frozen=True)
class Noise:
    """The random numbers of some samples.

    Args:
        seed: seed, an int64 of shape (); a tensor so that it may stay on its device.
        index: what names each sample, int64, shape (n,).
    """

    seed: Tensor
    index: Tensor

    @classmethod
    def of(cls, seed: int, index: Tensor) -> "Noise":
        """Return the numbers of a seed from 0 to 2^63 - 1."""
        return cls(torch.tensor(seed, device=index.device), index)

    def __getitem__(self, chosen: Tensor) -> "Noise":
        """Return those of some of the samples, by index or mask."""
        return Noise(self.seed, self.index[chosen])

    def fork(self, use: int) -> "Noise":
        """Return others of the same samples, for another use, such as a restart."""
        return Noise(_mix(self.seed + torch.full_like(self.seed, use + 1) * GOLDEN), self.index)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Return uniform numbers in [0, 1), multiples of 2^-24, float32 of shape (n, *shape)."""
        bits = _shift(self._bits(math.prod(shape)), 40)
        return (bits.float() * 2.0**-24).view(len(self.index), *shape)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Return standard normal numbers (Box and Muller, 1958), float32 of shape (n, *shape)."""
        size = math.prod(shape)
        bits = self._bits(size + size % 2)
        first, second = ((_shift(b, 40).float() + 0.5) * 2.0**-24 for b in bits.chunk(2, dim=1))
        length, angle = torch.sqrt(-2 * first.log()), 2 * math.pi * second
        pairs = torch.cat([length * angle.cos(), length * angle.sin()], dim=1)
        return pairs[:, :size].reshape(-1, *shape)

    def _bits(self, size: int) -> Tensor:
        """Return 64 random bits for each sample and position, shape (n, size)."""
        rows = _mix(_mix(self.index * GOLDEN + self.seed) + self.seed)
        counter = torch.arange(1, size + 1, device=self.index.device) * GOLDEN
        return _mix(rows[:, None] + counter)
