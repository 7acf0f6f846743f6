"""Training for several norms at once, and what a run's report says of each class in each norm."""

import json

import pytest
import torch
from method_setup import Net, context, digits, epoch, make
from torch import nn
from torch.nn import functional as F

from deep import report, train
from deep.attacks.ball import Ball
from deep.attacks.evaluate import Attack
from deep.attacks.pgd import cross_entropy, pgd
from deep.methods import union
from deep.training.loop import Trainer
from deep.training.recipe import Recipe
from theory.common.inputs import InputError

SHARES = {"l2_share": 0.3, "l1_share": 0.13}


def made(rule, *, eps=0.1, steps=4, **params):
    return make("union", context(eps, steps), rule=rule, **SHARES | params)


class Plane(nn.Module):
    """Two logits, 0 and 3 a + 4 b + c: the loss of label 0 grows with them."""

    def forward(self, x):
        z = x.flatten(1) @ torch.tensor([3.0, 4.0, 1.0])
        return torch.stack([torch.zeros_like(z), z], dim=1)


def batch(n=20):
    x = 0.3 + 0.4 * torch.rand((n, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, torch.arange(n) % 10


def losses(model, x, y):
    with torch.no_grad():
        return F.cross_entropy(model(x), y, reduction="none")


def inside(x, adv, method):
    """Return whether each sample of adv is in the ball of each norm, shape (k, n)."""
    shift = (adv - x).flatten(1)
    orders = {"linf": torch.inf, "l2": 2, "l1": 1}
    return torch.stack(
        [
            shift.norm(orders[norm], dim=1) <= radius * method.context.eps + 1e-6
            for norm, radius in zip(method.norms, method.radii(), strict=True)
        ]
    )


def test_one_step_of_each_rule_on_a_plane():
    """By hand, at x = (.5, .5, .5): linf (.1, .1, .1) gains .8, l2 .2 along (3, 4, 1) gains .2 sqrt(26),
    l1 .3 along the second axis gains 1.2; msd takes the last in each of its steps."""
    x, y = torch.full((1, 3), 0.5), torch.tensor([0])
    radii = {"linf": 0.1, "l2": 0.2, "l1": 0.3}
    balls = [Ball(x, torch.tensor([r]), norm) for norm, r in radii.items()]
    ends = [pgd(Plane(), b, x, b.eps, 1, cross_entropy(y)) for b in balls]
    gains = [float((Plane()(e) - Plane()(x))[0, 1]) for e in ends]
    assert gains == pytest.approx([0.8, 0.2 * 26**0.5, 1.2], abs=1e-6)
    adv, loss, place = union.worst_of(Plane(), torch.stack(ends), y)
    assert place.tolist() == [2] and torch.equal(adv, ends[2])
    torch.testing.assert_close(loss, losses(Plane(), adv, y))
    halves = [b.eps / 2 for b in balls]
    torch.testing.assert_close(union.steepest(Plane(), balls, x, halves, 2, y), ends[2])
    linf_l2 = union.steepest(Plane(), balls[:2], x, halves[:2], 2, y)
    torch.testing.assert_close(linf_l2, ends[1])  # without l1 it is the second best norm


def test_a_step_of_msd_is_no_worse_than_that_of_any_norm():
    """From the same point; and its best iterate no worse than its last. No norm alone is always the best."""
    model, (x, y) = Net(), batch()
    method = made("msd", l2_share=0.8, l1_share=0.8)
    balls = method.balls(x, y)
    steps = [b.eps for b in balls]
    step = losses(model, union.steepest(model, balls, x, steps, 1, y), y)
    alone = torch.stack(
        [
            losses(model, pgd(model, b, x, s, 1, cross_entropy(y)), y)
            for b, s in zip(balls, steps, strict=True)
        ]
    )
    assert (step >= alone.max(0).values - 1e-12).all()
    assert len(set(alone.argmax(0).tolist())) > 1
    ends = [losses(model, union.steepest(model, balls, x, steps, k, y), y) for k in range(1, 8)]
    assert all((b >= a).all() for a, b in zip(ends, ends[1:], strict=False))


@pytest.mark.parametrize("rule", ["max", "msd", "avg", "adaptive-like"])
def test_examples_are_in_the_union_and_not_in_the_ball_of_one_norm(rule):
    model, (x, y) = Net(), batch(60)
    method = made(rule, l2_share=0.8, l1_share=0.8)
    adv = method.attack(model, x, y)
    sets = adv if rule == "avg" else [adv]
    flags = torch.stack([inside(x, s, method) for s in sets])
    assert flags.any(1).all()
    if rule == "avg":
        assert all(flags[k, k].all() and not flags[k].all() for k in range(3))
    else:
        assert not flags[0, 0].all()


def test_max_is_the_largest_loss_and_avg_the_mean():
    model, (x, y) = Net(), batch()
    sets = made("avg").attack(model, x, y)
    each = torch.stack([losses(model, s, y) for s in sets])
    for rule in ("max", "adaptive-like"):
        method = made(rule)
        torch.testing.assert_close(losses(model, method.attack(model, x, y), y), each.max(0).values)
        assert method.wins.tolist() == torch.bincount(each.argmax(0), minlength=3).tolist()
    assert float(made("avg").loss(model, x, y, sets).detach()) == pytest.approx(float(each.mean()))
    assert float(each.max(0).values.mean() - each.mean()) > 1e-3


def test_without_the_other_norms_it_is_pgd():
    """MAX of linf alone has the loss of PGD, whatever the start; and with l2 a larger one."""
    model, (x, y) = Net(), batch()
    alone = made("max", l2_share=0, l1_share=0, steps=20)
    plain = make("pgd", alone.context)
    a, b = (losses(model, m.attack(model, x, y), y) for m in (alone, plain))
    assert alone.norms == ["linf"] and float((a - b).abs().max()) < 1e-2
    assert (
        float(losses(model, made("max", l2_share=1, steps=20).attack(model, x, y), y).mean() - b.mean()) > 0.1
    )


def test_budgets_of_a_norm_that_dominates_shrink():
    """By hand: shares 3/4 and 1/4, rate 1/2: exp(-1/4) / exp(1/4); equal shares leave them."""
    moved = union.balanced(torch.ones(2), torch.tensor([3.0, 1.0]), 0.5)
    assert moved.tolist() == pytest.approx([0.60653066, 1.0])
    budgets = torch.tensor([0.5, 1.0])
    torch.testing.assert_close(union.balanced(budgets, torch.tensor([2.0, 2.0]), 0.5), budgets)
    torch.testing.assert_close(union.balanced(budgets, torch.tensor([4.0, 0.0]), 0.0), budgets)
    model, (x, y) = Net(), batch()
    method, fixed = made("adaptive-like", l2_share=1, rate=1.0), made("max", l2_share=1)
    for m in (method, fixed):
        m.attack(model, x, y)
        m.on_epoch_end(epoch(0))
    assert float(method.budgets[1]) == float(method.budgets.min()) < 0.5 and method.wins[1] > 10
    assert fixed.budgets.tolist() == [1, 1, 1]
    small = inside(x, method.attack(model, x, y), method)
    assert small.any(0).all() and method.state()["norm_radii"]["l2"] == pytest.approx(
        0.1 * 8 * float(method.budgets[1])
    )


def test_it_makes_networks_robust_in_other_norms():
    """On digits l1 training lowers the l1 error that linf training leaves; linf alone does not."""
    data = digits(train=20)
    recipe = Recipe(epochs=4, lr=0.1, batch_size=20, weight_decay=5e-4, augment=None, val_every=4, seed=0)
    ends = {}
    for rule, shares in (("max", {"l1_share": 0.0, "l2_share": 0.0}), ("max", {"l1_share": 0.4})):
        trainer = Trainer(Net(), made(rule, steps=3, **shares), data, recipe, Attack(2.0, "2", 8, norm="l1"))
        while not trainer.finished:
            trainer.train_epoch()
        ends[len(shares)] = trainer.errors().average("robust_error")
    assert ends[1] < ends[2] - 0.05


@pytest.mark.parametrize("wrong", [{"rule": "mean"}, {"l2_share": 1.5}, {"l1_share": -0.1}, {"rate": 11.0}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong)).replace("_", "-")):
        made(**{"rule": "max"} | wrong)


def test_a_report_has_every_class_in_every_norm(invoke, refuses, tmp_path):
    run = tmp_path / "run"
    few = "--epochs 1 --train-per-class 20 --test-per-class 20 --width 4 --eval-steps 2".split()
    assert invoke(train.main, "--method", "union", "--steps", 2, *few, "--out", run)[0] == 0
    threats = "--eps 0.15 1 3 --norm linf l2 l1".split()
    code, text, _ = invoke(report.main, run, "--attacks", "pgd", *threats)
    assert code == 0 and "worst cell" in text
    result = json.loads((run / "report" / "report.json").read_text())
    cells = {(t, c): v for t, by_class in result["threats"].items() for c, v in by_class.items()}
    assert len(result["threats"]) == 3 and len(cells) == 30
    worst = result["worst_cell"]
    assert worst["error"] == max(cells.values()) == cells[worst["threat"], worst["class"]]
    union_of = result["robust_error"]["per_class"]
    for place, name in enumerate(result["classes"]):
        assert union_of[place] >= max(v for (_, c), v in cells.items() if c == name)
    for words, says in (
        (["--eps", "0.1", "1"], "norm for each"),
        ("--eps 0.1 0.1 --norm linf linf".split(), "differ"),
        ("--eps 9 --norm l2".split(), "9"),
        ("--eps 3 --norm l1 --attacks autoattack".split(), "l1"),
    ):
        refuses(report.main, run, *words, says=[says])
