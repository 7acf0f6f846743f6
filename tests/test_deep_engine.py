"""Attacks and evaluation: what every method rests on."""

import pytest
import torch
from torch import nn

from deep.attacks.evaluate import Attack, evaluate
from deep.attacks.pgd import attacking
from deep.data import load
from deep.nets.networks import PreActResNet

CPU = torch.device("cpu")


def digits(seed=0, **sizes):
    return load("digits", None, seed=seed, **({"val": 25, "train": None, "test": None} | sizes), device=CPU)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_attacking_restores_modes_and_flags_even_after_an_error():
    model = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,)).train()
    model.norm.eval()
    model.head.weight.requires_grad_(False)
    with pytest.raises(RuntimeError), attacking(model):
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        raise RuntimeError
    assert model.training and not model.norm.training and model.stem.weight.requires_grad
    assert not model.head.weight.requires_grad


def test_evaluation_does_not_touch_the_model():
    d = digits(test=10)
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [evaluate(model, d.test, Attack(0.1, "0.1", 3), seed=s, batch_size=37) for s in (0, 0, 1)]
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert (flags[0].ok_attacked == flags[1].ok_attacked).all()
    assert not (flags[0].ok_attacked & ~flags[0].ok_natural).any()
    clean = evaluate(model, d.test, Attack(0.0, "0", 3), seed=0)
    assert (clean.ok_attacked == clean.ok_natural).all()  # eps = 0 is no attack


def test_a_larger_radius_never_helps_and_a_huge_one_breaks_everything():
    d = digits(test=20)
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 8, 10, (0.3,), (0.4,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(d.train.inputs(slice(None))), d.train.labels).backward()
        optimizer.step()
    rates = [
        evaluate(model, d.test, Attack(e, str(e), 20), seed=0).errors(d.classes).average("robust_error")
        for e in (0.0, 0.05, 0.15, 1.0)
    ]
    assert rates == sorted(rates) and rates[0] < 0.3 and rates[-1] == 1.0
