"""The last layer alone trained on adversarial examples, classes of equal weight: a rival of class offsets.

After a submission to OpenReview (https://openreview.net/forum?id=df4mr7eQg7, the abstract read), which tunes
the head of a robust network with its features fixed. It moves C times as many weights as offsets do, and the
margins of the attack before say nothing of the network after.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from deep.attacks.ball import Ball
from deep.attacks.noise import Noise
from deep.attacks.pgd import cross_entropy, pgd
from deep.data import Split
from deep.runs.reload import Run
from deep.stages.base import Stage, Staged, head_of
from deep.training.seeds import stream
from theory.common.digits import percent, rounded
from theory.common.fields import check_fields, setting
from theory.common.table import Table

__all__ = ["STAGE", "HeadTune", "tuned_head"]


class HeadTune(Stage):
    """The head after some epochs of adversarial training; features and their statistics stay."""

    @dataclass(frozen=True)
    class Params:
        """Settings."""

        epochs: int = setting(1, "passes over the training images", low=1, high=1000)
        lr: float = setting(0.01, "learning rate of SGD with momentum 0.9", low=0, high=100, strict=True)
        steps: int = setting(10, "steps of the training attack, of eps / 4", low=1, high=1000)
        batch_size: int = setting(128, "images a step", low=2, high=100_000)

        def __post_init__(self) -> None:
            """Check every value."""
            check_fields(self)

    def apply(self, run: Run, shards: Path, tick: Callable[[float], None]) -> Staged:
        """Return the network with its tuned head; nothing is chosen, so validation is not looked at."""
        settings, before = run.settings, head_of(run.model).weight.detach()
        seed = stream(settings.seed, "attack")
        model, losses = tuned_head(
            run.model, run.data.train, settings.train_radius, self.params, seed=seed, tick=tick
        )
        moved = (head_of(model).weight.detach() - before).norm(dim=1) / before.norm(dim=1)
        rows = [[c, percent(float(s))] for c, s in zip(run.data.classes, moved, strict=True)]
        note = f"in percent of the norm of the row; training loss by epoch: {', '.join(map(rounded, losses))}"
        table = Table("How far the rows of the head moved", ["class", "moved"], rows, note)
        return Staged(model, {"losses": losses}, table)


def tuned_head(
    model: nn.Module,
    split: Split,
    eps: float,
    params: "HeadTune.Params",
    *,
    seed: int,
    tick: Callable[[float], None] = lambda part: None,
) -> tuple[nn.Module, list[float]]:
    """Return a copy of a network whose head is trained on adversarial examples, and the loss of each epoch.

    A sample of class c has the weight n / (C n_c) in the cross-entropy, so that all classes weigh the same.

    Args:
        model: has a linear layer ``head`` that returns the logits.
        split: training images.
        eps: radius of the attack, PGD on the cross-entropy of the network as it is in that step.
        params: epochs, learning rate (falling to 0 by a cosine), steps of the attack, images a step.
        seed: of the order of the images and of the starts of the attack.
        tick: called with the share of the work that is done.

    Raises:
        InputError: the network has no such layer.
    """
    tuned = copy.deepcopy(model).eval().requires_grad_(False)
    head, n = head_of(tuned).requires_grad_(True), len(split)
    counts = torch.bincount(split.labels, minlength=head.out_features)
    weights = (n / counts.clamp(min=1) / (counts > 0).sum()).to(head.weight)
    batches = -(-n // params.batch_size)
    optimizer = torch.optim.SGD(head.parameters(), lr=params.lr, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, params.epochs * batches)
    order, losses = torch.Generator().manual_seed(seed), []
    for epoch in range(params.epochs):
        noise, summed = Noise.of(seed, split.index).fork(epoch), 0.0
        places = torch.randperm(n, generator=order).to(split.labels.device)
        for i, chosen in enumerate(places.split(params.batch_size)):
            x, y = split.inputs(chosen), split.labels[chosen]
            ball = Ball(x, torch.full(y.shape, eps, dtype=x.dtype, device=x.device))
            start = ball.uniform(noise[chosen])
            adv = pgd(tuned, ball, start, ball.eps / 4, params.steps, cross_entropy(y))
            optimizer.zero_grad()
            loss = (weights[y] * F.cross_entropy(tuned(adv), y, reduction="none")).mean()
            loss.backward()
            optimizer.step()
            schedule.step()
            summed += float(loss.detach()) * len(chosen)
            tick((epoch + (i + 1) / batches) / params.epochs)
        losses.append(summed / n)
    return tuned.requires_grad_(True), losses


STAGE = HeadTune
