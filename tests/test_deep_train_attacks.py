"""Training attacks of one step, free adversarial training, radii that grow, and trainings that collapse."""

import contextlib
import dataclasses
import io
import json

import pytest
import torch
from method_setup import teachers_of
from torch import nn

from deep import train
from deep.attacks.ball import Ball
from deep.attacks.evaluate import Attack
from deep.attacks.free import Perturbation
from deep.attacks.pgd import TRAIN_ATTACKS, kl_from
from deep.data import load
from deep.methods import METHODS
from deep.methods.base import Context, Method
from deep.nets.networks import PreActResNet
from deep.runs.command_line import parse, parser_of
from deep.runs.place import run_of
from deep.runs.presets import PRESETS
from deep.training.loop import Trainer
from deep.training.recipe import Recipe
from theory.common.inputs import InputError
from theory.results.counts import ClassErrors

EPS = 0.1
ONE_STEP = [name for name, method in METHODS.items() if {"nfgsm", "fgsm-rs"} <= {*method.attacks}]
ATTACKED = [name for name in ONE_STEP if name not in ("natural", "jacobian")]


def context(kind, *, eps=EPS, seed=0, **other):
    attack = dataclasses.replace(TRAIN_ATTACKS[kind], **other)
    generator = torch.Generator().manual_seed(seed)
    found = Context(10, eps, attack.steps, generator, attack.step_size)
    return dataclasses.replace(found, start=attack.noise, reach=attack.reach)


def method(name, kind="nfgsm", **other):
    teachers = teachers_of(name, network())
    made = dataclasses.replace(context(kind, **other), teachers=teachers)
    return METHODS[name](METHODS[name].Params(), made)


def network(width=4):
    torch.manual_seed(0)
    return PreActResNet((1, 1), width, 10, (0.3,), (0.4,))


def batch(n=32):
    """Return images far from the bounds, where nothing but the attack limits it."""
    generator = torch.Generator().manual_seed(1)
    return 0.5 + 0.01 * torch.rand((n, 1, 8, 8), generator=generator), torch.arange(n) % 10


class Signs(nn.Module):
    """Two logits whose loss towards label 0 grows with the first pixel and falls with the second."""

    def forward(self, x):
        z = x.flatten(1)
        rise = z[:, 0] - z[:, 1]
        return torch.stack([-rise, rise], 1)


def moved(kind, start, **other):
    """Return the perturbation that an attack makes from a start."""
    x = torch.full((1, 1, 1, 2), 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ball, "uniform", lambda ball, noise: ball.x + torch.tensor(start))
        adv = method("pgd", kind, **other).attack(Signs(), x, torch.tensor([0]))
    return (adv - x).flatten().tolist()


def test_golden_values():
    """Those of the authors' code: locuslab/fast_adversarial, pdejorge/N-FGSM, locuslab's train_free.py."""
    assert moved("fgsm-rs", [0.05, -0.1]) == pytest.approx([0.1, -0.1])
    assert moved("nfgsm", [0.15, -0.05]) == pytest.approx([0.25, -0.15])
    assert moved("nfgsm", [0.15, -0.05], reach=1.5) == pytest.approx([0.15, -0.15])
    eps, free = torch.tensor([0.1]), Perturbation(Context(2, 0.1, 1, torch.Generator()).world)
    free.whole = torch.tensor([0.03, -0.02]).view(1, 1, 1, 2)
    (free.added(torch.full((1, 1, 1, 2), 0.5), eps) * torch.tensor([2.0, -3.0])).sum().backward()
    free.ascend(eps, eps)
    assert free.delta.flatten().tolist() == pytest.approx([0.1, -0.1])


@pytest.mark.parametrize("name", ATTACKED)
def test_one_leaves_the_ball_and_the_other_does_not(name):
    model, (x, y) = network(), batch()
    for kind, reach in (("nfgsm", 3.0), ("fgsm-rs", 1.0)):
        made = method(name, kind)
        made.setup(model, 4)
        shift = (made.attack(model, x, y) - x).abs().max()
        assert 0.95 * reach * EPS < float(shift) < 1.001 * reach * EPS
    made = method(name, "pgd")
    made.setup(model, 4)
    assert float((made.attack(model, x, y) - x).abs().max()) < 1.001 * EPS


def test_images_keep_their_range():
    x, y = torch.randint(0, 2, (32, 1, 8, 8)).float(), torch.arange(32) % 10
    adv = method("pgd").attack(network(), x, y)
    assert float(adv.min()) == 0 and float(adv.max()) == 1 and not torch.equal(adv, x)


@pytest.mark.parametrize("name", ["cfa", "dafa", "frl"])
def test_radii_of_classes_scale_noise_and_step(name):
    """The same noise and the same signs, so the perturbation is in proportion to the radius."""
    model, (x, y) = network(), batch()
    plain, scaled = (method(name) for _ in range(2))
    radii = torch.linspace(0.5, 1.4, 10)
    if name == "frl":
        scaled.log_margin = radii.log() / 2
    else:
        setattr(scaled, {"cfa": "radii", "dafa": "class_weights"}[name], radii)
    assert torch.allclose(scaled.eps(y), EPS * radii[y])
    step = scaled.step(y, scaled.eps(y))
    assert torch.allclose(step, EPS * radii[y])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Ball, "ascend", lambda ball, z, gradient, step: ball.project(z + step.view(-1, 1, 1, 1))
        )
        a, b = (m.attack(model, x, y) - x for m in (plain, scaled))
    torch.testing.assert_close(b, a * radii[y].view(-1, 1, 1, 1), rtol=1e-4, atol=1e-6)
    if name == "cfa":  # and with many steps as its authors have it
        many = method(name, "pgd")
        many.radii = radii
        assert torch.equal(many.step(y, many.eps(y)), torch.full((32,), 0.25 * EPS))


def test_the_kl_attack_of_one_step_starts_from_noise(monkeypatch):
    """And not next to the clean point, where the divergence hardly has a gradient."""
    starts, (x, y) = [], batch()
    monkeypatch.setattr(
        "deep.methods.base.pgd", lambda model, ball, start, *_, **__: starts.append(start) or x
    )
    for kind in ("pgd", "nfgsm"):
        method("trades", kind).attack(network(), x, y)
    near, far = (float((start - x).abs().max()) for start in starts)
    assert near < 0.01 and 1.9 * EPS < far < 2.01 * EPS


@pytest.mark.parametrize(("name", "passes"), [("natural", 1), ("pgd", 2), ("trades", 4)])
def test_a_step_costs_one_pass_forward_and_one_back(name, passes, monkeypatch):
    counted, trained = [], []
    grad = torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *given, **how: counted.append(1) or grad(*given, **how)
    )
    trainer = training(method(name), epochs=1, batch_size=360)
    trainer.method.on_epoch_end = lambda epoch: trained.extend(counted)  # before the validation
    assert trainer.train_epoch()["passes"] == passes
    assert len(trained) == (name != "natural")


@pytest.mark.parametrize("name", ["pgd", "trades", "dafa", "faal"])
def test_batch_statistics_may_make_the_attack_and_stay_as_they_were(name):
    model, (x, y) = network(), batch()
    model(torch.rand(32, 1, 8, 8))  # so that running statistics are not those of a batch
    before = {k: v.clone() for k, v in model.state_dict().items()}
    made = [method(name) for _ in range(2)]
    made[1].context = dataclasses.replace(made[1].context, batch_norm="train")
    own, of_batch = (m.attack(model, x, y) for m in made)
    assert not torch.equal(own, of_batch)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training and all(p.grad is None for p in model.parameters())


def test_the_clean_output_of_the_kl_attack_is_by_the_same_statistics(monkeypatch):
    model, (x, y), seen = network(), batch(), []
    monkeypatch.setattr("deep.methods.trades.kl_from", lambda clean: seen.append(clean) or kl_from(clean))
    for mode in ("eval", "train"):
        made = method("trades")
        made.context = dataclasses.replace(made.context, batch_norm=mode)
        made.attack(model, x, y)
    torch.testing.assert_close(seen[0], model.eval()(x))
    torch.testing.assert_close(seen[1], model.train()(x))


def data():
    return load("digits", None, seed=0, val=20, train=36, test=10, device=torch.device("cpu"))


def training(made, kind=Trainer, *, eps=EPS, width=4, **other):
    given = {"epochs": 4, "lr": 0.1, "batch_size": 60, "weight_decay": 5e-4, "augment": None, "seed": 0}
    return kind(network(width), made, data(), Recipe(**given | other), Attack(eps, str(eps), 5))


def free(replays, **other):
    return training(method("pgd", "free", **other), replays=replays, epochs=2)


def test_free_trains_on_each_batch_again_and_keeps_what_it_learnt():
    trainer, seen = free(3), []
    assert trainer.steps == 3 * 6
    loss = trainer.method.loss

    def spy(model, x, y, adv):
        seen.append((x, (adv - x).detach()))
        return loss(model, x, y, adv)

    trainer.method.loss = spy
    line = trainer.train_epoch()
    assert line["passes"] == 3 and len(seen) == 18
    for step, (x, delta) in enumerate(seen):
        assert float(delta.abs().max()) <= EPS * 1.001
        assert torch.equal(x, seen[step // 3 * 3][0])
        assert bool(delta.any()) == (step > 0)  # the first step is natural training, no later one is
    assert torch.equal(trainer.free.whole, trainer.free.delta)


def test_free_serves_methods_whose_examples_are_like_the_images():
    for name in ("trades", "frl", "faal"):
        trainer = training(METHODS[name](METHODS[name].Params(), context("free")), replays=2, epochs=2)
        trainer.train_epoch()
        assert float(trainer.free.delta.abs().max()) == pytest.approx(EPS)


@pytest.mark.parametrize("kind", ["nfgsm", "free"])
def test_a_training_goes_on_as_if_nothing_had_happened(kind):
    def made():
        other = {"replays": 2 if kind == "free" else None, "batch_size": 120}
        return training(method("pgd", kind), eps_warmup=0.6, nesterov=True, decay="matrices", **other)

    whole, first, second = made(), made(), made()
    while not whole.finished:
        whole.train_epoch()
    first.train_epoch()
    second.load_state_dict(first.state_dict())
    while not second.finished:
        second.train_epoch()
    for a, b in zip(whole.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_radius_grows_to_its_value():
    recipe = training(method("pgd"), eps_warmup=0.5).recipe
    shares = [
        recipe.radius_at(epoch, part) for epoch, part in ((0, 0.0), (0, 1.0), (1, 0.5), (2, 0.0), (3, 1.0))
    ]
    assert shares == pytest.approx([0.25, 0.625, 0.8125, 1, 1])
    assert dataclasses.replace(recipe, eps_warmup=0.0).radius_at(0) == 1
    seen = []

    class Spy(Method):
        def attack(self, model, x, y):
            seen.append(float(self.eps(y)[0]))
            return super().attack(model, x, y)

    trainer = training(Spy(Method.Params(), context("nfgsm")), eps_warmup=0.25)
    trainer.train_epoch()
    trainer.train_epoch()
    expected = [EPS * (0.25 + 0.75 * step / 6) for step in range(1, 7)] + [EPS] * 6
    assert seen == pytest.approx(expected)


class Told(Trainer):
    """A training whose robust errors on the validation split are given, in percent, an epoch each."""

    robust = (90, 60, 50, 55, 90, 95, 60, 60)

    def _measure(self, model):
        found = (self.robust[self.epoch - 1],) * 10
        return ClassErrors(self.data.classes, (100,) * 10, (0,) * 10, found), {}


def told(**other):
    """Return one that has collapsed in the fifth epoch."""
    return training(method("pgd"), Told, **{"epochs": 8, "on_collapse": "stop", "batch_size": 180} | other)


def trained(trainer):
    while not trainer.finished:
        trainer.train_epoch()
    return trainer


def weights(model):
    return torch.cat([v.detach().flatten() for v in model.state_dict().values()])


def test_a_collapse_ends_the_training_with_the_weights_before():
    trainer, before = told(), []
    while not trainer.finished:
        before.append(weights(trainer.model))
        trainer.train_epoch()
    assert trainer.stopped == 5 == len(trainer.history) and "alarm" in trainer.history[-1]
    assert trainer.chosen_epoch("last") == 4 and torch.equal(weights(trainer.chosen("last")), before[4])
    assert not torch.equal(weights(trainer.model), before[4])
    assert trainer.chosen_epoch("best") == 3 and torch.equal(weights(trainer.chosen("best")), before[3])
    warned = trained(told(on_collapse="warn"))
    assert len(warned.history) == 8 and warned.stopped is None and warned.chosen_epoch("last") == 8
    assert ["alarm" in line for line in warned.history].index(True) == 4


def test_what_is_kept_is_the_last_validation_before():
    trainer = trained(told(val_every=2))
    assert trainer.stopped == 6 and trainer.chosen_epoch("last") == 4


def test_a_stop_survives_an_interruption():
    whole, first, second, third = trained(told()), told(), told(), told()
    for _ in range(4):
        first.train_epoch()
    second.load_state_dict(first.state_dict())
    assert not second.finished
    third.load_state_dict(trained(second).state_dict())
    assert third.finished and third.stopped == second.stopped == 5 and third.chosen_epoch("last") == 4
    assert torch.equal(weights(third.chosen("last")), weights(whole.chosen("last")))


def test_a_healthy_training_is_not_stopped():
    trainer = trained(training(method("pgd"), on_collapse="stop", batch_size=180))
    assert trainer.stopped is None and len(trainer.history) == 4 == trainer.chosen_epoch("last")


def test_the_result_of_a_stopped_run_says_so(monkeypatch, invoke, tmp_path):
    monkeypatch.setattr(train, "Trainer", Told)
    words = (
        "--train-attack nfgsm --train-noise 0 --step-size 2 --epochs 8 --on-collapse stop --width 4".split()
    )
    words += "--train-per-class 20 --eval-steps 2 --threads 1".split()
    code, text, err = invoke(train.main, *words, "--out", tmp_path)
    assert code == 0 and "catastrophic" in err
    assert "epoch 5" in text and "epoch 4" in text
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["stopped"], result["epoch"]) == (5, 4)
    assert result["setting"]["on_collapse"] == "stop"
    assert "finished" in invoke(train.main, *words, "--out", tmp_path)[1]


def settings(*words):
    return parse(["--threads", "1", *words])[0]


def refused(*words):
    """Return why a command line is refused, by its parser or by the settings."""
    with contextlib.redirect_stderr(io.StringIO()) as said, pytest.raises((InputError, SystemExit)) as caught:
        settings(*words)
    return said.getvalue() or str(caught.value)


def test_what_makes_no_sense_is_refused():
    assert "bat" in refused("--method", "bat", "--train-attack", "nfgsm")
    assert "natural" in refused("--method", "natural", "--train-attack", "free")
    assert "--replays" in refused("--replays", "4")
    for words in (("--steps", "2"), ("--train-noise", "1"), ("--attack-batch-norm", "train")):
        assert words[0] in refused("--train-attack", "free", *words)
    assert "--train-reach" in refused("--method", "bat", "--train-reach", "2")
    assert "--lr-warmup" in refused("--lr-warmup", "0.2")
    assert "--lr-warmup" in refused("--schedule", "one-cycle", "--lr-warmup", "1")
    assert "--eps-warmup" in refused("--eps-warmup", "1.5")
    assert "--label-smoothing" in refused("--label-smoothing", "1")
    assert "--crop" in refused("--crop", "2")  # digits are not cropped
    assert "nfgsm" in refused("--train-attack", "fgsm") and "cpu" in refused("--preset", "gpu")
    made = settings("--method", "dafa", "--base", "pgd", "--literal", "--train-attack", "nfgsm")
    with pytest.raises(InputError, match="--literal"):
        METHODS["dafa"](made.params, context("nfgsm")).setup(network(), 4)


def test_an_attack_is_what_its_name_says_unless_told_otherwise():
    found = [settings("--train-attack", kind).train_ascent for kind in ("pgd", "fgsm-rs", "nfgsm", "free")]
    assert found == [*TRAIN_ATTACKS.values()]
    words = "--train-attack nfgsm --train-noise 1 --step-size 1.25 --train-reach 1.5".split()
    assert dataclasses.astuple(settings(*words).train_ascent) == (1, 1.25, 1.0, 1.5)
    assert settings("--train-attack", "free").replays == 8


def test_settings_at_their_defaults_are_no_part_of_a_name():
    plain = settings()
    default = {f.name: f.default for f in dataclasses.fields(plain) if f.metadata.get("later")}
    assert {"train_attack", "nesterov", "train_eps", "on_collapse"} <= default.keys()
    assert not default.keys() & plain.as_json().keys()
    args = vars(parser_of("pgd").parse_args([]))
    assert {name: args[name] for name in default} == default  # flags have the same defaults
    assert settings("--nesterov").id != plain.id and settings("--nesterov").as_json()["nesterov"] is True


def test_a_preset_is_its_flags_and_no_setting():
    own = ["--dataset", "cifar10", "--preset", "cpu"]
    found = settings(*own)
    assert "preset" not in found.as_json()
    for name, value in PRESETS["cpu"].items():
        assert getattr(found, name) == value
    assert run_of({"preset": "cpu", "dataset": "cifar10", "threads": 1})[0].id == found.id
    assert settings(*own, "--epochs", "3", "--no-nesterov") == dataclasses.replace(
        found, epochs=3, nesterov=False
    )
    grid = {"preset": "cpu", "dataset": "cifar10", "threads": 1, "epochs": 3, "nesterov": False}
    assert run_of(grid)[0].id == settings(*own, "--epochs", "3", "--no-nesterov").id
    assert settings("--preset", "cpu").crop is None  # digits are not cropped


def test_what_a_preset_says_of_its_attack_goes_with_that_attack():
    """PGD with steps of 1.25 eps would be another thing than what was asked for."""
    own = ["--dataset", "cifar10", "--preset", "cpu", "--train-attack", "pgd"]
    assert settings(*own).train_ascent == TRAIN_ATTACKS["pgd"] and settings(*own).eps_warmup > 0
    assert settings(*own, "--schedule", "cosine").lr_warmup is None
    assert settings(*own, "--model", "preact-resnet18").width == 64
