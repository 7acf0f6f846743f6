"""Attacks that see logits and no gradient: what a white-box attack must not lose to."""

import math

import torch
from torch import Tensor, nn

from deep.attacks.ball import Ball
from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking, predicted

__all__ = ["random_points", "square"]

HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the squares' area is halved (Andriushchenko et al., 2020, section 5)."""


def _lead(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the label's logit minus the largest other, shape (n,): negative is wrong."""
    logits, column = model(x), y[:, None]
    lead = logits.gather(1, column).squeeze(1) - logits.scatter(1, column, -torch.inf).amax(1)
    wrong = lead.nan_to_num(nan=-torch.inf).clamp(max=-1e-30)  # logits that are not finite: nothing is better
    return torch.where(predicted(logits) == y, lead.clamp(min=0), wrong)


def square(model: nn.Module, ball: Ball, y: Tensor, noise: Noise, queries: int, area: float = 0.8) -> Tensor:
    """Return whether each image withstands random search by squares, bool of shape (n,).

    Andriushchenko et al. (2020), "Square Attack": start from random vertical stripes at the edge of the ball;
    move a random square of every channel to the edge, and keep that if the margin falls. In l2, where the
    paper moves mass between squares, the same proposals are projected to the ball.

    Args:
        model: returns logits.
        ball: around images of shape (n, c, h, w).
        y: labels, shape (n,).
        noise: random numbers of the samples.
        queries: proposals.
        area: share of the image in the first squares.
    """
    n, c, h, w = ball.x.shape
    edge = 2 * ball.eps.view(-1, 1, 1, 1)
    rows, columns = torch.arange(h, device=y.device)[:, None], torch.arange(w, device=y.device)
    with attacking(model), torch.no_grad():
        adv = ball.project(ball.x + edge * (noise.uniform((c, 1, w)) - 0.5).sign())
        best = _lead(model, adv, y)
        for query in range(queries):
            share = area / 2 ** sum(query >= halving * queries for halving in HALVINGS)
            side = min(max(1, round(math.sqrt(share * h * w))), h, w)
            place = noise.fork(query + 1).uniform((2 + c,))
            top = (place[:, 0] * (h - side + 1)).long().view(-1, 1, 1, 1)
            left = (place[:, 1] * (w - side + 1)).long().view(-1, 1, 1, 1)
            inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
            sign = (place[:, 2:] - 0.5).sign().view(n, c, 1, 1)
            proposal = ball.project(torch.where(inside, adv + edge * sign, adv))
            lead = _lead(model, proposal, y)
            better = lead < best
            adv = torch.where(better.view(-1, 1, 1, 1), proposal, adv)
            best = torch.where(better, lead, best)
    return best >= 0


def random_points(model: nn.Module, ball: Ball, y: Tensor, noise: Noise, points: int) -> Tensor:
    """Return whether each sample withstands uniform points of its ball, bool of shape (n,)."""
    ok = torch.ones_like(y, dtype=torch.bool)
    with attacking(model), torch.no_grad():
        for point in range(points):
            ok &= predicted(model(ball.uniform(noise.fork(point)))) == y
    return ok
