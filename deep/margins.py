"""The pairwise margins of a network, what an adversary takes of them, and what it is confused with."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deep.attacks import attacking, cross_entropy, pgd, towards
from deep.ball import Ball
from deep.data import Split
from deep.evaluate import Attack
from deep.folded import folded
from deep.noise import Noise
from theory.link import MarginSamples

__all__ = ["Losses", "Measured", "losses", "measured", "predictions"]

Labels = npt.NDArray[np.int64]


class Measured(NamedTuple):
    """Margins of the samples of a split.

    Args:
        samples: margins, and what the adversary takes of each to first order within the bounds of the data.
        unbounded: the same without bounds, eps times ``norm``.
        norm: dual norm of the gradient of each margin, shape (n, C); 0 at the label.
    """

    samples: MarginSamples
    unbounded: MarginSamples
    norm: npt.NDArray[np.float64]


class Losses(NamedTuple):
    """Samples of class i that lose to class j, shape (C, C), and how many there are, shape (C,)."""

    natural: Labels
    robust: Labels
    n: Labels


def _batches(split: Split, size: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    for begin in range(0, len(split), size):
        part = slice(begin, begin + size)
        yield part, split.inputs(part), split.labels[part]


def _ball(x: Tensor, attack: Attack) -> Ball:
    return Ball(x, torch.full(x.shape[:1], attack.eps, device=x.device), attack.norm, attack.bounds)


def measured(model: nn.Module, split: Split, attack: Attack, *, batch_size: int = 250) -> Measured:
    """Return the margin of each sample over each class, and what the attack's ball takes to first order.

    That is the largest fall of the linearised margin within the ball and the bounds. Where no bound is near
    it is eps times the dual norm of the gradient, l1 for linf. C backward passes a batch.

    Args:
        model: returns logits.
        split: the samples.
        attack: gives radius, norm and bounds.
        batch_size: samples at once.

    Raises:
        InputError: a class has fewer than 2 samples, or a margin is not finite.
    """
    found: list[tuple[Tensor, ...]] = []
    with attacking(model):
        network = folded(model)
        for _, x, y in _batches(split, batch_size):
            found.append(_first_order(network, _ball(x, attack), y))
    margin, drop, norm = (torch.cat(parts).double().cpu().numpy() for parts in zip(*found, strict=True))
    labels = split.labels.cpu().numpy()
    samples = MarginSamples(labels, margin, drop)
    return Measured(samples, MarginSamples(labels, margin, attack.eps * norm), norm)


def _first_order(network: nn.Module, ball: Ball, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return margin, fall in the ball and dual norm of the gradient for each class, shape (n, C) each."""
    x = ball.x.clone().requires_grad_(True)
    logits = network(x)
    gradients = [torch.autograd.grad(one.sum(), x, retain_graph=True)[0] for one in logits.unbind(1)]
    stack = torch.stack(gradients, dim=1)  # (n, C, ...)
    own = stack[torch.arange(len(y), device=y.device), y]
    drops, norms = [], []
    for other in range(logits.shape[1]):
        slope = own - stack[:, other]
        worst = ball.extreme(-slope)
        drops.append((slope * (ball.x - worst)).flatten(1).sum(1))
        norms.append(slope.flatten(1).norm(p=1 if ball.norm == "linf" else 2, dim=1))
    margin = (logits.gather(1, y[:, None]) - logits).detach()
    return margin, torch.stack(drops, dim=1), torch.stack(norms, dim=1)


def predictions(
    model: nn.Module, split: Split, attack: Attack, *, seed: int, batch_size: int = 500
) -> tuple[Labels, Labels]:
    """Return the class each sample is given, and the one it is given under plain PGD.

    The starts and batches are those of `deep.evaluate.evaluate`. A sample that is wrong without an attack is
    not attacked and keeps its class.

    Args:
        model: returns logits.
        split: the samples.
        attack: PGD on the cross-entropy from one start.
        seed: seed of the random starts.
        batch_size: samples attacked at once.
    """
    clean, attacked = [], []
    with attacking(model):
        for part, x, y in _batches(split, batch_size):
            with torch.no_grad():
                given = model(x).argmax(1)
            right = given == y
            noise = Noise.of(seed, split.index[part])[right].fork(0)
            ball = _ball(x[right], attack)
            clean.append(given)
            attacked.append(given.clone())
            if right.any():
                adv = _attacked(model, ball, noise, attack, y[right], None)
                attacked[-1][right] = _logits(model, adv).argmax(1)
    natural, robust = (torch.cat(parts).cpu().numpy() for parts in (clean, attacked))
    return natural, robust


def losses(model: nn.Module, split: Split, attack: Attack, *, seed: int, batch_size: int = 500) -> Losses:
    """Count how many samples of each class lose to each other class, without and with an attack on that pair.

    Args:
        model: returns logits.
        split: the samples.
        attack: its radius, steps and norm are those of PGD towards each class.
        seed: seed of the random starts.
        batch_size: samples attacked at once.
    """
    lost: list[tuple[Tensor, Tensor]] = []
    with attacking(model):
        for part, x, y in _batches(split, batch_size):
            before = _lost(_logits(model, x), y)
            after = before.clone()
            noise = Noise.of(seed, split.index[part])
            for other in range(before.shape[1]):
                still = ~before[:, other] & (y != other)
                if not still.any():
                    continue
                ball = _ball(x[still], attack)
                start = noise[still].fork(other + 1)
                adv = _attacked(model, ball, start, attack, y[still], other)
                after[still, other] = _lost(_logits(model, adv), y[still])[:, other]
            lost.append((before, after))
    labels = split.labels.cpu()
    natural, robust = (torch.cat(parts).cpu() for parts in zip(*lost, strict=True))
    members = torch.nn.functional.one_hot(labels, natural.shape[1]).T

    def count(flags: Tensor) -> Labels:
        return (members @ flags.long()).numpy()

    return Losses(count(natural), count(robust), members.sum(1).numpy())


def _attacked(
    model: nn.Module, ball: Ball, noise: Noise, attack: Attack, y: Tensor, other: int | None
) -> Tensor:
    """Return PGD's last iterate, on the cross-entropy or towards a class."""
    objective = cross_entropy(y) if other is None else towards(y, torch.full_like(y, other))
    return pgd(model, ball, ball.uniform(noise), attack.step * ball.eps, attack.steps, objective)


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def _lost(logits: Tensor, y: Tensor) -> Tensor:
    """Return whether each sample loses to each class, ties included, bool of shape (n, C)."""
    own = y[:, None]
    return (logits >= logits.gather(1, own)).scatter(1, own, False)
