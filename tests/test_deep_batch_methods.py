"""Methods that act on each batch: BAT, FAT, FAAL and the chi-square class DRO."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from deep import train
from deep.attacks.ball import Ball
from deep.attacks.pgd import kl_from, perturbed_start, pgd
from deep.data.distributed import World
from deep.methods.base import Context, Epoch, Method
from deep.methods.bat import BAT, from_uniform, last_and_first
from deep.methods.codat import CODAT, chi2_ball_weights
from deep.methods.faal import FAAL, kl_ball_weights, probability_margins
from deep.methods.fat import FAT, class_variance
from deep.methods.trades import surrogates
from deep.runs.place import run_of
from theory.common.inputs import InputError

C, ALONE = 10, World()
BALLS = {kl_ball_weights: lambda u: -np.log(u).mean(), chi2_ball_weights: lambda u: np.square(u - 1).mean()}
"""Each weighting with the divergence of C times the weights that is at most the radius."""
GRADIENTS = {kl_ball_weights: lambda u: -1 / u, chi2_ball_weights: lambda u: u - 1}
"""Those of the divergences, but for a factor."""
LOSSES = st.lists(st.integers(-500_000, 500_000).map(lambda i: i / 1e5), min_size=2, max_size=12).filter(
    lambda v: np.ptp(v) > 1e-3
)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def context(eps=0.1, steps=3, world=ALONE):
    return Context(C, eps, steps, torch.Generator().manual_seed(0), world=world)


class Net(nn.Module):
    """A network without batch statistics, in double precision, whose classes differ."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, C)).double()
        nn.init.normal_(self.layers[3].weight)

    def forward(self, x):
        return self.layers(x.double())


def batch(y=None, n=24):
    """Return images and labels, by default of all classes but 7, unequally many."""
    generator = torch.Generator().manual_seed(1)
    y = torch.tensor([0, 0, 0, 1, 2, 3, 4, 4, 5, 6, 8, 9] * (n // 12)) if y is None else torch.tensor(y)
    return torch.rand((len(y), 1, 8, 8), generator=generator), y


def terms(method, model, x, y, adv):
    """Return base losses, adversarial cross-entropies and margins of each sample, written out."""
    p, q = (F.softmax(model(v), dim=1) for v in (x, adv))
    each = torch.arange(len(y))
    kl, attacked = (p * (p / q).log()).sum(1), -q[each, y].log()
    base = attacked if method.params.base == "pgd" else -p[each, y].log() + method.params.beta * kl
    rival = torch.stack([torch.cat([row[:c], row[c + 1 :]]).max() for row, c in zip(q, y, strict=True)])
    return base, attacked, (rival - q[each, y]).detach()


def of_classes(values, y):
    """Return the mean of each class that is there."""
    return torch.stack([values[y == c].mean() for c in y.unique()])


@pytest.mark.parametrize(
    "weights, losses, radius, expected",
    [
        (kl_ball_weights, (-0.5, 0, 0.5), 0.5, (0.07595, 0.13851, 0.78554)),
        (kl_ball_weights, (-0.5, 0, 0.5), 0.05, (0.22140, 0.30229, 0.47631)),
        (chi2_ball_weights, (1, 2, 3), 0.1, (0.20423, 0.33333, 0.46243)),
        (chi2_ball_weights, (1, 2, 4, 4.5), 1.2, (0, 0, 0.34189, 0.65811)),
    ],
)
def test_golden_weights(weights, losses, radius, expected):
    found = weights(vector(*losses), radius)
    torch.testing.assert_close(found, vector(*expected), atol=6e-6, rtol=0)
    torch.testing.assert_close(weights(vector(*losses).float(), radius), found.float())


def test_golden_variances():
    equal, ramp = torch.ones(10), torch.linspace(0.5, 1.5, 10)
    assert float(class_variance(equal)) == 0
    assert float(class_variance(equal, literal=True)) == pytest.approx(1 / 11)
    assert float(class_variance(ramp)) == pytest.approx(0.10185, abs=6e-6)
    assert float(class_variance(ramp, literal=True)) == pytest.approx(0.10120, abs=6e-6)


@pytest.mark.parametrize("weights", BALLS)
@given(losses=LOSSES, log_radius=st.floats(-12, 1), data=st.data())
def test_weights_are_a_distribution_on_the_border_of_the_ball(weights, losses, log_radius, data):
    losses, radius, n = np.array(losses), math.exp(log_radius), len(losses)
    w = weights(torch.from_numpy(losses), radius).numpy()
    assert w.sum() == pytest.approx(1) and (w >= 0).all()
    assert w @ losses >= losses.mean() and w @ losses <= losses.max() + 1e-9
    assert (np.diff(w[np.argsort(losses)]) >= -1e-12).all()  # a larger loss has no smaller weight
    with np.errstate(divide="ignore"):
        reach = BALLS[weights](n * w)
    ties = np.count_nonzero(losses == losses.max())
    if weights is chi2_ball_weights and radius >= n / ties - 1:
        np.testing.assert_allclose(w, (losses == losses.max()) / ties, atol=1e-12)
    else:
        assert reach == pytest.approx(radius, rel=1e-5)
    shift, scale = data.draw(st.floats(-3, 3)), data.draw(st.floats(0.1, 10))
    moved = weights(torch.from_numpy(shift + scale * losses), radius).numpy()
    np.testing.assert_allclose(moved, w, atol=1e-6)


def is_optimal(w, losses, radius, weights):
    """Say whether Karush, Kuhn and Tucker's conditions hold: the program is convex, so they are sufficient.

    With multipliers l > 0 of the ball and m of the sum, losses = l gradient + m where a weight is positive,
    losses <= l gradient + m where it is 0; the weights are on the border of the ball and add to 1.
    """
    u, some = len(w) * w, w > 0
    least, most = (np.flatnonzero(some)[f(losses[some])] for f in (np.argmin, np.argmax))
    gradient = GRADIENTS[weights](u)
    slope = (gradient[most] - gradient[least]) / (losses[most] - losses[least])
    line = gradient[least] + slope * (losses - losses[least])
    return (
        slope > 0
        and np.allclose(gradient[some], line[some], rtol=1e-5)
        and (gradient >= line - 1e-5 * np.abs(line)).all()
        and np.isclose(BALLS[weights](u), radius, rtol=1e-5)
        and np.isclose(w.sum(), 1)
    )


@pytest.mark.parametrize("weights", BALLS)
@pytest.mark.parametrize("losses", [(-0.5, 0, 0.5), (1, 2, 4, 4.5), (0, 0, 1, 1, 0.3), (3, -1, 2, 0, 1, 1)])
@pytest.mark.parametrize("radius", [0.03, 0.4, 1.2])
def test_weights_solve_their_program(weights, losses, radius):
    """No solver is asked; the weights of the other ball, and those of another radius, are not optimal."""
    losses = np.array(losses, np.float64)
    found = {(f, r): f(torch.from_numpy(losses), r).numpy() for f in BALLS for r in (radius, 1.01 * radius)}
    with np.errstate(divide="ignore"):
        good = [key for key, w in found.items() if is_optimal(w, losses, radius, weights)]
    assert good == [(weights, radius)]


@pytest.mark.parametrize("weights", BALLS)
def test_weights_at_the_ends(weights):
    """No radius or no difference: uniform; a vast one: the worst class alone; a tiny one: almost uniform."""
    for losses in (vector(1, 2, 3), vector(0, 0), vector(2)):
        assert torch.equal(weights(losses, 0.0), torch.full_like(losses, 1 / len(losses)))
    for odd in ((1, 1, 1), (1, math.nan, 2), (1, math.inf, 2)):
        assert torch.equal(weights(vector(*odd), 0.5), torch.full((3,), 1 / 3, dtype=torch.float64))
    torch.testing.assert_close(weights(vector(1, 2, 3), 1e6), vector(0, 0, 1))
    torch.testing.assert_close(weights(vector(3, 2, 3), 1e6), vector(0.5, 0, 0.5))
    for hardly in (1e-8, 1e-14, 1e-92, 5e-324):
        w = weights(vector(0, hardly, -1), 1.0)
        assert float(w.sum()) == pytest.approx(1) and float(w[1]) >= float(w[0]) > float(w[2]) >= 0
    tiny = 3 * weights(vector(1, 2, 3), 1e-14) - 1
    scale = {kl_ball_weights: 2e-14, chi2_ball_weights: 1e-14}[weights] ** 0.5
    torch.testing.assert_close(tiny, scale * vector(-1, 0, 1) * 1.5**0.5, rtol=1e-3, atol=1e-12)
    many = 100 * weights(torch.linspace(0, 1, 100).double(), 7.0).numpy()
    assert BALLS[weights](np.maximum(many, 1e-300)) == pytest.approx(7)
    whole = torch.tensor([1, 2, 3])
    torch.testing.assert_close(weights(whole, 0.5), weights(whole.float(), 0.5))


@given(LOSSES, st.floats(0.01, 1))
def test_the_value_of_the_chi_square_ball_is_mean_and_standard_deviation(losses, part):
    """While no weight is 0."""
    losses = np.array(losses)
    z = (losses - losses.mean()) / losses.std()
    radius = part / z.min() ** 2  # where the first weight becomes 0, or before
    value = float(chi2_ball_weights(torch.from_numpy(losses), radius).numpy() @ losses)
    assert value == pytest.approx(losses.mean() + math.sqrt(radius) * losses.std())


@given(st.lists(st.floats(0, 5), min_size=2, max_size=10), st.floats(0.5, 3))
def test_the_literal_variance_depends_on_the_level_of_the_losses(losses, shift):
    losses = vector(*losses)
    plain, literal = class_variance(losses), class_variance(losses, literal=True)
    torch.testing.assert_close(class_variance(losses + shift), plain)
    assert float(class_variance(losses + shift, literal=True) - literal) > 1e-3
    total = float(losses.sum())
    assert float(literal) == pytest.approx((float((losses**2).sum()) - total**2 / 100) / 99)
    assert float(plain) == pytest.approx(np.var(losses.numpy()))


@pytest.mark.parametrize("base", ["pgd", "trades"])
@pytest.mark.parametrize("literal", [False, True])
def test_fat_loss_by_hand(base, literal):
    method, model, (x, y) = FAT(FAT.Params(base=base, alpha=0.7, literal=literal), context()), Net(), batch()
    losses, attacked, _ = terms(method, model, x, y, 1 - x)
    means = of_classes(attacked, y)
    penalty = (means.square().sum() - means.sum() ** 2 / 100) / 99 if literal else means.var(correction=0)
    expected = losses.mean() + 0.7 * penalty
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)
    slope = (means - means.sum() / 100) * 2 / 99 if literal else (means - means.mean()) * 2 / 9
    weights = torch.tensor(method.state()["weights"])
    torch.testing.assert_close(weights[y.unique()], (1 + 9 * 0.7 * slope.detach()).float())
    assert weights[7] == 1 and float(penalty.detach()) > 1e-3


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_without_penalty_or_radius_the_methods_are_their_base(base):
    """CODAT's base counts each class once."""
    x, y = batch()
    model = Net()
    method = FAT(FAT.Params(base=base, alpha=0.0), context())
    losses, _, _ = terms(method, model, x, y, 1 - x)
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), losses.mean())
    method = FAAL(FAAL.Params(base=base, radius=0.0), context())
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), losses.mean())
    method = CODAT(CODAT.Params(base=base, radius=0.0), context())
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), of_classes(losses, y).mean())


def test_fat_attacks_by_cross_entropy_whatever_the_base():
    x, y = batch()
    model = Net()
    attacked = [FAT(FAT.Params(base=base), context()).attack(model, x, y) for base in ("pgd", "trades")]
    assert torch.equal(*attacked)
    assert torch.equal(attacked[0], Method(None, context()).attack(model, x, y))


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_faal_loss_by_hand(base):
    """Margins, not losses, make the weights, and each class in the batch counts once."""
    method, model, (x, y) = FAAL(FAAL.Params(base=base), context()), Net(), batch()
    losses, _, margins = terms(method, model, x, y, 1 - x)
    w = dict(zip(y.unique().tolist(), kl_ball_weights(of_classes(margins, y), 0.5), strict=True))
    expected = sum(9 * w[c] * loss for c, loss in zip(y.tolist(), losses, strict=True)) / len(y)
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)
    noted = method.state()["weights"]
    assert [noted[c] for c in w] == pytest.approx([9 * float(v) for v in w.values()]) and noted[7] == 1


def test_the_warm_up_of_faal_is_its_base():
    method, model, (x, y) = FAAL(FAAL.Params(hot_share=0.5), context()), Net(), batch()
    method.setup(model, 4)
    base = terms(method, model, x, y, 1 - x)[0].mean()
    for index, hot in enumerate([True, True, False, False]):
        method.on_epoch_start(Epoch(index, model, None, None))
        assert torch.allclose(method.loss(model, x, y, 1 - x), base) == hot
        assert (method.state()["weights"] == [1.0] * C) == hot
    with pytest.raises(InputError, match="warm-up"):
        FAAL(FAAL.Params(), context()).setup(model, 1)


def test_margins_are_negative_where_the_network_is_right():
    model, (x, y) = Net(), batch()
    y[::3] = model(1 - x).argmax(1)[::3]
    margins = terms(FAAL(FAAL.Params(), context()), model, x, y, 1 - x)[2]
    assert (margins[::3] < 0).all() and (margins > 0.1).any()
    torch.testing.assert_close(probability_margins(model(1 - x), y), margins)


def test_the_literal_faal_weighs_most_what_is_not_there():
    margins, counts = -torch.linspace(0.1, 1, C), torch.full((C,), 3.0)
    margins[7] = counts[7] = 0
    literal = FAAL(FAAL.Params(literal=True), context()).weights(margins, counts)
    torch.testing.assert_close(literal, 10 * kl_ball_weights(3 * margins, 0.5))
    assert int(literal.argmax()) == 7
    proper = FAAL(FAAL.Params(), context()).weights(margins, counts)
    assert proper[7] == 0 and int(proper.argmax()) == 0 and float(proper.sum()) == pytest.approx(9)
    counts[0] = 30.0  # an easy class with many samples looks easier still, or a hard one harder
    assert torch.equal(FAAL(FAAL.Params(), context()).weights(margins, counts), proper)
    assert not torch.allclose(FAAL(FAAL.Params(literal=True), context()).weights(margins, counts), literal)


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_codat_is_the_mean_and_the_standard_deviation_of_class_losses(base):
    """In value and in gradient, though the weights are held fixed."""
    method, model, (x, y) = CODAT(CODAT.Params(base=base, radius=0.05), context()), Net(), batch()
    means = of_classes(terms(method, model, x, y, 1 - x)[0], y)
    expected = means.mean() + math.sqrt(0.05) * means.std(correction=0)
    loss = method.loss(model, x, y, 1 - x)
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(v, model.layers[1].weight)[0] for v in (loss, expected)]
    torch.testing.assert_close(*gradients)
    noted = torch.tensor(method.state()["weights"])[y.unique()]
    z = (means - means.mean()) / means.std(correction=0)
    torch.testing.assert_close(noted, (1 + math.sqrt(0.05) * z.detach()).float())


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=8))
def test_the_iterates_of_bat(wrong):
    """Against the rule followed sample by sample."""
    steps = len(wrong)
    iterates = torch.arange((steps + 1) * 5).view(steps + 1, 5, 1)
    last, first = last_and_first(iterates, torch.tensor(wrong))
    for i in range(5):
        bad = [t for t in range(steps) if wrong[t][i]]
        assert last[i] == iterates[max(bad[0] - 1, 0) if bad else steps, i]
        assert first[i] == iterates[bad[1] if len(bad) > 1 else steps, i]


def test_bat_attacks_up_to_both_sides_of_the_boundary():
    """By the iterates of TRADES' attack, made one by one; in evaluation mode."""
    method, model = BAT(BAT.Params(), context(eps=0.06, steps=6)), Net()
    x = torch.rand((200, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    y[:20] = (y[:20] + 1) % C  # wrong from the start
    last, first = method.attack(model, x, y)
    noise = context(eps=0.06).noise(200)
    ball, step = Ball(x, torch.full((200,), 0.06)), torch.full((200,), 0.015)
    paths = [pgd(model, ball, perturbed_start(x, noise), step, t, kl_from(model(x))) for t in range(7)]
    bad = torch.stack([model(v).argmax(1) != y for v in paths[:-1]])
    torch.testing.assert_close(last, last_and_first(torch.stack(paths), bad)[0])
    torch.testing.assert_close(first, last_and_first(torch.stack(paths), bad)[1])
    started, crossed = bad[0], bad.any(0)
    right = model(last).argmax(1) == y
    assert started.sum() >= 20 and (crossed & ~started).sum() > 20 and (~crossed).sum() > 20
    assert right[crossed & ~started].all() and not right[started].any()
    assert torch.equal(last[~crossed], first[~crossed])
    assert (model(first).argmax(1) != y)[bad.sum(0) > 1].all()


@given(st.lists(st.floats(-5, 5), min_size=C, max_size=C))
def test_the_divergence_from_uniform(logits):
    logits = vector(*logits)[None]
    p = F.softmax(logits, dim=1)
    reference = F.kl_div(torch.full_like(p, 1 / C).log(), p, reduction="sum")  # KL(p || u)
    assert float(from_uniform(logits)) == pytest.approx(float(reference), abs=1e-12)
    assert float(from_uniform(torch.full_like(logits, 2.0))) == pytest.approx(0, abs=1e-12)
    assert (
        float(from_uniform(logits)) >= float((p - 1 / C).abs().sum()) ** 2 / 2 - 1e-12
    )  # Pinsker: 0 only there


def test_bat_loss_by_hand():
    method, model, (x, y) = BAT(BAT.Params(beta=3.0, uniform=0.5), context()), Net(), batch()
    last, first = 1 - x, x.flip(3)
    ce = F.cross_entropy(model(last), y)
    kl = surrogates(model, x, y, first)[1].mean()
    uniform = sum(from_uniform(model(v)).mean() for v in (last, first))
    torch.testing.assert_close(
        method.loss(model, x, y, torch.stack([last, first])), ce + 3 * kl + 0.5 * uniform
    )


def test_bat_learns_where_batch_norm_sees_batches():
    """The attack leaves running statistics alone; each of three forwards of the loss moves them."""
    method, (x, y) = BAT(BAT.Params(), context()), batch()
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(1)
    model = nn.Sequential(norm, nn.Flatten(), nn.Linear(64, C))
    adv = method.attack(model, x, y)
    assert int(norm.num_batches_tracked) == 0 and model.training and adv.shape == (2, *x.shape)
    method.loss(model, x, y, adv).backward()
    assert int(norm.num_batches_tracked) == 3


class Half(World):
    """One of two processes; what each sends is noted, and the total given back once both are known."""

    def __init__(self, rank, sent):
        super().__init__(rank, 2)
        object.__setattr__(self, "sent", sent)

    def total(self, value):
        self.sent.setdefault(self.rank, value)
        return sum(self.sent.values())


@pytest.mark.parametrize("base", ["pgd", "trades"])
@pytest.mark.parametrize("kind", [FAT, FAAL, CODAT])
def test_two_processes_have_the_gradient_and_weights_of_one(kind, base):
    """Though each has other classes; one that hears nothing of the other has neither."""
    model, (x, y) = Net(), batch()
    y = y.sort().values

    def found(world, part):
        method = kind(kind.Params(base=base), context(world=world))
        loss = method.loss(model, x[part], y[part], 1 - x[part])
        return torch.autograd.grad(loss, model.layers[1].weight)[0], method.state()["weights"]

    halves, sent = [World(rank, 2).part(len(y)) for rank in range(2)], {}
    for rank in range(2):
        found(Half(rank, sent), halves[rank])
    whole, weights = found(World(), slice(None))
    parts = [found(Half(rank, sent), halves[rank]) for rank in range(2)]
    torch.testing.assert_close(sum(g for g, _ in parts) / 2, whole)
    for _, noted in parts:
        assert noted == pytest.approx(weights)
    deaf = [found(World(), half) for half in halves]
    assert float((sum(g for g, _ in deaf) / 2 - whole).abs().max()) > 1e-3 and deaf[0][1] != weights


@pytest.mark.parametrize("kind", [FAT, FAAL, CODAT])
def test_the_weights_told_are_the_mean_of_the_epoch(kind):
    """Over the batches that have the class; they go into a checkpoint, and the next epoch begins anew."""
    method, symbolic_form = (kind(kind.Params(), context()) for _ in range(2))
    model, seen = Net(), []
    assert method.state() == {"weights": [1.0] * C}
    for y in ([0, 0, 1, 2, 3, 3], [0, 1, 1, 4, 4, 4]):
        x, y = batch(y)
        method.on_epoch_start(Epoch(0, None, None, None))
        method.loss(model, x, y, 1 - x)
        seen.append(method.state()["weights"])
    method.on_epoch_start(Epoch(0, None, None, None))
    for y in ([0, 0, 1, 2, 3, 3], [0, 1, 1, 4, 4, 4]):
        x, y = batch(y)
        method.loss(model, x, y, 1 - x)
    a, b = np.array(seen)
    mean = [*(a[:2] + b[:2]) / 2, *a[2:4], b[4], *[1.0] * 5]
    assert method.state()["weights"] == pytest.approx(mean) and a[0] != b[0]
    symbolic_form.load_state_dict(method.state_dict())
    assert symbolic_form.state() == method.state()


@pytest.mark.parametrize(
    "words", ["bat", "fat --literal", "fat --base pgd", "faal --base pgd", "faal --literal", "codat"]
)
def test_a_divided_training_is_the_same(invoke, tmp_path, words):
    """And a class that is not in every batch does no harm."""
    argv = f"--method {words} --epochs 2 --steps 2 --eval-steps 2 --width 4 --threads 1 --batch-size 16"
    argv = [*argv.split(), *"--train-per-class 6 --val-per-class 5 --test-per-class 5".split()]
    whole, divided = tmp_path / "whole", tmp_path / "divided"
    assert invoke(train.main, *argv, "--out", whole)[0] == 0
    assert invoke(train.main, *argv, "--out", divided, "--stop-after", "1")[0] == 0
    assert invoke(train.main, "--resume", divided)[0] == 0
    assert (whole / "model.safetensors").read_bytes() == (divided / "model.safetensors").read_bytes()
    lines = [
        [json.loads(v) for v in (f / "history.jsonl").read_text().splitlines()] for f in (whole, divided)
    ]
    times = ("seconds", "images_per_second")
    first, second = ([{k: v for k, v in line.items() if k not in times} for line in run] for run in lines)
    assert first == second and ("weights" in first[0]) == (words != "bat")


def test_literal_is_a_flag():
    for name in ("fat", "faal"):
        assert not run_of({"method": name})[0].params.literal
        assert run_of({"method": name, "literal": True})[0].params.literal


@pytest.mark.parametrize(
    "kind, wrong",
    [
        (FAT, {"alpha": -0.1}),
        (FAT, {"beta": -1.0}),
        (FAAL, {"radius": math.nan}),
        (FAAL, {"beta": -1.0}),
        (FAAL, {"hot_share": 1.0}),
        (CODAT, {"radius": -1.0}),
        (BAT, {"uniform": -1.0}),
        (BAT, {"beta": math.inf}),
    ],
)
def test_what_makes_no_sense_is_refused(kind, wrong):
    with pytest.raises(InputError, match=next(iter(wrong)).replace("_", "-")):
        kind.Params(**wrong)
