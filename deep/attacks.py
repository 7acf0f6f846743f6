"""Projected gradient ascent in an l-infinity ball, with a radius and a step for every sample."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["attacking", "cross_entropy", "kl_from", "near_start", "pgd", "uniform_start"]

Objective = Callable[[Tensor], Tensor]
"""From logits at the attacked inputs, shape (n, classes), to what the attack increases, a scalar."""


@contextmanager
def attacking(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode with its parameters frozen; restore every module's own mode after."""
    modes = [(module, module.training) for module in model.modules()]
    frozen = [(p, p.requires_grad) for p in model.parameters()]
    model.eval()
    try:
        for p, _ in frozen:
            p.requires_grad_(False)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for p, flag in frozen:
            p.requires_grad_(flag)


def pgd(
    model: nn.Module, x: Tensor, start: Tensor, eps: Tensor, step: Tensor, steps: int, objective: Objective
) -> Tensor:
    """Return attacked inputs: ``steps`` of sign ascent, each projected to the ball and to [0, 1].

    Madry et al. (2018). Batch norm uses its running statistics and no parameter gets a gradient.

    Args:
        model: returns logits.
        x: inputs in [0, 1], shape (n, c, h, w).
        start: where the attack starts, same shape; it is projected first.
        eps: l-infinity radius of each sample, shape (n,).
        step: step of each sample, shape (n,).
        steps: number of steps.
        objective: what to increase.
    """
    eps, step = (v.view(-1, 1, 1, 1) for v in (eps, step))
    low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
    adv = torch.clamp(start, low, high)
    with attacking(model):
        for _ in range(steps):
            adv.requires_grad_(True)
            (gradient,) = torch.autograd.grad(objective(model(adv)), adv)
            adv = torch.clamp(adv.detach() + step * gradient.sign(), low, high)
    return adv.detach()


def uniform_start(x: Tensor, eps: Tensor, generator: torch.Generator) -> Tensor:
    """Return a uniform point of each sample's ball (Madry et al., 2018)."""
    noise = torch.rand(x.shape, generator=generator, device=x.device)
    return x + eps.view(-1, 1, 1, 1) * (2 * noise - 1)


def near_start(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return x with Gaussian noise of 0.001, off the point where the KL gradient is zero (TRADES)."""
    return x + 0.001 * torch.randn(x.shape, generator=generator, device=x.device)


def cross_entropy(y: Tensor) -> Objective:
    """Return the summed cross-entropy to the labels y, shape (n,)."""
    return lambda logits: F.cross_entropy(logits, y, reduction="sum")


def kl_from(clean_logits: Tensor) -> Objective:
    """Return the summed KL(p(x) || p(x')) from the clean logits, shape (n, classes), held fixed."""
    log_p = F.log_softmax(clean_logits.detach(), dim=1)
    return lambda logits: F.kl_div(F.log_softmax(logits, dim=1), log_p, reduction="sum", log_target=True)
