"""The pairwise margins of a network, what an adversary takes of them, and what it is confused with."""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deep.attacks.ball import Ball
from deep.attacks.evaluate import Attack
from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking, cross_entropy, gradient_of, pgd, predicted, targeted_margin
from deep.data import Split
from deep.nets.folded import folded
from theory.common.inputs import InputError
from theory.networks.margin_model import MarginSamples

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
    batches: list[tuple[Tensor, ...]] = []
    with attacking(model):
        network = folded(model)
        for _, x, y in _batches(split, batch_size):
            batches.append(_first_order(network, _ball(x, attack), y))
    margin, drop, norm = (torch.cat(parts).double().cpu().numpy() for parts in zip(*batches, strict=True))
    labels = split.labels.cpu().numpy()
    samples = MarginSamples(labels, margin, drop)
    return Measured(samples, MarginSamples(labels, margin, attack.eps * norm), norm)


def _first_order(network: nn.Module, ball: Ball, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return margin, fall in the ball and dual norm of the gradient for each class, shape (n, C) each."""
    x = ball.x.clone().requires_grad_(True)
    logits = network(x)
    gradients = [gradient_of(logit.sum(), x, keep=True) for logit in logits.unbind(1)]
    stack = torch.stack(gradients, dim=1)  # (n, C, ...)
    label_gradient = stack[torch.arange(len(y), device=y.device), y]
    drops, norms = [], []
    for other in range(logits.shape[1]):
        slope = label_gradient - stack[:, other]
        worst = ball.extreme(-slope)
        drops.append((slope * (ball.x - worst)).flatten(1).sum(1))
        norms.append(slope.flatten(1).norm(p=1 if ball.norm == "linf" else 2, dim=1))
    margin = (logits.gather(1, y[:, None]) - logits).detach()
    return margin, torch.stack(drops, dim=1), torch.stack(norms, dim=1)


def predictions(
    model: nn.Module, split: Split, attack: Attack, *, seed: int, batch_size: int = 500
) -> tuple[Labels, Labels]:
    """Return the class each sample is given, and the one it is given under plain PGD.

    The starts and batches are those of `deep.attacks.evaluate.evaluate`. A sample that is wrong without an
    attack is not attacked and keeps its class.

    Args:
        model: returns logits.
        split: the samples.
        attack: PGD on the cross-entropy from one start.
        seed: seed of the random starts.
        batch_size: samples attacked at once.

    Raises:
        InputError: a logit is not finite.
    """
    clean, attacked = [], []
    with attacking(model):
        for part, x, y in _batches(split, batch_size):
            answers = predicted(_logits(model, x))
            right = answers == y
            noise = Noise.of(seed, split.index[part])[right].fork(0)
            ball = _ball(x[right], attack)
            clean.append(answers)
            attacked.append(answers.clone())
            if right.any():
                start, step = ball.uniform(noise), attack.step * ball.eps
                adv = pgd(model, ball, start, step, attack.steps, cross_entropy(y[right]))
                attacked[-1][right] = predicted(_logits(model, adv))
    natural, robust = (torch.cat(parts).cpu().numpy() for parts in (clean, attacked))
    return natural, robust


def losses(
    model: nn.Module, split: Split, attack: Attack, *, seed: int, batch_size: int = 500, title: str = "pairs"
) -> Losses:
    """Count how many samples of each class lose to each other class, without and with an attack on that pair.

    Args:
        model: returns logits.
        split: the samples.
        attack: its radius, steps and norm are those of PGD towards each class, which ends for a sample that
            has lost after a quarter, a half or three quarters of them.
        seed: seed of the random starts.
        batch_size: samples attacked at once.
        title: of the progress bar.

    Raises:
        InputError: a logit is not finite.
    """
    batches = list(_batches(split, batch_size))
    with attacking(model):
        natural = torch.cat([_lost(_logits(model, x), y) for _, x, y in batches])
        robust, size = natural.clone(), natural.shape[1]
        for other in tqdm(range(size), desc=title, unit="class", leave=False, file=sys.stderr):
            for part, x, y in batches:
                still = (~natural[part, other] & (y != other)).nonzero().squeeze(1)
                noise = Noise.of(seed, split.index[part])[still].fork(other + 1)
                fallen = _fallen(model, _ball(x[still], attack), noise, attack, y[still], other)
                robust[part.start + still, other] = fallen
    members = torch.nn.functional.one_hot(split.labels.cpu(), size).T
    counts = [(members @ flags.long().cpu()).numpy() for flags in (natural, robust)]
    return Losses(*counts, members.sum(1).numpy())


def _fallen(model: nn.Module, ball: Ball, noise: Noise, attack: Attack, y: Tensor, other: int) -> Tensor:
    """Return whether PGD towards a class makes each sample lose to it, bool of shape (n,)."""
    adv, fallen = ball.uniform(noise), torch.zeros_like(y, dtype=torch.bool)
    quarter = -(-attack.steps // 4)
    for done in range(0, attack.steps, quarter):
        still = (~fallen).nonzero().squeeze(1)
        if len(still) == 0:
            break
        towards_it = targeted_margin(y[still], torch.full_like(y[still], other))
        steps = min(quarter, attack.steps - done)
        adv[still] = pgd(model, ball[still], adv[still], attack.step * ball.eps[still], steps, towards_it)
        fallen[still] = _lost(_logits(model, adv[still]), y[still])[:, other]
    return fallen


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(x)
    if not logits.isfinite().all():
        raise InputError("the network has logits that are not finite, and so no margins")
    return logits


def _lost(logits: Tensor, y: Tensor) -> Tensor:
    """Return whether each sample loses to each class, ties included, bool of shape (n, C)."""
    labels = y[:, None]
    return (logits >= logits.gather(1, labels)).scatter(1, labels, False)
