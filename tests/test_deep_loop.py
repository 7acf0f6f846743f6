"""The epoch loop, with methods that record what it does to them."""

import pytest
import torch
from torch.nn import functional as F

from deep.data import load
from deep.evaluate import Attack, evaluate
from deep.loop import Trainer
from deep.methods import METHODS
from deep.methods.base import Context, Method
from deep.methods.frl import FRL
from deep.models import PreActResNet
from deep.recipe import Recipe
from deep.seeds import STREAMS, stream


def digits():
    sizes = {"val": 25, "train": 40, "test": 20}
    return load("digits", None, seed=0, **sizes, device=torch.device("cpu"))


def network():
    torch.manual_seed(0)
    return PreActResNet((1, 1), 8, 10, (0.3,), (0.4,))


def recipe(**other):
    given = {"epochs": 4, "lr": 0.1, "batch_size": 64, "weight_decay": 5e-4, "augment": False, "seed": 0}
    return Recipe(**(given | other))


def context():
    return Context(10, 0.05, 2, torch.Generator().manual_seed(0))


ATTACK = Attack(0.05, "0.05", 2)


def fit(*given):
    trainer = Trainer(*given)
    while trainer.epoch < trainer.recipe.epochs:
        trainer.train_epoch()
    return trainer.history


class Spy(Method):
    """Natural training that remembers its batches and validation errors."""

    def __init__(self):
        super().__init__(Method.Params(), context())
        self.batches, self.validation = [], []

    def on_epoch_start(self, epoch):
        self.validation.append(epoch.errors())

    def attack(self, model, x, y):
        self.batches.append((x, y))
        return x


def test_training_learns_and_shuffles_and_keeps_labels_with_their_images():
    data, model, spy = digits(), network(), Spy()
    history = fit(model, spy, data, recipe(epochs=8), ATTACK)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert evaluate(model, data.test, ATTACK, seed=0).errors(data.classes).average("natural_error") < 0.3
    images, labels = data.train.inputs(slice(None)), data.train.labels
    for x, y in spy.batches[:2]:
        for image, label in zip(x, y, strict=True):
            same = (images == image).flatten(1).all(1)
            assert same.any() and (labels[same] == label).all()
    assert not torch.equal(spy.batches[0][1], spy.batches[6][1])  # another order in the second epoch


def test_methods_see_the_validation_split_alone_once_an_epoch():
    data, spy = digits(), Spy()
    model = network()
    fit(model, spy, data, recipe(), ATTACK)
    assert [v.n for v in spy.validation] == [(25,) * 10] * 4
    assert all(sum(v.n) == len(data.val) for v in spy.validation)


def test_the_schedule_divides_by_ten_at_half_and_three_quarters():
    lrs = [line["lr"] for line in fit(network(), Spy(), digits(), recipe(epochs=8), ATTACK)]
    assert lrs == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)


def test_the_optimiser_is_sgd_with_momentum_and_weight_decay():
    """Two steps of one batch, against the update written out."""
    data, model, twin = digits(), network(), network()
    spy = Spy()
    fit(model, spy, data, recipe(epochs=1, batch_size=200, lr=0.05), ATTACK)
    velocity = [torch.zeros_like(p) for p in twin.parameters()]
    twin.train()
    for x, y in spy.batches:
        twin.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        with torch.no_grad():
            for p, v in zip(twin.parameters(), velocity, strict=True):
                v.mul_(0.9).add_(p.grad + 5e-4 * p)
                p.sub_(0.05 * v)
    assert len(spy.batches) == 2
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("augment", [True, False])
def test_augmentation_is_done_when_asked_for(augment):
    data, spy = digits(), Spy()
    fit(network(), spy, data, recipe(epochs=1, augment=augment), ATTACK)
    images = data.train.inputs(slice(None))
    kept = [(images == x).flatten(1).all(1).any() for x in spy.batches[0][0]]
    assert all(kept) != augment


def test_multipliers_move_in_every_epoch_after_the_hot_start():
    method = FRL(FRL.Params(tau_nat=0.0, tau_bndy=0.0), context())
    history = fit(network(), method, digits(), recipe(epochs=6), ATTACK)
    phis = [line["phi_bndy"] for line in history]
    assert phis[:3] == [[0.0] * 10] * 3
    assert max(phis[3]) > 0 and phis[3] != phis[4] != phis[5]


def test_weights_move_by_the_method_that_trains():
    """Without an attack on training, PGD and natural training would be the same."""
    losses = []
    for name in ("natural", "pgd"):
        method = METHODS[name](METHODS[name].Params(), Context(10, 0.2, 4, torch.Generator().manual_seed(0)))
        losses.append(fit(network(), method, digits(), recipe(), ATTACK)[-1]["loss"])
    assert losses[1] > 1.1 * losses[0]


def test_streams_of_a_seed_are_different_and_repeatable():
    values = {stream(seed, use) for seed in range(50) for use in STREAMS}
    assert len(values) == 50 * len(STREAMS) and stream(3, "test") == stream(3, "test")


def test_the_evaluation_attack_is_what_its_name_says():
    """More steps and a larger radius break more; another seed starts elsewhere."""
    data, model = digits(), network()
    fit(model, Spy(), data, recipe(epochs=8), ATTACK)

    def flags(eps, steps, seed=0):
        return evaluate(model, data.test, Attack(eps, str(eps), steps), seed=seed).ok_attacked

    assert flags(0.1, 1).sum() > flags(0.1, 20).sum()
    assert flags(0.05, 20).sum() > flags(0.1, 20).sum() > flags(0.2, 20).sum()
    assert any((flags(0.1, 1) != flags(0.1, 1, seed)).any() for seed in range(1, 6))
    assert (
        Attack(8 / 255, "8/255", 20).name.startswith("PGD-20")
        and "8/255" in Attack(8 / 255, "8/255", 20).name
    )
