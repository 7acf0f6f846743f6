"""``python -m deep.train --method frl``: train a network and report the errors of every class.

Without further flags it trains in seconds on the 8 x 8 digits that scikit-learn embeds. A method's
own hyper-parameters are listed by ``--method NAME --help``. A run that was interrupted goes on by the same
command, or by ``--resume RUN``; one that is finished is not made again. On several devices:
``torchrun --nproc-per-node N -m deep.train ...``.
"""

import dataclasses
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from deep.checkpoint import load_state, load_weights, save_state, save_weights
from deep.data import DATASETS, Dataset, load
from deep.distributed import World
from deep.evaluate import Attack, Flags, evaluate
from deep.folder import (
    BEST,
    CHECKPOINT,
    CONFIG,
    FLAGS,
    HISTORY,
    LAST,
    RECORDS,
    RESULT,
    WEIGHTS,
    claim,
    has_history,
    is_finished,
    read_config,
)
from deep.loop import Trainer
from deep.methods import METHODS
from deep.methods.base import Context
from deep.models import MODELS, PreActResNet
from deep.monitor import Monitor
from deep.recipe import Recipe
from deep.seeds import stream
from deep.settings import Place, Settings, parse
from theory.cli import run
from theory.errors import exact_interval
from theory.inputs import InputError, parse_radius
from theory.record import provenance, records_of, to_jsonl, write_atomic


class Outcome(NamedTuple):
    """What is reported of a run: the flags of the test samples under an attack, and of which epoch."""

    flags: Flags
    attack: Attack
    epoch: int


def network(settings: Settings, data: Dataset) -> torch.nn.Module:
    """Return the untrained network of a run."""
    spec = DATASETS[settings.dataset]
    torch.manual_seed(stream(settings.seed, "weights"))
    return PreActResNet(MODELS[settings.model], settings.width, len(data.classes), spec.mean, spec.std)


def trainer_of(settings: Settings, place: Place, data: Dataset, world: World) -> Trainer:
    """Return the training that the settings ask for, at its start.

    Raises:
        InputError: the settings cannot be trained, or the weights to start from are of another network.
    """
    model = network(settings, data)
    if place.init:
        try:
            model.load_state_dict(load_weights(place.init / WEIGHTS))
        except RuntimeError:
            raise InputError(f"--init {place.init} has another network than {settings.model}") from None
    model.to(place.device, memory_format=torch.channels_last if settings.channels_last else None)
    if world.size > 1 and place.device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if settings.compile:
        model.compile()
    generator = torch.Generator(place.device).manual_seed(stream(settings.seed, "attack"))
    eps = parse_radius(settings.eps)
    context = Context(len(data.classes), eps, settings.steps, generator, settings.step_size, world)
    method = METHODS[settings.method](settings.params, context)
    chosen = {f.name: getattr(settings, f.name) for f in dataclasses.fields(Recipe) if f.name != "augment"}
    recipe = Recipe(augment=DATASETS[settings.dataset].augment, **chosen)
    return Trainer(model, method, data, recipe, Attack(eps, settings.eps, settings.eval_steps), world)


def begin(settings: Settings, place: Place, data: Dataset, trainer: Trainer) -> None:
    """Make the folder of a run and write how it starts, or go on from what the folder has.

    Raises:
        InputError: the folder belongs to another run, what it has is damaged, or the data are others.
    """
    world, there = trainer.world, False
    if world.rank == 0:
        there = claim(place.out, settings.id)
    there = bool(world.first(torch.tensor(there, device=place.device)))
    if there:
        before = read_config(place.out)["data_sha256"]
        if before != data.sha256:
            raise InputError(
                f"{place.out} was trained on other data: SHA-256 {before:.60}, now {data.sha256}"
            )
        trainer.load_state_dict(load_state(place.out / CHECKPOINT))
    elif trainer.world.rank == 0 and has_history(place.out):
        raise InputError(f"{place.out} has a history and no checkpoint; empty the folder to start again")
    elif settings.init and not place.init:
        raise InputError(f"{place.out} has no checkpoint yet; give the command that started it, with --init")
    elif world.rank == 0:
        config = {"id": settings.id, "settings": settings.as_json(), "data_sha256": data.sha256}
        config |= {"data_dir": str(place.data_dir.resolve()) if place.data_dir else None}
        config |= {"device": place.device.type, "provenance": provenance(torch=torch.__version__)}
        write_atomic(place.out / CONFIG, json.dumps(config, indent=1) + "\n")
        keep(place.out, trainer)


def keep(folder: Path, trainer: Trainer) -> None:
    """Write the history and the state of a training."""
    write_atomic(folder / HISTORY, "".join(json.dumps(line) + "\n" for line in trainer.history))
    save_state(folder / CHECKPOINT, trainer.state_dict())


def fit(settings: Settings, place: Place, trainer: Trainer) -> bool:
    """Train until the end, or for as long as was asked for; return whether it is the end."""
    curves = place.out / "tensorboard" if place.tensorboard else None
    shown = Monitor(settings.epochs, trainer.steps, curves) if trainer.world.rank == 0 else None
    end = settings.epochs if place.stop_after is None else min(place.stop_after, settings.epochs)
    while trainer.epoch < end:
        line = trainer.train_epoch(shown.tick if shown else lambda part: None)
        if shown:
            keep(place.out, trainer)
            shown.epoch(line)
    return trainer.epoch == settings.epochs


def measure(settings: Settings, trainer: Trainer) -> Outcome:
    """Evaluate the network that is reported on the test split."""
    model, attack = trainer.chosen(settings.report), trainer.attack
    best = settings.report == "best" and trainer.best
    epoch = trainer.best["epoch"] if best else trainer.epoch
    return Outcome(
        evaluate(model, trainer.data.test, attack, seed=stream(settings.seed, "test")), attack, epoch
    )


def save(settings: Settings, place: Place, trainer: Trainer, outcome: Outcome, seconds: float) -> None:
    """Write the results of a run, result.json last."""
    data = trainer.data
    counted = outcome.flags.errors(data.classes)
    source = provenance(
        torch=torch.__version__,
        device=str(place.device),
        processes=trainer.world.size,
        seconds=round(seconds, 1),
        data_sha256=data.sha256,
        init=settings.init,
    )
    setting = {k: v for k, v in settings.as_json().items() if k not in ("seed", "method")}
    setting |= {"eps": outcome.attack.eps, "eps_text": settings.eps, "n_train": len(data.train)}
    if settings.init:
        setting["init"] = settings.init["recipe"]
    common = {
        "setting": setting,
        "attack": outcome.attack.name,
        "seed": settings.seed,
        "method": settings.method,
    }
    result = {"id": settings.id, **common, "epoch": outcome.epoch, "classes": data.classes, "n": counted.n}
    result |= counted.summary() | {"provenance": source}
    archive = io.BytesIO()
    np.savez_compressed(archive, **vars(outcome.flags))
    save_weights(place.out / WEIGHTS, trainer.chosen(settings.report).state_dict())
    save_weights(place.out / BEST, trainer.chosen("best").state_dict())
    if settings.report == "best":
        save_weights(place.out / LAST, trainer.chosen("last").state_dict())
    write_atomic(place.out / FLAGS, archive.getvalue())
    write_atomic(
        place.out / RECORDS, to_jsonl(records_of(counted, source="deep", **common, provenance=source))
    )
    write_atomic(place.out / RESULT, json.dumps(result, indent=1) + "\n")
    (place.out / CHECKPOINT).unlink()


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
        f"{settings.epochs} epochs on {len(data.train)} images, seed {settings.seed}; {outcome.attack.name}"
        + (f"; weights of epoch {outcome.epoch}, the best in validation" if settings.report == "best" else "")
    )
    return "\n".join(
        [
            counted.table(title).text(),
            f"hard classes (robust error above the average, all at 95 %): {', '.join(hard) or 'none'}",
            f"easy classes (robust error below the average, likewise): {', '.join(easy) or 'none'}",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train, evaluate, save, and print the table."""
    settings, place = parse(argv)
    if is_finished(place.out, settings.id):
        print(f"run: {place.out} is finished; delete the folder to make it again")
        return 0
    if settings.amp != "off" and place.device.type != "cuda":
        raise InputError(f"--amp {settings.amp} needs a CUDA device, got {place.device}; use --amp off")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_num_threads(settings.threads)
    data = load(
        settings.dataset,
        place.data_dir,
        seed=settings.seed,
        val=settings.val_per_class,
        train=settings.train_per_class,
        test=settings.test_per_class,
        device=place.device,
    )
    world = World.join(place.device)
    try:
        _check_batches(settings.batch_size, len(data.train), world)
        trainer = trainer_of(settings, place, data, world)
        begin(settings, place, data, trainer)
        try:
            complete = fit(settings, place, trainer)
        except KeyboardInterrupt:
            print(f"to go on: python -m deep.train --resume {place.out}", file=sys.stderr)
            raise
    finally:
        world.leave()
    if world.rank == 0:
        _finish(settings, place, trainer, complete)
    return 0


def _check_batches(batch_size: int, n: int, world: World) -> None:
    """Refuse batches that are larger than the training split or cannot be divided among the processes."""
    if batch_size > n:
        raise InputError(f"--batch-size must be at most {n}, the training images, got {batch_size}")
    if batch_size % world.size or batch_size < 2 * world.size:
        raise InputError(
            f"--batch-size must be a multiple of {world.size}, the processes, with 2 images for each, "
            f"got {batch_size}"
        )


def _finish(settings: Settings, place: Place, trainer: Trainer, complete: bool) -> None:
    """Evaluate, save and print the table of a complete training; say of another how it goes on."""
    if not complete:
        print(
            f"run: {place.out}, {trainer.epoch} of {settings.epochs} epochs done; "
            f"to go on: python -m deep.train --resume {place.out}"
        )
        return
    started = time.perf_counter()
    outcome = measure(settings, trainer)
    seconds = time.perf_counter() - started + sum(line["seconds"] for line in trainer.history)
    save(settings, place, trainer, outcome, seconds)
    print(report(settings, trainer.data, outcome))
    print(f"run: {place.out} ({seconds:.0f} s)")


if __name__ == "__main__":
    run(main)
