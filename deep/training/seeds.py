"""One seed for a run, an independent stream of random numbers for each of its uses."""

import numpy as np

__all__ = ["STREAMS", "stream"]

STREAMS = ("weights", "attack", "shuffle", "validation", "test")
"""Uses of randomness: initial weights, training attack, order and augmentation, evaluation attacks."""


def stream(seed: int, use: str) -> int:
    """Return the seed of one of `STREAMS`."""
    return int(np.random.SeedSequence([seed, STREAMS.index(use)]).generate_state(1, np.uint64)[0] >> 1)
