"""FAAL: Zhang et al., "Towards Fairness-Aware Adversarial Learning", CVPR 2024.

https://arxiv.org/abs/2402.17729:

min over theta of max over w of sum_c w_c L_c, the weights w of the classes in a ball around the uniform ones
u: KL(u || w) <= radius. In each batch the worst weights for the margins m_c of the classes, means of
max_{k != y} p_k(x') - p_y(x'), weigh the base losses, PGD or TRADES.

No solver is needed: w_c is proportional to 1 / (nu - m_c), where nu is larger than every m_c and such that
KL(u || w) = radius. Weights stay the same when all margins are shifted or scaled: small differences count as
much as large ones.

Deviations from the official code (TrustAI/FAAL):

- the ball is over the classes in the batch, and the margin of each counts once. There it is multiplied by the
  number of its samples: a class that is not in the batch has 0, more than every class that is mostly right,
  and the largest weight goes to what is not there. ``--literal`` does that;
- a conic solver finds the weights there, for every batch anew;
- there a robust network is fine-tuned for two epochs at learning rates .01 and .001. Here its base trains the
  warm-up in the same run, as that of FRL, so that a run costs what its rivals cost; --init RUN
  --hot-share 0 --epochs 2 --lr 0.01 is closest to what they do;
- there the checkpoint is chosen on test images.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional as F

from deep.methods.base import Context, Epoch
from deep.methods.based import Based, warm_up_epochs
from deep.methods.batchwise import Batchwise
from theory.common.inputs import InputError, check_real

__all__ = ["FAAL", "METHOD", "kl_ball_weights", "probability_margins"]


def kl_ball_weights(losses: Tensor, radius: float, centre: Tensor | None = None) -> Tensor:
    """Return the w that maximises sum_c w_c losses_c under KL(u || w) <= radius, shape (C,).

    With t = (nu - max) / (max - min) and gap_c = (max - losses_c) / (max - min) it is proportional to
    u_c / (t + gap_c). The root is found in ln t, between (ln u_c - radius) / u_c for the smallest u_c, where
    the divergence is at least the radius, and -ln radius, where it is at most that.

    Args:
        losses: shape (C,). Where all are equal, or one is not finite, the weights are those of the centre.
        radius: of the ball, >= 0.
        centre: u, > 0 and of sum 1, shape (C,); 1 / C each if None.
    """
    losses = 1.0 * losses.detach()
    values = losses.cpu().double().numpy()
    classes, largest, spread = len(values), values.max(), np.ptp(values)
    u = np.full(classes, 1 / classes) if centre is None else centre.detach().cpu().double().numpy()
    if radius == 0 or not 0 < spread < math.inf:
        return torch.full_like(losses, 1 / classes) if centre is None else centre.detach().to(losses)
    with np.errstate(divide="ignore"):
        log_gap = np.log((largest - values) / spread)

    def log_ratio(log_t: float) -> np.ndarray:
        """Return ln(w_c / u_c)."""
        raw = -np.logaddexp(log_t, log_gap)
        return raw - np.logaddexp.reduce(raw + np.log(u))

    def excess(log_t: float) -> float:
        """Return KL(u || w) - radius; the sum of w_c - u_c is 0 and keeps a small divergence accurate."""
        ratio = log_ratio(log_t)
        return float(u @ (np.expm1(ratio) - ratio)) - radius

    smallest = u.min()
    low = (math.log(smallest) - radius) / smallest - 1
    root = brentq(excess, low, 1 - math.log(radius), maxiter=10_000)
    return torch.from_numpy(u * np.exp(log_ratio(root))).to(losses)


def probability_margins(logits: Tensor, y: Tensor) -> Tensor:
    """Return max_{k != y} p_k - p_y of each sample, shape (n,), from logits of shape (n, classes)."""
    p, column = F.softmax(logits, dim=1), y[:, None]
    return p.scatter(1, column, -1.0).amax(1) - p.gather(1, column).squeeze(1)


class FAAL(Batchwise):
    """Fairness-aware adversarial learning."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        radius: float = field(default=0.5, metadata={"help": "largest KL(uniform || weights)"})
        hot_share: float = field(
            default=0.5, metadata={"help": "share of the epochs that train the warm-up, the base"}
        )
        literal: bool = field(
            default=False, metadata={"help": "multiply margins by class counts, as in the authors' code"}
        )

        def __post_init__(self) -> None:
            """Refuse negative weights and radii."""
            super().__post_init__()
            check_real("--radius", self.radius, low=0, high=1e6)
            if not 0 <= self.hot_share < 1:
                raise InputError(f"--hot-share must be from 0 to below 1, got {self.hot_share:g}")

    def __init__(self, params: Params, context: Context) -> None:
        """Start with uniform weights."""
        super().__init__(params, context)
        self.hot_epochs, self.hot = 0, False

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Fix the length of the warm-up.

        Raises:
            InputError: see `deep.methods.based.hot_epochs`.
        """
        self.hot_epochs = warm_up_epochs(self.params.hot_share, epochs)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Begin to weigh the classes after the warm-up."""
        super().on_epoch_start(epoch)
        self.hot = epoch.index < self.hot_epochs

    def weights(self, margins: Tensor, counts: Tensor) -> Tensor:
        """Return the weight of each class relative to the base loss, shape (C,); 0 for what is left out.

        Args:
            margins: mean margin of each class, shape (C,).
            counts: number of its samples, shape (C,).
        """
        if self.params.literal:
            return len(margins) * kl_ball_weights(counts * margins, self.params.radius)
        present = counts > 0
        weights = torch.zeros_like(margins)
        weights[present] = present.sum() * kl_ball_weights(margins[present], self.params.radius)
        return weights

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean of C w_y times the base loss of the sample."""
        terms = self.terms(model, x, y, adv)
        if self.hot:
            return self.losses(terms).mean()
        margins, counts = self.class_means(probability_margins(terms.logits.detach(), y), y)
        weights = self.weights(margins, counts)
        self.note(weights[counts > 0], counts > 0)
        return (weights[y] * self.losses(terms)).mean()


METHOD = FAAL
