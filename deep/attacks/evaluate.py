"""Whether each sample of a split withstands each attack: ``Evaluation``, of which every error is derived."""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from deep.attacks.ball import UNIT, Ball, Bounds, Norm
from deep.attacks.noise import Noise
from deep.attacks.pgd import (
    BatchNorm,
    Objective,
    attacking,
    cross_entropy,
    kl_from,
    margin,
    pgd,
    predicted,
    targeted_margin,
    without_gradient,
)
from deep.data import Split
from theory.common.files import write_atomic
from theory.common.inputs import DoubtWarning, InputError
from theory.results.attacks import CLEAN
from theory.results.flags import Evaluation

__all__ = ["Attack", "Attacker", "Evaluation", "evaluate", "reported"]

NORMS: Mapping[str, str] = {"linf": "l-infinity", "l2": "l2", "l1": "l1"}
OBJECTIVES: Mapping[str, str] = {
    "ce": "cross-entropy",
    "kl": "divergence from the clean output",
    "margin": "margin",
    "targeted": "margin to each of the likeliest wrong classes",
}


class Attacker(Protocol):
    """What `evaluate` needs of an attack."""

    @property
    def kind(self) -> str:
        """Return what it is, in a word: evaluations are asked for it."""

    @property
    def name(self) -> str:
        """Return the full setting in words."""

    def answers(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise) -> Tensor:
        """Return the class that each attacked sample is given, shape (n,): its label if it withstands.

        It is -1 where a logit is not finite, see `deep.attacks.pgd.predicted`.

        Args:
            model: returns logits, in evaluation mode.
            x: samples, all classified right, shape (n, ...).
            y: labels, shape (n,).
            clean: logits at x, shape (n, classes).
            noise: the random numbers of the samples.
        """


@dataclass(frozen=True)
class Attack:
    """PGD from uniform starts; the radius is the same for every class.

    Args:
        eps: radius, in the units of the data.
        eps_text: the same as it was given, such as 8/255.
        steps: number of steps.
        step: size of a step, in units of eps (1/4 is 2/255 for 8/255).
        norm: linf, l2 or l1.
        objective: what is increased: ce, kl, margin, or targeted: the margin to one wrong class after the
            other, the likeliest first; then a sample is kept where it is first classified wrong.
        targets: how many wrong classes are targets.
        restarts: random starts; a sample withstands the attack if it withstands all of them.
        bounds: of the data, None where there are none.
        batch_norm: see `deep.attacks.pgd.BatchNorm`.
        among: how many wrong classes there are; then the name says whether each is a target.
    """

    eps: float
    eps_text: str
    steps: int
    step: float = 0.25
    norm: Norm = "linf"
    objective: Literal["ce", "kl", "margin", "targeted"] = "ce"
    targets: int = 9
    restarts: int = 1
    bounds: Bounds = UNIT
    batch_norm: BatchNorm = "eval"
    among: int | None = None

    @property
    def kind(self) -> str:
        """Return pgd, or another objective."""
        return "pgd" if self.objective == "ce" else self.objective

    @property
    def name(self) -> str:
        """Return the full setting in words."""
        step = "eps/4" if self.step == 0.25 else f"{self.step:g} eps"
        parts = [f"PGD-{self.steps}", OBJECTIVES[self.objective], NORMS[self.norm], f"eps={self.eps_text}"]
        parts += [
            f"step={step}",
            "uniform start" if self.restarts == 1 else f"{self.restarts} uniform starts",
        ]
        if self.objective == "targeted":
            parts[1] = f"margin to {self._tried}"
        if self.bounds != UNIT:
            parts.append(f"bounds {self.bounds}".lower())
        return ", ".join(parts + ["batch statistics"] * (self.batch_norm == "train"))

    @property
    def _tried(self) -> str:
        """Return in words which wrong classes are targets."""
        if self.among is None:
            return f"{self.targets} wrong classes"
        if self.targets >= self.among:
            return f"each of the {self.among} wrong classes" if self.among > 1 else "the wrong class"
        left = self.among - self.targets
        return f"the {self.targets} likeliest of {self.among} wrong classes, {left} left out"

    @property
    def warning(self) -> str:
        """Return what is wrong with the setting, if anything: steps too short to cross the ball."""
        if self.steps * self.step >= 2:
            return ""
        return (
            f"{self.steps} steps of {self.step:g} eps travel less than 2 eps and cannot cross the ball: "
            "errors, most of all those of the worst class, may be far too small"
        )

    def answers(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise) -> Tensor:
        """Return the class that each sample is given; one that is broken is not tried again."""
        return self.examples(model, x, y, clean, noise)[1]

    def examples(
        self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Return attacked samples, shape (n, ...), and the class that each is given, see `Attacker`."""
        ball = Ball(x, torch.full(y.shape, self.eps, dtype=x.dtype, device=x.device), self.norm, self.bounds)
        examples, answers = x.clone(), y.clone()
        for attempt in range(self.restarts * self._targets(clean)):
            chosen = (answers == y).nonzero().squeeze(1)
            if len(chosen) == 0:
                break
            part, label = ball[chosen], y[chosen]
            adv = pgd(
                model,
                part,
                part.uniform(noise[chosen].fork(attempt)),
                self.step * part.eps,
                self.steps,
                self._objective(attempt, label, clean[chosen]),
                batch_norm=self.batch_norm,
                stop=label if self.objective == "targeted" else None,
            )
            with attacking(model), torch.no_grad():
                examples[chosen], answers[chosen] = adv, predicted(model(adv))
        return examples, answers

    def _targets(self, clean: Tensor) -> int:
        return min(self.targets, clean.shape[1] - 1) if self.objective == "targeted" else 1

    def _objective(self, attempt: int, y: Tensor, clean: Tensor) -> Objective:
        if self.objective == "targeted":
            wrong = clean.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
            return targeted_margin(y, wrong[:, attempt % self._targets(clean)])
        return {"ce": cross_entropy, "margin": margin}.get(self.objective, lambda _: kl_from(clean))(y)


MOST_TARGETS = 20
"""Wrong classes that are targets where the name of the attack says how many there are."""


def reported(attack: Attack, among: int | None = None) -> tuple[Attack, Attack]:
    """Return the attacks behind the errors of a run: the one given, and the same towards each wrong class.

    PGD on the cross-entropy alone is what the field reports, and is not enough: it is not exact even for a
    linear network of more than two classes, and misses most in the worst class.

    Args:
        attack: plain PGD.
        among: how many wrong classes there are; the 9 likeliest are targets if None, else the 20 likeliest.
    """
    targets = attack.targets if among is None else min(among, MOST_TARGETS)
    return attack, replace(attack, objective="targeted", targets=targets, among=among)


def evaluate(
    model: nn.Module,
    split: Split,
    *attacks: Attacker,
    seed: int,
    batch_size: int = 500,
    shards: Path | None = None,
) -> Evaluation:
    """Return whether each sample of a split withstands nothing at all and each attack.

    A sample's random numbers depend on its index and the seed alone. A sample that is wrong without an attack
    is not attacked. Logits that are not finite are right for no class; where there are any, or gradients that
    no attack can follow, a `DoubtWarning` says so, as `Evaluation.doubts` does.

    Args:
        model: returns logits; it is left as it was.
        split: images and labels.
        attacks: the attacks.
        seed: seed of their random starts.
        batch_size: samples attacked at once.
        shards: folder where each batch is kept once it is done. An evaluation of the same network on the same
            samples by the same attacks takes what it finds there, and so goes on after an interruption.

    Raises:
        InputError: the folder cannot be written, or the network takes no such images, returns no logits, or
            none with a gradient.
    """
    index = split.index
    names = (CLEAN, *(attack.name for attack in attacks))
    batches = [slice(begin, begin + batch_size) for begin in range(0, len(split), batch_size)]
    key = _key(model, split, index, names, seed, batch_size) if shards is not None else ""
    parts = []
    for part in batches:
        path = None if shards is None else shards / f"{key}-{part.start}.npz"
        done = None if path is None or not path.is_file() else _kept(path, batch_size)
        if done is None:
            done = _batch(model, split, part, attacks, Noise.of(seed, index[part]))
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, done.to_bytes())
        parts.append(done)
    whole = Evaluation.join(parts)
    for doubt in whole.doubts.values():
        warnings.warn(doubt, DoubtWarning, stacklevel=2)
    return whole


def _batch(
    model: nn.Module, split: Split, part: slice, attacks: tuple[Attacker, ...], noise: Noise
) -> Evaluation:
    """Return the evaluation of a batch."""
    x, y = split.inputs(part), split.labels[part]
    blind = torch.zeros_like(y)
    with attacking(model):
        clean = _logits(model, x, y)
        answers = [predicted(clean)]
        right = (answers[0] == y).nonzero().squeeze(1)
        if attacks and len(right):
            blind[right] = without_gradient(model, x[right], y[right]).long()
        for attack in attacks:
            answers.append(answers[0].clone())
            if len(right):
                found = attack.answers(model, x[right], y[right], clean[right], noise[right])
                answers[-1][right] = found
    lost = [answers[0] < 0, *(a[right] < 0 for a in answers[1:])]
    labels, place = (v[part].cpu().numpy() for v in (split.labels, split.index))
    return Evaluation(
        (CLEAN, *(attack.name for attack in attacks)),
        place,
        labels,
        (torch.stack(answers) == y).cpu().numpy(),
        tuple(int(flags.sum()) for flags in lost),
        int(blind.sum()),
        (CLEAN, *(attack.kind for attack in attacks)),
    )


def _logits(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the logits at inputs with labels y; refuse a network that takes no such inputs or has none."""
    try:
        with torch.no_grad():
            logits = model(x)
    except RuntimeError as error:
        others = sorted({str(p.dtype) for p in model.parameters()} - {str(x.dtype)})
        if not others or isinstance(error, torch.OutOfMemoryError):
            raise
        raise InputError(
            f"the network takes no {x.dtype} images: it has weights of {', '.join(others)}"
        ) from None
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.shape[:-1] != y.shape:
        got = f"{logits.dtype} of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits)
        raise InputError(f"the network must return logits, numbers of shape ({len(y)}, classes), got {got}")
    if int(y.max()) >= logits.shape[1]:
        raise InputError(f"the network has {logits.shape[1]} logits, and a label is {int(y.max())}")
    return logits


def _kept(path: Path, most: int) -> Evaluation | None:
    """Return a finished shard, or None if it is damaged: then it is made again."""
    try:
        return Evaluation.read(path, most)
    except InputError:
        return None


def _key(
    model: nn.Module, split: Split, index: Tensor, names: tuple[str, ...], seed: int, batch_size: int
) -> str:
    """Return 16 hexadecimal digits that name an evaluation: its network, samples, attacks and batches."""
    digest = hashlib.sha256(repr((names, seed, batch_size, torch.__version__, index.device.type)).encode())
    for name, tensor in (*model.state_dict().items(), ("x", split.images), ("y", split.labels), ("i", index)):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()))
    return digest.hexdigest()[:16]
