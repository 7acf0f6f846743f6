"""Interval bounds of networks, training by them, and the certified error of a class."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from deep import repair, train
from deep.attacks.ball import Ball
from deep.attacks.evaluate import Attack, evaluate
from deep.attacks.interval_bounds import certified, chain_of, is_chain, layer_bounds, margin_bounds
from deep.attacks.linear_oracle import Linear, worst_margins
from deep.data import load
from deep.data.tensors import Split
from deep.methods import METHODS, ibp
from deep.methods.base import Context
from deep.nets.networks import LinearNetwork, PreActResNet, SmallCNN
from deep.runs.outcome import certified_error
from deep.training.loop import Trainer
from deep.training.recipe import Recipe
from theory.common.inputs import InputError

DIGITS = (0.3,), (0.4,)


def close(value, expected, atol=6e-9):
    value, expected = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (value, expected))
    torch.testing.assert_close(value, expected, atol=atol, rtol=0)


def golden():
    """Return the network of the reference values."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3)).double()
    values = [[[1, -1], [2, 0.5]], [0.1, -0.2], [[1, -1], [-0.5, 1], [0.2, 0.3]], [0, 0.1, -0.1]]
    with torch.no_grad():
        for p, value in zip(model.parameters(), values, strict=True):
            p.copy_(torch.tensor(value, dtype=torch.float64))
    return model


X, Y = torch.tensor([[0.6, 0.3]], dtype=torch.float64), torch.tensor([0])


def made(eps=0.1, **params):
    kind = METHODS["ibp"]
    return kind(kind.Params(**params), Context(10, eps, 2, torch.Generator().manual_seed(0)))


def small(seed=0):
    torch.manual_seed(seed)
    return SmallCNN(4, 10, 8, *DIGITS)


def split_of(x, y):
    return Split(x, y, 1, torch.arange(len(y)))


def test_golden_bounds_and_losses():
    model, ball = golden(), Ball(X, torch.tensor([0.1], dtype=torch.float64))
    boxes = [*layer_bounds(chain_of(model), ball.low, ball.high)]
    close(boxes[0][0], [[0.2, 0.9]])
    close(boxes[0][1], [[0.6, 1.4]])
    close(boxes[2][0], [[-1.2, 0.7, 0.21]])
    close(boxes[2][1], [[-0.3, 1.4, 0.44]])
    apart = torch.cat([boxes[2][0][:, :1], boxes[2][1][:, 1:]], dim=1)  # the label's least, the others' most
    close(F.cross_entropy(apart, Y), 2.97649377)
    bounds = margin_bounds(model[2], *boxes[1], Y)
    close(bounds, [[0, -2.6, -1.56]])
    close(F.cross_entropy(ibp.worst_logits(bounds), Y), 2.95608455)
    method = made(start=0.0, rise=0.0)
    method.epochs = 1
    close(method.loss(model, X, Y, X), 2.95608455, 5e-8)  # its radius is in single precision


def test_weights_are_drawn_by_the_law_of_the_paper():
    """Their standard deviation within 4 of its own standard errors; the last layer is left."""
    layers = [nn.Linear(100, 4000), nn.ReLU(), nn.Conv2d(3, 4000, 3), nn.Linear(5, 5)]
    before = layers[3].weight.clone()
    ibp.redraw(layers, torch.Generator().manual_seed(0))
    for layer, std in ((layers[0], 0.02506628), (layers[2], 0.09283808)):
        spread = float(layer.weight.detach().std()) / std
        assert abs(spread - 1) < 4 / math.sqrt(2 * layer.weight.numel())
    assert torch.equal(layers[3].weight, before)


def test_the_radius_rises_smoothly():
    method = made(start=0.1, rise=0.5)
    method.epochs, method.steps = 10, 100
    radii = []
    for done in range(0, 1000):
        method.done = done
        radii.append(method.part)
    assert radii[100] == 0 and 0 < radii[101] < 1e-7 and radii[600:] == [1.0] * 400
    steps = [b - a for a, b in zip(radii[100:599], radii[101:600], strict=True)]
    assert min(steps) >= 0 and max(abs(b - a) for a, b in zip(steps, steps[1:], strict=False)) < 1e-4
    assert radii[225] == pytest.approx(0.25**4 / (0.25**4 + 3 * 0.25**3))
    method.done = 300
    close(method.eps(torch.zeros(2)), [0.1 * radii[300]] * 2, 1e-7)


def test_the_penalty_by_hand():
    """Input half width .1; before the ReLU .4 and no unit always on or off: relu(.5 - .25) / .5."""
    width = torch.tensor(0.1)
    wide = (torch.tensor([[-0.4, -0.4]]), torch.tensor([[0.4, 0.4]]))
    close(ibp.penalty(width, [wide]), 0.5, 1e-7)
    narrow = (torch.tensor([[-0.1]]), torch.tensor([[0.1]]))
    close(ibp.penalty(width, [narrow]), 0.0)
    close(ibp.penalty(width, [wide, narrow]), 0.25, 1e-7)
    middle = torch.tensor([[2.0, -0.5, 0.0]])
    half = torch.tensor([[0.1, 0.1, 0.1]])
    apart = (middle - half, middle + half)  # 2 and -.5: ratio .25; squares 2.25 and 1: ratio .4444
    close(ibp.penalty(width, [apart]), 0.5 + (0.5 - 1 / 2.25) / 0.5, 1e-6)
    like = torch.tensor([[2.0, -2.0, 0.0]])
    close(ibp.penalty(width, [(like - half, like + half)]), 0.0)


def test_the_penalty_is_there_while_the_radius_rises():
    model, x, y = small(), torch.rand(8, 1, 8, 8), torch.arange(8)
    method, without = made(), made(penalty=0.0)
    for m in (method, without):
        m.epochs, m.steps = 1, 100
    with torch.no_grad():
        model.conv1.weight.mul_(10)  # wide bounds
    for done in (0, 20, 45, 60):
        method.done = without.done = done
        gap = float((method.loss(model, x, y, x) - without.loss(model, x, y, x)).detach())
        ball = Ball(x, method.eps(y))
        boxes = [*layer_bounds(chain_of(model), ball.low, ball.high)]
        part, width = method.part, (boxes[0][1] - boxes[0][0]).mean() / 2
        whole = float(ibp.penalty(width, [boxes[1], boxes[3], boxes[6]]).detach())
        assert gap == pytest.approx((1 - part) / 2 * whole if 0 < part < 1 else 0, abs=1e-5)
        assert done in (0, 60) or gap > 0.02


def test_bounds_of_a_linear_network_are_its_worst_case():
    torch.manual_seed(0)
    model = LinearNetwork(10, (8, 8), *DIGITS)
    x, y = torch.rand(40, 1, 8, 8), torch.arange(40) % 10
    ball = Ball(x, torch.full((40,), 0.05))
    *_, features, _ = layer_bounds(chain_of(model), ball.low, ball.high)
    least = margin_bounds(model.head, *features, y).scatter(1, y[:, None], torch.inf).amin(1)
    weight = (model.head.weight / 0.4).detach()
    flat = Linear(weight, (model.head.bias - 0.3 * weight.sum(1)).detach())
    torch.testing.assert_close(least.detach().double(), worst_margins(flat, ball, y), atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.3), st.sampled_from(["small", "linear", "chain"]))
def test_what_is_certified_is_robust_and_what_is_robust_is_right(seed, eps, kind):
    """For every sample, at any radius and weights, in any point of the ball: bounds hold what they say."""
    torch.manual_seed(seed)
    models = {
        "small": lambda: SmallCNN(2, 3, 8, *DIGITS),
        "linear": lambda: LinearNetwork(3, (8, 8), *DIGITS),
        "chain": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Tanh(), nn.Linear(9, 3)),
    }
    model, x = models[kind](), torch.rand(12, 1, 8, 8)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2)
        y = model(x).argmax(1)
        y[:3] = torch.arange(3)
        ball = Ball(x, torch.full((12,), eps))
        end = [*layer_bounds(chain_of(model), ball.low, ball.high)][-1]
        for point in (x, ball.low, ball.high, torch.lerp(ball.low, ball.high, torch.rand_like(x))):
            logits = model(point)
            assert (end[0] - 1e-4 <= logits).all() and (logits <= end[1] + 1e-4).all()
    data = split_of(x, y)
    proven = certified(model, data, eps)
    flags = evaluate(model, data, Attack(eps, "e", 5), Attack(eps, "e", 5, objective="margin"), seed=seed)
    robust, right = (torch.tensor(f) for f in (flags.ok_attacked, flags.ok_natural))
    assert (proven <= robust).all() and (robust <= right).all()
    error, counted = certified_error(model, data, eps, flags, "abc"), flags.errors("abc")
    assert error["average"] >= counted.average("robust_error") >= counted.average("natural_error")


def test_bounds_without_the_absolute_weights_would_certify_what_is_broken(monkeypatch):
    """The control of the property: it can fail, and is then refused."""
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        model[0].bias.zero_()
    data = split_of(torch.tensor([[0.6, 0.4], [0.4, 0.6]]), torch.tensor([0, 1]))
    flags = evaluate(model, data, Attack(0.3, "0.3", 10), seed=0)
    assert flags.ok_natural.all() and certified_error(model, data, 0.3, flags, "ab")["average"] == 1
    monkeypatch.setattr(torch.Tensor, "abs", lambda self: self * 0.01)
    with pytest.raises(RuntimeError, match="certify"):
        certified_error(model, data, 0.3, flags, "ab")


def test_networks_without_bounds_are_refused(refuses, tmp_path):
    for model in (
        PreActResNet((1,), 4, 10, *DIGITS),
        nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Linear(2, 2)),
    ):
        assert not is_chain(model)
        with pytest.raises(InputError, match=f"small-cnn.*{type(model).__name__}"):
            made().setup(model, 2)
    assert not is_chain(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) and is_chain(small())
    circular = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    assert not is_chain(nn.Sequential(circular, nn.Flatten(), nn.Linear(4, 2)))
    refuses(train.main, "--method", "ibp", "--out", tmp_path / "run", says=["small-cnn"])


def test_training_by_bounds_certifies_what_pgd_does_not():
    data = load("digits", None, seed=0, val=20, train=40, test=5, device=torch.device("cpu"))
    recipe = Recipe(epochs=5, lr=0.1, batch_size=20, weight_decay=5e-4, augment=None, val_every=5, seed=0)
    proven = {}
    for name in ("ibp", "pgd"):
        kind = METHODS[name]
        method = kind(kind.Params(), Context(10, 0.02, 2, torch.Generator().manual_seed(0)))
        trainer = Trainer(small(), method, data, recipe, Attack(0.02, "0.02", 2))
        while not trainer.finished:
            trainer.train_epoch()
        proven[name] = float(certified(trainer.model, data.val, 0.02).float().mean())
    assert proven["ibp"] > 0.3 > 0.15 > proven["pgd"]


def test_a_run_has_the_certified_error_of_every_class(invoke, refuses, tmp_path):
    words = (
        "--model small-cnn --epochs 2 --train-per-class 20 --test-per-class 20 --width 4 --eps 0.02".split()
    )
    run = tmp_path / "run"
    code, text, _ = invoke(train.main, "--method", "ibp", *words, "--out", run)
    assert code == 0 and "certified error" in text
    result = json.loads((run / "result.json").read_text())
    proven = result["certified_error"]
    for c, r, n in zip(
        *(result[q]["per_class"] for q in ("certified_error", "robust_error", "natural_error")), strict=True
    ):
        assert c >= r >= n
    assert proven["worst"] == max(proven["per_class"]) and len(proven["interval"]) == 10
    again = ["--method", "ibp", *words, "--init", run, "--out", tmp_path / "again"]
    refuses(train.main, *again, says=["--no-redraw"])
    assert invoke(train.main, *again, "--no-redraw")[0] == 0
    assert invoke(repair.main, run, "--stage", "half", "--out", tmp_path / "half")[0] == 0
    assert "certified_error" in json.loads((tmp_path / "half" / "result.json").read_text())


@pytest.mark.parametrize("wrong", [{"start": 1.5}, {"rise": -0.1}, {"penalty": -1.0}, {"redraw": 2}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        made(**wrong)
