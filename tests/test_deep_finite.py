"""Numbers that are not finite, gradients that vanish: never right, never robust, never without a word."""

import copy
import dataclasses
import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deep import report, train
from deep.attacks.autoattack import AutoAttack
from deep.attacks.ball import Ball
from deep.attacks.blackbox import random_points, square
from deep.attacks.deepfool import minimal_distance
from deep.attacks.evaluate import Attack, evaluate, reported
from deep.attacks.linear_oracle import Linear
from deep.attacks.noise import Noise
from deep.attacks.pgd import cross_entropy, margin, pgd, predicted, targeted_margin
from deep.data import load
from deep.margins.measure import losses, measured, predictions
from deep.methods import METHODS
from deep.methods.base import Context, Method
from deep.nets.networks import PreActResNet, SmallCNN
from deep.strength.checks import Subject, zero_gradient, zero_radius
from deep.training import loop
from deep.training.checkpoint import load_state, save_weights
from deep.training.loop import Trainer
from deep.training.recipe import Recipe
from theory.common.inputs import DoubtWarning, InputError
from theory.results.flags import Evaluation
from theory.results.runs import read_runs
from theory.results.study import read_studies

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def digits():
    """Return a linear network that was fitted to digits, and the data."""
    data = load("digits", None, seed=0, val=25, train=None, test=20, device=torch.device("cpu"))
    return Linear.fit(data.train.inputs(slice(None)), data.train.labels, 10).float(), data


class Broken(nn.Module):
    """A network with logits that are not finite where ``where`` says so of its inputs."""

    def __init__(self, model, value, where=lambda x: torch.ones(len(x), dtype=torch.bool)):
        super().__init__()
        self.model, self.value, self.where = model, value, where

    def forward(self, x):
        logits = self.model(x).clone()
        bad = self.where(x).nonzero().squeeze(1)
        column = 0 if self.value != -INF else slice(1, None)  # argmax says 0 in each case
        logits[bad, column] = logits[bad, column] * 0 + self.value
        return logits


def moved(test):
    """Return what is True for inputs that are not in a split, in any coordinate."""
    images = test.inputs(slice(None))

    def where(x):
        return (x[:, None] != images[None]).flatten(2).any(2).all(1)

    return where


def test_a_logit_that_is_not_finite_is_of_no_class():
    rows = [[1.0, 2.0, 0.0], [NAN, 2.0, 0.0], [1.0, INF, 0.0], [1.0, 2.0, -INF], [3.0, 2.0, 0.0]]
    assert predicted(torch.tensor(rows)).tolist() == [1, -1, -1, -1, 0]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_no_sample_is_right_where_logits_are_not_finite(digits, value):
    model, data = digits
    broken, test = Broken(model, value), data.test
    with pytest.warns(DoubtWarning, match="200 of 200 .*clean"):
        found = evaluate(broken, test, *reported(Attack(0.1, "0.1", 3)), seed=0)
    assert not found.ok.any() and found.not_finite == (200, 0, 0)
    x, y = test.inputs(slice(None)), test.labels
    ball, noise = Ball(x, torch.full(y.shape, 0.01)), Noise.of(0, test.index)
    assert not square(broken, ball, y, noise, 3).any() and not random_points(broken, ball, y, noise, 2).any()
    assert not minimal_distance(broken, x, y, steps=2).any()


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("objective", ["ce", "kl", "margin", "targeted"])
def test_no_sample_is_robust_to_what_makes_its_logits_not_finite(digits, objective, value):
    """The network is right at every sample and broken everywhere else, class 0 among the others."""
    model, data = digits
    test = data.test.take(slice(0, 40))
    broken = Broken(model, value, moved(test))
    attack = Attack(0.01, "0.01", 3, objective=objective)
    with pytest.warns(DoubtWarning, match="not finite \\(PGD-3"):
        found = evaluate(broken, test, attack, seed=0)
    right = int(found.ok[0].sum())
    assert right > 30 and not found.ok[1].any() and found.not_finite == (0, right)
    assert found.ok[0][found.labels == 0].any()  # argmax would call these robust


def test_black_box_attacks_find_logits_that_are_not_finite(digits):
    model, data = digits
    test = data.test.take(slice(0, 40))
    x, y, broken = test.inputs(slice(None)), test.labels, Broken(model, NAN, moved(test))
    ball, noise = Ball(x, torch.full(y.shape, 0.01)), Noise.of(0, test.index)
    assert not square(broken, ball, y, noise, 3).any() and not random_points(broken, ball, y, noise, 1).any()
    half = Broken(model, NAN, lambda x: x[:, 0, 0, 0] > 0.005)  # about half are broken at the start
    some = (Ball(0 * x, ball.eps), predicted(model(0 * x)), noise)
    assert square(half, *some, 0).sum() > 10 and square(half, *some, 60).sum() < 18  # a proposal finds it
    assert (minimal_distance(broken, x, y, steps=3).isfinite()).all()


class Rooted(nn.Module):
    """A network whose gradient is not a number where a pixel is 0, and whose logits are finite everywhere."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x + 0 * x.sqrt())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_attack_keeps_its_last_finite_iterate(digits, norm):
    model, data = digits
    x, y = data.test.inputs(slice(0, 40)), data.test.labels[:40]
    ball, step = Ball(x, torch.full(y.shape, 0.1), norm), torch.full(y.shape, 0.05)
    for objective in (cross_entropy(y), margin(y), targeted_margin(y, (y + 1) % 10)):
        adv = pgd(Rooted(model), ball, x, step, 3, objective)
        assert adv.isfinite().all() and ((adv - x).abs() <= 0.1 + 1e-6).all()
        if norm == "linf":  # pixels that have a gradient move on
            assert (adv != x).any()
    with pytest.warns(DoubtWarning, match="gradients vanish for"):
        found = evaluate(Rooted(model), data.test, Attack(0.1, "0.1", 3, norm=norm), seed=0)
    assert found.not_finite == (0, 0) and found.blind == found.ok[0].sum() == 200 - (~found.ok[0]).sum()


def test_autoattack_counts_what_is_not_finite_as_wrong(digits):
    pytest.importorskip("pyautoattack")
    model, data = digits
    test = data.test.take(slice(0, 40))
    attack = AutoAttack(0.01, "0.01", 10, queries=5)
    with pytest.warns(DoubtWarning, match="not finite \\(AutoAttack"):
        found = evaluate(Broken(model, NAN, moved(test)), test, attack, seed=0)
    assert not found.ok[1].any() and found.not_finite == (0, found.ok[0].sum())
    with pytest.warns(DoubtWarning, match="gradients vanish for"):
        rooted = evaluate(Rooted(model), test, attack, seed=0)
    assert rooted.not_finite == (0, 0)


class Step(nn.Module):
    """A network whose gradient is 0 or not there."""

    def __init__(self, model, kind):
        super().__init__()
        self.model, self.kind = model, kind

    def forward(self, x):
        if self.kind == "rounded":
            return self.model(torch.round(16 * x) / 16)
        if self.kind == "saturated":
            return 1e4 * self.model(x)
        if self.kind == "one-hot":
            return F.one_hot(self.model(x).argmax(1), 10).float()
        if self.kind == "detached":
            return self.model(x.detach())
        if self.kind == "answers":
            return self.model(x).argmax(1)
        if self.kind == "pair":
            return self.model(x), x
        with torch.no_grad():
            return self.model(x)


@pytest.mark.parametrize("kind", ["rounded", "saturated"])
def test_gradients_that_vanish_are_told(digits, kind):
    model, data = digits
    with pytest.warns(DoubtWarning, match="black-box"):
        found = evaluate(Step(model, kind), data.test, Attack(0.1, "0.1", 2), seed=0, batch_size=70)
    assert found.blind > 0.9 * found.ok[0].sum() and "gradient" in found.doubts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(model, data.test, Attack(0.1, "0.1", 2), seed=0).doubts == {}
        evaluate(Step(model, kind), data.test, seed=0)  # without an attack nothing is in doubt


@pytest.mark.parametrize("kind", ["one-hot", "detached", "no grad"])
def test_logits_without_a_gradient_are_refused_by_attacks(digits, kind):
    model, data = digits
    test, blind = data.test, Step(model, kind)
    assert evaluate(blind, test, seed=0).ok.any()
    x, y = test.inputs(slice(0, 10)), test.labels[:10]
    ball = Ball(x, torch.full(y.shape, 0.1))
    for attempt in (
        lambda: evaluate(blind, test, Attack(0.1, "0.1", 2), seed=0),
        lambda: pgd(blind, ball, x, ball.eps, 1, cross_entropy(y)),
        lambda: minimal_distance(blind, x, y),
        lambda: measured(blind, test, Attack(0.1, "0.1", 2)),
    ):
        with pytest.raises(InputError, match="no gradient .*black-box"):
            attempt()
    assert square(blind, ball, y, Noise.of(0, test.index[:10]), 2).shape == y.shape


def int8(model):
    model.weight = nn.Parameter(model.weight.char(), requires_grad=False)
    return model


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda m: m.half(), "float16"),
        (lambda m: m.double(), "float64"),
        (int8, "int8"),
        (lambda m: Step(m, "answers"), "must return logits"),
        (lambda m: Step(m, "pair"), "must return logits"),
        (lambda m: Linear(m.weight[:7], m.bias[:7]), "7 logits"),
    ],
)
def test_a_network_that_cannot_be_evaluated_gets_one_sentence(digits, change, says):
    model, data = digits
    with pytest.raises(InputError, match=says):
        evaluate(change(copy.deepcopy(model)), data.test, Attack(0.1, "0.1", 2), seed=0)


def test_doubts_are_kept_in_files_and_joined(digits, tmp_path):
    model, data = digits
    test = data.test
    broken = Broken(model, NAN, lambda x: x[:, 0, 2, 2] > 0.5)
    attack = Attack(0.01, "0.01", 1)
    with pytest.warns(DoubtWarning):
        whole = evaluate(broken, test, attack, seed=0, batch_size=60, shards=tmp_path / "shards")
    for _ in range(2):  # from the shards too
        with pytest.warns(DoubtWarning, match=f"^{whole.not_finite[0]} of 200"):
            again = evaluate(broken, test, attack, seed=0, batch_size=60, shards=tmp_path / "shards")
        assert again.doubts == whole.doubts and 0 < whole.not_finite[0] < 200
    (tmp_path / "e.npz").write_bytes(whole.to_bytes())
    assert Evaluation.read(tmp_path / "e.npz").doubts == whole.doubts
    plain = Evaluation(whole.attacks, whole.index, whole.labels, whole.ok)
    assert plain.doubts == {} and len(plain.to_bytes()) < len(whole.to_bytes())
    for counts in (((1,), 0), ((1, -1), 0), ((1, 201), 0), ((), 201)):
        with pytest.raises(InputError, match="in doubt"):
            Evaluation(whole.attacks, whole.index, whole.labels, whole.ok, *counts)


def test_margins_of_logits_that_are_not_finite_are_refused(digits):
    model, data = digits
    attack, test = Attack(0.01, "0.01", 1), data.test
    for where in (lambda x: x[:, 0, 2, 2] > 0.5, moved(test)):
        broken = Broken(model, NAN, where)
        for measure in (losses, predictions):
            with pytest.raises(InputError, match="not finite"):
                measure(broken, test, attack, seed=0)


def test_sanity_sees_gradients_and_logits_that_are_not_finite(digits):
    model, data = digits

    def subject(network):
        left = np.ones(len(data.test), bool)
        attacks = reported(Attack(0.0, "0", 1))
        return Subject(network, attacks, data.test, left, data.train, data.classes, 0, 1)

    assert zero_gradient(subject(Rooted(model))).overall == 1
    with pytest.warns(DoubtWarning):
        assert zero_radius(subject(Broken(model, NAN))).overall == 0  # wrong alone as in a batch


# training ---------------------------------------------------------------------------------------------------


def trainer(model=None, *, method=None, lr=0.1, eps=0.05, epochs=3, train=40, val=25, **other):
    data = load("digits", None, seed=0, val=val, train=train, test=20, device=torch.device("cpu"))
    context = Context(10, eps, 2, torch.Generator().manual_seed(0))
    made = METHODS[method](METHODS[method].Params(), context) if method else Method(Method.Params(), context)
    torch.manual_seed(0)
    given = {"epochs": epochs, "lr": lr, "batch_size": 64, "weight_decay": 5e-4, "augment": None, "seed": 0}
    model = model or PreActResNet((1, 1), 8, 10, (0.3,), (0.4,))
    return Trainer(model, made, data, Recipe(**given, **other), Attack(eps, str(eps), 2))


def at_the_end(model, change):
    """Make ``change`` to a network after its last step, when the loss has been computed."""

    class Changed(Method):
        def on_epoch_end(self, epoch):
            with torch.no_grad():
                change(epoch.model)

    made = trainer(model, epochs=1)
    made.method = Changed(Method.Params(), made.method.context)
    return made


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda m: m.head.weight.fill_(NAN), "weights"),
        (lambda m: m.stem.weight[0, 0, 0, 0].fill_(INF), "weights"),
        (lambda m: m.norm.running_var[0].fill_(INF), "weights"),
        (lambda m: m.norm.running_mean[0].fill_(NAN), "weights"),
        (lambda m: (m.head.weight.mul_(1e38), m.norm.weight.fill_(1e38)), "logits"),
        (lambda m: m.norm.running_var.fill_(-1), "logits"),
    ],
)
def test_a_network_is_checked_after_its_last_step(change, says):
    made = at_the_end(None, change)
    with pytest.raises(InputError, match=f"{says} .*epoch 1"):
        made.train_epoch()
    assert made.history == [] and made.best is None
    at_the_end(None, lambda m: m.head.weight.mul_(2)).train_epoch()


def test_the_average_of_weights_is_checked_too():
    made = trainer(ema=0.9)
    made.average.norm.running_mean[0] = NAN
    with pytest.raises(InputError, match="weights .*epoch 1"):
        made.train_epoch()


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    model = SmallCNN(2, 10, 8, (0.3,), (0.4,))
    save_weights(tmp_path / "good", model.state_dict())
    nn.init.constant_(model.head.bias, NAN)
    with pytest.raises(InputError, match="not finite"):
        save_weights(tmp_path / "bad", model.state_dict())
    assert [p.name for p in tmp_path.iterdir()] == ["good"]


@pytest.mark.parametrize("lr", ["30", "1e3", "1e5"])
@pytest.mark.parametrize("method", ["natural", "pgd", "trades"])
def test_a_learning_rate_that_is_too_high_never_ends_well(invoke, tmp_path, method, lr):
    """Without batch norm: refused, with what was good left; or done, with an alarm."""
    argv = ["--model", "small-cnn", "--width", 4, "--method", method, "--lr", lr, "--epochs", 1]
    argv += ["--steps", 1, "--eval-steps", 1, "--train-per-class", 20, "--test-per-class", 5]
    code, _, err = invoke(train.main, *argv, "--batch-size", 20, "--out", tmp_path)
    if code == 0:
        assert "nothing is learnt" in err and json.loads((tmp_path / "result.json").read_text())["n"]
    else:
        assert code == 2 and err.count("\n") == 1 and "diverged" in err
        assert load_state(tmp_path / "checkpoint.safetensors")["epoch"] == 0
        assert not (tmp_path / "model.safetensors").exists()


def history(made):
    while made.epoch < made.recipe.epochs:
        made.train_epoch()
    return made.history


def kinds(lines):
    return [line.get("alarm_kinds", []) for line in lines]


@pytest.mark.parametrize("method", ["natural", "pgd", "trades"])
def test_a_healthy_training_raises_no_alarm(method):
    """Not from its first epochs on, and not when it ends after one or two."""
    for epochs in (2, 6):
        assert kinds(history(trainer(method=method, epochs=epochs))) == [[]] * epochs


@pytest.mark.parametrize("epochs, when", [(1, 1), (2, 2), (5, 3)])
@pytest.mark.parametrize("method", ["natural", "pgd", "trades"])
def test_a_training_that_is_stuck_at_a_guess_raises_one_alarm(method, epochs, when):
    """Hidden units that are dead leave the bias of the last layer to learn."""
    model = SmallCNN(4, 10, 8, (0.3,), (0.4,))
    nn.init.constant_(model.hidden.bias, -100.0)
    made = trainer(model, method=method, lr=1e-2, epochs=epochs)
    lines = history(made)
    told = [line["epoch"] for line in lines if "nothing learnt" in line.get("alarm_kinds", [])]
    assert told == [when]
    alarm = lines[when - 1]["alarm"]
    assert all(value in alarm for value in ("ln 10", "100 %", "--lr"))


def test_a_guess_is_seen_whatever_the_loss_is():
    """That of SCORE at 1 / C is 1 - 1 / C, not ln C; one answer is not needed."""
    for lr, told in ((1e-9, True), (0.2, False)):
        model = SmallCNN(4, 10, 8, (0.3,), (0.4,))
        nn.init.normal_(model.head.bias, std=1e-3)
        nn.init.normal_(model.head.weight, std=1e-3)
        lines = history(trainer(model, method="score", lr=lr, epochs=5))
        assert lines[0]["loss"] < 1
        assert any("nothing learnt" in kind for kind in kinds(lines)) == told
        assert ("validation loss" in lines[2].get("alarm", "")) == told


def line(epoch, loss, accuracy, share):
    errors = [1 - accuracy] * 10
    return {
        **{"epoch": epoch, "loss": loss, "natural_error": errors, "robust_error": errors},
        **{"answer": 7, "answer_share": share},
    }


@pytest.mark.parametrize(
    "loss, accuracy, share, told",
    [
        (2.303, 0.10, 0.30, True),  # as a guess: 250 images, 0.157 is three standard deviations off
        (2.34, 0.15, 0.30, True),
        (2.303, 0.17, 0.30, False),  # better than a guess
        (2.25, 0.10, 0.30, False),  # the loss has begun to fall
        (2.36, 0.10, 0.30, False),
        (50.0, 0.10, 1.00, True),  # one answer, whatever the loss
        (50.0, 0.10, 0.99, True),
        (50.0, 0.10, 0.98, False),
        (0.5, 0.90, 0.12, False),
    ],
)
def test_what_shows_that_nothing_is_learnt(digits, loss, accuracy, share, told):
    _, data = digits
    lines = [line(epoch, loss, accuracy, share) for epoch in (1, 2, 3)]

    def found(now, before, last=False):
        return loop.health.alarm(now, before, data, {}, attacked=True, last=last)

    assert bool(found(lines[2], lines[:2])) == told
    assert not found(lines[1], lines[:1]) and not found(lines[0], [])  # a slow start
    assert not found(lines[2], [line(1, 2.0, 0.5, 0.2), lines[1]])
    assert bool(found(lines[0], [], last=True)) == told


def test_a_collapsed_network_is_named_in_result_records_and_table(invoke, tmp_path):
    """One that answers a single class; beside it one that has learnt something, of which nothing is said."""
    words = "--epochs 3 --steps 1 --eval-steps 1 --width 4 --train-per-class 40 --threads 1".split()
    outputs = {}
    for seed, lr in ((0, "0.1"), (1, "1e-9")):
        out = tmp_path / str(seed)
        code, outputs[seed], _ = invoke(train.main, *words, "--lr", lr, "--seed", seed, "--out", out)
        assert code == 0
    results = [json.loads((tmp_path / str(seed) / "result.json").read_text()) for seed in (0, 1)]
    sentence = results[1]["provenance"]["collapse"]
    assert (
        sentence in results[1]["warnings"] and f"warning: {sentence}" in outputs[1] and "epoch 3" in sentence
    )
    assert "collapse" not in results[0]["provenance"] and "has collapsed" not in outputs[0]
    runs = read_runs([tmp_path])
    assert sorted(run.collapse for run in runs) == ["", sentence]
    for folder, seeds in ((tmp_path / "0", {}), (tmp_path / "1", {1: sentence})):
        (study,) = read_studies(folder)
        (label,) = study.runs
        assert study.collapsed(label) == seeds
        assert ("COLLAPSED" in study.methods_table().note) == bool(seeds)
        assert study.to_json()[label].get("collapsed", {}) == {str(k): v for k, v in seeds.items()}


@pytest.mark.parametrize("accuracy, share", [(0.1, 1.0), (0.1, 0.3), (0.9, 0.12)])
def test_a_collapse_is_that_of_the_epoch_that_is_reported(digits, accuracy, share):
    """At ln 10, or with one answer; a network that is better than a guess has not collapsed."""
    _, data = digits
    sentence = loop.health.collapse(line(7, 2.303, accuracy, share), data)
    assert bool(sentence) == (accuracy == 0.1) and ("epoch 7" in sentence) == bool(sentence)
    assert ("ln 10" in sentence) == bool(sentence) and ("100 %" in sentence) == (share == 1.0)


def test_each_kind_of_alarm_is_told_once(digits):
    _, data = digits
    doubts = {"gradient": "gradients vanish for 9 of 9"}
    stuck, lines = [line(epoch, 2.303, 0.1, 1.0) for epoch in range(1, 6)], []
    for one in stuck:
        one |= loop.health.alarm(one, lines, data, doubts, attacked=True, last=one["epoch"] == 5)
        lines.append(one)
    first, *rest = kinds(lines)
    assert first == ["validation, gradient"] and rest == [[], ["nothing learnt"], [], []]


def test_validation_says_once_that_gradients_vanish():
    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = SmallCNN(4, 10, 8, (0.3,), (0.4,))

        def forward(self, x):
            return self.inner(torch.round(8 * x) / 8)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines = history(trainer(Deaf(), method="natural", lr=0.05, epochs=2))
    assert kinds(lines)[0] == ["validation, gradient"] and "validation, gradient" not in kinds(lines)[1]
    assert "gradients vanish" in lines[0]["alarm"]


def test_a_report_says_what_is_in_doubt(invoke, tmp_path, monkeypatch):
    small = ["--epochs", "1", "--width", "4", "--test-per-class", "5", "--steps", "1", "--eval-steps", "8"]
    assert invoke(train.main, "--method", "natural", *small, "--out", tmp_path)[0] == 0
    assert json.loads((tmp_path / "result.json").read_text())["warnings"] == []
    whole = report.load_run

    def rounded(*given, **other):
        run = whole(*given, **other)
        model = Broken(Step(run.model, "rounded"), NAN, lambda x: x[:, 0, 2, 2] > 0.9)
        return dataclasses.replace(run, model=model)

    monkeypatch.setattr(report, "load_run", rounded)
    code, _, err = invoke(report.main, tmp_path, "--attacks", "pgd", "--batch-size", "7")
    lines = err.splitlines()
    assert code == 0 and len(lines) == 2 and all(text.startswith("warning: ") for text in lines)
    assert "not finite (clean)" in lines[0] and "gradients vanish" in lines[1]
    said = json.loads((tmp_path / "report" / "report.json").read_text())["warnings"]
    assert [f"warning: {text}" for text in said] == lines
    found = Evaluation.read(tmp_path / "report" / "evaluation.npz")
    assert np.count_nonzero(~found.ok[0]) >= found.not_finite[0] > 0
