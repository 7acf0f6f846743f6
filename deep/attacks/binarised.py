"""The binarisation test: can an attack find an adversarial example that is known to be there?"""

import torch
from torch import Tensor, nn

from deep.attacks.ball import Ball, each
from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking, cross_entropy, pgd, predicted

__all__ = ["Planted", "plant", "readable"]


class Planted(nn.Module):
    """A network's features with a readout of its own for each sample: class 1 holds a point of its ball.

    Args:
        model: the network.
        head: its last layer, which is replaced.
        weight: readout of each sample, shape (n, features).
        threshold: value above which the readout says class 1, shape (n,).
    """

    def __init__(self, model: nn.Module, head: nn.Linear, weight: Tensor, threshold: Tensor) -> None:
        """Keep the parts."""
        super().__init__()
        self.model, self.head, self.weight, self.threshold = model, head, weight, threshold

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of the two classes, shape (n, 2), of one input for each of the n samples."""
        score = (features(self.model, self.head, x) * self.weight).sum(1) - self.threshold
        return torch.stack([-score, score], dim=1)

    def found(self, ball: Ball, step: Tensor, steps: int, noise: Noise) -> Tensor:
        """Return for which samples PGD on the cross-entropy finds class 1, bool of shape (n,)."""
        inner = torch.zeros(len(ball.x), dtype=torch.int64, device=ball.x.device)
        adv = pgd(self, ball, ball.uniform(noise), step, steps, cross_entropy(inner))
        with attacking(self), torch.no_grad():
            return predicted(self(adv)) == 1


def last_layer(model: nn.Module) -> nn.Linear:
    """Return the last linear layer of a network.

    Raises:
        ValueError: it has none.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError("the network has no linear layer")
    return layers[-1]


def readable(model: nn.Module, x: Tensor) -> bool:
    """Return whether the features before the last linear layer can be read, one vector for each sample."""
    if not any(isinstance(module, nn.Linear) for module in model.modules()):
        return False
    head, seen = last_layer(model), []
    with attacking(model), torch.no_grad():
        handle = head.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
        try:
            logits = model(x)
        finally:
            handle.remove()
    return len(seen) == 1 and seen[0][0].dim() == 2 and torch.equal(seen[0][1].to(logits.dtype), logits)


def features(model: nn.Module, head: nn.Linear, x: Tensor) -> Tensor:
    """Return what goes into the layer ``head``, shape (n, features)."""
    seen: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        model(x)
    finally:
        handle.remove()
    return seen[0]


def plant(model: nn.Module, ball: Ball, noise: Noise, points: int = 100) -> tuple[Planted, Tensor]:
    """Return a network of two classes for each sample, and which samples have a solution.

    After Zimmermann et al. (2022), "Increasing Confidence in Adversarial Robustness Evaluations". Class 0 are
    the sample and uniform points within half its radius, class 1 is a random corner of the whole ball. The
    readout is the regularised discriminant of their features, with the threshold half way between the
    corner and the nearest point of class 0: the corner is an adversarial example by construction. A sample
    has no solution if the features do not separate the two.

    Args:
        model: the network, with a linear last layer.
        ball: around the samples.
        noise: random numbers of the samples.
        points: points of class 0.
    """
    head, small = last_layer(model), Ball(ball.x, ball.eps / 2, ball.norm, ball.bounds)
    direction = noise.fork(points).uniform(ball.x.shape[1:]) - 0.5
    corner = ball.project(ball.x + 2 * each(ball.eps, ball.x) * direction.sign())
    with attacking(model), torch.no_grad():
        inner = [features(model, head, small.uniform(noise.fork(i))) for i in range(points)]
        inside = torch.stack([features(model, head, ball.x), *inner], dim=1).double()  # (n, points + 1, f)
        outside = features(model, head, corner).double()
    centre = inside.mean(1, keepdim=True)
    spread = (inside - centre).transpose(1, 2) @ (inside - centre) / points  # (n, f, f)
    ridge = 0.01 * spread.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    eye = torch.eye(spread.shape[1], dtype=spread.dtype, device=spread.device)
    weight = torch.linalg.solve(spread + ridge[:, None, None] * eye, outside - centre.squeeze(1))
    nearest, planted = (inside @ weight[:, :, None]).squeeze(2).amax(1), (outside * weight).sum(1)
    gap = planted - nearest
    scale = gap.clamp(min=1e-12)
    readout, threshold = weight / scale[:, None], (planted + nearest) / 2 / scale
    dtype = ball.x.dtype
    return Planted(model, head, readout.to(dtype), threshold.to(dtype)), gap > 1e-6 * planted.abs()
