"""What a training method is: hooks that the epoch loop calls. The defaults are PGD adversarial training."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deep.attacks import cross_entropy, pgd
from deep.ball import Ball
from deep.data import Split
from deep.distributed import World
from deep.noise import Noise
from theory.errors import ClassErrors
from theory.inputs import InputError

__all__ = ["Context", "Epoch", "Method"]


@dataclass(frozen=True)
class Context:
    """What every method may use.

    Args:
        classes: number of classes C.
        eps: training radius, in units of [0, 1].
        steps: steps of the training attack.
        generator: the source of all of the method's random numbers, the same in every process.
        step_size: size of a step, in units of the radius.
        world: the processes that train together; what a method counts over a batch, it totals over them.
    """

    classes: int
    eps: float
    steps: int
    generator: torch.Generator
    step_size: float = 0.25
    world: World = World()

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
    """

    index: int
    model: nn.Module
    validation: Split
    errors: Callable[..., ClassErrors]


class Method:
    """A training method; a subclass lives in its own file, named like the method, as ``METHOD``.

    Its hyper-parameters are the fields of the frozen dataclass ``Params``: each is a flag of the
    command line, with its ``help`` metadata and default. Its state is every other attribute: tensors,
    networks, numbers, texts, and dicts and lists of tensors, numbers and texts; a checkpoint keeps it.
    """

    @dataclass(frozen=True)
    class Params:
        """No hyper-parameters."""

    def __init__(self, params: Any, context: Context) -> None:
        """Keep the hyper-parameters and the context; make the state."""
        self.params = params
        self.context = context

    def setup(self, model: nn.Module, epochs: int) -> None:
        """Make the state that needs the network, before the first epoch; refuse what cannot be trained."""

    def parameters(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """Return what the optimiser moves: all of the network, a part of it, or those of peers too."""
        return model.parameters()

    def on_epoch_start(self, epoch: Epoch) -> None:
        """Update the state before an epoch."""

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
        eps = self.eps(y)
        ball = Ball(x, eps)
        start = ball.uniform(self.context.noise(len(y)))
        return pgd(model, ball, start, self.step(y, eps), self.context.steps, cross_entropy(y))

    def around_step(
        self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor
    ) -> AbstractContextManager[None]:
        """Return what surrounds loss, backward pass and update, such as a perturbation of the weights."""
        return nullcontext()

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, adv: Tensor) -> Tensor:
        """Return the scalar to descend, for inputs x, labels y and training examples adv."""
        return F.cross_entropy(model(adv), y)

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
        own = {k: v for k, v in vars(self).items() if k not in ("params", "context")}
        return {k: v.state_dict() if isinstance(v, nn.Module) else v for k, v in own.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state back; `setup` has been called.

        Raises:
            InputError: it is of another method.
        """
        own = self.state_dict()
        if set(state) != set(own):
            raise InputError(f"the state must have {sorted(own)}, got {sorted(state)}")
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
