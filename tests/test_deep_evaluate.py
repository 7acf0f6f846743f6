"""Evaluations: what is kept, resumed and derived; AutoAttack and the black-box attacks."""

import dataclasses
import logging
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deep.attacks import evaluate as module
from deep.attacks.autoattack import AutoAttack, attack_set
from deep.attacks.ball import Ball
from deep.attacks.blackbox import random_points, square
from deep.attacks.evaluate import Attack, evaluate, reported
from deep.attacks.linear_oracle import Linear, worst_margins
from deep.attacks.noise import Noise
from deep.data import load
from deep.nets.networks import PreActResNet
from theory.common.inputs import DoubtWarning, InputError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained():
    """Return a small network trained on digits, and 200 test digits."""
    data = load("digits", None, seed=0, val=25, train=None, test=20, device=CPU)
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 8, 10, (0.3,), (0.4,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(model(data.train.inputs(slice(None))), data.train.labels).backward()
        optimizer.step()
    return model.eval(), data.test


@pytest.fixture(scope="module")
def linear():
    data = load("digits", None, seed=0, val=25, train=None, test=20, device=CPU)

    def make(classes):
        parts = [s.take(s.labels < classes) for s in (data.train, data.test)]
        return Linear.fit(parts[0].inputs(slice(None)), parts[0].labels, classes).float(), parts[1]

    return make


def attacks(eps=0.05):
    return [Attack(eps, str(eps), 4), Attack(eps, str(eps), 3, objective="targeted", targets=3)]


def test_each_attack_has_its_row_and_a_sample_must_be_robust_to_all(trained):
    model, test = trained
    both = evaluate(model, test, *attacks(), seed=0)
    alone = [evaluate(model, test, attack, seed=0) for attack in attacks()]
    assert both.ok.shape == (3, 200) and both.attacks[0] == "clean"
    for row, single in zip(both.ok[1:], alone, strict=True):
        assert (row == single.ok[1]).all()
    assert (both.ok_attacked == both.ok[1] & both.ok[2]).all()
    assert (both.ok[1] != both.ok[2]).any()
    classes = [str(i) for i in range(10)]
    whole, first = both.errors(classes), both.errors(classes, both.attacks[1])
    assert sum(whole.robust) == (~both.ok_attacked).sum() and sum(first.robust) == (~both.ok[1]).sum()


def test_batch_size_does_not_change_decisions(trained):
    model, test = trained
    test = test.take(slice(None, None, 2))
    plain = Attack(0.05, "0.05", 5)
    one, seven, all_ = (
        evaluate(model, test, *reported(plain)[: 1 + (size > 1)], seed=0, batch_size=size).ok
        for size in (1, 7, 64)
    )
    assert (one == all_[:2]).mean() >= 0.999 and (seven == all_).mean() >= 0.999
    seeds = [evaluate(model, test, Attack(0.05, "0.05", 1), seed=seed).ok for seed in range(6)]
    assert any((ok != seeds[0]).any() for ok in seeds)  # starts matter


def test_a_subset_in_another_order_gets_the_same_decisions(trained):
    model, test = trained
    index = torch.randperm(200, generator=torch.Generator().manual_seed(0))[:80]
    part = test.take(index)
    once = Attack(0.05, "0.05", 1)
    whole = evaluate(model, test, once, seed=0)
    assert (evaluate(model, part, once, seed=0).ok == whole.ok[:, index]).mean() >= 0.999
    renamed = (dataclasses.replace(test, index=test.index + shift) for shift in (1, 2, 3, 4))
    others = [evaluate(model, split, once, seed=0).ok for split in renamed]
    assert any((ok != whole.ok).any() for ok in others)  # the index is what counts


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("objective", ["ce", "kl", "margin", "targeted"])
def test_no_radius_is_no_attack(trained, norm, objective):
    model, test = trained
    found = evaluate(model, test, Attack(0.0, "0", 3, norm=norm, objective=objective, restarts=2), seed=0)
    assert (found.ok[1] == found.ok[0]).all() and found.ok[0].any()
    larger = evaluate(model, test, Attack(0.5, "0.5", 3, norm=norm, objective=objective), seed=0)
    assert (larger.ok[1] != larger.ok[0]).any()


def test_an_interrupted_evaluation_goes_on(trained, tmp_path, monkeypatch):
    """Stopped before each of its writes in turn, it ends with the same flags, and makes no batch twice."""
    model, test = trained
    whole = evaluate(model, test, *attacks(), seed=0, batch_size=64)
    write, made = module.write_atomic, []

    def stops(path, content):
        if len(made) in (1, 2):
            made.append("stop")
            raise KeyboardInterrupt
        made.append(path.name)
        write(path, content)

    monkeypatch.setattr(module, "write_atomic", stops)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            evaluate(model, test, *attacks(), seed=0, batch_size=64, shards=tmp_path)
    found = evaluate(model, test, *attacks(), seed=0, batch_size=64, shards=tmp_path)
    assert (found.ok == whole.ok).all() and (found.index == whole.index).all()
    kept = [name for name in made if name != "stop"]
    assert len(kept) == len(set(kept)) == 4
    evaluate(model, test, *attacks(), seed=0, batch_size=64, shards=tmp_path)
    assert len([name for name in made if name != "stop"]) == 4


def test_shards_of_other_evaluations_are_not_used(trained, tmp_path):
    model, test = trained
    keys = set()
    for change in ("none", "seed", "attack", "network", "samples"):
        other = attacks(0.1 if change == "attack" else 0.05)
        if change == "network":
            model = PreActResNet((1, 1), 8, 10, (0.3,), (0.4,))
        split = test.take(torch.arange(len(test)).flip(0)) if change == "samples" else test
        seed = 1 if change == "seed" else 0
        found = evaluate(model, split, *other, seed=seed, batch_size=200, shards=tmp_path)
        assert (found.ok == evaluate(model, split, *other, seed=seed, batch_size=200).ok).all(), change
        keys = {p.name for p in tmp_path.iterdir()}
    assert len(keys) == 5


def test_a_damaged_shard_is_made_again(trained, tmp_path):
    model, test = trained
    whole = evaluate(model, test, *attacks(), seed=0, shards=tmp_path)
    (shard,) = tmp_path.iterdir()
    for damage in (b"", b"PK\x03\x04 no archive", shard.read_bytes()[:-40]):
        shard.write_bytes(damage)
        assert (evaluate(model, test, *attacks(), seed=0, shards=tmp_path).ok == whole.ok).all()


def test_black_box_attacks_never_beat_the_exact_bound(linear):
    model, test = linear(10)
    x, y = test.inputs(slice(None)), test.labels
    ball, noise = Ball(x, torch.full(y.shape, 0.1)), Noise.of(0, torch.arange(len(y)))
    bound = worst_margins(model, ball, y) > 0
    clean = model(x).argmax(1) == y
    robust = [square(model, ball, y, noise, 300), random_points(model, ball, y, noise, 50)]
    for ok in robust:
        assert not (bound & ~ok).any() and not (ok & ~clean).any()
    broken = [int((clean & ~ok).sum()) for ok in robust]
    assert int((clean & ~bound).sum()) >= broken[0] > 2 * broken[1]  # squares search, points do not


@pytest.mark.parametrize("classes, norm", [(2, "linf"), (3, "linf"), (5, "l2"), (10, "linf")])
def test_autoattack_finds_what_is_there(linear, classes, norm):
    pytest.importorskip("pyautoattack")
    model, test = linear(classes)
    test = test.take(slice(None, None, 2))
    x, y = test.inputs(slice(None)), test.labels
    eps = {2: 0.25, 3: 0.2, 5: 0.5, 10: 0.1}[classes]
    bound = (worst_margins(model, Ball(x, torch.full(y.shape, eps), norm), y) > 0).numpy()
    attack = AutoAttack(eps, str(eps), classes, norm, queries=20)
    trace, state = sys.gettrace(), torch.random.get_rng_state()
    ok = evaluate(model, test, attack, seed=0).ok
    assert sys.gettrace() is trace and torch.equal(torch.random.get_rng_state(), state)
    assert logging.getLogger("auto-attack").level == logging.NOTSET
    assert all(p.grad is None for p in model.parameters())
    assert (ok[1] == bound).mean() >= 0.95 and (ok[0] != ok[1]).any()
    assert not (bound & ~ok[1]).any()


def test_autoattack_suits_the_classes_and_says_what_it_needs(trained, monkeypatch):
    assert "apgd-t" not in attack_set(3) and "apgd-dlr" not in attack_set(2)
    assert attack_set(4) == attack_set(100) == ("apgd-ce", "apgd-t", "fab-t", "square")
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    model, test = trained
    with pytest.raises(InputError, match="attacks"):
        evaluate(model, test, AutoAttack(0.1, "0.1", 10), seed=0)
    nothing = evaluate(model, test, AutoAttack(0.0, "0", 10), seed=0)
    assert (nothing.ok[0] == nothing.ok[1]).all()


class Rounded(nn.Module):
    """A network behind a step function, whose gradient is 0: the plainest masking."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(torch.round(x * 16) / 16)


def test_masked_gradients_are_found_by_the_black_box(trained):
    model, test = trained
    masked = Rounded(model).eval()
    with pytest.warns(DoubtWarning, match="gradients vanish for"):
        ok = evaluate(masked, test, Attack(0.2, "0.2", 20), seed=0).ok
    x, y = test.inputs(slice(None)), test.labels
    withstood = square(masked, Ball(x, torch.full(y.shape, 0.2)), y, Noise.of(0, torch.arange(200)), 200)
    assert (ok[1] & ~withstood.numpy()).sum() > 0.2 * ok[0].sum()
    assert np.all(withstood.numpy() <= ok[0])
