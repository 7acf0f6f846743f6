"""``python -m deep.train --method frl``: train a network and report the errors of every class.

Without further flags it trains in seconds on the 8 x 8 digits that scikit-learn embeds. A method's
own hyper-parameters are listed by ``--method NAME --help``.
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import safetensors.torch
import torch

from deep.data import DATASETS, Dataset, load
from deep.evaluate import Attack, Evaluation, evaluate, reported
from deep.loop import Recipe, fit
from deep.methods import METHODS
from deep.methods.base import Context
from deep.models import build
from deep.seeds import stream
from deep.settings import Place, Settings, parse
from theory.cli import claim_folder, run
from theory.errors import exact_interval
from theory.inputs import InputError, parse_radius
from theory.record import provenance, records_of, to_jsonl, write_atomic

FILES = ("split.json", "model.safetensors", "flags.npz", "history.jsonl", "records.jsonl", "result.json")


class Outcome(NamedTuple):
    """What a run leaves: the network, a line of history an epoch, and the flags of the test samples."""

    model: torch.nn.Module
    history: list[dict[str, Any]]
    flags: Evaluation
    attack: Attack


def network(settings: Settings, data: Dataset) -> torch.nn.Module:
    """Return the untrained network of a run."""
    spec = DATASETS[settings.dataset]
    torch.manual_seed(stream(settings.seed, "weights"))
    return build(settings.model, settings.width, len(data.classes), spec)


def train(settings: Settings, data: Dataset, device: torch.device) -> Outcome:
    """Train a network as the settings say and evaluate it on the test split."""
    spec = DATASETS[settings.dataset]
    model = network(settings, data).to(device)
    eps = parse_radius(settings.eps)
    generator = torch.Generator(device).manual_seed(stream(settings.seed, "attack"))
    context = Context(len(data.classes), eps, settings.steps, generator)
    method = METHODS[settings.method](settings.params, context)
    attack = Attack(eps, settings.eps, settings.eval_steps)
    augment = spec.augment
    if augment and settings.padding:
        augment = dataclasses.replace(augment, fill=settings.padding)
    recipe = Recipe(
        settings.epochs, settings.lr, settings.batch_size, settings.weight_decay, augment, settings.seed
    )
    history = fit(model, method, data, recipe, attack)
    return Outcome(
        model,
        history,
        evaluate(model, data.test, *reported(attack), seed=stream(settings.seed, "test")),
        attack,
    )


def save(settings: Settings, place: Place, data: Dataset, outcome: Outcome, seconds: float) -> None:
    """Write the folder of a run, result.json last."""
    counted = outcome.flags.errors(data.classes)
    source = provenance(
        torch=torch.__version__,
        device=str(place.device),
        seconds=round(seconds, 1),
        data_sha256=data.sha256,
        data_published=data.published,
    )
    setting = {k: v for k, v in settings.as_json().items() if k not in ("seed", "method")}
    setting |= {"eps": outcome.attack.eps, "eps_text": settings.eps, "n_train": len(data.train)}
    common = {
        "setting": setting,
        "attack": outcome.flags.attack,
        "seed": settings.seed,
        "method": settings.method,
    }
    result = {"id": settings.id, **common, "classes": data.classes, "n": counted.n}
    result |= counted.summary() | {"provenance": source}
    weights = {k: v.cpu().contiguous() for k, v in outcome.model.state_dict().items()}
    contents = (
        data.to_json(),
        safetensors.torch.save(weights),
        outcome.flags.to_bytes(),
        "".join(json.dumps(line) + "\n" for line in outcome.history),
        to_jsonl(records_of(counted, source="deep", **common, provenance=source)),
        json.dumps(result, indent=1) + "\n",
    )
    for name, content in zip(FILES, contents, strict=True):
        write_atomic(place.out / name, content)


def report(settings: Settings, data: Dataset, outcome: Outcome) -> str:
    """Return the errors of every class, and which classes are hard and easy, for a person."""
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
    )
    return "\n".join(
        [
            counted.table(title).text(),
            *([f"warning: {outcome.attack.warning}"] if outcome.attack.warning else []),
            f"hard classes (robust error above the average, all at 95 %): {', '.join(hard) or 'none'}",
            f"easy classes (robust error below the average, likewise): {', '.join(easy) or 'none'}",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train, evaluate, save, and print the table."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings, place = parse(argv)
    started = time.perf_counter()
    data = load(
        settings.dataset,
        place.data_dir,
        seed=settings.seed,
        val=settings.val_per_class,
        train=settings.train_per_class,
        test=settings.test_per_class,
        device=place.device,
        imbalance=settings.imbalance,
        download=place.download,
    )
    if settings.batch_size > len(data.train):
        raise InputError(
            f"--batch-size must be at most {len(data.train)}, the training images, got {settings.batch_size}"
        )
    claim_folder(place.out, settings.id, FILES)
    torch.set_num_threads(settings.threads)
    outcome = train(settings, data, place.device)
    seconds = time.perf_counter() - started
    save(settings, place, data, outcome, seconds)
    print(report(settings, data, outcome))
    print(f"run: {place.out} ({seconds:.0f} s)")
    return 0


if __name__ == "__main__":
    run(main)
