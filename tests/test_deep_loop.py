"""The epoch loop, with methods that record what it does to them."""

import copy
import sys
import types
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deep.attacks.evaluate import Attack, evaluate
from deep.data import load
from deep.data.augment import Augment
from deep.methods import METHODS
from deep.methods.base import Context, Method
from deep.methods.frl import FRL
from deep.nets.networks import PreActResNet
from deep.training.loop import Trainer
from deep.training.monitor import Monitor
from deep.training.recipe import AMP, Recipe
from deep.training.seeds import STREAMS, stream
from theory.common.inputs import InputError
from theory.results.counts import ClassErrors


def digits():
    sizes = {"val": 25, "train": 40, "test": 20}
    return load("digits", None, seed=0, **sizes, device=torch.device("cpu"))


def network():
    torch.manual_seed(0)
    return PreActResNet((1, 1), 8, 10, (0.3,), (0.4,))


def recipe(**other):
    given = {"epochs": 4, "lr": 0.1, "batch_size": 64, "weight_decay": 5e-4, "augment": None, "seed": 0}
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


def test_an_epoch_is_validated_after_it_and_not_before():
    data, model = digits(), network()
    history = fit(model, Spy(), data, recipe(), ATTACK)  # whose method asks for the errors before it too
    found = evaluate(model, data.val, ATTACK, seed=stream(0, "validation")).errors(data.classes)
    assert history[-1]["natural_error"] == found.rates("natural_error").tolist()
    assert history[0]["natural_error"] != history[1]["natural_error"]


def test_the_schedule_divides_by_ten_at_half_and_three_quarters():
    lrs = [line["lr"] for line in fit(network(), Spy(), digits(), recipe(epochs=8), ATTACK)]
    assert lrs == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)


def test_the_optimiser_is_sgd_with_momentum_and_weight_decay():
    """Two steps of one batch, against the update written out."""
    data, model, symbolic_form = digits(), network(), network()
    spy = Spy()
    fit(model, spy, data, recipe(epochs=1, batch_size=200, lr=0.05), ATTACK)
    velocity = [torch.zeros_like(p) for p in symbolic_form.parameters()]
    symbolic_form.train()
    for x, y in spy.batches:
        symbolic_form.zero_grad()
        F.cross_entropy(symbolic_form(x), y).backward()
        with torch.no_grad():
            for p, v in zip(symbolic_form.parameters(), velocity, strict=True):
                v.mul_(0.9).add_(p.grad + 5e-4 * p)
                p.sub_(0.05 * v)
    assert len(spy.batches) == 2
    for a, b in zip(model.parameters(), symbolic_form.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_norms_and_biases_may_be_without_weight_decay_and_the_momentum_nesterovs():
    """Two steps of one batch, against the update written out."""
    data, model, symbolic_form = digits(), network(), network()
    spy, made = Spy(), recipe(epochs=1, batch_size=200, lr=0.05, decay="matrices", nesterov=True)
    fit(model, spy, data, made, ATTACK)
    velocity = [torch.zeros_like(p) for p in symbolic_form.parameters()]
    symbolic_form.train()
    for x, y in spy.batches:
        symbolic_form.zero_grad()
        F.cross_entropy(symbolic_form(x), y).backward()
        with torch.no_grad():
            for p, v in zip(symbolic_form.parameters(), velocity, strict=True):
                gradient = p.grad + 5e-4 * p * (p.dim() > 1)
                v.mul_(0.9).add_(gradient)
                p.sub_(0.05 * (gradient + 0.9 * v))
    for a, b in zip(model.parameters(), symbolic_form.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_one_cycle_goes_up_as_long_as_asked_for_and_down_to_nothing():
    made = recipe(epochs=10, schedule="one-cycle", lr_warmup=0.2)
    rates = [made.lr_at(e, p) for e, p in ((0, 0), (1, 0), (2, 0), (6, 0), (9, 1))]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.05, 0])
    assert recipe(epochs=10, schedule="one-cycle").lr_at(4) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["pgd", "trades", "frl", "dafa", "faal", "wat", "bat"])
def test_labels_may_be_smoothed_in_what_is_trained_on(name):
    """By the weight of the uniform label: the cross-entropy moves to the mean over all labels."""
    made = METHODS[name](METHODS[name].Params(), context())
    model, x, y = network().eval(), torch.rand(8, 1, 8, 8), torch.arange(8)
    adv = torch.stack([x, x]) if name == "bat" else x  # no divergence, so the cross-entropy alone is weighed
    losses = []
    for smoothing in (0.0, 0.2, 1.0):
        made.context = replace(made.context, label_smoothing=smoothing)
        losses.append(float(made.loss(model, x, y, adv).detach()))
    assert losses[1] == pytest.approx(0.8 * losses[0] + 0.2 * losses[2], abs=1e-5) and losses[0] != losses[2]


@pytest.mark.parametrize("augment", [Augment(padding=4, flip=True), None])
def test_augmentation_is_done_when_asked_for(augment):
    data, spy = digits(), Spy()
    fit(network(), spy, data, recipe(epochs=1, augment=augment), ATTACK)
    images = data.train.inputs(slice(None))
    kept = [(images == x).flatten(1).all(1).any() for x in spy.batches[0][0]]
    assert all(kept) == (augment is None)


def test_multipliers_move_in_every_epoch_after_the_warm_up():
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


def two_steps(**other):
    """Return a trainer of two epochs of two steps."""
    made = recipe(epochs=2, batch_size=200, **other)
    return Trainer(network(), Method(Method.Params(), context()), digits(), made, ATTACK)


@pytest.mark.parametrize(
    "schedule, epochs, expected",
    [
        ("piecewise", 8, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        ("trades", 20, [1] * 15 + [0.1] * 3 + [0.01] * 2),
        ("cosine", 4, [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        ("one-cycle", 5, [0, 0.5, 1, 2 / 3, 1 / 3]),
    ],
)
def test_schedules(schedule, epochs, expected):
    made = recipe(schedule=schedule, epochs=epochs, lr=0.2)
    assert [made.lr_at(e) for e in range(epochs)] == pytest.approx([0.2 * v for v in expected])
    by_step = schedule in ("cosine", "one-cycle")
    assert (made.lr_at(1, 0.5) != made.lr_at(1)) == by_step
    assert (made.lr_at(epochs - 1, 1.0) == pytest.approx(0)) == by_step


def test_the_optimiser_follows_the_schedule_by_step():
    trainer, seen = two_steps(schedule="cosine"), []
    original = trainer.optimizer.step
    trainer.optimizer.step = lambda: (seen.append(trainer.optimizer.param_groups[0]["lr"]), original())
    trainer.train_epoch()
    assert seen == [trainer.recipe.lr_at(0, 0.5), trainer.recipe.lr_at(0, 1.0)]


def test_the_average_of_weights_is_what_is_evaluated():
    trainer, seen = two_steps(ema=0.3), []
    start = [v.clone() for v in trainer.model.state_dict().values()]
    trainer.method.on_batch_end = lambda model: seen.append([v.clone() for v in model.state_dict().values()])
    trainer.train_epoch()
    for mean, *values in zip(trainer.average.state_dict().values(), start, *seen, strict=True):
        if mean.is_floating_point():  # decays (1 + t) / (10 + t), at most 0.3
            first = 0.1 * values[0] + 0.9 * values[1]
            torch.testing.assert_close(mean, 2 / 11 * first + 9 / 11 * values[2])
        else:
            assert torch.equal(mean, values[2])
    assert trainer.evaluated() is trainer.average
    found = evaluate(trainer.average, trainer.data.val, ATTACK, seed=stream(0, "validation"))
    assert (
        trainer.history[0]["robust_error"]
        == found.errors(trainer.data.classes).rates("robust_error").tolist()
    )


class Hooks(Method):
    """Writes down every hook, and perturbs the weights around each step."""

    def __init__(self):
        super().__init__(Method.Params(), context())
        self.calls = []

    def setup(self, model, epochs):
        self.calls.append(f"setup {epochs}")
        self.other = network()

    def on_epoch_start(self, epoch):
        self.calls.append(f"start {epoch.index}")

    def attack(self, model, x, y):
        self.calls.append("attack")
        return x + 0.01

    @contextmanager
    def around_step(self, model, x, y, adv):
        self.calls.append("perturb")
        yield
        self.calls.append("restore")

    def loss(self, model, x, y, adv):
        self.calls.append("loss")
        return super().loss(model, x, y, adv)

    def on_batch_end(self, model):
        self.calls.append("batch end")

    def on_epoch_end(self, epoch):
        self.calls.append(f"end {epoch.index}")
        assert len(epoch.validation) == 250 and epoch.errors() is epoch.errors()

    def eval_model(self, model):
        return self.other


def test_the_order_of_hooks_and_the_network_that_counts():
    method = Hooks()
    trainer = Trainer(network(), method, digits(), recipe(epochs=1, batch_size=200), ATTACK)
    untouched = method.other.state_dict()["stem.weight"].clone()
    trainer.train_epoch()
    step = ["attack", "perturb", "loss", "restore", "batch end"]
    assert method.calls == ["setup 1", "start 0", *step, *step, "end 0"]
    assert trainer.evaluated() is method.other
    assert torch.equal(trainer.chosen("best").state_dict()["stem.weight"], untouched)
    assert not torch.equal(trainer.model.state_dict()["stem.weight"], untouched)


class Gated(Method):
    """Evaluates a copy of the weights after the first epoch, and moves one layer."""

    def setup(self, model, epochs):
        self.copy, self.seen = copy.deepcopy(model), []

    def parameters(self, model):
        return model.head.parameters()

    def on_epoch_end(self, epoch):
        self.seen.append([epoch.errors().robust, epoch.errors(epoch.model).robust])
        if epoch.index == 0:
            self.copy.load_state_dict(epoch.model.state_dict())

    def eval_model(self, model):
        return self.copy


def test_a_method_may_evaluate_a_network_of_its_own_and_move_a_part():
    method, model = Gated(Method.Params(), context()), network()
    before = {k: v.clone() for k, v in model.named_parameters()}
    history = fit(model, method, digits(), recipe(epochs=3, lr=1.0), ATTACK)
    (_, first), (kept, second), (again, third) = method.seen
    rates = [[n / 25 for n in counts] for counts in (first, kept, again)]
    assert [line["robust_error"] for line in history] == rates and first == kept == again
    assert second != first and third != second
    moved = {k for k, v in model.named_parameters() if not torch.equal(v, before[k])}
    assert moved == {"head.weight", "head.bias"}


class Scripted(Trainer):
    """A trainer whose losses and validation errors are given."""

    natural = (0,) * 10

    def script(self, losses, errors, attacked=True):
        self.given = [*zip(losses, errors, strict=True)]
        self.attacked = attacked
        return [self.train_epoch() for _ in losses]

    def _steps(self, tick):
        return self.given[self.epoch][0], self.attacked, 1.0

    def errors(self):
        robust = self.given[self.epoch - 1][1]
        return ClassErrors(self.data.classes, (100,) * 10, self.natural, tuple(robust))


def scripted(losses, averages, attacked=True, **other):
    made = recipe(epochs=len(losses), **other)
    trainer = Scripted(network(), Spy(), digits(), made, ATTACK)
    trainer.method.on_epoch_start = lambda epoch: None
    return trainer, trainer.script(losses, [(v,) * 10 for v in averages], attacked)


def alarms(*given, **other):
    return [line["epoch"] for line in scripted(*given, **other)[1] if "alarm" in line]


def test_catastrophic_overfitting_is_told_once_with_what_to_do():
    trainer, history = scripted([2.0, 1.5, 1.0, 0.5, 0.4, 0.3], [80, 60, 55, 90, 60, 95])
    assert [line["epoch"] for line in history if "alarm" in line] == [4]
    assert "epoch 4" in history[3]["alarm"] and "35 points" in history[3]["alarm"]
    assert "--steps" in history[3]["alarm"] and "--step-size" in history[3]["alarm"]
    assert alarms([2.0, 1.0], [60, 79]) == []  # not so much
    assert alarms([1.0, 2.0], [60, 90]) == []  # the loss rose too: not this disease
    assert alarms([2.0, 1.0], [60, 90], attacked=False) == []  # natural training does that


def test_a_network_that_fails_without_an_attack_too_is_another_matter(monkeypatch):
    monkeypatch.setattr(Scripted, "natural", property(lambda self: ((self.epoch - 1) * 50,) * 10))
    assert alarms([2.0, 1.0], [60, 90]) == []


def test_the_best_epoch_is_chosen_by_average_or_worst_class():
    errors = [(50,) * 10, (10,) * 9 + (90,), (50,) * 9 + (40,), (10,) * 9 + (90,)]
    for select, expected in (("average", [True, True, False, False]), ("worst", [True, False, False, False])):
        trainer = Scripted(network(), Spy(), digits(), recipe(select=select), ATTACK)
        trainer.method.on_epoch_start = lambda epoch: None
        history = trainer.script([1.0] * 4, errors)
        assert [line["best"] for line in history] == expected
        assert trainer.best["epoch"] == max(i for i, best in enumerate(expected, 1) if best)


def test_validation_may_be_rarer_and_the_last_epoch_has_it():
    made = recipe(epochs=5, val_every=2)
    history = fit(network(), Method(Method.Params(), context()), digits(), made, ATTACK)
    assert ["robust_error" in line for line in history] == [False, True, False, True, True]


@pytest.mark.parametrize("amp", AMP)
def test_low_precision_is_only_where_it_was_asked_for(amp):
    seen = {}

    class Watched(Method):
        def loss(self, model, x, y, adv):
            logits = model(adv)
            seen["train"] = inner.pop()
            assert logits.dtype == full  # what losses look at
            return F.cross_entropy(logits, y)

        def attack(self, model, x, y):
            model(x)
            seen["attack"] = inner.pop()
            return x

    model = network()
    inner, low, full = [], torch.bfloat16, torch.float32
    model.body.register_forward_hook(lambda module, given, out: inner.append(out.dtype))
    trainer = Trainer(model, Watched(Method.Params(), context()), digits(), recipe(epochs=1, amp=amp), ATTACK)
    trainer.method.on_epoch_end = lambda epoch: model.register_forward_hook(
        lambda module, given, logits: seen.update(evaluation=inner.pop())
    )
    trainer.train_epoch()
    assert seen == {
        "train": full if amp == "off" else low,
        "attack": low if amp == "all" else full,
        "evaluation": full,
    }


def test_the_live_table_and_the_alarm(monkeypatch, capfd):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    line = {"epoch": 2, "loss": 1.25, "images_per_second": 1234.4, "seconds": 30.0, "best": True}
    line |= {"natural_error": [0.1, 0.3], "robust_error": [0.5, 0.7], "alarm": "catastrophic"}
    monitor = Monitor(epochs=10, steps=4)
    monitor.tick(0.5)
    monitor.epoch(line)
    monitor.epoch({"epoch": 3, "loss": 1.0, "images_per_second": 10.0, "seconds": 50.0})
    header, first, alarm, second = capfd.readouterr().err.splitlines()
    assert first.split() == "2/10 1.2500 20.0 30.0 60.0 70.0 1234 0:04:00 best".split()
    assert alarm == "warning: catastrophic"
    assert second.split() == "3/10 1.0000 - - - - 10 0:04:40".split()
    assert [header.count(word) for word in ("natural", "robust", "average", "worst")] == [1, 1, 2, 2]
    monkeypatch.setenv("TQDM_DISABLE", "1")
    Monitor(epochs=10, steps=4).epoch(line)
    assert capfd.readouterr().err == "warning: catastrophic\n"


def test_curves_need_tensorboard(monkeypatch, tmp_path):
    written = []
    stub = types.ModuleType("torch.utils.tensorboard")
    stub.SummaryWriter = lambda folder: types.SimpleNamespace(
        add_scalar=lambda *given: written.append(given), flush=lambda: None
    )
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stub)
    line = {"epoch": 2, "loss": 1.25, "images_per_second": 1.0, "seconds": 3.0, "phi_nat": [0.1, 0.2]}
    line |= {"alarm": "it is stuck", "alarm_kinds": ["nothing learnt"]}
    Monitor(epochs=3, steps=1, curves=tmp_path).epoch(line)
    assert ("loss", 1.25, 2) in written and ("phi_nat/1", 0.2, 2) in written
    assert all(isinstance(value, float) for _, value, _ in written)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"robust-fairness\[track\]"):
        Monitor(epochs=3, steps=1, curves=tmp_path)


@pytest.mark.parametrize(
    ("name", "passes"),
    [("natural", 1), ("pgd", 3), ("trades", 5), ("awp", 7), ("adr", 5), ("beta", 29), ("mat", 8)],
)
def test_an_epoch_says_how_often_the_network_saw_an_image(name, passes):
    """The attack of two steps, the clean logits it starts from, what the loss looks at; an average counts."""
    method = METHODS[name](METHODS[name].Params(), context())
    trainer = Trainer(network(), method, digits(), recipe(epochs=1), ATTACK)
    assert trainer.train_epoch()["passes"] == passes
    assert not trainer.model._forward_pre_hooks
