"""``python -m deep.train --method frl``: train a network and report the errors of every class.

Without further flags it trains in seconds on the 8 x 8 digits that scikit-learn embeds. A method's
own hyper-parameters are listed by ``--method NAME --help``. A run that was interrupted goes on by the same
command, or by ``--resume RUN``; one that is finished is not made again. On several devices:
``torchrun --nproc-per-node N -m deep.train ...``.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import torch

from deep.data import Dataset, load, restore
from deep.data.distributed import World
from deep.data.label_noise import with_label_noise
from deep.methods import METHODS
from deep.methods.base import Context
from deep.runs.command_line import parse
from deep.runs.folder import (
    check_data,
    claim,
    has_history,
    is_finished,
    named_data,
    read_config,
    tidy,
    weights_sha256,
)
from deep.runs.outcome import measure, report, save
from deep.runs.place import Place
from deep.runs.reload import code_of, code_warning, network
from deep.runs.settings import Settings
from deep.runs.teachers import teachers_of
from deep.training import fit as fit_tensors
from deep.training.checkpoint import fill, load_state, save_state
from deep.training.cost import cost
from deep.training.loop import Trainer
from deep.training.monitor import Monitor
from deep.training.recipe import Recipe
from deep.training.seeds import stream
from theory.common.cli import call_as_function, caution, run
from theory.common.files import write_atomic
from theory.common.inputs import InputError
from theory.common.owner import own_folder
from theory.results.records import provenance
from theory.results.run_files import CHECKPOINT, CONFIG, HISTORY, SPLIT, WEIGHTS


def trainer_of(settings: Settings, place: Place, data: Dataset, world: World) -> Trainer:
    """Return the training that the settings ask for, at its start.

    Raises:
        InputError: the settings cannot be trained, or the weights to start from are of another network.
    """
    teachers = teachers_of(settings, place, data)  # before the network, whose weights are drawn by the seed
    model = network(settings, data)
    if settings.label_noise:
        noisy = with_label_noise(data.train, settings.label_noise, len(data.classes), settings.seed)
        data = dataclasses.replace(data, train=noisy)
    if place.init:
        if warning := weights_sha256(place.init)[1]:
            caution(warning)
        fill(model, place.init / WEIGHTS)
    model.to(place.device, memory_format=torch.channels_last if settings.channels_last else None)
    if world.size > 1 and place.device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if settings.compile:
        model.compile()
    generator = torch.Generator(place.device).manual_seed(stream(settings.seed, "attack"))
    attack = settings.train_ascent
    context = Context(
        len(data.classes),
        settings.train_radius,
        attack.steps,
        generator,
        attack.step_size,
        world,
        start=attack.noise,
        reach=attack.reach,
        batch_norm=settings.attack_batch_norm,
        label_smoothing=settings.label_smoothing,
        teachers=teachers,
    )
    method = METHODS[settings.method](settings.params, context)
    augment = data.spec.augment
    if augment is None and settings.crop is not None:
        raise InputError(f"--crop is for images, got inputs of shape {data.spec.shape}")
    if augment and settings.padding:
        augment = dataclasses.replace(augment, fill=settings.padding)
    if augment and settings.crop is not None:
        augment = dataclasses.replace(augment, padding=settings.crop)
    chosen = {f.name: getattr(settings, f.name) for f in dataclasses.fields(Recipe) if f.name != "augment"}
    recipe = Recipe(augment=augment, **chosen)
    return Trainer(model, method, data, recipe, settings.attack, world)


def as_begun(settings: Settings, place: Place) -> Settings:
    """Return the settings in the spelling of the folder that has begun with them: 8/255 is 16/510."""
    if (place.out / CHECKPOINT).is_file():
        config = read_config(place.out)
        if config["id"] == settings.id:
            return Settings.from_json(config["settings"])
    return settings


def data_of(settings: Settings, place: Place) -> Dataset:
    """Return the data of a run: its splits as its folder names them, or drawn if it has not begun.

    Raises:
        InputError: a file is missing or damaged, or a class has too few images.
    """
    if (place.out / CHECKPOINT).is_file() and read_config(place.out)["id"] == settings.id:
        return restore(
            place.out / SPLIT, place.data_dir, place.device, download=place.download, scale=settings.scale
        )
    return load(
        settings.dataset,
        place.data_dir,
        seed=settings.seed,
        val=settings.val_per_class,
        train=settings.train_per_class,
        test=settings.test_per_class,
        device=place.device,
        imbalance=settings.imbalance,
        download=place.download,
        scale=settings.scale,
    )


def begin(settings: Settings, place: Place, trainer: Trainer) -> None:
    """Write how a run starts into its folder, or go on from what that has.

    Raises:
        InputError: what the folder has is damaged, or the data are others.
    """
    world, data = trainer.world, trainer.data
    resumes = (place.out / CHECKPOINT).is_file()
    resumes = bool(world.first(torch.tensor(resumes, device=place.device)))
    if resumes:
        check_data(place.out, data.sha256, data.to_json())
        trainer.load_state_dict(load_state(place.out / CHECKPOINT))
        if (warning := code_warning(read_config(place.out), settings)) and world.rank == 0:
            caution(warning)
    elif world.rank == 0 and has_history(place.out):
        raise InputError(f"{place.out} has a history and no checkpoint; empty the folder to start again")
    elif settings.init and not place.init:
        raise InputError(f"{place.out} has no checkpoint yet; give the command that started it, with --init")
    elif world.rank == 0:
        config = {"id": settings.id, "settings": settings.as_json()}
        config |= named_data(data.sha256, data.to_json())
        config |= code_of(settings)
        config |= {"data_dir": str(place.data_dir.resolve()) if place.data_dir else None}
        if place.teachers:
            config |= {"teachers": {name: str(run.resolve()) for name, run in place.teachers.items()}}
        config |= {"device": place.device.type, "provenance": provenance(torch=torch.__version__)}
        write_atomic(place.out / CONFIG, json.dumps(config, indent=1) + "\n")
        write_atomic(place.out / SPLIT, data.to_json())
        keep(place.out, trainer)


def keep(folder: Path, trainer: Trainer) -> None:
    """Write the history and the state of a training."""
    write_atomic(folder / HISTORY, "".join(json.dumps(line) + "\n" for line in trainer.history))
    save_state(folder / CHECKPOINT, trainer.state_dict())


def fit(settings: Settings, place: Place, trainer: Trainer) -> bool:
    """Train until the end, or for as long as was asked for; return whether it is the end."""
    curves = place.out / "tensorboard" if place.tensorboard else None
    shown = Monitor(settings.epochs, trainer.steps, curves) if trainer.world.rank == 0 else None
    if shown:
        size = cost(trainer.model, trainer.data.spec)
        shown.begin(f"{settings.network}: {size}")
    end = settings.epochs if place.stop_after is None else min(place.stop_after, settings.epochs)
    while trainer.epoch < end and not trainer.finished:
        line = trainer.train_epoch(shown.tick if shown else lambda part: None)
        if shown:
            keep(place.out, trainer)
            shown.epoch(line)
    return trainer.finished


def main(argv: Sequence[str] | None = None) -> int:
    """Train, evaluate, save, and print the table."""
    settings, place = parse(argv)
    if is_finished(place.out, settings.id):
        with (
            suppress(InputError),
            own_folder(place.out),
        ):  # for reading alone, or another's: it stays as it is
            tidy(place.out)
        print(f"run: {place.out} is finished; delete the folder to make it again")
        return 0
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing reads what it has not written
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_num_threads(settings.threads)
    with claim(place.out, settings.id) if World.is_first() else nullcontext():
        _train(settings, place)
    return 0


def _train(settings: Settings, place: Place) -> None:
    """Train or go on, and finish."""
    settings = as_begun(settings, place)
    data = data_of(settings, place)
    world = World.join(place.device)
    try:
        _check_batches(settings.batch_size, len(data.train), world)
        trainer = trainer_of(settings, place, data, world)
        begin(settings, place, trainer)
        if data.warning and world.rank == 0:
            caution(data.warning)
        try:
            complete = fit(settings, place, trainer)
        except KeyboardInterrupt:
            print(f"to go on: python -m deep.train --resume {place.out}", file=sys.stderr)
            raise
    finally:
        world.leave()
    if world.rank == 0:
        _finish(settings, place, trainer, complete)


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
    outcome = measure(settings, place, trainer)
    seconds = time.perf_counter() - started + sum(line["seconds"] for line in trainer.history)
    save(settings, place, trainer, outcome, seconds)
    print(report(settings, trainer, outcome))
    print(f"run: {place.out} ({seconds:.0f} s)")


call_as_function(__name__, fit_tensors.train)

if __name__ == "__main__":
    run(main)
