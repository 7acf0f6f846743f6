"""``deep.audit``: how robust each class of somebody's model is, with what may be said of the worst."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from deep.attacks.evaluate import Attack
from deep.attacks.linear_oracle import Linear
from deep.audits.attacked import logits_of, measure
from deep.audits.prepared import doubts_of, names_of, notes_of, prepared
from deep.audits.result import Audit
from deep.audits.sparsity import sparsity as adversarial_sparsity
from deep.audits.threats import Effort, Threat, attackers, threats_of
from deep.data import Split
from deep.data.samples import Samples, check_labels, stratified
from deep.strength.check_results import Check, Flags
from deep.strength.checks import CHECKS, Subject, every_check
from theory.common.inputs import InputError, check_count, check_real

__all__ = ["audit"]

QUERIES = 200
"""Of the square attack in the checks of strength, a fifth of those of ``deep.sanity``: an audit makes
both."""


class _Audited(Subject):
    """An audited model; what withstands is what withstood the audit, whatever its attacks."""

    @property
    def withstood(self) -> Flags:  # type: ignore[override]
        """Return which samples withstood the audit."""
        return self.left


def audit(
    model: Any,
    x: Any,
    y: Any = None,
    eps: object = "8/255",
    norm: str | Sequence[str] = "linf",
    *,
    classes: Sequence[str] | None = None,
    attacks: str | Sequence[str] = ("pgd", "targeted"),
    bounds: tuple[float, float] | None = (0, 1),
    per_class: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    output: int | str | None = None,
    scale: float | None = None,
    steps: int = 20,
    restarts: int = 1,
    targets: int = 20,
    strength: int = 10,
    sparsity: int = 0,
    batch_size: int | None = None,
    resume: str | Path | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Audit:
    """Return how robust each class of a model is: natural, boundary and robust errors with exact intervals.

    A sample counts as robust if the model is right without an attack and under every attack; the boundary
    error is that of samples that only an attack breaks (Xu et al., ICML 2021,
    https://arxiv.org/abs/2010.06121). The worst class has an interval that allows for its having been picked
    (`theory.results.worst`). For a linear model the robust error is exact, and the attacks are compared with
    it.

    Args:
        model: returns logits of inputs, shape (n, classes): a torch module or a callable on tensors, or a
        linear
            classifier of scikit-learn, alone or in a pipeline after scalers. It is left as it was.
        x: inputs, shape (n, ...), tensor or array; or an iterable of batches (inputs, labels).
        y: labels, shape (n,): integers from 0, or for scikit-learn its classes; None for batches.
        eps: radius in the units of the inputs, a number or a text such as "8/255"; or several.
        norm: linf, l2 or l1; several if there are several radii: then a sample must be robust to all.
        classes: names of the classes, in the order of the logits.
        attacks: of pgd, targeted, margin, kl, autoattack.
        bounds: smallest and largest value of an input; None for none. Normalisation belongs inside the model.
        per_class: samples of each class, drawn by seed; all if None.
        seed: seed of the draw and of random starts.
        device: auto (where the model is), cpu, cuda or cuda:N.
        progress: whether to show a bar.
        output: which of several outputs of the model are the logits, a place or a name.
        scale: what inputs are divided by, such as 255.
        steps: of PGD, each of eps / 4.
        restarts: random starts of PGD.
        targets: most wrong classes that the targeted attack tries, the likeliest; the report says which.
        strength: samples of each class on which the attacks themselves are checked, as ``deep.sanity`` does;
        0
            for none.
        sparsity: samples of each class of which `deep.audits.sparsity` is measured under linf; 0 for none.
        batch_size: samples attacked at once; 100, or 500 on CUDA, if None. No number depends on it.
        resume: folder where finished batches are kept; an audit that was interrupted goes on from there.
        origin: what the report says of where the model and samples are from.

    Raises:
        InputError: the model, the samples or a setting is not what it must be.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> x = torch.rand((40, 4), generator=torch.Generator().manual_seed(0))
        >>> result = audit(model, x, model(x).argmax(1), eps=0.01, progress=False, strength=0)
        >>> result.exact, result.errors().average("natural_error")
        (True, 0.0)
    """
    _check_settings(per_class, seed, steps, restarts, targets, strength, batch_size, bounds, scale)
    check_count("sparsity", sparsity, low=0)
    samples = Samples.of(x, y)
    samples = Samples(samples.x, samples.y, samples.classes, samples.scale if scale is None else scale)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        prepared(model, samples, bounds, device, output) as (network, split, names),
    ):
        batch_size = batch_size or (500 if split.labels.device.type == "cuda" else 100)
        threats = threats_of(eps, norm, bounds, split.images[0].numel())
        count = logits_of(network, split.take(slice(0, 2)), 2).shape[1]
        check_labels(split, count)
        names = names_of(classes or names, count)
        notes = notes_of(model, names, split, per_class)
        if per_class is not None:
            split = stratified(split, per_class, seed)
        effort, linear = Effort(steps, restarts, targets), isinstance(network, Linear)
        plan = [attackers(attacks, threat, count, effort, linear=linear) for threat in threats]
        clean = logits_of(network, split, batch_size)
        doubts = doubts_of(network, split)
        with _bar(progress, split, batch_size) as bar:
            outcome = measure(
                network,
                split,
                plan,
                clean,
                seed=seed,
                batch_size=batch_size,
                shards=None if resume is None else Path(resume),
                progress=bar,
            )
        warnings = [getattr(attack, "warning", "") for attack in plan[0]]
        doubts += list(dict.fromkeys(filter(None, warnings))) + list(outcome.evaluation().doubts.values())
        result = Audit(names, threats, outcome, linear, tuple(notes), tuple(doubts), (), dict(origin or {}))
        if sparsity:
            result = replace(result, sparsity=_sparsity(network, split, threats, sparsity, seed, batch_size))
        if strength:
            result = result.checked(list(_strength(network, split, result, effort, strength, seed, progress)))
        return result


def _check_settings(
    per_class: int | None,
    seed: int,
    steps: int,
    restarts: int,
    targets: int,
    strength: int,
    batch_size: int | None,
    bounds: Any,
    scale: float | None,
) -> None:
    counts = {"steps": steps, "restarts": restarts, "targets": targets}
    counts |= {k: v for k, v in (("per_class", per_class), ("batch_size", batch_size)) if v is not None}
    for name, value in counts.items():
        check_count(name, value, low=1)
    check_count("seed", seed, low=0)
    check_count("strength", strength, low=0)
    if scale is not None:
        check_real("scale", scale, low=0, strict=True)
    if bounds is not None:
        if not isinstance(bounds, tuple | list) or len(bounds) != 2:
            raise InputError(f"bounds must be None or two numbers, got {bounds!r:.60}")
        low = check_real("the lower bound", bounds[0], low=-1e30)
        check_real("the upper bound", bounds[1], low=low, strict=True)


def _sparsity(
    model: nn.Module, split: Split, threats: Sequence[Threat], per_class: int, seed: int, batch_size: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the sparsity of the first samples of each class under each threat in linf, nan of the others."""
    chosen, found = split.first(per_class), {}
    for threat in (t for t in threats if t.norm == "linf"):
        values = np.full(len(split), np.nan)
        values[chosen.cpu().numpy()] = adversarial_sparsity(
            model, split.take(chosen), threat.eps, bounds=threat.bounds, seed=seed, batch_size=batch_size
        )
        found[threat.name] = values
    return found


@contextmanager
def _bar(
    progress: bool, split: Split, batch_size: int
) -> Iterator[Callable[[Iterable[slice]], Iterable[slice]]]:
    """Give what shows a bar of the samples done."""
    with tqdm(total=len(split), unit="sample", desc="audit", disable=not progress, file=sys.stderr) as bar:

        def show(batches: Iterable[slice]) -> Iterator[slice]:
            for part in batches:
                yield part
                bar.update(min(part.stop, len(split)) - part.start)

        yield show


def _strength(
    model: nn.Module,
    split: Split,
    result: Audit,
    effort: Effort,
    per_class: int,
    seed: int,
    progress: bool,
) -> Iterator[tuple[str, Check]]:
    """Yield the checks of the attacks of each threat, by its name."""
    chosen = split.first(per_class)
    for place, threat in enumerate(result.threats):
        left = result.evaluation(place).ok_attacked[chosen.cpu().numpy()]
        attacks = _pair(threat, len(result.classes), effort)
        subject = _Audited(model, attacks, split.take(chosen), left, split, result.classes, seed, QUERIES)
        checks = every_check(subject)
        title = f"strength, {threat.name}"
        for check in tqdm(checks, total=len(CHECKS) + 2, unit="check", desc=title, disable=not progress):
            if check.name != "reproduced":  # of a run that left flags
                yield threat.name, check


def _pair(threat: Threat, classes: int, effort: Effort) -> tuple[Attack, Attack]:
    plain, targeted = attackers(("pgd", "targeted"), threat, classes, effort, linear=False)
    assert isinstance(plain, Attack) and isinstance(targeted, Attack)
    return plain, targeted
