"""Whether a training goes well: it stops where a number is not finite, and alarms are told once a run."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from deep.attacks.pgd import attacking, predicted
from deep.data import Dataset
from deep.training.checkpoint import all_finite
from theory.common.inputs import InputError

__all__ = ["OVERFITTING", "alarm", "answers", "collapse", "commonest", "diverged"]

IN_A_ROW = 3
"""Validated epochs that show nothing learnt before it is said: a slow start is over by then. After the last
epoch one is enough."""
ONE_ANSWER = 0.99
"""Share of the validation images that one class is answered for; where classes are equally frequent and a
network is worth anything it is near 1 / classes."""
NEAR = 0.02
"""Distance from ln C, in units of ln C, of the loss of a network that answers 1 / C for everything. Steps of
the optimiser keep it a little above."""
SPREADS = 3.0
"""Standard deviations of a guess by which validation is better than chance, or else is no better."""

OVERFITTING = "catastrophic overfitting"
"""The kind of the alarm that may end a training."""

Line = Mapping[str, Any]


def diverged(what: str, epoch: int, lr: float) -> InputError:
    """Return the refusal to go on with a training in which something is not finite, epochs from 0."""
    return InputError(
        f"training diverged: {what} epoch {epoch + 1}; lower --lr (it is {lr:g}) or what weights the loss"
    )


def answers(
    model: nn.Module, *others: nn.Module, data: Dataset, epoch: int, lr: float
) -> tuple[npt.NDArray[np.int64], float]:
    """Return the class that the evaluated network answers for each validation image, and its cross-entropy.

    The loss of an epoch says nothing of its last step, and nothing of running statistics.

    Returns:
        Classes, shape (n,), and the mean cross-entropy without an attack, whatever loss is trained.

    Raises:
        InputError: a weight or statistic of it or of the others, or a logit, is not finite.
    """
    if not all(all_finite(network.state_dict()) for network in (model, *others)):
        raise diverged("there are weights that are not finite after", epoch, lr)
    n = len(data.val)
    with attacking(model), torch.no_grad():
        logits = torch.cat([model(data.val.inputs(slice(i, i + 500))) for i in range(0, n, 500)])
    answers_of_all = predicted(logits).cpu().numpy()
    if (answers_of_all < 0).any():
        raise diverged("there are logits that are not finite after", epoch, lr)
    return answers_of_all, float(F.cross_entropy(logits.float(), data.val.labels))


def commonest(answers: npt.NDArray[np.int64], loss: float) -> dict[str, float]:
    """Return for a line of the history what `answers` says: the class answered most, its share, the loss."""
    counts = np.bincount(answers)
    share = round(float(counts.max() / len(answers)), 4)
    return {"answer": int(counts.argmax()), "answer_share": share, "answer_loss": round(loss, 4)}


def alarm(
    line: Line,
    history: Sequence[Line],
    data: Dataset,
    doubts: Mapping[str, str],
    *,
    attacked: bool,
    last: bool,
) -> dict[str, Any]:
    """Return what is wrong after an epoch that was validated and was not said before, for its line.

    Args:
        line: "epoch", "loss", errors of each class, and `commonest`.
        history: the lines of the epochs before it.
        data: what is trained and validated on.
        doubts: of the validation, see `Evaluation.doubts`.
        attacked: whether the training examples were attacked.
        last: whether it is the last epoch.

    Returns:
        "alarm", a sentence on each line, and "alarm_kinds"; nothing if there is nothing new.
    """
    causes = {f"validation, {kind}": f"in validation {doubt}" for kind, doubt in doubts.items()}
    validated = [old for old in history if "robust_error" in old]
    if validated and attacked:
        causes |= _overfitting(line, validated[-1])
    recent = [line] if last else [*validated, line][-IN_A_ROW:]
    signs = [_nothing_learnt(entry, data.classes, len(data.val)) for entry in recent]
    if all(signs) and (last or len(recent) == IN_A_ROW):
        causes["nothing learnt"] = (
            f"nothing is learnt after epoch {line['epoch']}: {signs[-1]}; lower --lr, --eps or what weights "
            "the loss, or train for longer"
        )
    reported = {kind for old in history for kind in old.get("alarm_kinds", [])}
    new = {kind: sentence for kind, sentence in causes.items() if kind not in reported}
    return {"alarm": "\n".join(new.values()), "alarm_kinds": [*new]} if new else {}


def collapse(line: Line, data: Dataset) -> str:
    """Return what shows that the network of a validated epoch answers no better than a guess, or nothing.

    Args:
        line: see `alarm`.
        data: what it was trained and validated on.
    """
    signs = _nothing_learnt(line, data.classes, len(data.val))
    return f"the network of epoch {line['epoch']} has collapsed to a guess: {signs}" if signs else ""


def _overfitting(line: Line, before: Line) -> dict[str, str]:
    natural, jump = (fmean(line[q]) - fmean(before[q]) for q in ("natural_error", "robust_error"))
    if line["loss"] >= before["loss"] or jump <= 0.2 or natural >= 0.1:
        return {}
    sentence = (
        f"{OVERFITTING} in epoch {line['epoch']}: the training loss fell and the robust "
        f"validation error rose by {100 * jump:.0f} points; the training attack no longer finds "
        "what the evaluation finds: raise --steps, or lower --step-size or --lr"
    )
    return {OVERFITTING: sentence}


def _nothing_learnt(line: Line, classes: Sequence[str], samples: int) -> str:
    """Return what shows that a network has learnt nothing, if anything does."""
    chance, uniform = 1 / len(classes), math.log(len(classes))
    guess = chance + SPREADS * math.sqrt(chance * (1 - chance) / samples)
    if 1 - fmean(line["natural_error"]) > guess:
        return ""
    signs = []
    if (share := line.get("answer_share", 0.0)) >= ONE_ANSWER:
        signs.append(
            f"{classes[line['answer']]} is answered for {100 * share:.0f} % of the validation images"
        )
    # the loss that is trained may be no cross-entropy, or weighted: that of the validation images is one
    for what, loss in (
        ("the loss", line["loss"]),
        ("the validation loss", line.get("answer_loss", math.inf)),
    ):
        if abs(loss - uniform) <= NEAR * uniform:
            signs.append(f"{what} of {loss:.3f} is that of a guess, ln {len(classes)}")
            break
    return " and ".join(signs)
