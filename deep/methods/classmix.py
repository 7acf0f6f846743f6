"""Mixup within a class: Zhong and Tandon, "Learning Fair Robustness via Domain Mixup", 2024.

https://arxiv.org/abs/2411.14424. What is attacked and trained on are mixtures l x_i + (1 - l) x_j of
inputs of one class, by PGD adversarial training or TRADES. For two Gaussian classes the deviations of
both become c = (l^2 + (1 - l)^2)^(1/2) times as large, and the threshold with the smallest robust 0/1
error on the mixtures is nearer to that of equal robust errors:
`theory.theorems.zhong2024_mixup_narrows_the_gap`. With the cross-entropy it comes from the other side,
where the narrow class is the worse one. Classes need no weight or radius of their own.

No code of the authors is known to us. Ours are: the fixed weight l (``--weight``), for which theory has
the closed form, where mixup draws it; and that the partner j is drawn from the samples of the class in
the batch, each once and i itself too, so that a class with a single sample stays as it is. With several
processes it is from the part of each.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from deep.methods.based import Based
from theory.common.inputs import check_real

__all__ = ["METHOD", "ClassMix", "partners_within"]


def partners_within(y: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random permutation of the samples that keeps every label, shape (n,), from labels y."""
    order = torch.randperm(len(y), generator=generator, device=y.device)
    # Samples of each class in random order, and in theirs: the k-th of the one is partner of the other.
    shuffled = order[y[order].argsort(stable=True)]
    partner = torch.empty_like(order)
    partner[y.argsort(stable=True)] = shuffled
    return partner


class ClassMix(Based):
    """Mixup within a class."""

    attacks = ("pgd", "fgsm-rs", "nfgsm")  # "free" would go on with a perturbation of another mixture

    @dataclass(frozen=True)
    class Params(Based.Params):
        """Hyper-parameters."""

        weight: float = field(default=0.5, metadata={"help": "l, the weight of an input in its mixture"})

        def __post_init__(self) -> None:
            """Refuse what is no weight."""
            super().__post_init__()
            check_real("--weight", self.weight, low=0, high=1)

    def inputs(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mixtures."""
        return torch.lerp(x[partners_within(y, self.context.generator)], x, self.params.weight)


METHOD = ClassMix
