"""How far the worst attack towards each wrong class pushes each sample: see `RobustMargins`."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deep.attacks.ball import Ball
from deep.attacks.evaluate import Attack
from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking, gradient_of
from deep.data import Split
from deep.nets.folded import folded
from theory.common.arrays import packed, read_arrays
from theory.common.files import write_atomic
from theory.common.inputs import InputError
from theory.networks.class_offsets import RobustMargins

__all__ = ["robust_margins"]


def robust_margins(
    model: nn.Module,
    split: Split,
    attack: Attack,
    *,
    seed: int,
    batch_size: int = 500,
    shards: Path | None = None,
    tick: Callable[[float], None] = lambda part: None,
) -> RobustMargins:
    """Return the largest f_j - f_y that PGD towards each wrong class j finds in the ball of each sample.

    Every sample is attacked, also one that is wrong without an attack, and towards every class; no attack
    stops early; the largest value over all iterates counts. It costs C - 1 times as much as PGD.

    Args:
        model: returns logits, shape (n, C); it is left as it was.
        split: images and labels.
        attack: its radius, norm, bounds, steps and step size; the objective is f_j - f_y.
        seed: seed of the uniform starts, keyed by the index of the sample.
        batch_size: samples attacked at once.
        shards: folder where the margins of each batch are kept, so that the same call goes on after an
            interruption. What is there of another network, attack or samples is not taken.
        tick: called after each batch with the share that is done.

    Raises:
        InputError: a logit is not finite or has no gradient towards the inputs, or a class has no sample.
    """
    parts = []
    for begin in range(0, len(split), batch_size):
        part = slice(begin, begin + batch_size)
        path = None if shards is None else shards / f"margins-{_key(model, split, part, attack, seed)}.npz"
        rows = None if path is None or not path.is_file() else read_arrays(path, 1 << 26)["margins"]
        if rows is None:
            noise = Noise.of(seed, split.index[part])
            rows = (
                _margins(model, split.inputs(part), split.labels[part], attack, noise).cpu().double().numpy()
            )
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, packed({"margins": rows}))
        parts.append(rows)
        tick(min(1.0, (begin + batch_size) / len(split)))
    return RobustMargins(np.concatenate(parts), split.labels.cpu().numpy())


def _key(model: nn.Module, split: Split, part: slice, attack: Attack, seed: int) -> str:
    """Return 16 hexadecimal digits that name a batch: its samples, the attack, and the logits of the model.

    The logits stand for the model: a callable has no weights that could be compared.
    """
    x = split.inputs(part)
    with attacking(model), torch.no_grad():
        logits = model(x)
    digest = hashlib.sha256(repr((attack, seed)).encode())
    for tensor in (x, split.labels[part], split.index[part], logits):
        digest.update(np.ascontiguousarray(tensor.detach().cpu().double().numpy()))
    return digest.hexdigest()[:16]


def _margins(model: nn.Module, x: Tensor, y: Tensor, attack: Attack, noise: Noise) -> Tensor:
    """Return the margins of a batch, shape (n, C), 0 in the column of the label."""
    eps = torch.full(y.shape, attack.eps, dtype=x.dtype, device=x.device)
    ball = Ball(x, eps, attack.norm, attack.bounds)
    with attacking(model):
        network = folded(model)
        with torch.no_grad():
            classes = network(x).shape[1]
        reached = x.new_zeros(len(x), classes)
        for shift in range(1, classes):  # a different target for each sample, so that all batches are full
            target = (y + shift) % classes
            value = _largest(network, ball, y, target, attack, noise.fork(shift))
            reached.scatter_(1, target[:, None], value[:, None])
    if not bool(reached.isfinite().all()):
        raise InputError("a logit of the network is not finite under attack")
    return reached


def _largest(
    network: Callable[[Tensor], Tensor], ball: Ball, y: Tensor, target: Tensor, attack: Attack, noise: Noise
) -> Tensor:
    """Return the largest f_target - f_y over the start and all iterates of PGD, shape (n,)."""

    def gain(logits: Tensor) -> Tensor:
        return (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None])).squeeze(1)

    adv = ball.uniform(noise)
    best = adv.new_full(y.shape, -torch.inf)
    for _ in range(attack.steps):
        adv.requires_grad_(True)
        value = gain(network(adv))
        best = torch.maximum(best, value.detach())
        gradient = gradient_of(value.sum(), adv).nan_to_num(0.0)
        adv = ball.ascend(adv.detach(), gradient, attack.step * ball.eps)
    with torch.no_grad():
        return torch.maximum(best, gain(network(adv)))
