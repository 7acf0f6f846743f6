"""Linear networks, for which the worst case in a ball is known exactly: the ground truth of every attack."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import UNIT, Ball, Bounds, Norm
from deep.attacks.noise import Noise

__all__ = ["Exact", "Linear", "worst_margins"]


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
    """Return the exact minimum over each ball of the label's logit minus the largest other, shape (n,)."""
    return _worst(model, ball, y)[0]


def _worst(model: Linear, ball: Ball, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the exact worst margin of each ball, the wrong class that it is to, and where it is.

    For each other class j the difference is linear, with gradient W_y - W_j, and the minimum over a ball cut
    by bounds has a closed form (`Ball.extreme`); the smallest over j is the answer. Computed in float64.
    """
    weight, bias = model.weight.detach().double(), model.bias.detach().double()
    wide = Ball(ball.x.double(), ball.eps.double(), ball.norm, ball.bounds)
    margins = wide.x.new_full((len(y),), torch.inf)
    classes, points = y.clone(), wide.x.clone()
    for j in range(len(bias)):
        descent = weight[j] - weight[y]
        at = wide.extreme(descent.view_as(wide.x))
        value = bias[y] - bias[j] - (descent * at.flatten(1)).sum(1)
        lower = (y != j) & (value < margins)
        margins[lower], classes[lower], points[lower] = value[lower], j, at[lower]
    return margins, classes, points


@dataclass(frozen=True)
class Exact:
    """The exact worst case of a linear network, as an attack: it breaks what any attack can.

    A worst margin of exactly 0 is a tie, which counts as broken.

    Args:
        eps: radius.
        eps_text: the same as it was given.
        norm: linf, l2 or l1.
        bounds: of the data, None where there are none.
    """

    eps: float
    eps_text: str
    norm: Norm = "linf"
    bounds: Bounds = UNIT

    @property
    def name(self) -> str:
        """Return the full setting in words."""
        norm = {"linf": "l-infinity", "l2": "l2", "l1": "l1"}[self.norm]
        return f"exact worst case of a linear model, {norm}, eps={self.eps_text}"

    def answers(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise) -> Tensor:
        """Return the class that each sample is given at the worst point of its ball."""
        return self.examples(model, x, y, clean, noise)[1]

    def examples(
        self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Return the worst points, shape (n, ...), and the class that each is given.

        Raises:
            TypeError: the model is not a `Linear`.
        """
        if not isinstance(model, Linear):
            raise TypeError(f"the exact worst case needs a linear model, got {type(model).__name__}")
        ball = Ball(x, torch.full_like(y, self.eps, dtype=torch.float64), self.norm, self.bounds)
        margins, classes, points = _worst(model, ball, y)
        return points.to(x.dtype), torch.where(margins > 0, y, classes)
