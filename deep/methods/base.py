"""What a training method is: hooks that the epoch loop calls. The defaults are PGD adversarial training."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks.ball import Ball
from deep.attacks.noise import Noise
from deep.attacks.pgd import TRAIN_ATTACKS, BatchNorm, Objective, cross_entropy, pgd
from deep.data import Split
from deep.data.distributed import World
from theory.common.fields import flag_of
from theory.common.inputs import InputError
from theory.results.counts import ClassErrors

__all__ = ["Context", "Epoch", "Method"]

Start = Callable[[Noise], Tensor] | None


@dataclass(frozen=True)
class Context:
    """What every method may use.

    Args:
        classes: number of classes C.
        eps: training radius, in units of [0, 1]; the loop makes it smaller while the radius is warmed up.
        steps: steps of the training attack.
        generator: the source of all of the method's random numbers, the same in every process.
        step_size: size of a step, in units of the radius.
        world: the processes that train together; what a method counts over a batch, it totals over them.
        start: half width of the uniform noise that the attack starts from, in units of the radius; if None,
            it starts as the method does.
        reach: radius of the ball to which the attack is projected, in units of the radius; inf for none.
        batch_norm: see `deep.attacks.pgd.BatchNorm`.
        label_smoothing: weight of the uniform label in the cross-entropy that is trained on.
        teachers: the finished networks that the method learns from, frozen, by the names in
            `Method.teachers`.
    """

    classes: int
    eps: float
    steps: int
    generator: torch.Generator
    step_size: float = 0.25
    world: World = World()
    start: float | None = None
    reach: float = 1.0
    batch_norm: BatchNorm = "eval"
    label_smoothing: float = 0.0
    teachers: Mapping[str, nn.Module] = field(default_factory=dict)

    def per_class(self, value: float) -> Tensor:
        """Return a vector of C equal values on the device of the run."""
        return torch.full((self.classes,), value, device=self.generator.device)

    def noise(self, n: int) -> Noise:
        """Return new random numbers for the n samples of this process, keyed by their place in the batch."""
        device = self.generator.device
        seed = torch.randint(2**63 - 1, (), generator=self.generator, device=device)
        return Noise(seed, torch.arange(n, device=device) + self.world.rank * n)


@dataclass(frozen=True)
class Epoch:
    """The start or the end of an epoch, as a method sees it.

    Args:
        index: number of the epoch, from 0.
        model: the network that is trained.
        validation: the validation split, for a method that measures it in its own way.
        errors: returns the errors on the validation split of a network, or of the evaluated one, which is
            measured once.
        steps: number of steps of the optimiser in an epoch.
        counts: number of training samples of each class, C of them; empty where it is not known.
        optimizer: what moves the weights, for a method that draws some anew: their momentum is of the old.
    """

    index: int
    model: nn.Module
    validation: Split
    errors: Callable[..., ClassErrors]
    steps: int = 1
    counts: Sequence[int] = ()
    optimizer: torch.optim.Optimizer | None = None


class Method:
    """A training method; a subclass lives in its own file, named like the method, as ``METHOD``.

    Its hyper-parameters are the fields of the frozen dataclass ``Params``: each is a flag of the
    command line, with its ``help`` metadata and default. Its state is every other attribute: tensors,
    networks, numbers, texts, and dicts and lists of tensors, numbers and texts; a checkpoint keeps it.
    """

    attacks: ClassVar[Collection[str]] = TRAIN_ATTACKS.keys()
    """The training attacks, of `deep.attacks.pgd.TRAIN_ATTACKS`, that it can be trained with."""
    teachers: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """The networks of finished runs that it learns from: the help of each, by the name of its flag."""
    needs_teachers: ClassVar[bool] = True
    """Whether it cannot be trained without them."""

    @dataclass(frozen=True)
    class Params:
        """No hyper-parameters."""

    def __init__(self, params: Any, context: Context) -> None:
        """Keep the hyper-parameters and the context; make the state.

        Raises:
            InputError: a teacher is missing.
        """
        self.params = params
        self.context = context
        for name in self.teachers if self.needs_teachers else ():
            if name not in context.teachers:
                raise InputError(f"{flag_of(name)} must name a finished run: its network is learnt from")

    def taught(self, name: str, x: Tensor) -> Tensor:
        """Return what a teacher answers to inputs: its logits, shape (n, classes), held fixed."""
        with torch.no_grad():
            return self.context.teachers[name](x)

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Make the state that needs the network, before the first epoch; refuse what cannot be trained."""

    def parameters(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """Return what the optimiser moves: all of the network, a part of it, or those of peers too."""
        return model.parameters()

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Update the state before an epoch."""

    def inputs(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what is attacked and trained on in place of x, such as mixtures; the labels stay y."""
        return x

    def eps(self, y: Tensor) -> Tensor:
        """Return the training radius of each sample, shape (n,), from the labels y."""
        return torch.full(y.shape, self.context.eps, device=y.device)

    def step(self, y: Tensor, eps: Tensor) -> Tensor:
        """Return the attack's step for each sample, shape (n,), from its label and radius."""
        return self.context.step_size * eps

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the training examples made from x: what `loss` gets.

        They have the shape of x, or are several sets of that shape, stacked; x itself if there is no attack.
        """
        return self.maximise(model, x, y, cross_entropy(y), self.context.noise(len(y)))

    def maximise(
        self, model: nn.Module, x: Tensor, y: Tensor, objective: Objective, noise: Noise, start: Start = None
    ) -> Tensor:
        """Return what the run's training attack makes of x, within the radius of each sample.

        Args:
            model: returns logits.
            x: inputs, shape (n, ...).
            y: labels, shape (n,).
            objective: what is increased.
            noise: the random numbers of the samples.
            start: where it starts unless the run says so, a uniform point of the ball if None.
        """
        eps, context = self.eps(y), self.context
        if context.start is not None or start is None:
            start = Ball(x, eps if context.start is None else context.start * eps).uniform
        # Without a projection the ball is all of [0, 1]: an infinite radius, of classes of radius 0 too.
        reach = context.reach * eps if math.isfinite(context.reach) else torch.full_like(eps, math.inf)
        step, bn = self.step(y, eps), context.batch_norm
        return pgd(model, Ball(x, reach), start(noise), step, context.steps, objective, batch_norm=bn)

    def around_step(
        self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor
    ) -> AbstractContextManager[None]:
        """Return what surrounds loss, backward pass and update, such as a perturbation of the weights."""
        return nullcontext()

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the scalar to descend, for inputs x, labels y and training examples adv."""
        return F.cross_entropy(model(adv), y, label_smoothing=self.context.label_smoothing)

    def on_batch_end(self, model: nn.Module) -> None:
        """Update the state after a step of the optimiser."""

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Update the state after an epoch."""

    def eval_model(self, model: nn.Module) -> nn.Module:
        """Return the network whose errors count: the trained one, or one that the method makes of it."""
        return model

    def state(self) -> dict[str, Any]:
        """Return what the method has learnt about the classes, as JSON, for the history.

        Lists of length C go into the records of the classes. Some names have a meaning for what compares
        methods: "weights" of the classes in the loss, or "weights_nat" and "weights_bndy" where those of its
        natural and boundary part differ, all up to a factor; and "radii", in units of eps.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state."""
        state = {k: v for k, v in vars(self).items() if k not in ("params", "context")}
        return {k: v.state_dict() if isinstance(v, nn.Module) else v for k, v in state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state back; `setup` has been called.

        Raises:
            InputError: it is of another method.
        """
        current = self.state_dict()
        if set(state) != set(current):
            raise InputError(f"the state must have {sorted(current)}, got {sorted(state)}")
        for name, value in state.items():
            before = getattr(self, name)
            if isinstance(before, nn.Module):
                before.load_state_dict(value)
            elif isinstance(before, Tensor):
                if not isinstance(value, Tensor) or value.shape != before.shape:
                    raise InputError(f"the state {name!r} must be a tensor of shape {tuple(before.shape)}")
                setattr(self, name, value.to(before))
            elif before is not None and type(value) is not type(before):
                raise InputError(f"the state {name!r} must be like {before!r:.60}, got {value!r:.60}")
            else:
                setattr(self, name, value)
