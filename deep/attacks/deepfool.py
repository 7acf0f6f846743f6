"""How far each sample is from being classified wrong: an upper bound, by DeepFool within bounds."""

import torch
from torch import Tensor, nn

from deep.attacks.ball import UNIT, Bounds, Norm, each, water_filling_threshold
from deep.attacks.pgd import attacking, gradient_of, predicted

__all__ = ["minimal_distance"]


def minimal_distance(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm = "linf",
    bounds: Bounds = UNIT,
    steps: int = 50,
    candidates: int = 10,
    overshoot: float = 1e-3,
) -> Tensor:
    """Return the distance of each sample to a point nearby that is classified wrong, shape (n,).

    Moosavi-Dezfooli et al. (2016), "DeepFool": linearise the network, go to the nearest of its linear
    boundaries, and repeat. Here the nearest point within the bounds is exact for the linearised network, and
    the segment back to the sample is bisected in the end. For a linear network the distance is exact but for
    the first overshoot.

    Args:
        model: returns logits.
        x: samples within the bounds, shape (n, ...).
        y: labels, shape (n,).
        norm: linf or l2.
        bounds: of the data, None where there are none.
        steps: linearisations at most.
        candidates: classes with the largest logits, the label aside, whose boundaries are tried.
        overshoot: share of the difference of logits that the first step goes beyond the linearised boundary;
            it doubles at each step, up to 1.

    Returns:
        0 where the sample is wrong itself, inf where no wrong point was found.

    Raises:
        InputError: the logits have no gradient towards the inputs.
    """
    at = x.clone()
    with attacking(model):
        for step in range(steps):
            beyond = 1 + min(1.0, overshoot * 2.0**step)
            move, right = _to_boundary(model, at, y, norm, bounds, candidates, beyond)
            if not right.any():
                break
            moved = at + move
            moved = moved if bounds is None else moved.clamp(*bounds)
            at = torch.where(each(right, x), moved, at)
        return _bisected(model, x, y, at, norm)


def _to_boundary(
    model: nn.Module,
    at: Tensor,
    y: Tensor,
    norm: Norm,
    bounds: Bounds,
    candidates: int,
    beyond: float,
) -> tuple[Tensor, Tensor]:
    """Return the shortest move across a linearised boundary, and which samples are still right."""
    at = at.detach().requires_grad_(True)
    logits = model(at)
    wrong = logits.detach().scatter(1, y[:, None], -torch.inf)
    others = wrong.topk(min(candidates, logits.shape[1] - 1)).indices
    best = torch.full(y.shape, torch.inf, dtype=at.dtype, device=at.device)
    move = torch.zeros_like(at)
    for k in range(others.shape[1]):
        lead = (logits.gather(1, y[:, None]) - logits.gather(1, others[:, k : k + 1])).squeeze(1)
        gradient = gradient_of(lead.sum(), at, keep=True)
        shift = _shortest(
            -gradient.flatten(1), beyond * lead.detach().clamp(min=0), at.detach(), norm, bounds
        )
        length = _length(shift, norm)
        closer = length < best
        best = torch.where(closer, length, best)
        move = torch.where(each(closer, at), shift.view_as(at), move)
    return move, predicted(logits.detach()) == y


def _shortest(gradient: Tensor, rise: Tensor, at: Tensor, norm: Norm, bounds: Bounds) -> Tensor:
    """Return the shortest shift within the bounds with gradient . shift = rise, shape (n, d); nan if none."""
    size, flat = gradient.abs(), at.flatten(1)
    room = torch.full_like(flat, torch.inf)
    if bounds is not None:
        room = torch.where(gradient > 0, bounds[1] - flat, flat - bounds[0])
    slope = (size > 0).to(size.dtype) if norm == "linf" else size
    level = water_filling_threshold(size, slope, room, rise)
    shift = torch.minimum(level[:, None] * slope, room) * gradient.sign()
    return torch.where(level.isfinite()[:, None], shift, torch.nan)


def _length(shift: Tensor, norm: Norm) -> Tensor:
    flat = shift.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def _bisected(model: nn.Module, x: Tensor, y: Tensor, at: Tensor, norm: Norm, rounds: int = 20) -> Tensor:
    """Return the distance to the wrong point on the segment from x to ``at`` that is nearest to x."""

    def wrong(share: Tensor) -> Tensor:
        with torch.no_grad():
            return predicted(model(x + each(share, x) * (at - x))) != y

    high = torch.ones_like(at.flatten(1)[:, 0])
    low, found, at_once = torch.zeros_like(high), wrong(high), wrong(torch.zeros_like(high))
    for _ in range(rounds):
        middle = (low + high) / 2
        over = wrong(middle)
        high, low = torch.where(over, middle, high), torch.where(over, low, middle)
    distance = torch.where(found, high * _length(at - x, norm), torch.inf)
    return torch.where(at_once, 0, distance)
