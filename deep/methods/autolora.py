"""AutoLoRa: Xu, Zhang and Kankanhalli, ICLR 2024, https://arxiv.org/abs/2310.01818.

"AutoLoRa: A Parameter-Free Automated Robust Fine-Tuning Framework": images without an attack go through a
branch of their own, so that what they ask for does not pull at the robust weights. Layer by layer the branch
has the weights W + B A / rank, W held fixed and B A of a low rank; attacked images go through W alone. With
the logits n(x) of the branch, f(x') of the network, and the accuracy s of the branch,

(1 - s) CE(n(x), y) + s CE(f(x'), y) + beta s KL(p_n(x) || p_f(x')),

so the first and the last update what the branch adds, the second and the last the network, and all the
last layer, which both share. x' maximises CE(f(x'), y), from a normal start of 0.001. The branch is dropped
in the end: the network alone is evaluated.

It is for fine-tuning: ``--init RUN`` with a small number of epochs. As in the authors' code
(GodXuxilie/RobustSSL_Benchmark): rank 8, beta 6 (``--consistency``), A drawn from N(0, 1), B = 0 at first.
Deviations: s is counted in the steps of the epoch before, and 1 / C in the first; there the training images
are passed through four times an epoch for it. Every layer but the last has a branch; there the first has
none. The last layer is that of the run, there it starts from 0. The learning rate follows the run's
schedule, there it is halved by a rule of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from deep.attacks.pgd import cross_entropy, perturbed_start, predicted
from deep.methods.base import Context, Epoch, Method
from deep.methods.trades import divergence, smoothed
from theory.common.inputs import InputError, check_count, check_real

__all__ = ["METHOD", "AutoLoRa", "branched_loss"]


def branched_loss(
    clean: Tensor, attacked: Tensor, y: Tensor, accuracy: float, consistency: float, smoothing: float = 0.0
) -> Tensor:
    """Return the loss of each sample, shape (n,).

    Args:
        clean: logits of the branch, shape (n, classes).
        attacked: logits of the network at attacked inputs, shape (n, classes).
        y: labels, shape (n,).
        accuracy: s, of the branch.
        consistency: weight of the divergence, in units of s.
        smoothing: weight of the uniform label.
    """
    natural, robust = (smoothed(logits, y, smoothing) for logits in (clean, attacked))
    return (1 - accuracy) * natural + accuracy * robust + consistency * accuracy * divergence(clean, attacked)


class AutoLoRa(Method):
    """Robust fine-tuning beside a low-rank branch for images without an attack."""

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        rank: int = field(default=8, metadata={"help": "rank of what the branch adds, per row of a kernel"})
        consistency: float = field(
            default=6.0, metadata={"help": "weight of the divergence where the branch is always right"}
        )

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            check_count("--rank", self.rank, low=1)
            check_real("--consistency", self.consistency, low=0, high=1e6)

    factors: nn.ParameterList

    def __init__(self, params: Any, context: Context) -> None:
        """Start with the accuracy of a guess."""
        super().__init__(params, context)
        self.accuracy = 1 / context.classes
        self.sums = torch.zeros(2, dtype=torch.float64, device=context.generator.device)

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Make the factors A and B of every layer but the last.

        Raises:
            InputError: the network has no such layer.
        """
        if not self.layers(model)[:-1]:
            raise InputError("--method autolora needs a network of several convolutions or linear layers")
        self.factors, generator = nn.ParameterList(), self.context.generator
        for name in self.layers(model)[:-1]:
            weight = model.get_parameter(f"{name}.weight")
            rows = weight.shape[2] if weight.dim() > 2 else 1
            rank, width = self.params.rank * rows, weight[0].numel() // rows
            drawn = torch.randn((rank, width), generator=generator, device=generator.device)
            self.factors.append(nn.Parameter(drawn.to(weight)))
            self.factors.append(nn.Parameter(weight.new_zeros(len(weight) * rows, rank)))

    @staticmethod
    def layers(model: nn.Module) -> list[str]:
        """Return the names of convolutions and linear layers, of which the last is shared."""
        return [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    def parameters(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """Return the weights of the network and what the branch adds."""
        return [*model.parameters(), *self.factors]

    def branch(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the logits of the branch, shape (n, classes); only its factors and the last layer move."""
        *names, last = self.layers(model)
        weights = {k: p.detach() for k, p in model.named_parameters() if not k.startswith(f"{last}.")}
        for name, A, B in zip(names, self.factors[::2], self.factors[1::2], strict=True):
            fixed = weights[f"{name}.weight"]
            weights[f"{name}.weight"] = fixed + (B @ A).view_as(fixed) / self.params.rank
        logits: Tensor = functional_call(model, weights, (x,))
        return logits

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the inputs that maximise the cross-entropy, from a start next to x."""
        noise = self.context.noise(len(y))
        return self.maximise(model, x, y, cross_entropy(y), noise, partial(perturbed_start, x))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean loss, and count where the branch is right."""
        clean, attacked = self.branch(model, x), model(adv)
        right = (predicted(clean.detach()) == y).sum()
        self.sums += torch.stack([right, right.new_tensor(len(y))])
        smoothing = self.context.label_smoothing
        return branched_loss(clean, attacked, y, self.accuracy, self.params.consistency, smoothing).mean()

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Take the accuracy that all processes have counted."""
        right, n = self.context.world.total(self.sums).tolist()
        if n:
            self.accuracy = right / n
        self.sums = torch.zeros_like(self.sums)

    def state(self) -> dict[str, Any]:
        """Return the accuracy of the branch."""
        return {"branch_accuracy": self.accuracy}


METHOD = AutoLoRa
