"""``deep.repair``: class offsets for any model, chosen on samples that it was not trained on."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deep.attacks.evaluate import Attack
from deep.attacks.robust_margins import robust_margins
from deep.audits.affine import is_estimator
from deep.audits.any_model import audit
from deep.audits.prepared import prepared
from deep.audits.result import Audit
from deep.audits.threats import Threat, threats_of
from deep.data import Split
from deep.data.samples import Samples, check_labels
from deep.nets.foreign import Foreign
from deep.stages.offsets import clean_margins, controls_table, shift_head
from theory.common.inputs import InputError, check_count, check_real
from theory.common.table import Table
from theory.networks.class_offsets import RobustMargins, offsets_within
from theory.results.flags import paired_table

__all__ = ["Repair", "Shifted", "repair"]

Array = npt.NDArray[np.float64]


class Shifted(nn.Module):
    """A model with offsets added to its logits.

    Args:
        model: returns logits, shape (n, C).
        offsets: of the classes, shape (C,), in units of the logits.
    """

    offsets: Tensor

    def __init__(self, model: Callable[[Tensor], Tensor], offsets: Tensor) -> None:
        """Take the model; its weights are not copied."""
        super().__init__()
        self.model = model
        self.register_buffer("offsets", offsets)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shifted logits, shape (n, C)."""
        logits = self.model(x)
        return logits + self.offsets.to(logits)


@dataclass(frozen=True)
class Repair:
    """A repaired model, and what is known of it.

    Args:
        model: the new model; the old one is as it was.
        offsets: of each class, of mean 0, in units of the logits.
        weight: that of the worst class in their choice: 0 if no offsets stay within the budget.
        controls: errors on the samples that they were chosen on, cross-fitted, beside controls.
        before: audit of the old model on the test samples, if there were any.
        after: the same of the new model.
    """

    model: nn.Module
    offsets: tuple[float, ...]
    weight: float
    controls: Table
    before: Audit | None = None
    after: Audit | None = None

    def table(self) -> Table:
        """Return before and after, class by class, paired on the test samples; or the controls."""
        if self.before is None or self.after is None:
            return self.controls
        pair = (self.before.evaluation(), self.after.evaluation())
        return paired_table(("before", "after"), pair, self.before.classes)


def repair(
    model: Any,
    x: Any,
    y: Any,
    eps: object = "8/255",
    norm: str | Sequence[str] = "linf",
    *,
    budget: float = 2.0,
    test: tuple[Any, Any] | None = None,
    classes: Sequence[str] | None = None,
    bounds: tuple[float, float] | None = (0, 1),
    seed: int = 0,
    device: str = "auto",
    output: int | str | None = None,
    steps: int = 20,
    batch_size: int = 100,
    resume: str | Path | None = None,
    progress: bool = True,
) -> Repair:
    """Return a model whose worst class is more robust, by offsets of its logits alone (ours).

    PGD towards each wrong class, once, says which samples any offsets leave robust
    (`theory.networks.class_offsets`). Nothing is trained and no gradient is masked. It costs C - 1 times as
    much as PGD on the samples.

    Args:
        model: returns logits; anything that `deep.audit` takes.
        x: samples that the model was not trained on, shape (n, ...), best 100 of each class or more.
        y: their classes, shape (n,).
        eps: radius in the units of the inputs, a number or a text such as "8/255"; or several, and then a
            sample must be robust to all.
        norm: linf, l2 or l1; one for each radius.
        budget: points of average robust accuracy that the offsets may cost, cross-fitted on the samples.
        test: other samples and classes, on which the model is audited before and after.
        classes: names of the classes.
        bounds: smallest and largest value of an input; None for none.
        seed: seed of starts, folds and resamples.
        device: auto (where the model is), cpu, cuda or cuda:N.
        output: which of several outputs of the model are the logits.
        steps: of PGD, each of eps / 4.
        batch_size: samples attacked at once.
        resume: folder where finished batches are kept; those of another model or samples are not taken.
        progress: whether to show a bar.

    Raises:
        InputError: an argument is not what it must be, or a class has fewer than 5 samples.

    Examples:
        >>> import torch, deep
        >>> rng = torch.Generator().manual_seed(0)
        >>> y = torch.arange(400) % 2
        >>> x = 0.5 + 0.1 * (2 * y - 1) + torch.where(y == 1, 0.16, 0.04) * torch.randn(400, generator=rng)
        >>> model = lambda v: torch.cat([0.52 - v, v - 0.52], 1)
        >>> left = deep.repair(model, x[:, None].clamp(0, 1), y, eps=0.02, progress=False)
        >>> left.offsets[1] > left.offsets[0]
        True
    """
    check_real("budget", budget, low=0, high=100)
    check_count("steps", steps, low=1)
    check_count("batch_size", batch_size, low=1)
    samples = Samples.of(x, y)
    with prepared(model, samples, bounds, device, output) as (network, split, names):
        with torch.no_grad():
            count = network(split.inputs(slice(0, 2))).shape[1]
        check_labels(split, count)
        threats = threats_of(eps, norm, bounds, split.images[0].numel())
        with _bar(progress) as tick:
            margins = _worst(network, split, threats, steps, seed, batch_size, resume, tick)
        offsets, weight = offsets_within(margins, budget / 100, seed=seed)
        controls = controls_table(margins, clean_margins(network, split, batch_size), offsets, weight or 0.5)
        called = network if is_estimator(model) else Foreign(model, output)
        shifted = _shifted(model, called, split, offsets)
    left = Repair(shifted, tuple(offsets.tolist()), weight, controls)
    if test is None:
        return left
    names = classes or names
    how: dict[str, Any] = {"classes": names, "bounds": bounds, "seed": seed, "device": device}
    how |= {"steps": steps, "progress": progress, "strength": 0}
    before = audit(model, *test, eps, norm, output=output, **how)
    after = audit(shifted, *test, eps, norm, **how)
    return Repair(shifted, left.offsets, weight, controls, before, after)


def _worst(
    network: nn.Module,
    split: Split,
    threats: Sequence[Threat],
    steps: int,
    seed: int,
    batch_size: int,
    resume: str | Path | None,
    tick: Callable[[float], None],
) -> RobustMargins:
    """Return the margins under the worst of the threats: robust to all is robust to the largest margin."""
    parts = []
    for i, threat in enumerate(threats):
        attack = Attack(threat.eps, threat.eps_text, steps, norm=threat.norm, bounds=threat.bounds)
        shards = None if resume is None else Path(resume) / f"{threat.norm}-{threat.eps!r}"
        parts.append(
            robust_margins(
                network,
                split,
                attack,
                seed=seed,
                batch_size=batch_size,
                shards=shards,
                tick=lambda part, i=i: tick((i + part) / len(threats)),  # type: ignore[misc]
            )
        )
    return RobustMargins(np.max([p.margins for p in parts], axis=0), parts[0].labels)


def _shifted(model: Any, network: nn.Module, split: Split, offsets: Array) -> nn.Module:
    """Return the model with the offsets in the bias of its last layer if it has one, else behind it."""
    x = split.inputs(slice(0, 8))
    with torch.no_grad():
        kind = network(x).dtype  # weights of two types would be refused by whoever takes the model
    wrapped = Shifted(network, torch.tensor(offsets, dtype=kind, device=x.device)).eval()
    if not isinstance(getattr(model, "head", None), nn.Linear) or not isinstance(model, nn.Module):
        return wrapped
    with suppress(InputError), torch.no_grad():  # another number of classes, or no bias
        folded = shift_head(model, offsets)
        if torch.allclose(folded.eval()(x.to(model.head.weight)).to(x), wrapped(x).to(x), atol=1e-4):
            return folded.train(model.training)
    return wrapped  # what is called head is not what the logits come from


@contextmanager
def _bar(progress: bool) -> Iterator[Callable[[float], None]]:
    shape = "{l_bar}{bar}| {remaining}"
    off = None if progress else True
    with tqdm(total=100, desc="repair", leave=False, bar_format=shape, disable=off, file=sys.stderr) as bar:
        yield lambda part: bar.update(int(100 * part) - bar.n) and None
