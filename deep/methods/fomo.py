"""FOMO-like: forget, relearn and consolidate, after Ramkumar, Zonooz and Arani, ICLR 2024.

https://arxiv.org/abs/2402.11733. "The Effectiveness of Random Forgetting for Robust Generalization": from
a share of the training on, every few epochs a random share of the later weights is drawn anew (forget);
the next epochs train the base, PGD or TRADES, and to answer as a stable network does (relearn),

base loss + consistency (|f(x) - f_stable(x)|^2 + |f(x') - f_stable(x')|^2) / C,

f the logits; and the stable network follows by an average of weights and statistics (consolidate). The
stable one is evaluated.

The authors' repository (NeurAI-Lab/FOMO) has no code, and of the paper only its abstract and figure 2
were seen. So "-like". Deviations, or unknown: the share of 3.5 %, cycles of 5 epochs, the decay .999 and
the first epoch 60 of 200, all as others quote them; the weight 1 of the consistency; that the later
weights are the second half of all matrices but the last, which answers; that they are drawn as a linear
layer of PyTorch is, from -1 / sqrt(fan in) to 1 / sqrt(fan in), and lose their momentum; that the average
grows from a decay of .1, as that of --ema, and takes in every step from the first on.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from deep.methods.base import Context, Epoch
from deep.methods.based import Based
from deep.methods.cfa import take_in
from deep.methods.perturbed import matrices
from theory.common.inputs import InputError, check_count, check_real

__all__ = ["FOMO", "METHOD", "forget", "later_weights"]


def later_weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the second half of the matrices of a network, without the last; the last if it is alone."""
    every = matrices(model)
    return every[len(every) // 2 : -1] or every[-2:-1] or every


@torch.no_grad()
def forget(weight: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw a share of the entries of a weight anew, in place, and return which, as flat indices."""
    flat = weight.view(-1)
    chosen = torch.randperm(len(flat), generator=generator, device=flat.device)[: round(share * len(flat))]
    drawn = torch.rand(len(chosen), generator=generator, device=flat.device)
    flat[chosen] = ((2 * drawn - 1) / weight[0].numel() ** 0.5).to(flat)
    return chosen


class FOMO(Based):
    """Forget, relearn and consolidate."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        base: Literal["pgd", "trades"] = field(
            default="pgd", metadata={"help": "what is trained: pgd or trades"}
        )
        begin_share: float = field(
            default=60 / 200, metadata={"help": "share of the epochs before anything is forgotten"}
        )
        forget_share: float = field(default=0.035, metadata={"help": "share of each later weight"})
        cycle: int = field(default=5, metadata={"help": "epochs from one forgetting to the next"})
        consistency: float = field(
            default=1.0, metadata={"help": "weight of the distance to the stable network's logits"}
        )
        average_decay: float = field(default=0.999, metadata={"help": "decay of the average of weights"})

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            super().__post_init__()
            check_real("--forget-share", self.forget_share, low=0, high=1)
            check_count("--cycle", self.cycle, low=1)
            check_real("--consistency", self.consistency, low=0, high=1e6)
            for name in ("begin_share", "average_decay"):
                if not 0 <= getattr(self, name) < 1:
                    flag = name.replace("_", "-")
                    raise InputError(f"--{flag} must be from 0 to below 1, got {getattr(self, name):g}")

    stable: nn.Module

    def __init__(self, params: Any, context: Context) -> None:
        """Start with nothing forgotten."""
        super().__init__(params, context)
        self.begin, self.done, self.relearning = 0, 0, False

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Make the stable network, and fix the first epoch that forgets; one comes before it."""
        self.stable = copy.deepcopy(model).requires_grad_(False).eval()
        self.begin = max(1, round(self.params.begin_share * epochs))

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Forget at the start of each cycle."""
        since = epoch.index - self.begin
        self.relearning = since >= 0
        if self.relearning and since % self.params.cycle == 0 and self.params.forget_share > 0:
            self.forget(later_weights(epoch.model), epoch.optimizer)

    def forget(self, weights: Sequence[Tensor], optimizer: torch.optim.Optimizer | None) -> None:
        """Draw a share of the weights anew; their momentum would drag them back to what they were."""
        for weight in weights:
            chosen = forget(weight, self.params.forget_share, self.context.generator)
            momentum = optimizer.state[weight].get("momentum_buffer") if optimizer else None
            if momentum is not None:
                momentum.view(-1)[chosen] = 0.0

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the base loss, and while it relearns the consistency with the stable network."""
        p = self.params
        if not self.relearning or p.consistency == 0:
            return super().loss(model, x, y, adv)
        terms = self.terms(model, x, y, adv)
        distance = self.distance(terms.logits, adv) + self.distance(model(x), x)
        return (self.losses(terms) + p.consistency * distance).mean()

    def distance(self, logits: Tensor, x: Tensor) -> Tensor:
        """Return the mean squared difference to the stable logits of inputs x, shape (n,)."""
        with torch.no_grad():
            stable = self.stable(x)
        return (logits - stable).square().mean(1)

    def on_batch_end(self, model: nn.Module) -> None:
        """Let the stable network take in the other."""
        take_in(self.stable, model, min(self.params.average_decay, (1 + self.done) / (10 + self.done)))
        self.done += 1

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Let all processes have the same statistics of batch norm in the stable network."""
        self.context.world.average(b for b in self.stable.buffers() if b.is_floating_point())

    def eval_model(self, model: nn.Module) -> nn.Module:
        """Return the stable network."""
        return self.stable


METHOD = FOMO
