"""Training labels of which a share is wrong, drawn by seed."""

from dataclasses import replace

import numpy as np
import torch

from deep.data.tensors import Split

__all__ = ["with_label_noise"]


def with_label_noise(split: Split, share: float, classes: int, seed: int) -> Split:
    """Return a split in which a share of each class has a label drawn uniformly from the other classes.

    Which images they are depends on the seed, the class and the order of the split; a larger share has the
    wrong labels of a smaller one (symmetric noise without the true class: Patrini et al., CVPR 2017,
    https://arxiv.org/abs/1609.03683).

    Args:
        split: images and labels, shape (n,).
        share: of each class, from 0 to below 1; rounded to whole images.
        classes: number of classes.
        seed: seed of the draw.
    """
    rng = np.random.default_rng([seed, 2])
    labels = split.labels.cpu().numpy().copy()
    for c in range(classes):
        order = rng.permutation(np.flatnonzero(split.labels.cpu().numpy() == c))
        steps = rng.integers(1, classes, len(order))  # from c round the circle of classes, never back to c
        wrong = slice(round(share * len(order)))
        labels[order[wrong]] = (c + steps[wrong]) % classes
    return replace(split, labels=torch.from_numpy(labels).to(split.labels.device))
