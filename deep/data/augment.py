"""Augmentation of a batch on its own device."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Augment"]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """A random crop of each padded image, perhaps flipped left to right.

    Args:
        padding: pixels added on every side before the crop.
        flip: whether half of the images are flipped.
        fill: what is added: black pixels, or the image mirrored at its border.
    """

    padding: int
    flip: bool
    fill: Literal["zero", "reflect"] = "zero"

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the augmented images.

        Args:
            x: images, shape (n, c, h, w).
            generator: source of randomness, on the device of x.
        """
        n, _, h, w = x.shape
        padded = F.pad(x, [self.padding] * 4, mode="reflect" if self.fill == "reflect" else "constant")
        shift = torch.randint(0, 2 * self.padding + 1, (2, n, 1), generator=generator, device=x.device)
        rows = torch.arange(h, device=x.device) + shift[0]  # (n, h)
        columns = torch.arange(w, device=x.device).expand(n, w)
        if self.flip:
            flip = torch.rand((n, 1), generator=generator, device=x.device) < 0.5
            columns = torch.where(flip, w - 1 - columns, columns)
        columns = columns + shift[1]
        samples = torch.arange(n, device=x.device).view(n, 1, 1)
        return padded.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
