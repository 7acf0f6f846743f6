"""Whether each sample of a split withstands each attack: ``Evaluation``, of which every error is derived."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from deep.attacks import BatchNorm, Objective, attacking, cross_entropy, kl_from, margin, pgd, towards
from deep.ball import UNIT, Ball, Bounds, Norm
from deep.data import Split
from deep.noise import Noise
from theory.evaluation import CLEAN, Evaluation
from theory.inputs import InputError
from theory.record import write_atomic

__all__ = ["Attack", "Attacker", "Evaluation", "evaluate", "reported"]

NORMS: Mapping[str, str] = {"linf": "l-infinity", "l2": "l2"}
OBJECTIVES: Mapping[str, str] = {
    "ce": "cross-entropy",
    "kl": "divergence from the clean output",
    "margin": "margin",
    "targeted": "margin to each of the likeliest wrong classes",
}


class Attacker(Protocol):
    """What `evaluate` needs of an attack."""

    @property
    def name(self) -> str:
        """Return the full setting in words."""

    def withstood(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise) -> Tensor:
        """Return whether each sample withstands the attack, bool of shape (n,).

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
        norm: linf or l2.
        objective: what is increased: ce, kl, margin, or targeted: the margin to one wrong class after the
            other, the likeliest first; then a sample is kept where it is first classified wrong.
        targets: how many wrong classes are targets.
        restarts: random starts; a sample withstands the attack if it withstands all of them.
        bounds: of the data, None where there are none.
        batch_norm: see `deep.attacks.BatchNorm`.
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
            parts[1] = f"margin to {self.targets} wrong classes"
        if self.bounds != UNIT:
            parts.append(f"bounds {self.bounds}".lower())
        return ", ".join(parts + ["batch statistics"] * (self.batch_norm == "train"))

    @property
    def warning(self) -> str:
        """Return what is wrong with the setting, if anything: steps too short to cross the ball."""
        if self.steps * self.step >= 2:
            return ""
        return (
            f"{self.steps} steps of {self.step:g} eps travel less than 2 eps and cannot cross the ball: "
            "errors, most of all those of the worst class, may be far too small"
        )

    def withstood(self, model: nn.Module, x: Tensor, y: Tensor, clean: Tensor, noise: Noise) -> Tensor:
        """Return whether each sample withstands every attempt; one that is broken is not tried again."""
        ball = Ball(x, torch.full(y.shape, self.eps, dtype=x.dtype, device=x.device), self.norm, self.bounds)
        ok = torch.ones_like(y, dtype=torch.bool)
        for attempt in range(self.restarts * self._targets(clean)):
            chosen = ok.nonzero().squeeze(1)
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
            ok[chosen] = _right(model, adv, label)
        return ok

    def _targets(self, clean: Tensor) -> int:
        return min(self.targets, clean.shape[1] - 1) if self.objective == "targeted" else 1

    def _objective(self, attempt: int, y: Tensor, clean: Tensor) -> Objective:
        if self.objective == "targeted":
            wrong = clean.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
            return towards(y, wrong[:, attempt % self._targets(clean)])
        return {"ce": cross_entropy, "margin": margin}.get(self.objective, lambda _: kl_from(clean))(y)


def reported(attack: Attack) -> tuple[Attack, Attack]:
    """Return the attacks behind the errors of a run: the one given, and the same towards each wrong class.

    PGD on the cross-entropy alone is what the field reports, and is not enough: it is not exact even for a
    linear network of more than two classes, and misses most in the worst class.
    """
    return attack, replace(attack, objective="targeted")


def _right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with attacking(model), torch.no_grad():
        return model(x).argmax(1) == y


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
    is not attacked.

    Args:
        model: returns logits; it is left as it was.
        split: images and labels.
        attacks: the attacks.
        seed: seed of their random starts.
        batch_size: samples attacked at once.
        shards: folder where each batch is kept once it is done. An evaluation of the same network on the same
            samples by the same attacks takes what it finds there, and so goes on after an interruption.

    Raises:
        InputError: the folder cannot be written.
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
            flags = _batch(model, split, part, attacks, Noise.of(seed, index[part]))
            labels, place = (v[part].cpu().numpy() for v in (split.labels, index))
            done = Evaluation(names, place, labels, torch.stack([*flags]).cpu().numpy())
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, done.to_bytes())
        parts.append(done)
    return Evaluation.join(parts)


def _batch(
    model: nn.Module, split: Split, part: slice, attacks: tuple[Attacker, ...], noise: Noise
) -> Iterator[Tensor]:
    """Yield whether each sample of a batch withstands nothing, then each attack."""
    x, y = split.inputs(part), split.labels[part]
    with attacking(model):
        with torch.no_grad():
            clean = model(x)
        natural = clean.argmax(1) == y
        yield natural
        for attack in attacks:
            ok = torch.zeros_like(natural)
            if natural.any():
                ok[natural] = attack.withstood(model, x[natural], y[natural], clean[natural], noise[natural])
            yield ok


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
