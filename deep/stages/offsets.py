"""Class offsets: C numbers, chosen on validation images, that lift the worst class (ours).

`theory.networks.class_offsets` says why one attack towards each wrong class gives the robust flags of every
choice. The offsets are folded into the bias of the last layer: no gradient is masked, every attack sees them.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from deep.attacks.pgd import attacking
from deep.attacks.robust_margins import robust_margins
from deep.data import Split
from deep.runs.reload import Run
from deep.stages.base import Stage, Staged
from deep.training.seeds import stream
from theory.common.digits import percent
from theory.common.fields import check_fields, setting
from theory.common.inputs import InputError
from theory.common.table import Table
from theory.networks.class_offsets import (
    RobustMargins,
    bagged_offsets,
    choose_offsets,
    cross_fitted,
    offsets_of_moments,
    offsets_within,
)

__all__ = ["STAGE", "Offsets", "clean_margins", "controls_table", "shift_head"]

Array = npt.NDArray[np.float64]

PERMUTATIONS = 20
"""Of the offsets over classes, in the control."""


class Offsets(Stage):
    """Class offsets chosen by robust margins."""

    @dataclass(frozen=True)
    class Params:
        """Settings."""

        budget: float = setting(
            2.0, "points of average robust accuracy in validation that it may cost", low=0, high=100
        )
        theory: bool = setting(
            False, "offsets of two moments of the margins, in closed form, in place of the search"
        )

        def __post_init__(self) -> None:
            """Check every value."""
            check_fields(self)

    def apply(self, run: Run, shards: Path, tick: Callable[[float], None]) -> Staged:
        """Return the network with its offsets in the bias of its last layer."""
        seed = stream(run.settings.seed, "validation")
        margins = robust_margins(
            run.model, run.data.val, run.settings.attack, seed=seed, shards=shards, tick=tick
        )
        if self.params.theory:
            offsets, t = offsets_of_moments(margins), None
        else:
            offsets, t = offsets_within(margins, self.params.budget / 100)
        model = shift_head(run.model, offsets)
        _check_shifted(run.model, model, run.data.val.inputs(slice(0, 8)), offsets)
        clean = clean_margins(run.model, run.data.val)
        counts = np.bincount(margins.labels).tolist()
        state = {"offsets": offsets.tolist(), "worst_weight": t, "validation": counts}
        return Staged(model, state, controls_table(margins, clean, offsets, 0.5 if t is None else t))


def shift_head(model: nn.Module, offsets: Array) -> nn.Module:
    """Return a copy of a network with offsets added to the bias of its last layer.

    Args:
        model: has a linear layer that returns the logits, ``head`` or else the last linear one.
        offsets: of the classes, shape (C,).

    Raises:
        InputError: it has no such layer.
    """
    shifted = copy.deepcopy(model)
    linear = [layer for layer in shifted.modules() if isinstance(layer, nn.Linear)]
    head = getattr(shifted, "head", linear[-1] if linear else None)
    if not isinstance(head, nn.Linear) or head.bias is None or head.bias.shape != offsets.shape:
        raise InputError(f"the network has no last linear layer with a bias of {len(offsets)} classes")
    with torch.no_grad():
        head.bias += torch.as_tensor(offsets, dtype=head.bias.dtype, device=head.bias.device)
    return shifted


def _check_shifted(model: nn.Module, shifted: nn.Module, x: torch.Tensor, offsets: Array) -> None:
    """Refuse a network whose logits do not come from the layer that was changed.

    Raises:
        InputError: its logits are not those of before and the offsets.
    """
    with attacking(model), attacking(shifted), torch.no_grad():
        before, after = model(x).double(), shifted(x).double()
    due = before + torch.as_tensor(offsets, dtype=before.dtype, device=before.device)
    if not torch.allclose(after, due, atol=1e-3 * float(1 + before.abs().amax())):
        raise InputError("the logits of the network do not come from its last linear layer")


def clean_margins(model: nn.Module, split: Split, batch_size: int = 500) -> RobustMargins:
    """Return f_j - f_y of every sample without an attack, shape (n, C)."""
    parts = []
    with attacking(model), torch.no_grad():
        for begin in range(0, len(split), batch_size):
            part = slice(begin, begin + batch_size)
            logits = model(split.inputs(part)).double()
            parts.append(logits - logits.gather(1, split.labels[part][:, None]))
    return RobustMargins(torch.cat(parts).cpu().numpy(), split.labels.cpu().numpy())


def controls_table(margins: RobustMargins, clean: RobustMargins, offsets: Array, t: float) -> Table:
    """Return robust errors on validation samples of the offsets, of controls, and of the best in sample.

    Those that are chosen are cross-fitted: counted on samples that did not choose them.

    Args:
        margins: of the validation samples.
        clean: of the same samples without an attack.
        offsets: that were chosen.
        t: weight of the worst class that they were chosen with.
    """
    rng = np.random.default_rng(0)
    zeros = np.zeros(margins.classes)
    shuffled = _shuffled(margins, rng)
    permuted = [margins.accuracies(rng.permutation(offsets)) for _ in range(PERMUTATIONS)]
    rows = {
        "without offsets": margins.accuracies(zeros),
        "offsets, cross-fitted": margins.shares(cross_fitted(margins, lambda part: bagged_offsets(part, t))),
        "control: permuted over classes": np.mean(permuted, axis=0),
        "control: chosen on clean margins": margins.accuracies(bagged_offsets(clean, t)),
        "control: chosen with labels shuffled": margins.accuracies(bagged_offsets(shuffled, t)),
        "oracle: chosen on the samples counted": margins.accuracies(choose_offsets(margins, t)),
    }
    worst = {name: float(1 - accuracies.min()) for name, accuracies in rows.items()}
    worst["control: permuted over classes"] = float(np.mean([1 - p.min() for p in permuted]))
    cells = [[name, percent(1 - rows[name].mean()), percent(worst[name])] for name in rows]
    sizes = np.bincount(margins.labels)
    note = (
        f"robust errors in percent of {sizes.min()} to {sizes.max()} validation images a class, by PGD "
        f"towards each wrong class; the worst class has the weight {t:g}. Permuted and shuffled must show no "
        "gain in the worst class; clean margins show what can be had without an attack; the oracle's is what "
        "no choice can reach on new images"
    )
    return Table("Offsets in validation", ["", "average", "worst class"], cells, note)


def _shuffled(margins: RobustMargins, rng: np.random.Generator) -> RobustMargins:
    """Return the margins with the rows of wrong classes dealt to other samples at random."""
    rivals = ~np.eye(margins.classes, dtype=bool)[margins.labels]
    dealt = np.zeros_like(margins.margins)
    rows = margins.margins[rivals].reshape(len(margins.labels), -1)
    dealt[rivals] = rng.permutation(rows).ravel()
    return RobustMargins(dealt, margins.labels)


STAGE = Offsets
