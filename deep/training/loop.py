"""The epoch loop: it knows what a method is and knows no method."""

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn

from deep.attacks.evaluate import Attack, evaluate
from deep.attacks.free import Perturbation
from deep.data import Dataset
from deep.data.distributed import World
from deep.methods.base import Epoch, Method
from deep.training import health
from deep.training.history import QUANTITIES, check_history
from deep.training.recipe import CRITERIA, Recipe
from deep.training.seeds import stream
from theory.common.inputs import DoubtWarning, InputError, check_real
from theory.results.counts import ClassErrors

__all__ = ["Trainer"]


class Trainer:
    """A training, epoch by epoch; its whole state can be taken out and put back.

    Args:
        model: trained in place.
        method: what is done at each step.
        data: the training split is trained on; the validation split is what choices are made on.
        recipe: the optimiser and its schedule.
        attack: the attack of the validation errors.
        world: the processes that train together.

    Raises:
        InputError: the method cannot be trained like this.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        data: Dataset,
        recipe: Recipe,
        attack: Attack,
        world: World = World(),  # noqa: B008
    ) -> None:
        """Make the optimiser and the generator of order and augmentation."""
        method.setup(model, recipe.epochs)
        self.model, self.method, self.data, self.recipe, self.attack = model, method, data, recipe, attack
        self.world = world
        self.device = data.train.labels.device
        self.shuffle = torch.Generator(self.device).manual_seed(stream(recipe.seed, "shuffle"))
        self.parameters = [*method.parameters(model)]
        self.optimizer = recipe.optimizer(self.parameters)
        self.eps = method.context.eps
        self.free = Perturbation(world) if recipe.replays else None
        self.average = copy.deepcopy(model).requires_grad_(False) if recipe.ema else None
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.kept: dict[str, Any] | None = None  # what a collapse would leave
        self.stopped: int | None = None  # the epoch of a collapse that ended the training
        self._errors: ClassErrors | None = None
        self._doubts: dict[str, str] = {}

    @property
    def steps(self) -> int:
        """Return the number of steps of an epoch."""
        return len(self.data.train) // self.recipe.batch_size * (self.recipe.replays or 1)

    def evaluated(self) -> nn.Module:
        """Return the network whose errors count."""
        return self.method.eval_model(self.model if self.average is None else self.average)

    def errors(self, model: nn.Module | None = None) -> ClassErrors:
        """Return the errors of a network on the validation split; those of the evaluated one are kept."""
        if model is not None:
            return self._measure(model)[0]
        if self._errors is None:
            self._errors, self._doubts = self._measure(self.evaluated())
        return self._errors

    def _measure(self, model: nn.Module) -> tuple[ClassErrors, dict[str, str]]:
        """Return the errors of a network on the validation split, the same in every process, and doubts."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoubtWarning)  # once a run, as an alarm
            evaluation = evaluate(
                model, self.data.val, self.attack, seed=stream(self.recipe.seed, "validation")
            )
        counted = evaluation.errors(self.data.classes)
        counts = [counted.counts(q).tolist() for q in QUANTITIES]
        agreed = self.world.first(torch.tensor(counts, device=self.device)).tolist()
        return ClassErrors(counted.classes, counted.n, *map(tuple, agreed)), evaluation.doubts

    def chosen(self, which: str) -> nn.Module:
        """Return the evaluated network with its weights of the "last" or the "best" epoch.

        The last one of a training that collapsed and was stopped is the last validated one before.
        """
        model, kept = copy.deepcopy(self.evaluated()), self._chosen(which)
        if kept is not None:
            model.load_state_dict(kept["weights"])
        return model

    def chosen_epoch(self, which: str) -> int:
        """Return the epoch of `chosen`."""
        kept = self._chosen(which)
        return self.epoch if kept is None else kept["epoch"]

    def _chosen(self, which: str) -> dict[str, Any] | None:
        """Return the weights that are not the present ones, and their epoch."""
        if which == "best" and self.best is not None:
            return self.best
        return self.kept if self.stopped else None

    @property
    def finished(self) -> bool:
        """Return whether there is no epoch left."""
        return self.epoch == self.recipe.epochs or self.stopped is not None

    def train_epoch(self, tick: Callable[[float], None] = lambda part: None) -> dict[str, Any]:
        """Train for one epoch and return its line of the history.

        Args:
            tick: called after each step with the part of the epoch that is done.

        Raises:
            InputError: the loss, a weight or a logit is no longer finite.
        """
        self._set_radius(0.0)
        self.method.on_epoch_start(self._seen())
        started = time.perf_counter()
        self._errors = None
        loss, attacked, forward_passes = self._steps(tick)
        if not math.isfinite(loss):
            raise health.diverged(f"the loss is {loss} in", self.epoch, self.recipe.lr)
        seconds = time.perf_counter() - started
        for model in (self.model, self.average or self.model):
            self.world.average(b for b in model.buffers() if b.is_floating_point())
        self.method.on_epoch_end(self._seen())
        models = (self.evaluated(), self.model, self.average or self.model)
        answers = health.answers(*models, data=self.data, epoch=self.epoch, lr=self.recipe.lr)
        if self.evaluated() not in (self.model, self.average):  # the method's own, which it may have changed
            self._errors = None
        line: dict[str, Any] = {"epoch": self.epoch + 1, "lr": self.recipe.lr_at(self.epoch), "loss": loss}
        self.epoch += 1
        if self.epoch % self.recipe.val_every == 0 or self.epoch == self.recipe.epochs:
            line = self._validate(line | health.commonest(*answers), attacked)
        rate = self.steps * self.recipe.batch_size / seconds
        line |= {"passes": forward_passes, "images_per_second": round(rate, 1)}
        line["seconds"] = round(time.perf_counter() - started, 3)
        self.history.append(line | self.method.state())
        return self.history[-1]

    def _seen(self) -> Epoch:
        train, errors = self.data.train, self.errors
        counts = torch.bincount(train.labels, minlength=len(self.data.classes)).tolist()
        return Epoch(self.epoch, self.model, self.data.val, errors, self.steps, counts, self.optimizer)

    def _validate(self, line: dict[str, Any], attacked: bool) -> dict[str, Any]:
        """Return the line with validation errors, whether they are the best, and an alarm if it is new."""
        errors = self.errors()
        line = line | {q: errors.rates(q).tolist() for q in QUANTITIES}
        value = CRITERIA[self.recipe.select](errors)
        line["best"] = self.best is None or value < self.best["value"]
        if line["best"]:
            self.best = {"epoch": self.epoch, "value": value, "weights": self._weights()}
        last = self.epoch == self.recipe.epochs
        line |= health.alarm(line, self.history, self.data, self._doubts, attacked=attacked, last=last)
        if self.recipe.on_collapse == "stop":
            self._keep(health.OVERFITTING in line.get("alarm_kinds", []))
        return line

    def _keep(self, collapsed: bool) -> None:
        """Keep the weights of a validated epoch, or end the training with those of the one before."""
        if collapsed and self.kept is not None:
            self.stopped = self.epoch
        else:
            self.kept = {"epoch": self.epoch, "weights": self._weights()}

    def _weights(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.evaluated().state_dict().items()}

    def _steps(self, tick: Callable[[float], None]) -> tuple[float, bool, float]:
        """Take the steps of an epoch.

        Returns:
            The mean loss, whether training examples were attacked, and how often the network, or one of the
            method's, saw an image of the first step, the attack included.
        """
        self.model.train()
        total, attacked, passed = torch.zeros((), device=self.device), False, 0

        def count(_: nn.Module, inputs: tuple[Tensor]) -> None:
            nonlocal passed
            passed += len(inputs[0])

        for step, (x, y) in enumerate(self._batches()):
            part = (step + 1) / self.steps
            self._set_radius(part)
            counting = self._counting(count) if step == 0 else nullcontext()
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.lr_at(self.epoch, part)
            with counting:
                with self._autocast("all"):
                    x = self.method.inputs(x, y)
                    adv = self._examples(x, y)
                attacked = attacked or adv is not x
                total += self._update(x, y, adv)
            self._move_average(step)
            self.method.on_batch_end(self.model)
            tick(part)
        if self.free:
            self.free.gather()
        forward_passes = passed * self.world.size * (self.recipe.replays or 1) / self.recipe.batch_size
        return float(self.world.total(total)) / (self.steps * self.world.size), attacked, forward_passes

    @contextmanager
    def _counting(self, count: Callable[..., None]) -> Iterator[None]:
        """Call ``count`` before each forward pass of the network, of those of the method, and of teachers."""
        kept = [v for v in vars(self.method).values() if isinstance(v, nn.Module)]
        networks = [self.model, *(n for v in kept for n in (v if isinstance(v, nn.ModuleList) else [v]))]
        networks += self.method.context.teachers.values()
        hooks = [network.register_forward_pre_hook(count) for network in networks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _set_radius(self, part: float) -> None:
        """Set the radius of the training attack at a part of the epoch."""
        eps = self.eps * self.recipe.radius_at(self.epoch, part)
        if eps != self.method.context.eps:
            self.method.context = replace(self.method.context, eps=eps)

    def _examples(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the training examples made from x."""
        if self.free:
            return self.free.added(x, self.method.eps(y))
        return self.method.attack(self.model, x, y)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the part of this process of each batch; order and augmentation are those of the batch."""
        size, split = self.recipe.batch_size, self.data.train
        order = torch.randperm(len(split), generator=self.shuffle, device=self.device)
        mine = self.world.part(size)
        for step in range(len(split) // size):
            index = order[step * size : (step + 1) * size]
            x, y = split.inputs(index), split.labels[index]
            if self.recipe.augment:
                x = self.recipe.augment(x, self.shuffle)
            yield from repeat((x[mine], y[mine]), self.recipe.replays or 1)

    def _update(self, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Take a step of the optimiser and return the loss."""
        with self.method.around_step(self.model, x, y, adv):
            with self._autocast("train", "all"):
                loss = self.method.loss(self.model, x, y, adv)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if self.free:
                eps = self.method.eps(y)
                self.free.ascend(eps, self.method.step(y, eps))
            self.world.average(p.grad for p in self.parameters if p.grad is not None)
            self.optimizer.step()
        return loss.detach()

    def _autocast(self, *modes: str) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.amp in modes)

    def _move_average(self, step: int) -> None:
        """Move the average of weights and statistics; its decay grows from 0.1, to forget the start."""
        if self.average is None:
            return
        done = self.epoch * self.steps + step
        decay = min(self.recipe.ema, (1 + done) / (10 + done))
        with torch.no_grad():
            for mean, value in zip(
                self.average.state_dict().values(), self.model.state_dict().values(), strict=True
            ):
                mean.lerp_(value, 1 - decay) if mean.is_floating_point() else mean.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on."""
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
            "model": self.model.state_dict(),
            "momentum": [self.optimizer.state.get(p, {}).get("momentum_buffer") for p in self.parameters],
            "average": None if self.average is None else self.average.state_dict(),
            "method": self.method.state_dict(),
            "generators": [g.get_state() for g in self._generators()],
            "torch": torch.get_rng_state(),
        }
        if self.free:
            state["free"] = self.free.whole
        if self.recipe.on_collapse == "stop":
            state["kept"], state["stopped"] = self.kept, self.stopped
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            InputError: the state is not one of this training.
        """
        try:
            self._load(state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            raise InputError(f"the checkpoint is not one of these settings: {error}") from None

    def _load(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for p, momentum in zip(self.parameters, state["momentum"], strict=True):
            if momentum is not None:
                if momentum.shape != p.shape:
                    raise InputError(f"a momentum must have the shape {tuple(p.shape)}")
                self.optimizer.state[p]["momentum_buffer"] = momentum.to(p)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.free:
            self.free.whole = state["free"]
        self.method.load_state_dict(state["method"])
        for generator, value in zip(self._generators(), state["generators"], strict=True):
            generator.set_state(value)
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self.epoch, self.history, self.best = state["epoch"], state["history"], state["best"]
        check_history(self.epoch, self.recipe.epochs, self.history)
        if self.recipe.on_collapse == "stop":
            self.kept, self.stopped = state["kept"], state["stopped"]
        if self.best is not None:
            check_real("the best validation error", self.best["value"], low=0, high=1)
            check_real("the best epoch", self.best["epoch"], low=1, high=self.epoch)
            copy.deepcopy(self.evaluated()).load_state_dict(self.best["weights"])

    def _generators(self) -> tuple[torch.Generator, torch.Generator]:
        return self.shuffle, self.method.context.generator
