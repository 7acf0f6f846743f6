"""Projected gradient ascent in a ball, with a radius and a step for every sample, and what it ascends."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball, each
from deep.attacks.noise import Noise
from deep.nets.folded import folded
from theory.common.inputs import InputError

__all__ = [
    "BATCH_NORM",
    "TRAIN_ATTACKS",
    "BatchNorm",
    "Objective",
    "TrainAttack",
    "attacking",
    "cross_entropy",
    "gradient_of",
    "kl_from",
    "margin",
    "perturbed_start",
    "pgd",
    "predicted",
    "targeted_margin",
    "without_gradient",
]

Objective = Callable[[Tensor], Tensor]
"""From logits at the attacked inputs, shape (n, classes), to what the attack increases, a scalar."""
BatchNorm = Literal["eval", "train"]
"""What batch norm normalises by while an attack is made: its running statistics or those of the batch."""
BATCH_NORM: tuple[BatchNorm, ...] = get_args(BatchNorm)


@dataclass(frozen=True)
class TrainAttack:
    """How training examples are made: gradient ascent in units of each sample's radius.

    Args:
        steps: number of steps.
        step_size: size of a step.
        noise: half width of the uniform noise that it starts from; None is the start of the method.
        reach: radius of the ball to which every step is projected; inf is no projection but to [0, 1].
    """

    steps: int
    step_size: float
    noise: float | None = None
    reach: float = 1.0


TRAIN_ATTACKS: Mapping[str, TrainAttack] = {
    "pgd": TrainAttack(10, 0.25),
    "fgsm-rs": TrainAttack(1, 1.25, noise=1.0),  # Wong, Rice and Kolter, ICLR 2020
    "nfgsm": TrainAttack(1, 1.0, noise=2.0, reach=math.inf),  # de Jorge et al., NeurIPS 2022
    "free": TrainAttack(1, 1.0),  # Shafahi et al., NeurIPS 2019: see `deep.attacks.free`
}
"""The training attacks by name, with what they are unless told otherwise."""


@contextmanager
def attacking(model: nn.Module, batch_norm: BatchNorm = "eval") -> Iterator[None]:
    """Put the model in evaluation mode with its parameters frozen; restore every module's own mode after.

    With batch norm in "train", running statistics are hidden: those of the batch are used, and nothing is
    updated.
    """
    modes = [(module, module.training) for module in model.modules()]
    frozen = [(p, p.requires_grad) for p in model.parameters()]
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    hidden = [(m, m.running_mean, m.running_var) for m in norms if batch_norm == "train"]
    model.eval()
    try:
        for p, _ in frozen:
            p.requires_grad_(False)
        for norm, _, _ in hidden:
            norm.running_mean = norm.running_var = None
        yield
    finally:
        for norm, mean, variance in hidden:
            norm.running_mean, norm.running_var = mean, variance
        for module, mode in modes:
            module.training = mode
        for p, flag in frozen:
            p.requires_grad_(flag)


def predicted(logits: Tensor) -> Tensor:
    """Return the class with the largest logit, shape (n,); -1, which is no class, where one is not finite.

    The only way from logits to a class: argmax takes NaN for the largest number.
    """
    return torch.where(logits.isfinite().all(1), logits.argmax(1), -1)


def gradient_of(value: Tensor, x: Tensor, *, keep: bool = False) -> Tensor:
    """Return the gradient of a scalar towards inputs, shape (n, ...).

    Args:
        value: what the network makes of the inputs.
        x: the inputs.
        keep: whether the graph is used again.

    Raises:
        InputError: the value does not depend on the inputs by operations that have a gradient.
    """
    grads = torch.autograd.grad(value, x, retain_graph=keep, allow_unused=True) if value.requires_grad else ()
    for grad in grads:
        if grad is not None:
            return grad
    raise InputError(
        "the logits of the network have no gradient towards its inputs (detached, rounded to integers, or "
        "computed without autograd), so attacks by gradients mean nothing; black-box attacks remain: square "
        "and random_points of deep.attacks.blackbox"
    )


def without_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return at which samples the cross-entropy has a gradient that no attack can follow, bool of shape (n,).

    It is exactly 0, as behind a quantised input or where the softmax is saturated, or not finite.
    """
    with attacking(model), torch.enable_grad():
        at = x.detach().requires_grad_(True)
        size = gradient_of(cross_entropy(y)(folded(model)(at)), at).flatten(1).abs().amax(1)
    return (size == 0) | ~size.isfinite()


def pgd(
    model: nn.Module,
    ball: Ball,
    start: Tensor,
    step: Tensor,
    steps: int,
    objective: Objective,
    *,
    batch_norm: BatchNorm = "eval",
    stop: Tensor | None = None,
) -> Tensor:
    """Return attacked inputs: ``steps`` of steepest ascent, each projected to the ball (Madry et al., 2018).

    No parameter gets a gradient, no statistic and no mode of the model is changed. A pixel whose gradient is
    not a number stays where it is, so that every iterate is finite.

    Args:
        model: returns logits.
        ball: where the attack may go, n samples.
        start: where it starts, same shape as the samples; it is projected first.
        step: step of each sample, in the norm of the ball, shape (n,).
        steps: number of steps.
        objective: what to increase.
        batch_norm: see `BatchNorm`.
        stop: labels, shape (n,): a sample stays where the network first gets it wrong; if None, the last
            iterate is returned whatever it does.

    Raises:
        InputError: the logits have no gradient towards the inputs.
    """
    adv = ball.project(start)
    with attacking(model, batch_norm):
        network = folded(model)
        for _ in range(steps):
            adv.requires_grad_(True)
            logits = network(adv)
            gradient = gradient_of(objective(logits), adv).nan_to_num(0.0)
            adv, before = ball.ascend(adv.detach(), gradient, step), adv.detach()
            if stop is not None:
                adv = torch.where(each(predicted(logits.detach()) != stop, adv), before, adv)
    return adv.detach()


def perturbed_start(x: Tensor, noise: Noise) -> Tensor:
    """Return x with Gaussian noise of 0.001, off the point where the KL gradient is zero (TRADES)."""
    return x + 0.001 * noise.normal(x.shape[1:])


def cross_entropy(y: Tensor) -> Objective:
    """Return the summed cross-entropy to the labels y, shape (n,)."""
    return lambda logits: F.cross_entropy(logits, y, reduction="sum")


def kl_from(clean_logits: Tensor) -> Objective:
    """Return the summed KL(p(x) || p(x')) from the clean logits, shape (n, classes), held fixed."""
    log_p = F.log_softmax(clean_logits.detach(), dim=1)
    return lambda logits: F.kl_div(F.log_softmax(logits, dim=1), log_p, reduction="sum", log_target=True)


def margin(y: Tensor) -> Objective:
    """Return the summed largest wrong logit minus the logit of the label y, shape (n,)."""
    column = y[:, None]

    def objective(logits: Tensor) -> Tensor:
        wrong = logits.scatter(1, column, -torch.inf).amax(1)
        return (wrong - logits.gather(1, column).squeeze(1)).sum()

    return objective


def targeted_margin(y: Tensor, target: Tensor) -> Objective:
    """Return the summed logit of a target class minus that of the label y, shape (n,) each."""
    return lambda logits: (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None])).sum()
