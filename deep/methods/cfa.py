"""Class-wise calibrated Fair Adversarial training: Wei et al., CVPR 2023, https://arxiv.org/abs/2303.14460.

With a_c the robust accuracy of class c on the training examples of the previous epoch:

- class-wise margin: class c is attacked, and its a_c counted, within eps_c = (lam1 + a_c) eps;
- class-wise regularisation, where the base is TRADES: class c has (1 - b_c) CE + b_c KL, with
  b_c = (lam2 + a_c) beta / (1 + (lam2 + a_c) beta);
- fairness-aware weight average (FAWA): after each epoch in which the robust validation error of the worst
  class is at most 1 - ``threshold``, the average takes in the weights and statistics of the network by
  1 - ``fawa``; it starts as a copy of the first that pass. It is what is evaluated and kept.

So an easy class gets a larger radius and a larger weight of the KL, a hard one more of the cross-entropy. The
defaults are those of the authors' code (PKU-ML/CFA), where the step of the attack is also the same for all
classes. What is not as there:

- the loss of TRADES is multiplied by 1 + beta, so that a class with lam2 + a_c = 1 has CE + beta KL as in
  TRADES. There it is not (``--literal``): beside one learning rate and weight decay for all methods its
  gradient is 1 + beta times smaller than that of TRADES;
- the warm-up, 10 of 200 epochs there, is a share of the epochs (``--begin-share``), and until then b_c is
  beta / (1 + beta) and the radius eps;
- the gate of FAWA looks at the run's validation attack on its validation split; there at PGD-10 on the first
  100 images of each class. What is kept is chosen on validation too, there on the test set;
- a_c is counted in each class's own number of images; there all classes are assumed to have the same;
- there another clean pass after each step, for the log, also moves the statistics of batch norm, and PGD
  attacks with batch statistics.
"""

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.pgd import predicted
from deep.methods.base import Context, Epoch
from deep.methods.based import Based, Terms
from theory.common.inputs import InputError, check_real

__all__ = ["CFA", "METHOD", "class_radii", "class_regularisation", "take_in"]

THRESHOLDS = {
    "trades": 0.24,
    "pgd": 0.2,
}  # robust accuracy of the worst class, in the authors' code and README


def class_radii(accuracy: Tensor, eps: float, base: float = 0.5) -> Tensor:
    """Return (base + a_c) eps from robust accuracies a_c, shape (C,); ``base`` is lam1 in the paper."""
    return (base + accuracy) * eps


def class_regularisation(accuracy: Tensor, beta: float, base: float = 0.5) -> Tensor:
    """Return b_c = (base + a_c) beta / (1 + (base + a_c) beta), shape (C,); ``base`` is lam2 in the paper."""
    scaled = (base + accuracy) * beta
    return scaled / (1 + scaled)


@torch.no_grad()
def take_in(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move all weights and statistics of ``average`` to decay average + (1 - decay) model; copy counters."""
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        mean.lerp_(value, 1 - decay) if mean.is_floating_point() else mean.copy_(value)


class CFA(Based):
    """Class-wise calibrated Fair Adversarial training."""

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters; those that are None take the value of the base in the authors' code."""

        variant: Literal["both", "margin", "regularisation"] = field(
            default="both",
            metadata={"help": "what is class-wise: margin, regularisation (of trades) or both"},
        )
        lam1: float = field(
            default=0.5, metadata={"help": "radius of a class without robust accuracy, in eps"}
        )
        lam2: float = field(
            default=0.5, metadata={"help": "factor of beta for a class without robust accuracy"}
        )
        begin_share: float = field(
            default=10 / 200,  # authors' code
            metadata={"help": "share of the epochs before anything is class-wise"},
        )
        fawa: float = field(
            default=0.88, metadata={"help": "decay an epoch of the fairness-aware weight average; off if 0"}
        )
        threshold: float | None = field(
            default=None,
            metadata={
                "help": "robust validation accuracy of the worst class from which weights are averaged"
            },
        )
        literal: bool = field(
            default=False, metadata={"help": "divide the loss of trades by 1 + beta, as published"}
        )

        def __post_init__(self) -> None:
            """Take what is None from the base, and refuse what makes no sense."""
            super().__post_init__()
            if self.threshold is None:
                object.__setattr__(self, "threshold", THRESHOLDS[self.base])
            for name in ("lam1", "lam2"):
                check_real(f"--{name}", getattr(self, name), low=0, high=1e6)
            check_real("--threshold", self.threshold, low=0, high=1)
            for name in ("begin_share", "fawa"):
                if not 0 <= getattr(self, name) < 1:
                    flag = name.replace("_", "-")
                    raise InputError(f"--{flag} must be from 0 to below 1, got {getattr(self, name):g}")
            if self.base == "pgd" and (self.literal or self.variant == "regularisation"):
                wrong = "--literal" if self.literal else "--variant regularisation"
                raise InputError(f"{wrong} of cfa needs --base trades, got --base pgd")

    def __init__(self, params: Params, context: Context) -> None:
        """Start with the radius and the regularisation of the base, and no average."""
        super().__init__(params, context)
        self.radii = context.per_class(1.0)
        self.regularisation = context.per_class(params.beta / (1 + params.beta))
        self.right, self.seen = (context.per_class(0.0).long() for _ in range(2))
        self.average: nn.Module | None = None
        self.begin, self.taken = 0, 0

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Make the average, and fix the first class-wise epoch; one comes before it.

        Raises:
            InputError: there is no epoch for one of them.
        """
        if epochs < 2:
            raise InputError(f"--epochs must leave one to count in and one after it, got {epochs}")
        self.begin = min(max(1, round(self.params.begin_share * epochs)), epochs - 1)
        if self.params.fawa > 0:
            self.average = copy.deepcopy(model).requires_grad_(False)

    def eps(self, y: Tensor) -> Tensor:
        """Return the radius of each sample's class."""
        return self.context.eps * self.radii[y]

    def step(self, y: Tensor, eps: Tensor) -> Tensor:
        """Return the same step for every class; a one-step attack's is in units of the class's radius."""
        if self.context.start is not None:
            return super().step(y, eps)
        return torch.full_like(eps, self.context.step_size * self.context.eps)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the mean of (1 + beta) [(1 - b) CE + b KL], or of CE where the base is PGD; count a_c."""
        terms = self.terms(model, x, y, adv)
        member = F.one_hot(y, self.context.classes)
        self.seen += member.sum(0)
        self.right += member[predicted(terms.logits.detach()) == y].sum(0)
        return self.weighted(terms, y).mean()

    def weighted(self, terms: Terms, y: Tensor) -> Tensor:
        """Return the loss of each sample, shape (n,)."""
        if self.params.base == "pgd":
            return terms.main
        share = self.regularisation[y]
        scale = 1.0 if self.params.literal else 1 + self.params.beta
        return scale * ((1 - share) * terms.main + share * terms.boundary)

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Set radii and regularisation by what the last epoch has counted, and count anew."""
        if epoch.index >= self.begin:
            self.calibrate(self.right / self.seen.clamp(min=1), self.seen > 0)
        self.right, self.seen = torch.zeros_like(self.right), torch.zeros_like(self.seen)

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Total what all processes have counted, and let the average take in the network if it may."""
        self.right, self.seen = (self.context.world.total(v) for v in (self.right, self.seen))
        if self.average is not None:
            worst = float(epoch.errors(epoch.model).rates("robust_error").max())
            if 1 - worst >= self.params.threshold:
                take_in(self.average, epoch.model, self.params.fawa if self.taken else 0.0)
                self.taken += 1

    def calibrate(self, accuracy: Tensor, measured: Tensor) -> None:
        """Set what the variant says from robust accuracies, shape (C,), for the classes that have one."""
        p = self.params
        if p.variant != "regularisation":
            self.radii = torch.where(measured, class_radii(accuracy, 1.0, p.lam1), self.radii)
        if p.variant != "margin":
            share = class_regularisation(accuracy, p.beta, p.lam2)
            self.regularisation = torch.where(measured, share, self.regularisation)

    def eval_model(self, model: nn.Module) -> nn.Module:
        """Return the average, once it has taken in something."""
        return self.average if self.average is not None and self.taken else model

    def state(self) -> dict[str, Any]:
        """Return weights and radii of every class, and how often the average took in the network."""
        out: dict[str, Any] = {"radii": self.radii.tolist(), "averaged": self.taken}
        if self.params.base == "pgd":
            return out | {"weights": [1.0] * len(self.radii)}
        base = self.params.beta / (1 + self.params.beta)
        out["weights_nat"] = ((1 - self.regularisation) / (1 - base)).tolist()
        out["weights_bndy"] = (self.regularisation / base if base else self.radii**0).tolist()
        return out


METHOD = CFA
