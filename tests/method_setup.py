"""What tests of training methods share: contexts, small networks, samples, and processes of one process."""

import copy

import torch
from torch import nn

from deep.attacks.evaluate import Attack
from deep.data import load
from deep.data.distributed import World
from deep.methods import METHODS
from deep.methods.base import Context, Epoch
from deep.training.loop import Trainer
from deep.training.recipe import Recipe

Z = torch.tensor([[2, 1, -1], [0.5, 0.2, 1.5]], dtype=torch.float64)
"""Logits at clean inputs; `ZA` are those at attacked ones."""
ZA = torch.tensor([[0.8, 1.1, -0.6], [0.1, 0.9, 0.7]], dtype=torch.float64)
Y = torch.tensor([0, 2])


def close(value, expected, atol=6e-9):
    value, expected = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (value, expected))
    torch.testing.assert_close(value, expected, atol=atol, rtol=0)


def context(eps=0.1, steps=3, classes=10, world=World(), seed=0, **more):  # noqa: B008
    return Context(classes, eps, steps, torch.Generator().manual_seed(seed), world=world, **more)


def teachers_of(name, network):
    """Return the teachers that a method needs, copies of a network that are frozen."""
    kind = METHODS[name]
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    return {teacher: frozen for teacher in kind.teachers if kind.needs_teachers}


def make(name, given_context=None, **params):
    kind = METHODS[name]
    return kind(kind.Params(**params), given_context or context())


class Net(nn.Module):
    """A network without batch statistics, in double precision, whose classes differ and loss is curved."""

    def __init__(self, classes=10, seed=3):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, classes)
        ).double()
        nn.init.normal_(self.layers[3].weight)

    def forward(self, x):
        return self.layers(x.double())


def batch(n=20):
    return torch.rand((n, 1, 8, 8), generator=torch.Generator().manual_seed(1)), torch.arange(n) % 10


def epoch(index, **more):
    return Epoch(index, None, None, lambda *given: None, **more)


def digits(train=12, **more):
    return load("digits", None, seed=0, val=6, train=train, test=5, device=torch.device("cpu"), **more)


def trainer(model, method, data=None, *, epochs=2, batch_size=40):
    """Return a training on a few digits."""
    recipe = Recipe(epochs=epochs, lr=0.05, batch_size=batch_size, weight_decay=5e-4, augment=None, seed=0)
    return Trainer(model, method, data or digits(), recipe, Attack(0.1, "0.1", 2))


class Twin(World):
    """Two processes that count the same."""

    def __init__(self):
        super().__init__(0, 2)

    def total(self, value):
        return 2 * value


class Half(World):
    """One of two processes; what each sends is kept, and summed once both are known."""

    def __init__(self, rank, sent):
        super().__init__(rank, 2)
        object.__setattr__(self, "sent", sent)
        object.__setattr__(self, "calls", 0)

    def total(self, value):
        key, _ = self.calls, object.__setattr__(self, "calls", self.calls + 1)
        self.sent.setdefault(key, {}).setdefault(self.rank, value.clone())
        return sum(self.sent[key].values())
