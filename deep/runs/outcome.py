"""What a run leaves: the errors of its network on the test split, in files and for a person."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, harmonic_mean
from typing import Any, NamedTuple

import torch
from torch import nn

from deep.attacks.evaluate import Evaluation, evaluate
from deep.attacks.interval_bounds import certified, is_chain
from deep.data import Dataset, Split
from deep.runs.folder import tidy
from deep.runs.place import Place
from deep.runs.reload import attacks_on
from deep.runs.settings import Settings
from deep.training.checkpoint import save_weights
from deep.training.health import collapse
from deep.training.loop import Trainer
from deep.training.seeds import stream
from theory.common.digits import percent
from theory.common.files import write_atomic
from theory.results.counts import ClassErrors, exact_interval
from theory.results.records import provenance, records_of, to_jsonl
from theory.results.run_files import BEST, FLAGS, LAST, RECORDS, RESULT, SHARDS, WEIGHTS

__all__ = ["FinalEvaluation", "certified_error", "measure", "report", "save", "write_results"]


class FinalEvaluation(NamedTuple):
    """What is reported of a run: what is robust to its attacks, of which epoch, and a collapse.

    Args:
        flags: of the test split.
        epoch: whose network it is.
        collapse: the sentence that says that it is no better than a guess, if it is not.
        certified: the certified error of each class, where the network has interval bounds.
    """

    flags: Evaluation
    epoch: int
    collapse: str = ""
    certified: Mapping[str, Any] | None = None


def certified_error(
    model: nn.Module, split: Split, eps: float, flags: Evaluation, classes: Sequence[str]
) -> dict[str, Any] | None:
    """Return the error of each class that interval bounds do not exclude, as JSON; None without bounds.

    Args:
        model: a network, in evaluation mode.
        split: samples and labels.
        eps: l-infinity radius.
        flags: what attacks of that radius made of the same samples.
        classes: names of the classes.
    """
    if not is_chain(model):
        return None
    proven = certified(model, split, eps).cpu().numpy()
    if (proven & ~flags.ok_attacked).any():
        raise RuntimeError("an attack broke a sample that interval bounds certify: one of them is wrong")
    counted = ClassErrors.from_flags(classes, flags.labels, flags.ok_attacked, proven)
    summary: dict[str, Any] = counted.summary()["robust_error"]
    return summary


def measure(settings: Settings, place: Place, trainer: Trainer) -> FinalEvaluation:
    """Evaluate the network that is reported on the test split; what an interruption left is not redone."""
    model, data = trainer.chosen(settings.report), trainer.data
    flags = evaluate(
        model,
        data.test,
        *attacks_on(settings, data),
        seed=stream(settings.seed, "test"),
        shards=place.out / SHARDS,
    )
    epoch = trainer.chosen_epoch(settings.report)
    proven = certified_error(model.eval(), data.test, settings.attack.eps, flags, data.classes)
    return FinalEvaluation(flags, epoch, collapse(trainer.history[epoch - 1], data), proven)


def save(
    settings: Settings, place: Place, trainer: Trainer, outcome: FinalEvaluation, seconds: float
) -> None:
    """Write the results of a run, result.json last."""
    data, state = trainer.data, trainer.method.state()
    source = provenance(
        torch=torch.__version__,
        device=str(place.device),
        processes=trainer.world.size,
        seconds=round(seconds, 1),
        data_sha256=data.sha256,
        data_published=data.published,
        init=settings.init,
        **({"teachers": settings.teachers} if settings.teachers else {}),
        **_cost(trainer.history),
        **({"collapse": outcome.collapse} if outcome.collapse else {}),
    )
    kept = {WEIGHTS: settings.report, BEST: "best"} | ({LAST: "last"} if settings.report == "best" else {})
    details: dict[str, Any] = {
        "epoch": outcome.epoch,
        "warnings": _warnings(trainer, outcome),
        "state": state,
    }
    if outcome.certified:
        details["certified_error"] = outcome.certified
    if trainer.stopped:
        details["stopped"] = trainer.stopped
    weights = {file: trainer.chosen(which).state_dict() for file, which in kept.items()}
    write_results(settings, place.out, data, outcome.flags, weights, details, source)


def write_results(
    settings: Settings,
    out: Path,
    data: Dataset,
    flags: Evaluation,
    weights: Mapping[str, Mapping[str, torch.Tensor]],
    details: Mapping[str, Any],
    source: Mapping[str, Any],
) -> None:
    """Write what a run leaves into its folder, result.json last.

    Args:
        settings: of the run.
        out: its folder.
        data: its splits.
        flags: of the test split.
        weights: by the name of their file.
        details: what else the result has: at least "warnings", and "state", what the method says of classes.
        source: provenance of every number.
    """
    counted = flags.errors(data.classes)
    setting = {k: v for k, v in settings.as_json().items() if k not in ("seed", "method")}
    setting |= {"eps": settings.attack.eps, "eps_text": settings.eps, "n_train": len(data.train)}
    if settings.train_eps is not None:
        setting |= {"train_eps": settings.train_radius, "train_eps_text": settings.train_eps}
    if settings.init:
        setting["init"] = settings.init["recipe"]
    if settings.teachers:
        setting["teachers"] = settings.teacher_recipes
    if settings.stage:  # which run it is of differs by seed
        setting["stage"] = {k: settings.stage[k] for k in ("name", "params")}
    common = {"setting": setting, "attack": flags.attack, "seed": settings.seed, "method": settings.method}
    result = {"id": settings.id, **common, "classes": data.classes, "n": counted.n, **details}
    result["warnings"] = [*details["warnings"], *flags.doubts.values()]
    result |= counted.summary() | {"provenance": source}
    result["sha256"] = {file: save_weights(out / file, state) for file, state in weights.items()}
    write_atomic(out / FLAGS, flags.to_bytes())
    extra = _per_class(details["state"], data.classes)
    write_atomic(
        out / RECORDS, to_jsonl(records_of(counted, extra, source="deep", **common, provenance=source))
    )
    write_atomic(out / RESULT, json.dumps(result, indent=1) + "\n")
    tidy(out)


def _certified_line(outcome: FinalEvaluation) -> list[str]:
    """Return the certified error in a line, if there is one."""
    if outcome.certified is None:
        return []
    average, worst = (percent(outcome.certified[k]) for k in ("average", "worst"))
    return [f"certified error: average {average}, worst {worst} ({outcome.certified['worst_class']})"]


def _warnings(trainer: Trainer, outcome: FinalEvaluation) -> list[str]:
    warnings = (outcome.collapse, trainer.data.warning, trainer.attack.warning)
    return [warning for warning in warnings if warning]


def _cost(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what training cost: how often the network saw each image, and images a second."""
    return {
        "passes": round(fmean(line["passes"] for line in history), 2),
        "images_per_second": round(harmonic_mean(line["images_per_second"] for line in history), 1),
    }


def _per_class(state: Mapping[str, Any], classes: Sequence[str]) -> dict[str, list[float]]:
    """Return what the state of a method says of every class."""
    return {k: v for k, v in state.items() if isinstance(v, list) and len(v) == len(classes)}


def report(settings: Settings, trainer: Trainer, outcome: FinalEvaluation) -> str:
    """Return the errors of every class, and which classes are hard and easy, for a person."""
    data = trainer.data
    counted = outcome.flags.errors(data.classes)
    confidence = 1 - 0.05 / len(counted.n)  # Bonferroni over the classes
    low, high = exact_interval(counted.counts("robust_error"), counted.n, confidence).T
    average = counted.average("robust_error")
    rates = counted.rates("robust_error")
    order = rates.argsort()
    hard = [f"{data.classes[i]} {100 * rates[i]:.0f}" for i in order[::-1] if low[i] > average]
    easy = [f"{data.classes[i]} {100 * rates[i]:.0f}" for i in order if high[i] < average]
    title = (
        f"{settings.method} on {settings.dataset}: {settings.network}, "
        f"{settings.epochs} epochs on {len(data.train)} images, seed {settings.seed}; {outcome.flags.attack}"
        + (f"; weights of epoch {outcome.epoch}, the best in validation" if settings.report == "best" else "")
    )
    if trainer.stopped:
        title += f"; stopped in epoch {trainer.stopped}, where it overfitted catastrophically"
        title += f"; weights of epoch {outcome.epoch}" if settings.report == "last" else ""
    return "\n".join(
        [
            counted.table(title).text(),
            *_certified_line(outcome),
            *(f"warning: {warning}" for warning in _warnings(trainer, outcome)),
            f"hard classes (robust error above the average, all at 95 %): {', '.join(hard) or 'none'}",
            f"easy classes (robust error below the average, likewise): {', '.join(easy) or 'none'}",
        ]
    )
