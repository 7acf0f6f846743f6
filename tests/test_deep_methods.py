import dataclasses
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_setup import teachers_of
from torch.nn import functional as F

from deep.attacks.evaluate import Attack
from deep.data import load
from deep.methods import METHODS
from deep.methods.base import Context, Epoch
from deep.methods.frl import FRL, capped, class_weights
from deep.methods.trades import TRADES, surrogates
from deep.nets.networks import PreActResNet, SmallCNN
from deep.runs.command_line import parser_of
from deep.training.checkpoint import load_state, save_state
from deep.training.loop import Trainer
from deep.training.recipe import Recipe
from theory.common.inputs import InputError
from theory.results.counts import ClassErrors

# Errors in percent of one published run of the authors' reweighting script, and what its rules make of them.
NATURAL = [12.0, 6.5, 26.8, 27.3, 18.5, 26.8, 13.3, 11.5, 8.3, 7.4]
BOUNDARY = [30.3, 25.3, 40.7, 47.9, 53.9, 35.0, 39.9, 28.3, 31.7, 25.2]
VAL = ClassErrors(
    tuple(map(str, range(10))),
    (1000,) * 10,
    tuple(round(10 * n) for n in NATURAL),
    tuple(round(10 * (n + b)) for n, b in zip(NATURAL, BOUNDARY, strict=True)),
)


def context(eps=8 / 255, steps=3, name="pgd"):
    """Return a context with the teachers that a method needs."""
    return Context(
        10, eps, steps, torch.Generator().manual_seed(0), teachers=teachers_of(name, network(seed=5))
    )


def frl(variant, **params):
    return FRL(FRL.Params(variant=variant, **params), context())


def network(seed=0, classes=10):
    torch.manual_seed(seed)
    return PreActResNet((1, 1), 4, classes, (0.3,), (0.4,))


def network_for(name, seed=0):
    """Return a network that the method can train: interval bounds are for chains of layers."""
    torch.manual_seed(seed)
    return network(seed) if name != "ibp" else SmallCNN(4, 10, 8, (0.3,), (0.4,))


def batch(n=16, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((n, 1, 8, 8), generator=generator), torch.arange(n) % 10


def expect(values, base, **others):
    expected = torch.full((10,), base)
    for index, value in others.items():
        expected[int(index[1:])] = value
    torch.testing.assert_close(values, expected, atol=6e-6, rtol=0)


def test_reweight_golden_values():
    method = frl("reweight")
    method.ascend(VAL)
    expect(method.phi_nat, 0.0, _2=0.00048, _3=0.00073, _5=0.00048)
    expect(method.phi_bndy, 0.0, _3=0.00208, _4=0.00808)
    expect(class_weights(method.phi_nat), 0.09983, _2=0.10031, _3=0.10056, _5=0.10031)
    expect(class_weights(method.phi_bndy), 0.09898, _3=0.10106, _4=0.10706)
    for _ in range(39):
        method.ascend(VAL)
    expect(class_weights(method.phi_nat), 0.09324, _2=0.11244, _3=0.12244, _5=0.11244)
    expect(class_weights(method.phi_bndy), 0.05936, _3=0.14256, _4=0.38256)
    expect(method.margins(), 1.0)


def test_both_golden_values():
    method = frl("both")
    method.ascend(VAL)
    expect(method.phi_bndy, 0.0, _3=0.00508, _4=0.01108)
    expect(method.margins(), 0.98, _2=0.99156, _3=1.02053, _4=1.04532, _6=0.98839)
    for _ in range(39):
        method.ascend(VAL)
    expect(class_weights(method.phi_nat), 0.07524, _2=0.15444, _3=0.16444, _5=0.15444)
    expect(class_weights(method.phi_bndy), 0.05, _3=0.20718, _4=0.39282)  # the cap on the sum is active
    expect(method.margins(), 0.98, _3=2.25421, _4=3.0)


def test_remargin_leaves_boundary_weights_alone():
    method = frl("remargin")
    for _ in range(40):
        method.ascend(VAL)
    expect(method.phi_bndy, 0.0)
    assert float(method.margins()[4]) > 1.3 and method.params.beta == 1.0


def test_margins_do_not_wind_up():
    """A class that becomes hard after 40 easy epochs gets a larger radius at once, not 40 epochs later."""
    method = frl("remargin")
    for _ in range(40):
        method.ascend(VAL)
    assert float(method.log_margin.min()) >= math.log(0.98) / 2 - 1e-6
    hard = ClassErrors(("a",) * 10, (1000,) * 10, (100,) * 10, (900,) + (300,) * 9)
    before = float(method.margins()[0])
    method.ascend(hard)
    assert float(method.margins()[0]) > max(1.0, before)


@given(st.lists(st.floats(-2, 3), min_size=2, max_size=20), st.floats(0, 0.99))
def test_weights_sum_to_one_and_stay_positive(raw, cap):
    phi = capped(torch.tensor(raw, dtype=torch.float64), cap)
    weights = class_weights(phi)
    C = len(raw)
    assert float(weights.sum()) == pytest.approx(1)
    assert (phi >= 0).all() and float(phi.sum()) <= cap + 1e-9
    assert float(weights.min()) >= (1 - cap) / C - 1e-9
    assert float(weights.max()) <= 1 / C + (1 - 1 / C) * cap + 1e-9


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_weights_are_the_coefficients_of_the_lagrangian(phi, errors):
    average = sum(errors) / 3
    lagrangian = average + sum(p * (e - average) for p, e in zip(phi, errors, strict=True))
    weights = class_weights(torch.tensor(phi, dtype=torch.float64))
    assert float(weights @ torch.tensor(errors, dtype=torch.float64)) == pytest.approx(lagrangian, abs=1e-9)


@pytest.mark.parametrize("variant", ["reweight", "remargin", "both"])
def test_without_multipliers_frl_is_trades(variant):
    model, (x, y) = network(), batch()
    method = frl(variant)
    trades = TRADES(TRADES.Params(beta=method.params.beta), context())
    adv = trades.attack(model, x, y)
    torch.testing.assert_close(method.attack(model, x, y), adv)
    losses = [m.loss(model.train(), x, y, adv) for m in (method, trades)]
    torch.testing.assert_close(*losses)
    method.ascend(VAL)
    assert not torch.equal(method.loss(model.train(), x, y, adv), losses[1])  # and with them it is not


def test_trades_loss_is_the_mean_divergence():
    """Against the divergence written out, far from x, in value and in gradient."""
    model, (x, y) = network().eval(), batch()
    torch.nn.init.normal_(model.head.weight, std=10.0)  # logits that differ, or every divergence is near 0
    adv = 1 - x
    natural, boundary = surrogates(model, x, y, adv)
    p, q = (F.softmax(model(v), dim=1) for v in (x, adv))
    reference = (p * (p / q).log()).sum(1)
    assert float(reference.mean().detach()) > 0.1
    torch.testing.assert_close(boundary, reference, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(reference, (q * (q / p).log()).sum(1), rtol=1e-2)  # it is not symmetric
    torch.testing.assert_close(natural, -p[torch.arange(len(y)), y].log())
    loss = TRADES(TRADES.Params(beta=3.0), context()).loss(model, x, y, adv)
    torch.testing.assert_close(loss, natural.mean() + 3 * reference.mean())
    gradients = [
        torch.autograd.grad(v.mean(), model.stem.weight, retain_graph=True)[0] for v in (boundary, reference)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)
    detached = (p.detach() * (p.detach() / q).log()).sum(1).mean()
    wrong = torch.autograd.grad(detached, model.stem.weight)[0]
    assert not torch.allclose(wrong, gradients[0], rtol=1e-2)  # gradients pass through both arguments


def test_frl_loss_by_hand():
    """Each sample has its own class's weight, natural and boundary weights are not exchanged."""
    method, model, (x, y) = frl("both"), network().eval(), batch(20)
    torch.nn.init.normal_(model.head.weight, std=10.0)
    method.phi_nat, method.phi_bndy = torch.linspace(0, 0.09, 10), torch.linspace(0.05, 0, 10)
    natural, boundary = surrogates(model, x, y, 1 - x)
    expected = sum(
        10 * (0.1 + method.phi_nat[c] - method.phi_nat.mean()) * natural[i] / 20
        + 1.5 * 10 * (0.1 + method.phi_bndy[c] - method.phi_bndy.mean()) * boundary[i] / 20
        for i, c in enumerate(y.tolist())
    )
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)


def test_each_tolerance_belongs_to_its_error():
    method = frl("both", tau_nat=0.05, tau_bndy=0.15)
    method.ascend(VAL)
    expect(method.phi_nat, 0.0, _2=0.00298, _3=0.00323, _5=0.00298)
    expect(method.phi_bndy, 0.0, _4=0.00308)


def test_the_attacks_of_training_increase_what_they_should():
    """PGD's training examples raise the cross-entropy, TRADES' raise the divergence from x."""
    model, (x, y) = network(), batch(40)
    torch.nn.init.normal_(model.head.weight, std=10.0)
    model.eval()
    pgd_adv = METHODS["pgd"](METHODS["pgd"].Params(), context(eps=0.1)).attack(model, x, y)
    assert F.cross_entropy(model(pgd_adv), y) > 1.1 * F.cross_entropy(model(x), y)
    trades = TRADES(TRADES.Params(), context(eps=0.1))
    noise = (x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).sign()).clamp(0, 1)
    divergences = [surrogates(model, x, y, v)[1].mean() for v in (trades.attack(model, x, y), noise)]
    assert divergences[0] > 2 * divergences[1]
    loss = METHODS["pgd"](METHODS["pgd"].Params(), context()).loss(model, x, y, pgd_adv)
    torch.testing.assert_close(loss, F.cross_entropy(model(pgd_adv), y))


def test_radii_follow_the_class():
    method = frl("both")
    for _ in range(40):
        method.ascend(VAL)
    model, (x, y) = network(), batch(40)
    reach = (method.attack(model, x, y) - x).abs().amax((1, 2, 3))
    allowed = 8 / 255 * method.margins()[y]
    assert (reach <= allowed + 1e-6).all()
    assert (reach[y == 4] > 2 * 8 / 255).any()  # the hard class really gets a larger radius


def epoch(index, seen=None):
    """Return an epoch whose errors are VAL; that they were asked for is noted in ``seen``."""
    return Epoch(index, network(), None, lambda: seen.append(index) or VAL if seen is not None else VAL)


def test_the_warm_up_is_trades_and_costs_no_extra_epoch():
    """Without multipliers the method is TRADES (tested above); they stay at 0 in the warm-up."""
    method, seen = frl("both"), []
    method.setup(None, 12)
    for index in range(12):
        method.on_epoch_start(epoch(index, seen))
        assert (float(method.phi_bndy.max()) > 0) == (index >= 6)
    assert seen == [6, 7, 8, 9, 10, 11]
    method = frl("both", hot_share=0.0)
    method.setup(None, 1)
    method.on_epoch_start(epoch(0))
    assert float(method.phi_bndy.max()) > 0
    with pytest.raises(InputError, match="warm-up"):
        frl("both").setup(None, 1)


@pytest.mark.parametrize("name", METHODS)
def test_every_state_survives_a_checkpoint(name, tmp_path):
    """After the round trip a method goes on as it would have; the state of another method is refused."""
    method, symbolic_form = (METHODS[name](METHODS[name].Params(), context(name=name)) for _ in range(2))
    for m in (method, symbolic_form):
        m.setup(network_for(name), 2)
    for index in range(2):
        method.on_epoch_start(epoch(index))
    save_state(tmp_path / "state", {"method": method.state_dict()})
    symbolic_form.load_state_dict(load_state(tmp_path / "state")["method"])
    assert symbolic_form.state() == method.state()
    for m in (method, symbolic_form):
        m.on_epoch_start(epoch(2))
    assert symbolic_form.state() == method.state()
    with pytest.raises(InputError, match="state"):
        symbolic_form.load_state_dict({"another": 1})


def test_a_state_of_another_shape_or_kind_is_refused():
    for wrong in ({"phi_nat": torch.zeros(3)}, {"phi_nat": 0.5}, {"hot_epochs": "six"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            frl("both").load_state_dict(frl("both").state_dict() | wrong)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_deterministically_inside_the_box(name):
    method_class = METHODS[name]
    results = []
    for _ in range(2):
        method, model, (x, y) = (
            method_class(method_class.Params(), context(name=name)),
            network_for(name),
            batch(),
        )
        model.train()
        method.setup(model, 2)
        x = method.inputs(x, y)
        adv = method.attack(model, x, y)
        assert model.training and not adv.requires_grad
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert float(adv.min()) >= 0 and float(adv.max()) <= 1
        within = ((adv - x).abs().amax((-3, -2, -1)) <= method.eps(y) + 1e-6).all()
        assert within or name == "union"  # whose balls in l2 and l1 are no part of that in linf
        assert (name in ("natural", "jacobian", "ibp")) == torch.equal(adv, x)
        loss = method.loss(model, x, y, adv)
        loss.backward()
        assert math.isfinite(loss.item())
        results.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.equal(*results)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_goes_on_bit_for_bit(name, tmp_path):
    """By way of a checkpoint between two epochs: weights, state, and what the method says of classes."""
    data = load("digits", None, seed=0, val=6, train=6, test=5, device=torch.device("cpu"))
    recipe = Recipe(epochs=3, lr=0.05, batch_size=30, weight_decay=5e-4, augment=None, seed=0)

    def made(seed=0):
        method = METHODS[name](METHODS[name].Params(), context(eps=0.1, steps=2, name=name))
        return Trainer(network_for(name, seed), method, data, recipe, Attack(0.1, "0.1", 1))

    whole, first, second = made(), made(), made(seed=1)
    while not whole.finished:
        whole.train_epoch()
    for _ in range(2):
        first.train_epoch()
    save_state(tmp_path / "state", first.state_dict())
    second.load_state_dict(load_state(tmp_path / "state"))
    second.train_epoch()
    for trainer in (whole, second):
        save_state(tmp_path / f"{trainer is whole}", forgotten(trainer.state_dict()))
    assert (tmp_path / "True").read_bytes() == (tmp_path / "False").read_bytes()
    assert whole.method.state() == second.method.state()


def forgotten(state):
    """Return a state without times."""
    for line in state["history"]:
        line |= {"seconds": 0.0, "images_per_second": 0.0}
    return state


@pytest.mark.parametrize("name", METHODS)
def test_hyper_parameters_are_flags(name):
    """The help names the paper with a link, and what is not as in it; no flag is that of another setting."""
    assert all(f.metadata["help"] for f in dataclasses.fields(METHODS[name].Params))
    text = " ".join(parser_of(name).format_help().split())
    if name not in ("natural", "reweight"):  # which are nobody's, and ours
        assert "https://" in text and re.search("[Dd]eviations|not as there|Ours are|and what is not", text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cap": 1.0},
        {"tau_nat": -0.1},
        {"rate_nat": math.nan},
        {"max_margin": 0.5},
        {"hot_share": 1.0},
        {"beta": -1.0},
    ],
)
def test_frl_refuses_what_makes_no_sense(wrong):
    with pytest.raises(InputError, match=next(iter(wrong)).replace("_", "-")):
        FRL.Params(**wrong)
