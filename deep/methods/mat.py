"""MAT, mutual adversarial training: Liu et al., 2021, https://arxiv.org/abs/2112.05005.

"Mutual Adversarial Training: Learning together is better than going alone": M networks learn together, each
from its own training examples and from those of the others. Network m has the loss

(1 - a) CE(f_m(x'_m), y) + a / (M - 1) sum over k != m of [KL(p_k(x'_m) || p_m(x'_m)) + CE(f_m(x'_k), y)],

with x'_m the examples that PGD makes of x against network m. What peers answer is held fixed, so each learns
by its own loss alone. The first network is evaluated, as one of its kind: a step costs M times that of PGD
in the attack and M^2 passes in the loss.

No code of the authors is known to us, and of the paper only the summary was seen. Deviations, or unknown:
this form, and a = 1/2 of two networks (``--peers 1``); peers share the optimiser and its schedule, and start
from weights of their own, drawn by the seed. From the same ones the divergence would be 0 for ever.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from deep.methods.base import Epoch, Method
from deep.methods.trades import divergence, smoothed
from theory.common.inputs import check_count, check_real

__all__ = ["MAT", "METHOD", "mutual_loss", "renewed"]


def renewed(model: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a network whose layers are drawn anew by a seed; no other random number changes."""
    peer = copy.deepcopy(model).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in peer.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    return peer.to(next(model.parameters()).device)


def mutual_loss(
    own: Tensor,
    of_peers: Sequence[Tensor],
    elsewhere: Sequence[Tensor],
    y: Tensor,
    share: float,
    smoothing: float = 0.0,
) -> Tensor:
    """Return the loss of each sample for one network, shape (n,); peers are held fixed.

    Args:
        own: its logits at its own examples, shape (n, classes).
        of_peers: logits of each peer at these examples.
        elsewhere: its logits at the examples of each peer.
        y: labels, shape (n,).
        share: a, of what is learnt from peers.
        smoothing: weight of the uniform label.
    """
    learnt = [
        divergence(peer.detach(), own) + smoothed(there, y, smoothing)
        for peer, there in zip(of_peers, elsewhere, strict=True)
    ]
    return (1 - share) * smoothed(own, y, smoothing) + share * torch.stack(learnt).mean(0)


class MAT(Method):
    """Mutual adversarial training."""

    attacks = ("pgd", "fgsm-rs", "nfgsm")  # "free" has one perturbation, for one network

    @dataclass(frozen=True)
    class Params:
        """Hyper-parameters."""

        peers: int = field(default=1, metadata={"help": "networks beside the one that is evaluated"})
        share: float = field(default=0.5, metadata={"help": "a, share of the loss that is learnt from peers"})

        def __post_init__(self) -> None:
            """Refuse what makes no sense."""
            check_count("--peers", self.peers, low=1)
            check_real("--share", self.share, low=0, high=1)

    peers: nn.ModuleList

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Make the peers."""
        generator = self.context.generator
        seeds = torch.randint(2**63 - 1, (self.params.peers,), generator=generator, device=generator.device)
        self.peers = nn.ModuleList(renewed(model, seed) for seed in seeds.tolist())

    def networks(self, model: nn.Module) -> list[nn.Module]:
        """Return all networks, the evaluated one first."""
        return [model, *self.peers]

    def parameters(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """Return the weights of all networks."""
        return [p for network in self.networks(model) for p in network.parameters()]

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Let peers normalise by their batches, as the network does."""
        self.peers.train()

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the examples of each network, stacked, shape (networks, n, ...)."""
        networks = self.networks(model)
        return torch.stack([super(MAT, self).attack(network, x, y) for network in networks])

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the sum of the mean losses of all networks."""
        logits = [[network(v) for v in adv] for network in self.networks(model)]
        losses, share, smoothing = [], self.params.share, self.context.label_smoothing
        for m, answers in enumerate(logits):
            others = [k for k in range(len(logits)) if k != m]
            at_own, elsewhere = [logits[k][m] for k in others], [answers[k] for k in others]
            losses.append(mutual_loss(answers[m], at_own, elsewhere, y, share, smoothing).mean())
        return torch.stack(losses).sum()

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Let all processes have the same statistics of batch norm in the peers."""
        self.context.world.average(b for b in self.peers.buffers() if b.is_floating_point())


METHOD = MAT
