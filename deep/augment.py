"""Augmentation of a batch on its own device."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["crop_and_flip"]


def crop_and_flip(x: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Return a random crop of each zero-padded image, flipped left to right half of the time.

    Args:
        x: images, shape (n, c, h, w).
        generator: source of randomness, on the device of x.
        padding: pixels added on every side before the crop.
    """
    n, _, h, w = x.shape
    padded = F.pad(x, [padding] * 4)
    shift = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator, device=x.device)
    flip = torch.rand((n, 1), generator=generator, device=x.device) < 0.5
    rows = torch.arange(h, device=x.device) + shift[0]  # (n, h)
    columns = torch.arange(w, device=x.device).expand(n, w)
    columns = torch.where(flip, w - 1 - columns, columns) + shift[1]  # (n, w)
    samples = torch.arange(n, device=x.device).view(n, 1, 1)
    return padded.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
