"""The attacks on every sample, batch by batch, and what they left: `Outcome`, of which numbers are made."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deep.attacks.ball import each
from deep.attacks.evaluate import Attacker
from deep.attacks.noise import Noise
from deep.attacks.pgd import attacking, predicted, without_gradient
from deep.data import Split
from theory.common.arrays import packed, read_arrays
from theory.common.files import write_atomic
from theory.common.inputs import InputError
from theory.results.flags import CLEAN, Evaluation

__all__ = ["Outcome", "logits_of", "measure"]

Array = npt.NDArray[Any]
FIELDS = {"ok": "b2", "clean": "f2", "attacked": "f3", "not_finite": "i1", "blind": "i0"}
"""Kind and dimensions of the arrays of a shard."""


@dataclass(frozen=True)
class Outcome:
    """What attacks made of samples; A attacks after "clean", T threats of some of them each.

    Args:
        attacks: names of the attacks of each threat.
        index: what names each sample, shape (n,).
        labels: class of each sample, shape (n,).
        ok: whether each sample is right after each attack, "clean" first, shape (1 + A, n).
        clean: logits, shape (n, classes).
        attacked: logits at the attacked input of each threat with the smallest margin, shape (T, n, classes).
        not_finite: samples with logits that are not finite, for each attack, shape (1 + A,).
        blind: right samples whose gradient is 0 or not finite.
    """

    attacks: tuple[tuple[str, ...], ...]
    index: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    ok: npt.NDArray[np.bool_]
    clean: Array
    attacked: Array
    not_finite: npt.NDArray[np.int64]
    blind: int

    def evaluation(self, threat: int | None = None) -> Evaluation:
        """Return the flags under the attacks of a threat; under all, if None."""
        names = [(t, name) for t, group in enumerate(self.attacks) for name in group]
        rows = [0, *(i for i, (t, _) in enumerate(names, 1) if threat in (None, t))]
        chosen = (CLEAN, *(names[i - 1][1] for i in rows[1:]))
        lost = tuple(self.not_finite[rows].tolist())
        return Evaluation(chosen, self.index, self.labels, self.ok[rows], lost, self.blind)

    def answers(self, threat: int | None = None) -> npt.NDArray[np.int64]:
        """Return the class that each sample is given under a threat, without an attack if None, shape (n,).

        It is -1 where a logit is not finite. A sample that an attack broke is given the likeliest wrong
        class, though logits rounded in another batch may be a tie.
        """
        logits = np.array(self.clean if threat is None else self.attacked[threat], float)
        finite = np.isfinite(logits).all(1)
        wrong = ~(self.ok[0] if threat is None else self.evaluation(threat).ok_attacked)
        logits[wrong, self.labels[wrong]] = -np.inf
        return np.where(finite, np.where(wrong, logits.argmax(1), self.labels), -1)

    @classmethod
    def join(cls, parts: Sequence["Outcome"]) -> "Outcome":
        """Return the outcome of the samples of several."""
        arrays = [
            np.concatenate([getattr(p, name) for p in parts], axis=axis)
            for name, axis in (("index", 0), ("labels", 0), ("ok", 1), ("clean", 0), ("attacked", 1))
        ]
        lost = np.sum([p.not_finite for p in parts], axis=0)
        return cls(parts[0].attacks, *arrays, lost, sum(p.blind for p in parts))


def logits_of(model: nn.Module, split: Split, batch_size: int) -> Tensor:
    """Return the logits of all samples, shape (n, classes).

    Raises:
        InputError: the model returns none, or some that are not finite.
    """
    parts = []
    with attacking(model), torch.no_grad():
        for begin in range(0, len(split), batch_size):
            parts.append(_checked(model, split.inputs(slice(begin, begin + batch_size))))
    logits = torch.cat(parts)
    lost = ~logits.isfinite()
    if lost.any():
        samples, classes = lost.any(1), lost.any(0).nonzero().squeeze(1).tolist()
        raise InputError(
            f"the logits of {int(samples.sum())} of {len(split)} samples are not finite, sample "
            f"{int(samples.nonzero()[0])} the first, those of class {', '.join(map(str, classes[:10]))}: "
            f"no error "
            "can be told of them"
        )
    return logits


def _checked(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits at some inputs; refuse what is none."""
    try:
        logits = model(x)
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a model of somebody else's may raise anything
        reason = " ".join(str(error).split())
        raise InputError(
            f"the model fails on inputs of shape {tuple(x.shape)} and type "
            f"{str(x.dtype).removeprefix('torch.')}: "
            f"{type(error).__name__}: {reason:.200}"
        ) from error
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.shape[:-1] != (len(x),):
        got = f"{logits.dtype} of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits)
        raise InputError(f"the model must return logits, numbers of shape ({len(x)}, classes), got {got}")
    if logits.shape[1] < 2:
        raise InputError(
            f"the model must return at least 2 logits, got {logits.shape[1]}; one that says z for the "
            f"second of "
            "two classes has the logits (0, z)"
        )
    return logits


def measure(
    model: nn.Module,
    split: Split,
    plan: Sequence[Sequence[Attacker]],
    clean: Tensor,
    *,
    seed: int,
    batch_size: int,
    shards: Path | None = None,
    progress: Callable[[Iterable[slice]], Iterable[slice]] = iter,
) -> Outcome:
    """Return what the attacks of each threat do to samples.

    Args:
        model: returns logits; it is left as it was.
        split: the samples.
        plan: the attacks of each threat.
        clean: their logits, shape (n, classes).
        seed: seed of the random starts, which depend on it and the sample alone.
        batch_size: samples attacked at once.
        shards: folder where each batch is kept once it is done, and taken from if it is of the same model, by
            its weights and its logits, the same samples and attacks.
        progress: shows how many batches are done.
    """
    names = tuple(tuple(attack.name for attack in attacks) for attacks in plan)
    batches = [slice(begin, begin + batch_size) for begin in range(0, len(split), batch_size)]
    weights = b"" if shards is None else _digest(*model.state_dict().values())
    parts = []
    for part in progress(batches):
        path = None
        if shards is not None:
            data = _digest(split.inputs(part), split.labels[part], split.index[part], clean[part])
            key = hashlib.sha256(repr((names, seed, torch.__version__)).encode() + weights + data).hexdigest()
            path = shards / f"{key[:32]}.npz"
        arrays = None if path is None else _kept(path)
        if arrays is None:
            noise = Noise.of(seed, split.index[part])
            arrays = _batch(model, split.inputs(part), split.labels[part], clean[part], plan, noise)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, packed(arrays))
        index, labels = (v[part].cpu().numpy() for v in (split.index, split.labels))
        fields = {name: arrays[name] for name in FIELDS} | {"blind": int(arrays["blind"])}
        parts.append(Outcome(names, index, labels, **fields))
    return Outcome.join(parts)


def _digest(*tensors: Any) -> bytes:
    """Return the checksum of tensors of any type; what is no tensor, as a state may have, is left out."""
    digest = hashlib.sha256()
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.digest()


def _kept(path: Path) -> dict[str, Array] | None:
    """Return a finished shard, or None if it is missing or damaged: then it is made again."""
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path, 1 << 32)
    except InputError:
        return None
    kinds = {name: array.dtype.kind + str(array.ndim) for name, array in arrays.items()}
    return arrays if kinds == FIELDS else None


def _batch(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    clean: Tensor,
    plan: Sequence[Sequence[Attacker]],
    noise: Noise,
) -> dict[str, Array]:
    """Return the arrays of a shard."""
    right = (predicted(clean) == y).nonzero().squeeze(1)
    ok, attacked, lost = [predicted(clean) == y], [], [0]
    blind = int(without_gradient(model, x[right], y[right]).sum()) if len(right) else 0
    for attacks in plan:
        best = clean.clone()
        for attack in attacks:
            flags = torch.zeros_like(ok[0])
            if len(right):
                sample = x[right], y[right], clean[right], noise[right]
                adv, answers = attack.examples(model, *sample)
                with attacking(model), torch.no_grad():
                    logits = model(adv)
                flags[right] = answers == y[right]
                lower = _lead(logits, y[right]) < _lead(best[right], y[right])
                best[right] = torch.where(each(lower, logits), logits, best[right])
                lost.append(int((answers < 0).sum()))
            else:
                lost.append(0)
            ok.append(flags)
        attacked.append(best)
    return {
        "ok": torch.stack(ok).cpu().numpy(),
        "clean": clean.cpu().numpy(),
        "attacked": torch.stack(attacked).cpu().numpy(),
        "not_finite": np.array(lost, np.int64),
        "blind": np.array(blind, np.int64),
    }


def _lead(logits: Tensor, y: Tensor) -> Tensor:
    """Return the label's logit minus the largest other, shape (n,); -inf where one is not finite."""
    lead = logits.gather(1, y[:, None]).squeeze(1) - logits.scatter(1, y[:, None], -torch.inf).amax(1)
    return torch.where(logits.isfinite().all(1), lead, -torch.inf)
