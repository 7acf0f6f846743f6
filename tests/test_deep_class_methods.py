"""Methods that keep a state of every class: their published rules, and that they train by them."""

import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from deep import train
from deep.attacks.evaluate import Attack
from deep.data import load
from deep.data.distributed import World
from deep.methods import METHODS, cfa, dafa, wat
from deep.methods.base import Context, Epoch
from deep.nets.networks import PreActResNet
from deep.training.checkpoint import load_weights
from deep.training.loop import Trainer
from deep.training.recipe import Recipe
from theory.common.inputs import InputError
from theory.results.counts import ClassErrors

EPS = 8 / 255
ATTACK = Attack(0.1, "0.1", 2)


def context(eps=EPS, steps=3, classes=10, world=World()):  # noqa: B008
    return Context(classes, eps, steps, torch.Generator().manual_seed(0), world=world)


def make(name, given_context=None, **params):
    kind = METHODS[name]
    return kind(kind.Params(**params), given_context or context())


def network(scale=10.0):
    """Return a network whose outputs differ enough for errors of the loss to show."""
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,))
    torch.nn.init.normal_(model.head.weight, std=scale)
    return model


def batch(n=20):
    return torch.rand((n, 1, 8, 8), generator=torch.Generator().manual_seed(1)), torch.arange(n) % 10


def trainer_of(method, epochs=4, ema=0.0):
    data = load("digits", None, seed=0, val=6, train=12, test=5, device=torch.device("cpu"))
    recipe = Recipe(epochs=epochs, lr=0.05, batch_size=40, weight_decay=5e-4, augment=None, seed=0, ema=ema)
    return Trainer(network(1.0), method, data, recipe, ATTACK)


def epoch(index):
    return Epoch(index, None, None, lambda *given: None)


def close(found, expected, atol=6e-6):
    found, expected = (torch.as_tensor(v, dtype=torch.float64) for v in (found, expected))
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def reach(x, adv):
    return (adv - x).abs().amax((1, 2, 3))


STOCHASTIC = st.integers(2, 6).flatmap(
    lambda C: st.lists(
        st.lists(st.floats(0.001, 1), min_size=C, max_size=C).map(lambda row: [v / sum(row) for v in row]),
        min_size=C,
        max_size=C,
    )
)


def test_dafa_golden_weights():
    S = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.05, 0.15, 0.8]])
    close(dafa.class_weights(S, 1.0), [1.29, 0.87, 0.84])
    close(dafa.class_weights(S, 2.0), [1.58, 0.74, 0.68])
    assert not torch.allclose(dafa.class_weights(S.T, 1.0), dafa.class_weights(S, 1.0), atol=0.05)


@given(STOCHASTIC, st.floats(0, 5))
def test_dafa_weights_are_the_rule_term_by_term(S, lam):
    C = len(S)
    expected = [
        1
        + lam
        * sum(
            S[i][j] * S[j][j] if S[i][i] < S[j][j] else -S[j][i] * S[i][i]
            for j in range(C)
            if S[i][i] != S[j][j]
        )
        for i in range(C)
    ]
    weights = dafa.class_weights(torch.tensor(S, dtype=torch.float64), lam)
    close(weights, expected, 1e-9)
    assert float(weights.sum()) == pytest.approx(C)
    positive = dafa.raised(weights)
    assert float(positive.min()) >= 0.1 - 1e-9 and float(positive.mean()) == pytest.approx(1)
    if float(weights.min()) >= 0.1:
        close(positive, weights.tolist(), 1e-12)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8))
def test_dafa_leaves_classes_alone_that_are_not_alike(own):
    close(dafa.class_weights(torch.diag(torch.tensor(own)), 1.5), [1.0] * len(own))


def test_dafa_gives_no_class_a_negative_radius():
    """A network that sees class 0 everywhere, to every other class's gain."""
    S = torch.full((10, 10), 0.01)
    S[:, 0] = 0.91
    assert float(dafa.class_weights(S, 1.0).min()) < -5
    weights = dafa.raised(dafa.class_weights(S, 1.0))
    assert float(weights.min()) == pytest.approx(0.1, abs=1e-5) and float(weights.mean()) == pytest.approx(1)


WEIGHTS = torch.linspace(0.4, 1.6, 10)


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_dafa_loss_and_radii_by_hand(base):
    method, model, (x, y) = make("dafa", base=base), network(), batch(40)
    adv = method.attack(model, x, y)
    plain = make(base)
    torch.testing.assert_close(adv, plain.attack(model, x, y))
    torch.testing.assert_close(method.loss(model.eval(), x, y, adv), plain.loss(model.eval(), x, y, adv))
    method.class_weights = WEIGHTS
    adv = method.attack(model, x, y)
    assert (reach(x, adv) <= EPS * WEIGHTS[y] + 1e-6).all() and (reach(x, adv)[y == 9] > 1.1 * EPS).all()
    main = F.cross_entropy(model(adv if base == "pgd" else x), y, reduction="none")
    p, q = (F.softmax(model(v), dim=1) for v in (x, adv))
    divergence = (p * (p / q).log()).sum(1).mean() if base == "trades" else 0.0
    torch.testing.assert_close(
        method.loss(model, x, y, adv), (WEIGHTS[y] * main).mean() + 6 * divergence, rtol=1e-4, atol=1e-5
    )


def test_dafa_published_attack_steps_twice_and_never_leaves_the_ball_of_eps():
    """By hand for one iteration; the corrected attack is another one."""
    model, (x, y) = network(), batch(40)
    literal, corrected = (make("dafa", context(steps=1), base="pgd", literal=v) for v in (True, False))
    literal.class_weights = corrected.class_weights = WEIGHTS
    found, other = (m.attack(model, x, y) for m in (literal, corrected))
    radius, W = EPS, WEIGHTS[y].view(-1, 1, 1, 1)
    noise = context().noise(40).uniform((1, 8, 8))
    start = (x + W * radius * (2 * noise - 1)).clamp(0, 1).requires_grad_(True)
    (g,) = torch.autograd.grad(F.cross_entropy(model.eval()(start), y, reduction="sum"), start)
    step = radius / 4 * g.sign()
    first = torch.clamp(start + W * step, (x - W * radius).clamp(min=0), (x + W * radius).clamp(max=1))
    torch.testing.assert_close(other, first.detach())
    second = torch.clamp(first + step, (x - radius).clamp(min=0), (x + radius).clamp(max=1))
    torch.testing.assert_close(found, second.detach())
    assert (reach(x, found) <= EPS + 1e-6).all() and (reach(x, other) > 1.2 * EPS).any()
    with pytest.raises(InputError, match="--literal"):
        make("dafa", literal=True)


def test_dafa_gathers_the_last_epoch_of_the_warm_up():
    """Probabilities of the training step, from all batches and no other epoch; then the weights stay."""
    method, seen = make("dafa", warm_share=0.5), []
    trainer, original = trainer_of(method, epochs=5), method.terms
    assert method.warm_epochs == 2

    def terms(model, x, y, adv):
        found = original(model, x, y, adv)
        if trainer.epoch == 1:
            seen.append((F.softmax(found.logits.detach().double(), dim=1), y))
        return found

    object.__setattr__(method, "terms", terms)
    states = []
    for _ in range(5):
        trainer.train_epoch()
        states.append(method.class_weights.tolist())
    p, y = (torch.cat(v) for v in zip(*seen, strict=True))
    S = torch.stack([p[y == c].mean(0) for c in range(10)])
    close(method.similarity, S.tolist(), 1e-9)
    assert states[0] == states[1] == [1.0] * 10 and states[2] == states[4]
    close(states[2], dafa.raised(dafa.class_weights(S, 1.0)).tolist(), 1e-6)
    assert max(states[2]) > 1.01


def test_dafa_totals_what_the_processes_gathered():
    class Twin(World):
        def total(self, value):
            return value + other

    other = torch.rand((10, 10), generator=torch.Generator().manual_seed(3)).double()
    method = make("dafa", context(world=Twin()))
    method.setup(None, 2)
    method.on_epoch_start(epoch(0))
    logits, y = torch.randn((30, 10), generator=torch.Generator().manual_seed(4)), torch.arange(30) % 10
    method.gather(logits, y)
    sums = other + torch.stack([F.softmax(logits[y == c].double(), dim=1).sum(0) for c in range(10)])
    method.on_epoch_end(epoch(0))
    close(method.similarity, (sums / sums.sum(1, keepdim=True)).tolist(), 1e-9)
    method.on_epoch_start(epoch(1))
    assert not method.gathering


def test_cfa_golden_values():
    a = torch.tensor([0.2, 0.5, 0.8])
    close(cfa.class_radii(a, EPS, 0.5) * 255, [5.6, 8, 10.4])
    close(cfa.class_regularisation(a, 6.0, 0.5), [0.80769, 0.85714, 0.88636])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0, 20), st.floats(0, 2))
def test_cfa_regularisation_is_that_of_trades_with_a_scaled_beta(accuracy, beta, base):
    """b / (1 - b) = (base + a) beta, and a class with base + a = 1 is as in the base."""
    a = torch.tensor(accuracy, dtype=torch.float64)
    share = cfa.class_regularisation(a, beta, base)
    torch.testing.assert_close(share / (1 - share), (base + a) * beta)
    close(cfa.class_regularisation(1 - base + 0 * a, beta, base), [beta / (1 + beta)] * len(a), 1e-12)
    close(cfa.class_radii(1 - base + 0 * a, 0.1, base), [0.1] * len(a), 1e-12)


ACCURACY = torch.linspace(0, 0.9, 10)


def calibrated(variant="both", **params):
    method = make("cfa", variant=variant, **params)
    method.calibrate(ACCURACY, torch.tensor([True] * 10))
    return method


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_cfa_loss_and_attack_by_hand(base):
    method, plain, model, (x, y) = make("cfa", base=base), make(base), network().eval(), batch(40)
    adv = plain.attack(model, x, y)
    torch.testing.assert_close(method.attack(model, x, y), adv)
    torch.testing.assert_close(method.loss(model, x, y, adv), plain.loss(model, x, y, adv))
    method = calibrated(base=base)
    adv = method.attack(model, x, y)
    radii = EPS * (0.5 + ACCURACY)
    assert (reach(x, adv) <= radii[y] + 1e-6).all() and (reach(x, adv)[y == 9] > 0.74 * EPS).all()
    assert torch.equal(method.step(y, radii[y]), torch.full((40,), EPS / 4))
    main = F.cross_entropy(model(adv if base == "pgd" else x), y, reduction="none")
    if base == "trades":
        p, q = (F.softmax(model(v), dim=1) for v in (x, adv))
        scaled = 6 * (0.5 + ACCURACY[y])
        main = 7 * (main + scaled * (p * (p / q).log()).sum(1)) / (1 + scaled)
        literal = calibrated(literal=True).loss(model, x, y, adv)
        torch.testing.assert_close(literal, main.mean() / 7, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(method.loss(model, x, y, adv), main.mean(), rtol=1e-4, atol=1e-5)


def test_cfa_reports_what_it_trains_with():
    state = calibrated().state()
    close(state["radii"], (0.5 + ACCURACY).tolist())
    scaled = 6 * (0.5 + ACCURACY)
    close(state["weights_nat"], (7 / (1 + scaled)).tolist())
    close(state["weights_bndy"], (7 / 6 * scaled / (1 + scaled)).tolist())
    assert calibrated("margin").state()["weights_nat"] == pytest.approx([1.0] * 10)
    assert calibrated("regularisation").state()["radii"] == [1.0] * 10
    assert calibrated(base="pgd").state()["weights"] == [1.0] * 10
    assert calibrated(beta=0.0).state()["weights_bndy"] == [1.0] * 10


def test_cfa_counts_every_class_in_its_own_number():
    """Over the processes; what is not seen keeps what it has; the last epoch's count is that of the next."""

    class Twin(World):
        def total(self, value):
            return 2 * value

    method, model, (x, y) = make("cfa", context(world=Twin()), begin_share=0.5), network(), batch(40)
    method.setup(model, 4)
    method.average, y = None, torch.where(y == 7, 3, y)  # no images of 7, twice as many of 3
    for index in range(3):
        method.on_epoch_start(epoch(index))
        assert (method.radii == 1).all() == (index < 2)
        logits = model.eval()(x)
        method.loss(model, x, y, x)
        method.on_epoch_end(epoch(index))
    ok = logits.argmax(1) == y
    assert method.seen.tolist() == [8, 8, 8, 16, 8, 8, 8, 0, 8, 8]
    expected = [0.5 + float(ok[y == c].float().mean()) if c != 7 else 1.0 for c in range(10)]
    close(method.radii, expected)
    assert 0 < ok.sum() < 40


def weights_of(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_cfa_averages_the_weights_of_epochs_that_are_fair_enough(monkeypatch, ema):
    """The first that passes is copied, the next is averaged in, one that does not pass leaves no trace."""
    method = make("cfa", context(eps=0.1))
    trainer, models, worst = trainer_of(method, 5, ema), [], iter([0.8, 0.76, 0.5, 0.9, 0.2])
    original = Trainer.errors

    def errors(self, model=None):
        found = original(self, model)
        if model is not self.model:
            return found
        models.append(weights_of(model))
        wrong = round(6 * 100 * next(worst))
        return dataclasses.replace(found, n=(600,) * 10, natural=(0,) * 10, robust=(0,) * 9 + (wrong,))

    monkeypatch.setattr(Trainer, "errors", errors)
    assert trainer.evaluated() is (trainer.average or trainer.model)
    trainer.train_epoch()
    assert trainer.evaluated() is (trainer.average or trainer.model) and method.taken == 0
    averages = []
    for _ in range(4):
        trainer.train_epoch()
        averages.append(weights_of(trainer.evaluated()))
    assert trainer.evaluated() is method.average and method.taken == 3
    _, second, third, _, fifth = models
    for name, value in second.items():
        assert torch.equal(averages[0][name], value)
        if value.is_floating_point():
            expected = 0.88 * value + 0.12 * third[name]
            torch.testing.assert_close(averages[1][name], expected)
            torch.testing.assert_close(averages[3][name], 0.88 * expected + 0.12 * fifth[name])
        else:
            assert torch.equal(averages[3][name], fifth[name])
        assert torch.equal(averages[2][name], averages[1][name])
    assert any("running_mean" in name for name in second)
    best = {1: 0, **{i + 2: v for i, v in enumerate(averages)}}[trainer.best["epoch"]]
    assert best == 0 or all(torch.equal(trainer.best["weights"][k], v) for k, v in best.items())


def test_cfa_threshold_is_that_of_the_base():
    assert make("cfa").params.threshold == 0.24 and make("cfa", base="pgd").params.threshold == 0.2
    assert make("cfa", base="pgd", threshold=0.0).params.threshold == 0.0
    method, model = make("cfa", fawa=0.0), network()
    method.setup(model, 2)
    method.on_epoch_end(epoch(0))
    assert method.average is None and method.eval_model(model) is model
    for wrong in ({"literal": True}, {"variant": "regularisation"}):
        with pytest.raises(InputError, match=f"--{next(iter(wrong))}.*--base trades"):
            make("cfa", base="pgd", **wrong)


def test_wat_golden_weights():
    close(wat.hedge_weights(torch.tensor([2.0, 3.0, 2.5, 2.5]), 0.1), [0.71298, 0.78796, 0.74953, 0.74953])


@given(st.lists(st.floats(0, 200), min_size=3, max_size=11), st.floats(0, 1), st.floats(-50, 50))
def test_wat_weights_are_what_an_adversary_plays(costs, rate, shift):
    costs = torch.tensor(costs, dtype=torch.float64)
    C, hedge = len(costs) - 1, wat.hedge_weights(costs, rate)
    assert float(hedge.sum()) == pytest.approx(C)
    close(wat.hedge_weights(costs + shift, rate), hedge, 1e-9)
    close(wat.hedge_weights(0 * costs + shift, rate), [C / (C + 1)] * (C + 1), 1e-12)
    order = costs.argsort()
    assert (hedge[order].diff() >= -1e-12).all()
    weights = wat.sample_weights(hedge)
    assert float(weights.mean()) == pytest.approx(1)
    losses = torch.linspace(1, 2, C, dtype=torch.float64)  # mean loss of each class, all of the same size
    played = hedge / C @ torch.cat([losses, losses.mean()[None]])
    assert float((weights * losses).mean()) == pytest.approx(float(played))


def test_wat_costs_are_means_of_the_classes_and_of_all():
    costs = wat.expert_costs(torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([0, 2, 1, 2]), 3)
    close(costs, [1.0, 3.0, 4.0, 3.0])


def test_wat_starts_as_trades_and_weighs_by_the_costs():
    method, trades, model, (x, y) = make("wat"), make("trades"), network().eval(), batch(40)
    adv = trades.attack(model, x, y)
    torch.testing.assert_close(method.attack(model, x, y), adv)
    plain = trades.loss(model, x, y, adv)
    torch.testing.assert_close(method.loss(model, x, y, adv), plain)
    literal = make("wat", literal=True)
    torch.testing.assert_close(literal.loss(model, x, y, adv), 2 * plain)
    for m in (method, literal):
        m.costs = torch.linspace(0, 20, 11).double()
        m.on_epoch_start(epoch(1))
    v = 10 * torch.linspace(0, 2, 11).exp() / torch.linspace(0, 2, 11).exp().sum()
    natural = F.cross_entropy(model(x), y, reduction="none")
    p, q = (F.softmax(model(z), dim=1) for z in (x, adv))
    losses = natural + 6 * (p * (p / q).log()).sum(1)
    for m, average in ((method, v[10] / 10), (literal, v[10])):
        expected = ((v[y] + average) * losses).mean()
        torch.testing.assert_close(m.loss(model, x, y, adv), expected, rtol=1e-4, atol=1e-5)
        close(m.state()["weights"], v[:10] + average)


def test_wat_costs_are_losses_under_attack_with_running_statistics():
    """Whatever the mode of the network, and without a trace in it."""
    method = make("wat", context(eps=0.1), beta=2.0)
    trainer = trainer_of(method)
    model, split = trainer.model.train(), trainer.data.val
    torch.nn.init.normal_(model.head.weight, std=10.0)
    before = weights_of(model)
    losses = method.validation_losses(model, split)
    assert model.training and all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    clean = F.cross_entropy(model.eval()(split.inputs(slice(None))), split.labels, reduction="none")
    excess = (losses - clean).detach()
    assert (excess > -1e-4).all() and excess.mean() > 0.2
    unattacked = make("wat", context(eps=0.0), beta=2.0).validation_losses(model, split)
    close(unattacked, clean.detach(), 1e-4)
    twice = make("wat", context(eps=0.1), beta=4.0).validation_losses(model, split)
    close(twice - clean.detach(), 2 * excess, 1e-3)


def test_wat_costs_do_not_depend_on_batches_or_processes(monkeypatch):
    split, model = trainer_of(make("wat")).data.val, network().double()
    inputs = type(split).inputs
    monkeypatch.setattr(type(split), "inputs", lambda self, index: inputs(self, index).double())
    found = []
    for size, rank in ((500, 0), (7, 0), (500, 1)):
        monkeypatch.setattr(wat, "BATCH", size)
        method = make("wat", context(world=World(rank, 2)))
        found.append(method.validation_losses(model, split))
    close(found[1], found[0], 1e-6)
    assert torch.equal(found[2], found[0])


def test_wat_adds_up_costs_and_its_published_mean_is_too_small():
    costs = []
    for literal in (False, True):
        method = make("wat", literal=literal)
        trainer = trainer_of(method)
        seen = Epoch(0, trainer.model, trainer.data.val, lambda *given: None)
        method.validation_losses = lambda model, split: split.labels.double()
        method.on_epoch_end(seen)
        method.on_epoch_end(seen)
        costs.append(method.costs)
    close(costs[0], [2 * c for c in (*range(10), 4.5)], 1e-9)
    close(costs[1], costs[0] * 60 / 128, 1e-9)  # 60 images in one batch of 128


VAL = ClassErrors(("a", "b", "c", "d"), (100,) * 4, (10,) * 4, (80, 60, 50, 30))


def test_reweight_ascends_by_hand():
    """Robust errors .8 .6 .5 .3, mean .55, tau .05: only of the first more is asked."""
    method = make("reweight", context(classes=4))
    for _ in range(2):
        method.ascend(VAL)
    close(method.phi, [0.04, 0.0, 0.0, 0.0])
    close(method.state()["weights"], [0.28, 0.24, 0.24, 0.24])
    for _ in range(100):
        method.ascend(VAL)
    close(method.phi, [0.5, 0.0, 0.0, 0.0])  # the cap
    other = make("reweight", context(classes=4), tau=0.0, rate=0.2, cap=0.05)
    other.ascend(VAL)
    close(other.phi, [0.05 * 5 / 6, 0.05 / 6, 0.0, 0.0])


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_reweight_weighs_the_whole_loss(base):
    method, plain, model, (x, y) = make("reweight", base=base), make(base), network().eval(), batch(40)
    adv = plain.attack(model, x, y)
    torch.testing.assert_close(method.attack(model, x, y), adv)
    torch.testing.assert_close(method.loss(model, x, y, adv), plain.loss(model, x, y, adv))
    method.phi = torch.linspace(0, 0.09, 10)
    expected = torch.stack([plain.loss(model, x[y == c], c + 0 * y[y == c], adv[y == c]) for c in range(10)])
    weights = 1 + 10 * (method.phi - method.phi.mean())
    torch.testing.assert_close(method.loss(model, x, y, adv), (weights * expected).mean())


def test_reweight_leaves_the_warm_up_alone():
    method = make("reweight", context(classes=4))
    method.setup(None, 4)
    for index in range(4):
        method.on_epoch_start(Epoch(index, None, None, lambda: VAL))
        assert (float(method.phi.max()) > 0) == (index >= 2)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("dafa", {"lam": -1.0}), ("dafa", {"warm_share": 1.0}), ("dafa", {"beta": -1.0})]
    + [("cfa", {k: v}) for k, v in {"lam1": -1.0, "lam2": -1.0, "fawa": 1.0, "begin_share": 1.0}.items()]
    + [("cfa", {"threshold": 1.1}), ("cfa", {"beta": -1.0})]
    + [("wat", {"rate": -1.0}), ("wat", {"beta": -1.0}), ("reweight", {"beta": -1.0})]
    + [("reweight", {k: v}) for k, v in {"tau": -1.0, "rate": -1.0, "cap": 1.0, "hot_share": 1.0}.items()],
)
def test_what_makes_no_sense_is_refused(name, wrong):
    with pytest.raises(InputError, match=next(iter(wrong)).replace("_", "-")):
        make(name, **wrong)


@pytest.mark.parametrize("name", ["dafa", "cfa", "reweight"])
def test_one_epoch_is_too_few(name):
    with pytest.raises(InputError, match="--epochs"):
        make(name).setup(network(), 1)


CASES = [
    ("dafa",),
    ("cfa", "--threshold", "0", "--steps", "3"),
    ("wat",),
    ("reweight", "--eps", "0.05", "--tau", "0"),
]
TINY = "--epochs 4 --steps 2 --eval-steps 2 --width 4 --train-per-class 20 --val-per-class 5".split()
TINY += "--test-per-class 10 --batch-size 32 --report best --threads 1".split()


def kept(folder):
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for line in history:
        del line["seconds"], line["images_per_second"]
    weights = load_weights(folder / "model.safetensors")
    return history, {k: v.tolist() for k, v in weights.items()}


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_a_divided_run_ends_the_same(invoke, tmp_path, words):
    """Stopped after each epoch: the state of the classes is all in the checkpoint."""
    argv = ["--method", *words, *TINY]
    assert invoke(train.main, *argv, "--out", tmp_path / "whole")[0] == 0
    for done in (1, 2, 3):
        assert invoke(train.main, *argv, "--out", tmp_path / "parts", "--stop-after", done)[0] == 0
    assert invoke(train.main, "--resume", tmp_path / "parts")[0] == 0
    whole = kept(tmp_path / "whole")
    assert kept(tmp_path / "parts") == whole
    names = {"weights", "weights_nat"} & set(whole[0][-1])
    assert any(whole[0][-1][n] != whole[0][0][n] for n in names)  # there was something to keep
