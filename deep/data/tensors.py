"""Inputs of one split and their labels, as tensors on the device."""

from dataclasses import dataclass

import torch

__all__ = ["Split"]


@dataclass(frozen=True)
class Split:
    """Images as stored, uint8 of shape (n, c, h, w), and labels of shape (n,); or other inputs.

    Args:
        images: the images.
        labels: their classes, int64.
        peak: largest pixel value; inputs are divided by it.
        index: position of each image in the order of the files, int64 of shape (n,): the training files one
            after the other for images to train and validate on, the test files for those to test on.
            It names an image whatever the batch it comes in.
        dtype: of the inputs.
    """

    images: torch.Tensor
    labels: torch.Tensor
    peak: float
    index: torch.Tensor
    dtype: torch.dtype = torch.float32

    def inputs(self, index: torch.Tensor | slice) -> torch.Tensor:
        """Return the chosen images as numbers in [0, 1], shape (len(index), c, h, w)."""
        return self.images[index].to(self.dtype) / self.peak

    def take(self, chosen: torch.Tensor | slice) -> "Split":
        """Return the chosen images as a split of their own."""
        parts = self.images[chosen], self.labels[chosen], self.peak, self.index[chosen]
        return Split(*parts, self.dtype)

    def first(self, per_class: int) -> torch.Tensor:
        """Return the places of the first images of each class, or of all that there are, in order."""
        places = [(self.labels == c).nonzero().squeeze(1)[:per_class] for c in self.labels.unique()]
        return torch.cat(places).sort().values

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)
