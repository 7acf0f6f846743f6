"""Linear networks, for which the worst case in a ball is known exactly: the ground truth of every attack."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball

__all__ = ["Linear", "worst_margins"]


class Linear(nn.Module):
    """Logits W x + b of flattened inputs.

    Args:
        weight: W, shape (classes, d).
        bias: b, shape (classes,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Keep the parameters."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, classes)."""
        return F.linear(x.flatten(1), self.weight, self.bias)

    @classmethod
    def fit(cls, x: Tensor, y: Tensor, classes: int, penalty: float = 1e-3) -> "Linear":
        """Return multinomial logistic regression with an l2 penalty, by L-BFGS in float64 from 0."""
        x = x.flatten(1).double()
        model = cls(*(x.new_zeros(shape) for shape in ((classes, x.shape[1]), (classes,))))
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y) + penalty * model.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        model.zero_grad(set_to_none=True)
        return model


def worst_margins(model: Linear, ball: Ball, y: Tensor) -> Tensor:
    """Return the exact minimum over each ball of the label's logit minus the largest other, shape (n,).

    For each other class j the difference is linear, with gradient W_y - W_j, and the minimum over a ball cut
    by bounds has a closed form (`Ball.extreme`); the smallest over j is the answer. Computed in float64.
    """
    weight, bias = model.weight.detach().double(), model.bias.detach().double()
    wide = Ball(ball.x.double(), ball.eps.double(), ball.norm, ball.bounds)
    margins = ball.x.new_full((len(y), len(bias)), torch.inf, dtype=torch.float64)
    for j in range(len(bias)):
        other = y != j
        descent = weight[j] - weight[y]
        at = wide.extreme(descent.view_as(wide.x)).flatten(1)
        value = bias[y] - bias[j] - (descent * at).sum(1)
        margins[:, j] = torch.where(other, value, torch.inf)
    return margins.amin(1)
