"""Attacks against what is known exactly: linear networks on real digits; random numbers keyed by sample."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import linprog
from torch import nn
from torch.nn import functional as F

from deep.attacks.ball import Ball, water_filling_threshold
from deep.attacks.deepfool import minimal_distance
from deep.attacks.evaluate import Attack, evaluate
from deep.attacks.linear_oracle import Linear, worst_margins
from deep.attacks.noise import Noise
from deep.attacks.pgd import cross_entropy, kl_from, margin, perturbed_start, pgd, targeted_margin
from deep.data import load
from deep.nets.networks import PreActResNet

RADII = {"linf": (0.03, 0.05, 0.08, 0.1), "l2": (0.15, 0.3, 0.5, 0.8)}
BOX = (0.0, 1.0)


def two_classes(split):
    chosen = (split.labels == 3) | (split.labels == 8)
    return dataclasses.replace(split.take(chosen), labels=(split.labels[chosen] == 8).long())


@pytest.fixture(scope="module")
def linear():
    """Return, by number of classes, a linear network trained on real digits, and test digits."""
    data = load("digits", None, seed=0, val=25, train=None, test=None, device=torch.device("cpu"))
    out = {}
    for classes, (train, test) in {
        2: (two_classes(data.train), two_classes(data.test)),
        10: (data.train, data.test),
    }.items():
        out[classes] = Linear.fit(train.inputs(slice(None)), train.labels, classes).float(), test
    return out


def network(width=4):
    torch.manual_seed(0)
    return PreActResNet((1, 1), width, 10, (0.3,), (0.4,))


def batch(n=32, seed=0):
    return torch.rand((n, 1, 8, 8), generator=torch.Generator().manual_seed(seed)), torch.arange(n) % 10


def certified(model, x, y, eps, norm, bounds):
    """Return (lower, upper) of the worst margin of each sample, float64, by a route of its own.

    For linf the closed form with d+ and d-. For l2 the lower end is the Lagrangian dual of the radius at a
    multiplier found by bisection, a bound by weak duality; the upper end is the margin at a feasible point.
    """
    W, b = model.weight.detach().double().numpy(), model.bias.detach().double().numpy()
    x = x.flatten(1).double().numpy()
    low, high = (0 - x, 1 - x) if bounds else (np.full_like(x, -np.inf), np.full_like(x, np.inf))
    ends = np.full((2, len(x), len(b)), np.inf)
    for i, j in np.ndindex(len(x), len(b)):
        if j == y[i]:
            continue
        d, gap = W[y[i]] - W[j], b[y[i]] - b[j]
        if norm == "linf":
            fall = np.maximum(d, 0) @ np.minimum(eps, -low[i]) + np.maximum(-d, 0) @ np.minimum(eps, high[i])
            ends[:, i, j] = d @ x[i] + gap - fall
            continue
        least, most = 1e-9, 1e9
        for _ in range(100):
            multiplier = math.sqrt(least * most)
            inside = np.linalg.norm(np.clip(-d / multiplier, low[i], high[i])) <= eps
            least, most = (least, multiplier) if inside else (multiplier, most)
        shift = np.clip(-d / most, low[i], high[i])
        dual = d @ shift + most / 2 * (shift @ shift - eps**2)
        ends[:, i, j] = d @ x[i] + gap + np.array([dual, d @ shift])
    return ends.min(2)


@pytest.mark.parametrize("bounds", [BOX, None])
@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("classes", [2, 10])
def test_worst_margins_are_certified(linear, classes, norm, bounds):
    model, test = linear[classes]
    x, y = test.inputs(slice(0, 40)), test.labels[:40]
    for eps in RADII[norm][1::2]:
        exact = worst_margins(model, Ball(x, torch.full(y.shape, eps), norm, bounds), y).numpy()
        lower, upper = certified(model, x, y.numpy(), float(np.float32(eps)), norm, bounds)
        assert (upper - lower < 1e-6).all()  # the certificate is tight
        assert (lower - 1e-6 <= exact).all() and (exact <= upper + 1e-6).all()
    if bounds is None:
        boxed = worst_margins(model, Ball(x, torch.full(y.shape, eps), norm), y).numpy()
        assert (boxed > exact + 1e-3).any()  # the box is felt


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("classes", [2, 10])
def test_attacks_against_the_exact_bound(linear, classes, norm):
    """None beats it on any sample; multi-targeted PGD equals it, plain PGD need not."""
    model, test = linear[classes]
    if norm == "l2":
        test = test.take(slice(None, None, 2))
    x, y = test.inputs(slice(None)), test.labels
    missed = {"ce": 0, "margin": 0, "kl": 0, "targeted": 0}
    for eps in RADII[norm]:
        exact = worst_margins(model, Ball(x, torch.full(y.shape, eps), norm), y).numpy()
        for objective in missed:
            attack = Attack(eps, str(eps), 20, norm=norm, objective=objective)
            ok = evaluate(model, test, attack, seed=0).ok_attacked
            assert not (~ok & (exact > 1e-5)).any(), (objective, eps)
            missed[objective] += int((ok & (exact <= 0)).sum())
            if objective == "targeted":
                assert (ok == (exact > 0)).mean() >= 0.995
            if classes == 2 and objective != "kl":  # a divergence may also grow away from the boundary
                assert (ok == (exact > 0)).all()  # one direction is best
    if classes == 10:
        assert missed["ce"] > missed["margin"] > missed["targeted"] == 0  # the oracle tells strong from weak


def test_a_false_bound_is_seen(linear):
    """The attack beats a bound that forgets the bias, so the comparison can fail."""
    model, test = linear[10]
    x, y = test.inputs(slice(None)), test.labels
    wrong = Linear(model.weight.detach(), 0 * model.bias.detach() + torch.arange(10) * 0.3)
    bound = worst_margins(wrong, Ball(x, torch.full(y.shape, 0.05)), y).numpy()
    ok = evaluate(model, test, Attack(0.05, "0.05", 20, objective="targeted"), seed=0).ok_attacked
    assert (~ok & (bound > 1e-5)).any()


def test_short_steps_are_warned_of_and_really_weak(linear):
    model, test = linear[10]
    short, long = Attack(0.1, "0.1", 20, step=1 / 30), Attack(0.1, "0.1", 20)
    assert "cannot cross" in short.warning and not long.warning
    errors = [(~evaluate(model, test, a, seed=0).ok_attacked).mean() for a in (short, long)]
    assert errors[0] < errors[1] - 0.05


@pytest.mark.parametrize("norm", RADII)
def test_pgd_agrees_with_foolbox(linear, norm):
    """At equal settings and starts, sample by sample; in l2 our projection to the box is the exact one."""
    foolbox = pytest.importorskip("foolbox")
    model, test = linear[10]
    x, y = test.inputs(slice(None)), test.labels
    reference = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    theirs = reference(rel_stepsize=0.25, steps=20, random_start=True)
    agreed, total = 0, 0
    for eps in RADII[norm]:
        ball = Ball(x, torch.full(y.shape, eps), norm)
        start = ball.uniform(Noise.of(0, torch.arange(len(y))))
        theirs.get_random_start = lambda x0, _, start=start: type(x0)(start)
        network = foolbox.PyTorchModel(model.eval(), bounds=BOX, device="cpu")
        found = theirs.run(network, x, foolbox.criteria.Misclassification(y), epsilon=eps)
        ours = pgd(model, ball, start, 0.25 * ball.eps, 20, cross_entropy(y))
        agreed += int(((model(ours).argmax(1) == y) == (model(found).argmax(1) == y)).sum())
        total += len(y)
    assert agreed / total >= 0.995, agreed / total


@pytest.mark.parametrize("bounds", [BOX, None])
@pytest.mark.parametrize("norm", [*RADII, "l1"])
def test_radii_are_never_exceeded(norm, bounds):
    model, (x, y) = network(), batch(40)
    eps = torch.linspace(0, 0.9, 10)[y]  # a radius for each class
    ball = Ball(x, eps, norm, bounds)
    noise = Noise.of(0, torch.arange(len(y)))
    for start in (ball.uniform(noise), perturbed_start(x, noise), x + 10, x):
        adv = pgd(model, ball, start, eps / 2, 5, cross_entropy(y))
        shift = (adv - x).flatten(1)
        length = shift.norm(dim=1, p={"linf": math.inf, "l2": 2, "l1": 1}[norm])
        assert (length <= eps * (1 + 1e-5) + 1e-6).all()
        assert (length[y > 0] > 0.2 * eps[y > 0]).all()  # and it is used
        assert torch.equal(adv[y == 0], x[y == 0])
        if bounds:
            assert float(adv.min()) >= 0 and float(adv.max()) <= 1
    if bounds is None:
        assert float(ball.project(x + 10).max()) > 1


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_projection_is_the_nearest_point(norm):
    """In l2 within bounds, against the variational inequality: no feasible point lies further ahead."""
    x, _ = batch(20)
    eps = torch.linspace(0.1, 3, 20)
    ball = Ball(x.double(), eps.double(), norm)
    z = x.double() + torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    nearest = ball.project(z)
    for seed in range(20):
        other = ball.project(x + torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)))
        assert (((z - nearest) * (other - nearest)).flatten(1).sum(1) <= 1e-9).all()
    naive = x + (z - x) * (eps / (z - x).flatten(1).norm(dim=1, p=int(norm[1]))).clamp(max=1).view(
        -1, 1, 1, 1
    )
    assert (
        (z - nearest).flatten(1).norm(dim=1) < (z - naive.clamp(0, 1)).flatten(1).norm(dim=1) - 1e-3
    ).any()
    inside = x.double() + 1e-4 * (0.5 - x.double())
    torch.testing.assert_close(ball.project(inside), inside, atol=1e-12, rtol=0)


@pytest.mark.parametrize("bounds", [BOX, None])
def test_the_exact_bound_in_l1_is_a_linear_program(linear, bounds):
    model, test = linear[10]
    model, x, y = model.double(), test.inputs(slice(0, 6)).double(), test.labels[:6]
    exact = worst_margins(model, Ball(x, torch.full(y.shape, 1.5).double(), "l1", bounds), y).numpy()
    W, b, flat = model.weight.detach().numpy(), model.bias.detach().numpy(), x.flatten(1).numpy()
    for i in range(6):
        box = [(0, 1 - v) for v in flat[i]] + [(0, v) for v in flat[i]] if bounds else (0, None)
        ends = []
        for j in set(range(10)) - {int(y[i])}:  # the shift is what is added minus what is taken
            d = W[y[i]] - W[j]
            best = linprog(np.r_[d, -d], np.ones((1, 128)), [1.5], bounds=box).fun
            ends.append(d @ flat[i] + b[y[i]] - b[j] + best)
        assert abs(min(ends) - exact[i]) < 1e-9
    model.float()


def test_attacks_in_l1_against_the_exact_bound(linear):
    model, test = linear[10]
    test = test.take(slice(None, None, 2))
    x, y = test.inputs(slice(None)), test.labels
    for eps in (0.3, 1.0):
        exact = worst_margins(model, Ball(x, torch.full(y.shape, eps), "l1"), y).numpy()
        ok = evaluate(
            model, test, Attack(eps, str(eps), 20, norm="l1", objective="targeted"), seed=0
        ).ok_attacked
        assert not (~ok & (exact > 1e-5)).any() and (ok == (exact > 0)).mean() >= 0.995
        assert 0 < ok.mean() < 1


def test_water_level_solves_its_equation():
    generator = torch.Generator().manual_seed(0)
    weight, slope, room = (torch.rand((50, 30), generator=generator, dtype=torch.float64) for _ in range(3))
    slope[:, 0], room[:, 1], weight[:, 2] = 0, torch.inf, 0
    total = torch.linspace(0, 9, 50, dtype=torch.float64)
    level = water_filling_threshold(weight, slope, room, total)
    reached = (weight * torch.minimum(level[:, None] * slope, room)).sum(1)
    torch.testing.assert_close(reached, total)
    room[:, 1] = 0.5
    most = torch.where(slope > 0, weight * room, 0).sum(1)
    assert (water_filling_threshold(weight, slope, room, most + 0.1) == torch.inf).all()


def test_objectives_are_what_they_say():
    logits, y = torch.tensor([[1.0, 3.0, 2.0], [4.0, 1.0, 0.0]]), torch.tensor([0, 0])
    clean = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert float(margin(y)(logits)) == (3 - 1) + (1 - 4)
    assert float(targeted_margin(y, torch.tensor([2, 1]))(logits)) == (2 - 1) + (1 - 4)
    assert float(cross_entropy(y)(logits)) == pytest.approx(-float(F.log_softmax(logits, 1)[:, 0].sum()))
    p, q = F.softmax(clean, 1), F.softmax(logits, 1)
    assert float(kl_from(clean)(logits)) == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-5)


def test_a_sample_that_is_broken_stays_broken(linear):
    """With ``stop`` an attack whose later steps lead back keeps the wrong point it has passed."""
    model, test = linear[10]
    x, y = test.inputs(slice(None)), test.labels
    ball = Ball(x, torch.full(y.shape, 0.1))
    calls = []

    def there_and_back(logits):
        calls.append(0)
        return (1 if len(calls) <= 8 else -1) * cross_entropy(y)(logits)

    for stop in (None, y):
        calls.clear()
        wrong = model(pgd(model, ball, x, ball.eps / 4, 16, there_and_back, stop=stop)).argmax(1) != y
        reached = model(pgd(model, ball, x, ball.eps / 4, 8, cross_entropy(y))).argmax(1) != y
        assert (wrong | ~reached).all() == (stop is not None)


def test_restarts_take_the_worst_for_each_sample(linear):
    model, test = linear[10]
    oks = [evaluate(model, test, Attack(0.1, "0.1", 2, restarts=r), seed=0).ok_attacked for r in (1, 2, 8)]
    assert oks[0].sum() > oks[1].sum() > oks[2].sum()
    assert not (oks[2] & ~oks[1]).any() and not (oks[1] & ~oks[0]).any()  # the same starts and more


def test_batch_norm_by_the_batch_changes_the_attack_and_nothing_else():
    model, (x, y) = network(8).train(), batch()
    model(x), model.zero_grad()  # running statistics that are not those of the batch
    model.norm.eval()
    modes = [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    ball = Ball(x, torch.full(y.shape, 0.1))
    adv = [pgd(model, ball, x, ball.eps / 4, 4, cross_entropy(y), batch_norm=b) for b in ("eval", "train")]
    assert not torch.equal(*adv)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert [*state] == [*model.state_dict()] and modes == [m.training for m in model.modules()]
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    logits = []

    def keep(values):
        logits.append(values.detach())
        return cross_entropy(y)(values)

    pgd(model, ball, x, ball.eps / 4, 1, keep, batch_norm="train")
    torch.testing.assert_close(logits[0], model.train()(x).detach())


def test_noise_is_uniform_and_normal():
    noise = Noise.of(3, torch.arange(400))
    uniform, normal = noise.uniform((1, 16, 16)), noise.normal((255,))
    assert uniform.shape == (400, 1, 16, 16) and float(uniform.min()) >= 0 and float(uniform.max()) < 1
    assert stats.kstest(uniform.flatten().numpy(), "uniform").pvalue > 0.001
    assert stats.kstest(normal.flatten().numpy(), "norm").pvalue > 0.001
    assert stats.kstest(normal.flatten().numpy(), "t", (8,)).pvalue < 0.001  # the test can fail
    for values in (uniform.flatten(1), normal):
        z = (values - values.mean()) / values.std()
        for a, b in ((z[:, 1:], z[:, :-1]), (z[1:], z[:-1]), (z[20:], z[:-20])):  # positions, samples
            assert abs(float((a * b).mean())) < 4 / math.sqrt(a.numel())
    low = torch.stack([((noise._bits(256) >> k) & 1).double().mean() for k in range(64)])
    assert (low - 0.5).abs().max() < 5 * 0.5 / math.sqrt(400 * 256)


def splitmix(seed, sample, position):
    """The same numbers in Python's integers; they must never change."""
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1

    def mix(v):
        v = ((v ^ (v >> 30)) * 0xBF58476D1CE4E5B9) & mask
        v = ((v ^ (v >> 27)) * 0x94D049BB133111EB) & mask
        return v ^ (v >> 31)

    row = mix((mix((sample * golden + seed) & mask) + seed) & mask)
    return (mix((row + position * golden) & mask) >> 40) / 2**24


def test_noise_depends_on_seed_sample_and_use_alone():
    index = torch.tensor([5, 2**40, 0, 7])
    whole = Noise.of(1, index).uniform((3,))
    for i in range(4):
        assert torch.equal(Noise.of(1, index[i : i + 1]).uniform((3,))[0], whole[i])
    assert torch.equal(Noise.of(1, index)[torch.tensor([3, 1])].uniform((3,)), whole[[3, 1]])
    others = [
        Noise.of(2, index),
        Noise.of(1, index).fork(0),
        Noise.of(1, index).fork(1),
        Noise.of(2, index).fork(0),
    ]
    values = torch.stack([whole, *(n.uniform((3,)) for n in others)]).flatten()
    assert len(values.unique()) == len(values)
    assert whole[0].tolist() == [splitmix(1, 5, k) for k in (1, 2, 3)]


@pytest.mark.parametrize("norm", RADII)
def test_random_starts_fill_the_ball(norm):
    x = torch.full((2000, 1, 2, 2), 0.5)
    ball = Ball(x, torch.full((2000,), 0.2), norm, None)
    shift = (ball.uniform(Noise.of(0, torch.arange(2000))) - x).flatten(1) / 0.2
    length = shift.abs().amax(1) if norm == "linf" else shift.norm(dim=1)
    assert stats.kstest((length**4).numpy(), "uniform").pvalue > 0.001  # uniform in volume
    assert (shift.mean(0).abs() < 4 * shift.std(0) / math.sqrt(2000)).all()


@pytest.mark.parametrize("norm", RADII)
def test_batch_size_and_order_do_not_change_the_starts(norm):
    x, _ = batch(64)
    eps = torch.linspace(0.05, 0.2, 64)
    whole = Ball(x, eps, norm).uniform(Noise.of(0, torch.arange(64)))
    for size in (1, 7, 64):
        parts = [
            Ball(x[i : i + size], eps[i : i + size], norm).uniform(
                Noise.of(0, torch.arange(64)[i : i + size])
            )
            for i in range(0, 64, size)
        ]
        assert torch.equal(torch.cat(parts), whole)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Ball(x[order], eps[order], norm).uniform(Noise.of(0, order)), whole[order])


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("bounds", [BOX, None])
def test_minimal_distance_is_exact_for_linear_networks(linear, norm, bounds):
    """The exact worst margin is positive at 0.2 % below the distance, and not positive at the distance."""
    model, test = linear[10]
    model = Linear(model.weight.detach().double(), model.bias.detach().double())
    x, y = test.inputs(slice(0, 150)).double(), test.labels[:150]
    distance = minimal_distance(model, x, y, norm=norm, bounds=bounds)
    right = model(x).argmax(1) == y
    assert (distance[~right] == 0).all() and (distance[right] > 0).all() and distance.isfinite().all()
    for factor, positive in ((1 - 2e-3, True), (1 + 1e-6, False)):
        worst = worst_margins(model, Ball(x, factor * distance, norm, bounds), y)
        assert ((worst > 0) == positive)[right].all()


def test_minimal_distance_bounds_what_attacks_need():
    """For a network it is an upper bound: PGD of that radius need not, but nearly always does, break it."""
    model, (x, _) = network(8).eval(), batch(40)
    y = model(x).argmax(1).detach()
    nn.init.normal_(model.head.weight, std=1.0)
    y = model(x).argmax(1).detach()
    distance = minimal_distance(model, x, y)
    found = distance.isfinite()
    assert found.float().mean() > 0.5
    ball = Ball(x, distance.where(found, torch.zeros(())) * 1.05)
    adv = pgd(model, ball, x, ball.eps / 8, 40, margin(y), stop=y)
    assert (model(adv).argmax(1) != y)[found].float().mean() > 0.9
    assert (minimal_distance(model, x, (y + 1) % 10) == 0).all()
