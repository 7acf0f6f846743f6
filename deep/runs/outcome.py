"""What a run leaves: the errors of its network on the test split, in files and for a person."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean, harmonic_mean
from typing import Any, NamedTuple

import torch

from deep.attacks.evaluate import Evaluation, evaluate, reported
from deep.runs.folder import tidy
from deep.runs.settings import Place, Settings
from deep.training.checkpoint import save_weights
from deep.training.loop import Trainer
from deep.training.seeds import stream
from theory.common.files import write_atomic
from theory.results.counts import exact_interval
from theory.results.records import provenance, records_of, to_jsonl
from theory.results.run_files import BEST, FLAGS, LAST, RECORDS, RESULT, SHARDS, WEIGHTS

__all__ = ["FinalEvaluation", "measure", "report", "save"]


class FinalEvaluation(NamedTuple):
    """What is reported of a run: which test samples withstand its attacks, and of which epoch."""

    flags: Evaluation
    epoch: int


def measure(settings: Settings, place: Place, trainer: Trainer) -> FinalEvaluation:
    """Evaluate the network that is reported on the test split; what an interruption left is not redone."""
    flags = evaluate(
        trainer.chosen(settings.report),
        trainer.data.test,
        *reported(trainer.attack),
        seed=stream(settings.seed, "test"),
        shards=place.out / SHARDS,
    )
    return FinalEvaluation(flags, trainer.chosen_epoch(settings.report))


def save(
    settings: Settings, place: Place, trainer: Trainer, outcome: FinalEvaluation, seconds: float
) -> None:
    """Write the results of a run, result.json last."""
    data = trainer.data
    counted = outcome.flags.errors(data.classes)
    source = provenance(
        torch=torch.__version__,
        device=str(place.device),
        processes=trainer.world.size,
        seconds=round(seconds, 1),
        data_sha256=data.sha256,
        data_published=data.published,
        init=settings.init,
        **_cost(trainer.history),
    )
    setting = {k: v for k, v in settings.as_json().items() if k not in ("seed", "method")}
    setting |= {"eps": trainer.attack.eps, "eps_text": settings.eps, "n_train": len(data.train)}
    if settings.train_eps is not None:
        setting |= {"train_eps": settings.train_radius, "train_eps_text": settings.train_eps}
    if settings.init:
        setting["init"] = settings.init["recipe"]
    common = {
        "setting": setting,
        "attack": outcome.flags.attack,
        "seed": settings.seed,
        "method": settings.method,
    }
    result = {"id": settings.id, **common, "epoch": outcome.epoch, "classes": data.classes, "n": counted.n}
    result["warnings"] = [*_warnings(trainer), *outcome.flags.doubts.values()]
    if trainer.stopped:
        result["stopped"] = trainer.stopped
    result |= counted.summary() | {"state": trainer.method.state(), "provenance": source}
    kept = {WEIGHTS: settings.report, BEST: "best"} | ({LAST: "last"} if settings.report == "best" else {})
    result["sha256"] = {
        file: save_weights(place.out / file, trainer.chosen(which).state_dict())
        for file, which in kept.items()
    }
    write_atomic(place.out / FLAGS, outcome.flags.to_bytes())
    records = records_of(
        counted, _per_class(trainer.method.state(), data.classes), source="deep", **common, provenance=source
    )
    write_atomic(place.out / RECORDS, to_jsonl(records))
    write_atomic(place.out / RESULT, json.dumps(result, indent=1) + "\n")
    tidy(place.out)


def _warnings(trainer: Trainer) -> list[str]:
    return [warning for warning in (trainer.data.warning, trainer.attack.warning) if warning]


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
        f"{settings.method} on {settings.dataset}: {settings.model}, width {settings.width}, "
        f"{settings.epochs} epochs on {len(data.train)} images, seed {settings.seed}; {outcome.flags.attack}"
        + (f"; weights of epoch {outcome.epoch}, the best in validation" if settings.report == "best" else "")
    )
    if trainer.stopped:
        title += f"; stopped in epoch {trainer.stopped}, where it overfitted catastrophically"
        title += f"; weights of epoch {outcome.epoch}" if settings.report == "last" else ""
    return "\n".join(
        [
            counted.table(title).text(),
            *(f"warning: {warning}" for warning in _warnings(trainer)),
            f"hard classes (robust error above the average, all at 95 %): {', '.join(hard) or 'none'}",
            f"easy classes (robust error below the average, likewise): {', '.join(easy) or 'none'}",
        ]
    )
