"""A training whose result is written: alone, or as one of the processes that torchrun would start."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from method_setup import teachers_of
from torch import nn

from deep.attacks.evaluate import Attack
from deep.attacks.pgd import TRAIN_ATTACKS
from deep.data import load
from deep.data.augment import Augment
from deep.data.distributed import World
from deep.methods import METHODS
from deep.methods.base import Context
from deep.methods.frl import FRL
from deep.methods.pgd import PGD
from deep.training.checkpoint import save_state
from deep.training.loop import Trainer
from deep.training.recipe import Recipe

CPU = torch.device("cpu")


class Plain(nn.Module):
    """A network without batch statistics, in double precision: signs of gradients are not left to chance."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(288, 10)).double()

    def forward(self, x):
        return self.layers(x.double())


class Normalised(Plain):
    """The same with batch norm, whose statistics differ between processes until they are averaged."""

    def __init__(self):
        super().__init__()
        self.layers.insert(1, nn.BatchNorm2d(8).double())


def trained(world, network=Plain, ema=0.0):
    """Return the state of FRL after three epochs."""
    torch.manual_seed(0)
    data = load("digits", None, seed=0, val=6, train=12, test=5, device=CPU)
    context = Context(10, 0.1, 3, torch.Generator().manual_seed(0), world=world)
    method = FRL(FRL.Params(tau_nat=0.0, tau_bndy=0.0, hot_share=0.3), context)
    recipe = Recipe(
        epochs=3,
        lr=0.05,
        batch_size=40,
        weight_decay=5e-4,
        augment=Augment(padding=2, flip=True),
        seed=0,
        ema=ema,
    )
    trainer = Trainer(network(), method, data, recipe, Attack(0.1, "0.1", 3), world)
    while trainer.epoch < 3:
        trainer.train_epoch()
    return trainer.state_dict()


def attacked(world, kind):
    """Return the state of two epochs of PGD by an attack of one step, or by free training."""
    torch.manual_seed(0)
    data = load("digits", None, seed=0, val=6, train=12, test=5, device=CPU)
    attack = TRAIN_ATTACKS[kind]
    context = Context(10, 0.1, 1, torch.Generator().manual_seed(0), attack.step_size, world)
    context = replace(context, start=attack.noise, reach=attack.reach)
    recipe = Recipe(
        epochs=2,
        lr=0.05,
        batch_size=40,
        weight_decay=5e-4,
        augment=None,
        seed=0,
        eps_warmup=0.5,
        replays=3 if kind == "free" else None,
    )
    trainer = Trainer(Plain(), PGD(PGD.Params(), context), data, recipe, Attack(0.1, "0.1", 3), world)
    while trainer.epoch < 2:
        trainer.train_epoch()
    return trainer.state_dict()


def chain():
    """Return a network that interval bounds are for."""
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))


def by_method(world, name):
    """Return the state of two epochs of a method with its defaults."""
    torch.manual_seed(0)
    network = chain if name == "ibp" else Plain
    data = load("digits", None, seed=0, val=6, train=12, test=5, device=CPU)
    kind = METHODS[name]
    context = Context(10, 0.1, 2, torch.Generator().manual_seed(0), world=world)
    context = replace(context, teachers=teachers_of(name, Plain()))
    torch.manual_seed(1)
    recipe = Recipe(epochs=2, lr=0.05, batch_size=40, weight_decay=5e-4, augment=None, seed=0)
    trainer = Trainer(network(), kind(kind.Params(), context), data, recipe, Attack(0.1, "0.1", 2), world)
    while trainer.epoch < 2:
        trainer.train_epoch()
    return trainer.state_dict()


if __name__ == "__main__":
    torch.set_num_threads(1)
    joined = World.join(CPU)
    states = {"plain": trained(joined), "normalised": trained(joined, Normalised, ema=0.9)}
    states |= {kind: attacked(joined, kind) for kind in ("nfgsm", "free")}
    states |= {f"method {name}": by_method(joined, name) for name in METHODS}
    joined.leave()
    save_state(Path(sys.argv[1]) / f"{joined.rank}.safetensors", states)
