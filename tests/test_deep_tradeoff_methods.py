"""Methods that trade accuracy for robustness in a better way: their published rules, and what breaks them."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_setup import ZA, Half, Net, Y, Z, batch, close, context, make, trainer
from torch import nn
from torch.nn import functional as F

from deep.data.distributed import World
from deep.methods import adr, autolora, beta, fomo, hr, iat, jacobian, mat, rwp, score
from deep.methods.base import Epoch
from deep.methods.perturbed import matrices, shifted, statistics_kept
from deep.nets.networks import PreActResNet
from theory.common.inputs import InputError

P, Q = F.softmax(Z, dim=1), F.softmax(ZA, dim=1)
ONE_HOT = F.one_hot(Y, 3).double()


class Table(nn.Module):
    """A network whose logits are looked up: x is 0 for Z and 1 for ZA, sample by sample."""

    def forward(self, x):
        return torch.where(x.flatten(1)[:, :1] < 0.5, Z, ZA)


CLEAN, ATTACKED = torch.zeros(2, 1), torch.ones(2, 1)


# AWP and RWP ------------------------------------------------------------------------------------------------


class Linear(nn.Linear):
    """The network of the golden values."""

    def __init__(self):
        super().__init__(2, 2, dtype=torch.float64)
        with torch.no_grad():
            self.weight.copy_(torch.tensor([[1, -2], [0.5, 0.25]]).double())
            self.bias.copy_(torch.tensor([0.1, -0.1], dtype=torch.float64))


X, YL = torch.tensor([[1, 2], [-1, 0.5]], dtype=torch.float64), torch.tensor([0, 1])


def test_awp_golden_perturbation():
    model, method = Linear(), make("awp", context(classes=2), base="pgd", gamma=0.01)
    close(method.loss(model, X, YL, X), 2.01882278)
    (v,) = method.perturbation(model, matrices(model), X, YL, X)
    close(v, [[-0.00869085, -0.01378746], [0.00869085, 0.01378746]])
    with method.around_step(model, X, YL, X):
        close(method.loss(model, X, YL, X), 2.05467145)
    close(model.weight, Linear().weight, 0)


def test_rwp_golden_perturbation():
    """The gradient that counts is that of the sample below the threshold; AWP's has the other sign."""
    model = Linear()
    each = F.cross_entropy(model(X), YL, reduction="none")
    close(each, [3.82212422, 0.21552135])
    (g,) = torch.autograd.grad(rwp.fitted_loss(each, each, 1.7), model.weight)
    close(g, [[-0.09693947, 0.04846973], [0.09693947, -0.04846973]])
    method = make("rwp", context(classes=2), base="pgd", gamma=0.01, weight_steps=1)
    (v,) = method.perturbation(model, [model.weight], X, YL, X)
    close(v, 0.01 * model.weight.norm() / g.norm() * g, 1e-12)
    more = make("rwp", context(classes=2), base="pgd", gamma=0.1, weight_steps=3)
    (w,) = more.perturbation(model, [model.weight], X, YL, X)
    close(w.norm(), 0.1 * model.weight.norm(), 1e-12)
    all_fitted = make("rwp", context(classes=2), base="pgd", threshold=0.1)
    (none,) = all_fitted.perturbation(model, [model.weight], X, YL, X)
    assert not none.any()


def test_rwp_adds_up_the_gradients_of_its_steps():
    """By hand for two steps; the second gradient is that at the weights after the first, and not alone."""
    model, (x, y) = Net(), batch()
    weights, total = matrices(model), [torch.zeros_like(w) for w in matrices(model)]
    shifts, size = total, torch.cat([w.detach().flatten() for w in weights]).norm()
    for _ in range(2):
        with shifted(weights, shifts):
            slopes = torch.autograd.grad(F.cross_entropy(model(1 - x), y), weights)
        total = [t + g for t, g in zip(total, slopes, strict=True)]
        length = torch.cat([t.flatten() for t in total]).norm()
        shifts = [0.3 * size / length * t for t in total]
    method = make("rwp", base="pgd", gamma=0.3, weight_steps=2, threshold=100.0)
    for v, expected in zip(method.perturbation(model, weights, x, y, 1 - x), shifts, strict=True):
        close(v, expected, 1e-9)


@pytest.mark.parametrize("base", ["pgd", "trades"])
@pytest.mark.parametrize("name", ["awp", "rwp"])
def test_perturbed_weights_have_a_larger_loss_and_a_size(name, base):
    """Each layer by gamma its size for AWP, all together for RWP; biases never; batch norm forgets it."""
    model, (x, y) = Net(), batch()
    method = make(name, base=base, gamma=0.05, **({"threshold": 100.0} if name == "rwp" else {}))
    before = [w.detach().clone() for w in matrices(model)]
    plain, adv = float(method.loss(model, x, y, 1 - x).detach()), 1 - x
    with method.around_step(model, x, y, adv):
        assert float(method.loss(model, x, y, adv).detach()) > plain * 1.01
        v = [w.detach() - b for w, b in zip(matrices(model), before, strict=True)]
        sizes = torch.stack([d.norm() / b.norm() for d, b in zip(v, before, strict=True)])
        if name == "awp":
            close(sizes, [0.05] * 2, 1e-12)
        else:
            assert float(sizes.max() - sizes.min()) > 1e-3
            whole = [torch.cat([t.flatten() for t in ts]).norm() for ts in (v, before)]
            assert float(whole[0] / whole[1]) == pytest.approx(0.05)
        assert model.layers[1].bias.grad is None
    assert all(torch.equal(w, b) for w, b in zip(matrices(model), before, strict=True))


def test_a_step_of_nothing_leaves_every_bit_of_the_weights():
    """Adding v and taking it off would not; and a step that is taken stays."""
    weights, shifts = [torch.rand(1000)], [torch.rand(1000) / 97]
    before = weights[0].clone()
    assert not torch.equal((before + shifts[0]) - shifts[0], before)
    with shifted(weights, shifts):
        pass
    assert torch.equal(weights[0], before)
    with shifted(weights, shifts):
        weights[0] -= 0.5
    close(weights[0], before - 0.5, 1e-6)


def test_perturbing_leaves_statistics_alone():
    norm = nn.BatchNorm1d(3)
    with statistics_kept(norm):
        norm(torch.rand(5, 3))
        assert norm.running_mean.any() and norm.num_batches_tracked == 1
    assert not norm.running_mean.any() and norm.num_batches_tracked == 0


def test_awp_begins_after_its_warm_up():
    assert (make("awp").params.gamma, make("awp", base="pgd").params.gamma) == (0.005, 0.01)
    model, (x, y) = Net(), batch()
    method = make("awp", warm_share=0.5)
    method.setup(model, 4)
    for index, warm in enumerate([True, True, False, False]):
        method.on_epoch_start(Epoch(index, model, None, None))
        start = model.layers[1].weight.clone()
        with method.around_step(model, x, y, x):
            assert torch.equal(model.layers[1].weight, start) == warm


@pytest.mark.parametrize("name", ["awp", "rwp"])
def test_two_processes_perturb_as_one(name):
    """What one that hears nothing of the other finds is something else."""

    def found(world, part):
        model, (x, y) = Net(), batch()
        y = y.sort().values
        method = make(
            name, context(world=world), base="pgd", **({"weight_steps": 2} if name == "rwp" else {})
        )
        weights = matrices(model)
        return method.perturbation(model, weights, x[part], y[part], 1 - x[part])

    whole, sent = found(World(), slice(None)), {}
    halves = [World(rank, 2).part(20) for rank in range(2)]
    for _ in range(2 if name == "awp" else 3):  # the second step of RWP needs the sum of the first
        sent = {k: v for k, v in sent.items() if len(v) == 2}
        for rank in range(2):
            parts = found(Half(rank, sent), halves[rank])
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a, b)
    deaf = found(World(), halves[0])
    assert float((deaf[0] - whole[0]).abs().max()) > 1e-5


# SCORE ------------------------------------------------------------------------------------------------------


def test_score_golden_values():
    close(score.squared_distance(P, ONE_HOT), [0.15537004, 0.23030366])
    close(score.squared_distance(Q, P), [0.17394124, 0.13799397])
    for base, expected in (("trades", 1.12864249), ("pgd", 0.64967089)):
        method = make("score", context(classes=3), base=base)
        close(method.loss(Table(), CLEAN, Y, ATTACKED), expected)
    far = torch.full((3,), 0.5)
    close(0.5 - score.clipped_distance(far, 0.4, 10), [0.17777778] * 3, 1e-7)
    close(0.5 - score.clipped_distance(far, 0.3, 10), [0.1] * 3, 1e-7)
    assert not score.clipped_distance(far, 0.8, 10).any()


@given(st.lists(st.lists(st.floats(-4, 4), min_size=3, max_size=3), min_size=2, max_size=2))
def test_the_distance_is_a_metric(logits):
    p, q = F.softmax(torch.tensor(logits, dtype=torch.float64), dim=1)[:, None]
    label = torch.tensor([[1.0, 0, 0]]).double()
    sides = [float(score.squared_distance(a, b).sqrt()) for a, b in ((q, label), (p, label), (q, p))]
    assert sides[0] <= sides[1] + sides[2] + 1e-12


def test_the_divergence_is_no_metric():
    kl = (P * (P / Q).log()).sum(1)
    breaks = -Q[[0, 1], Y].log() > -P[[0, 1], Y].log() + kl
    assert breaks.tolist()[0] or breaks.tolist()[1]


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_score_attacks_what_it_trains_on(base):
    """Its examples have a larger distance than those that the cross-entropy or the divergence leads to."""
    model, (x, y) = Net(), batch(200)
    losses = []
    for name in ("score", base):
        method = make(name, context(eps=0.03, steps=10), **({"base": base} if name == "score" else {}))
        judge = make("score", context(), base=base)
        terms = judge.terms(model, x, y, method.attack(model, x, y))
        losses.append(float((terms.main if base == "pgd" else terms.boundary).mean().detach()))
    assert losses[0] > losses[1]


# IAT --------------------------------------------------------------------------------------------------------


def test_iat_golden_values():
    partner = torch.tensor([1, 0])
    both = [iat.mixed_cross_entropy(v, Y, partner, 0.3) for v in (Z, ZA)]
    close(both[0], 1.82197959)
    close(both[1], 1.68653603)
    close(sum(both) / 2, 1.75425781)
    close(iat.mixed_cross_entropy(Z, Y, partner, 1.0), F.cross_entropy(Z, Y))


def test_iat_mixes_clean_and_attacked_inputs_anew():
    """By hand from its draws; without mixing it is the mean of both cross-entropies."""
    model, (x, y) = Net(), batch()
    method, twin = make("iat"), make("iat")
    draws = [twin.draw(20) for _ in range(2)]
    assert draws[0][0] != draws[1][0] and not torch.equal(draws[0][1], draws[1][1])
    expected = 0.0
    for v, (lam, j) in zip((x, 1 - x), draws, strict=True):
        logits = model(lam * v + (1 - lam) * v[j])
        expected += (lam * F.cross_entropy(logits, y) + (1 - lam) * F.cross_entropy(logits, y[j])) / 2
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)
    method.draw = lambda n: (1.0, torch.arange(n).flip(0))
    plain = (F.cross_entropy(model(x), y) + F.cross_entropy(model(1 - x), y)) / 2
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), plain)


def test_the_shares_of_iat_are_those_of_a_beta_distribution():
    for alpha in (1.0, 8.0):
        method = make("iat", alpha=alpha)
        shares = np.array([method.draw(2)[0] for _ in range(2000)])
        assert shares.mean() == pytest.approx(0.5, abs=0.03)
        assert shares.var() == pytest.approx(1 / (8 * alpha + 4), rel=0.15)


# ADR --------------------------------------------------------------------------------------------------------


def test_adr_golden_targets():
    found = adr.rectified(Z, ONE_HOT, Y, 2.5, 0.7)
    close(found, [[0.65505703, 0.23800185, 0.10694112], [0.20717751, 0.18374997, 0.60907252]])
    wrong = adr.rectified(ZA, ONE_HOT, Y, 2.5, 0.7)
    close(wrong, [[0.58912122, 0.27271614, 0.13816263], [0.18391172, 0.25326993, 0.56281836]])
    close(adr.soft_cross_entropy(ZA, found).mean(), 1.06947280)
    close([adr.annealed(2.5, 2.0, t / 10) for t in (0, 1, 2, 9)], [2.5, 2.48776413, 2.45225425, 2.01223587])


@given(
    st.lists(st.lists(st.floats(-20, 20), min_size=4, max_size=4), min_size=3, max_size=3),
    st.floats(0.1, 5),
    st.floats(0, 0.999),
)
def test_the_rectified_label_is_largest_at_the_true_class(logits, temperature, share):
    y = torch.tensor([0, 1, 3])
    target = adr.rectified(torch.tensor(logits).double(), F.one_hot(y, 4), y, temperature, share)
    torch.testing.assert_close(target.sum(1), torch.ones(3).double())
    assert (target[[0, 1, 2], y] >= target.amax(1) - 1e-12).all()


def test_an_unclipped_share_is_led_astray_by_a_wrong_teacher():
    q = F.softmax(ZA / 0.01, dim=1)
    assert ((0.7 * q + 0.3 * ONE_HOT).argmax(1) != Y).all()
    assert (adr.rectified(ZA, ONE_HOT, Y, 0.01, 0.7).argmax(1) == Y).all()


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_adr_loss_and_attack_by_hand(base):
    """Towards the rectified labels of the average, not of the network, and TRADES' own attack on TRADES."""
    model, (x, y) = Net(), batch()
    method = make("adr", base=base)
    method.setup(model, 2)
    nn.init.normal_(method.average.layers[3].weight, std=2.0)
    target = adr.rectified(method.average(x), F.one_hot(y, 10), y, 2.5, 0.7)
    p, q = (F.softmax(model(v), dim=1) for v in (x, 1 - x))
    expected = -(target * (q if base == "pgd" else p).log()).sum(1).mean()
    if base == "trades":
        expected = expected + 6 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)
    plain = make(base).attack(model, x, y)
    adv = method.attack(model, x, y)
    assert torch.equal(adv, plain) == (base == "trades")
    if base == "pgd":
        mean = [float(adr.soft_cross_entropy(model(v), target).mean().detach()) for v in (x, adv, plain)]
        assert mean[1] > mean[0] and mean[1] >= mean[2]


def test_adr_averages_after_every_step_and_anneals_over_all():
    model, method = Net(), make("adr")
    method.setup(model, 2)
    seen = []
    for index in range(2):
        method.on_epoch_start(Epoch(index, model, None, None, steps=5))
        for _ in range(5):
            seen.append(method.scheduled(2.5, 2.0))
            with torch.no_grad():
                model.layers[1].weight.add_(1.0)
            method.on_batch_end(model)
    close(seen, [adr.annealed(2.5, 2.0, t / 10) for t in range(10)], 1e-12)
    initial, mean = Net().layers[1].weight, 0.0
    for t in range(10):
        decay = min(0.995, (1 + t) / (10 + t))
        mean = decay * mean + (1 - decay) * (t + 1)
    torch.testing.assert_close(method.average.layers[1].weight, initial + mean)
    assert method.eval_model(model) is method.average and not method.average.training


# HR ---------------------------------------------------------------------------------------------------------

LOSSES = torch.tensor([0.5, 1, 1.5, 3]).double()


def test_hr_golden_weights():
    p = hr.holistic_weights(LOSSES, 0.2, 0.0)
    close(p, [0.12254724, 0.14516062, 0.17800807, 0.55428406, 0])
    close(p[:-1] @ LOSSES, 2.13629854)
    p = hr.holistic_weights(LOSSES, 0.2, 0.1)
    close(p, [0.06395756, 0.12607175, 0.15425525, 0.46836817, 0.18734727])
    close(p[:-1] @ LOSSES + 3 * p[-1], 2.35657972)


@given(
    st.lists(st.integers(0, 500).map(lambda i: i / 100), min_size=3, max_size=12),
    st.floats(1e-3, 3),
    st.floats(0, 0.9),
)
def test_hr_weights_are_on_the_border_of_the_ball_around_the_corrupted_batch(losses, radius, alpha):
    values = torch.tensor(losses).double()
    q = hr.corrupted(values, alpha)
    assert (
        float(q.sum()) == pytest.approx(1 - alpha) and (q >= 0).all() and (q <= 1 / len(losses) + 1e-12).all()
    )
    p = hr.holistic_weights(values, radius, alpha)
    centre = torch.cat([q, 1 - q.sum()[None]])
    atoms = torch.cat([values, values.amax()[None]])
    assert float(p.sum()) == pytest.approx(1)
    kept = centre > 1e-12
    divergence = float((centre[kept] * (centre[kept] / p[kept]).log()).sum())
    if float(atoms[kept].max() - atoms[kept].min()) > 0:
        assert divergence == pytest.approx(radius, rel=1e-4, abs=1e-7)
    value = float(p @ atoms)
    for larger in ((radius * 1.5, alpha), (radius, min(alpha + 0.05, 0.95))):
        assert float(hr.holistic_weights(values, *larger) @ atoms) >= value - 1e-9
    nothing = hr.holistic_weights(values, 0.0, 0.0)
    close(nothing[:-1], [1 / len(losses)] * len(losses), 1e-12)


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_hr_weighs_the_base_loss_of_two_processes_as_of_one(base):
    model, (x, y) = Net(), batch()

    def found(world, part, **params):
        method = make("hr", context(world=world), base=base, **params)
        loss = method.loss(model, x[part], y[part], 1 - x[part])
        return loss.detach(), torch.autograd.grad(loss, model.layers[1].weight)[0]

    whole, gradient = found(World(), slice(None), alpha=0.1)
    plain = found(World(), slice(None), radius=0.0)[0]
    method = make("hr", base=base)
    torch.testing.assert_close(plain, method.losses(method.terms(model, x, y, 1 - x)).mean().detach())
    assert whole > 1.05 * plain
    halves, sent = [World(rank, 2).part(20) for rank in range(2)], {}
    for rank in range(2):
        found(Half(rank, sent), halves[rank], alpha=0.1)
    parts = [found(Half(rank, sent), halves[rank], alpha=0.1) for rank in range(2)]
    torch.testing.assert_close(sum(g for _, g in parts) / 2, gradient)
    torch.testing.assert_close(parts[0][0], whole)
    deaf = [found(World(), half, alpha=0.1)[1] for half in halves]
    assert float((sum(deaf) / 2 - gradient).abs().max()) > 1e-4


# BETA -------------------------------------------------------------------------------------------------------

AT_ONE, AT_TWO = (torch.tensor([v], dtype=torch.float64) for v in ([1, 0.2, 0.7], [1.1, 1, 0.1]))


def test_beta_golden_values():
    label = torch.tensor([0])
    logits = torch.cat([AT_ONE, AT_TWO])
    margins = beta.margins_of(logits, label.repeat(2), torch.tensor([1, 2]))[:, None]
    close(margins, [[-0.8], [-1.0]])
    weights = beta.attack_weights(margins, 1.0)
    close(weights, [[0.54983400], [0.45016600]])
    losses = F.cross_entropy(logits, label.repeat(2), reduction="none")
    close(losses[margins.argmax(0)], [0.78396875])
    close(weights[:, 0] @ losses, 0.80062814)


def test_beta_finds_the_target_of_the_largest_margin():
    """Over all targets it is no less than towards any one, and more than from PGD on scaled logits."""
    model, (x, y) = Net(), batch(100)

    def margin(adv, scaled=model):
        logits = scaled(adv)
        return logits.scatter(1, y[:, None], -torch.inf).amax(1) - logits.gather(1, y[:, None]).squeeze(1)

    every = margin(make("beta", context(eps=0.03, steps=8)).attack(model, x, y))
    one = margin(make("beta", context(eps=0.03, steps=8), targets=1).attack(model, x, y))
    assert every.mean() >= one.mean() and (every > one + 1e-6).any()

    class Scaled(Net):
        def forward(self, x):
            return 1e3 * super().forward(x).float()

    scaled = Scaled()
    blind = make("pgd", context(eps=0.03, steps=8)).attack(scaled, x, y)
    seeing = make("beta", context(eps=0.03, steps=8)).attack(scaled, x, y)
    broken = [int((margin(v) > 0).sum()) for v in (x, blind, seeing)]
    assert broken[2] > broken[1] >= broken[0]


def test_smooth_beta_trains_on_every_target():
    model, (x, y) = Net(), batch()
    method = make("beta", targets=3, smooth=2.0)
    adv = method.attack(model, x, y)
    assert adv.shape == (3, *x.shape)
    targets = method.targets(model, x, y)
    assert (targets != y).all() and len({*targets[:, 0].tolist()}) == 3
    expected = 0.0
    margins = torch.stack([beta.margins_of(model(a), y, t) for a, t in zip(adv, targets, strict=True)])
    for a, w in zip(adv, F.softmax(2 * margins, dim=0), strict=True):
        expected += (w.detach() * F.cross_entropy(model(a), y, reduction="none")).mean()
    torch.testing.assert_close(method.loss(model, x, y, adv), expected)


# Jacobian ---------------------------------------------------------------------------------------------------


def test_jacobian_golden_values():
    W = torch.tensor([[1, -2, 0.5], [0.3, 0.7, -1], [0, 1, 2]], dtype=torch.float64)
    x = torch.rand(4, 3).double().requires_grad_()
    logits = x @ W.T
    basis = torch.eye(3).double()[:, None].expand(-1, 4, -1)
    close(jacobian.squared_jacobian(logits, x, basis), [11.83] * 4, 1e-12)
    close(0.01 / 2 * jacobian.squared_jacobian(logits, x, basis).mean(), 0.05915, 1e-12)
    close(jacobian.squared_jacobian(logits, x, basis[:1]) / 2, [7.875] * 4, 1e-12)
    one = torch.stack([jacobian.squared_jacobian(logits, x, v[None]) for v in basis]).mean(0)
    close(one, [11.83] * 4, 1e-12)  # the estimate has no bias


def test_the_jacobian_penalty_is_estimated_without_bias_and_trained_on():
    model, (x, y) = Net(), batch()
    exact, plain = (make("jacobian", projections=0, lam=lam) for lam in (2.0, 0.0))
    penalty = exact.loss(model, x, y, x) - plain.loss(model, x, y, x)
    rough = make("jacobian", projections=400, lam=2.0).loss(model, x, y, x) - plain.loss(model, x, y, x)
    assert float(rough.detach()) == pytest.approx(float(penalty.detach()), rel=0.05)
    (slope,) = torch.autograd.grad(penalty, model.layers[3].weight)
    with torch.no_grad():
        model.layers[3].weight -= 1e-3 * slope / slope.norm()
    after = exact.loss(model, x, y, x) - plain.loss(model, x, y, x)
    drop = float((penalty - after).detach())
    assert drop == pytest.approx(1e-3 * float(slope.norm()), rel=0.05)


# FOMO -------------------------------------------------------------------------------------------------------


def test_fomo_draws_exactly_its_share_anew_and_takes_their_momentum():
    """In the later layers alone, once a cycle; each entry within the bounds of a new layer."""
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,))
    method = make("fomo", forget_share=0.1, cycle=2)
    training = trainer(model, method, epochs=6)
    original, changed = method.on_epoch_start, []

    def spy(epoch):
        before = [p.detach().clone() for p in model.parameters()]
        original(epoch)
        later = {id(w) for w in fomo.later_weights(model)}
        assert 0 < len(later) < len(matrices(model)) - 1 and id(model.head.weight) not in later
        for p, b in zip(model.parameters(), before, strict=True):
            moved = (p != b).flatten()
            assert int(moved.sum()) in (0, round(0.1 * p.numel()) if id(p) in later else 0)
            if moved.any():
                changed.append(epoch.index)
                momentum = training.optimizer.state[p]["momentum_buffer"].flatten()
                assert not momentum[moved].any() and momentum[~moved].any()
                assert float(p.flatten()[moved].abs().max().detach()) <= p[0].numel() ** -0.5

    method.on_epoch_start = spy
    while not training.finished:
        training.train_epoch()
    assert sorted({*changed}) == [2, 4] and method.eval_model(model) is method.stable


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_fomo_loss_by_hand(base):
    """The distance to the stable logits on clean and attacked inputs; without it, the base."""
    model, (x, y) = Net(), batch()
    method, plain = make("fomo", base=base, consistency=0.5), make(base)
    method.setup(model, 4)
    nn.init.normal_(method.stable.layers[3].weight, std=2.0)
    expected = plain.loss(model, x, y, 1 - x)
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)
    method.on_epoch_start(Epoch(2, Net(), None, None))
    for v in (x, 1 - x):
        expected = expected + 0.5 * (model(v) - method.stable(v)).square().mean()
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_fomo_that_forgets_nothing_is_its_base(base):
    """And with something forgotten it is not."""
    fomos = [make("fomo", base=base, consistency=0.0, forget_share=share) for share in (0.0, 0.2)]
    ends = []
    for method in (make(base), *fomos):
        training = trainer(Net(), method)
        while not training.finished:
            training.train_epoch()
        ends.append(training.model.layers[1].weight.detach().clone())
    torch.testing.assert_close(ends[0], ends[1])
    assert float((ends[0] - ends[2]).abs().max()) > 1e-2


# MAT --------------------------------------------------------------------------------------------------------


def test_mat_golden_value_and_what_equal_peers_learn():
    close(mat.mutual_loss(ZA, [Z], [Z], Y, 0.5).mean(), 0.80342492)
    close(
        mat.mutual_loss(ZA, [ZA], [Z], Y, 0.5),
        (F.cross_entropy(ZA, Y, reduction="none") + F.cross_entropy(Z, Y, reduction="none")) / 2,
    )
    own = ZA.clone().requires_grad_()
    (slope,) = torch.autograd.grad(mat.mutual_loss(own, [ZA], [Z], Y, 1.0).sum(), own)
    close(slope, 0 * ZA, 1e-15)  # the divergence of equal networks has no gradient


def test_mat_trains_every_network_by_its_own_loss():
    """By hand for three of them; peers start elsewhere, and draw from no other stream than the run's."""
    model, (x, y) = Net(), batch()
    state = torch.get_rng_state()
    method, twin = make("mat", peers=2, share=0.3), make("mat", peers=2)
    for m in (method, twin):
        m.setup(model, 2)
    assert torch.equal(torch.get_rng_state(), state)
    nets = method.networks(model)
    for a, b in zip(method.peers.parameters(), twin.peers.parameters(), strict=True):
        assert torch.equal(a, b)
    starts = [net.layers[1].weight for net in nets]
    assert not torch.equal(starts[0], starts[1]) and not torch.equal(starts[1], starts[2])
    assert len([*method.parameters(model)]) == 3 * len([*model.parameters()])
    adv = method.attack(model, x, y)
    for net, own in zip(nets, adv, strict=True):
        raised = [float(F.cross_entropy(net(v), y).detach()) for v in (x, own)]
        assert raised[1] > raised[0]
    expected = 0.0
    for m, net in enumerate(nets):
        q = F.log_softmax(net(adv[m]), dim=1)
        expected = expected + 0.7 * F.nll_loss(q, y)
        for k in {0, 1, 2} - {m}:
            p = F.softmax(nets[k](adv[m]), dim=1).detach()
            learnt = (p * (p.log() - q)).sum(1).mean() + F.cross_entropy(net(adv[k]), y)
            expected = expected + 0.15 * learnt
    loss = method.loss(model, x, y, adv)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(v, [n.layers[3].weight for n in nets]) for v in (loss, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


# AutoLoRa ---------------------------------------------------------------------------------------------------


def test_autolora_golden_value():
    close(autolora.branched_loss(Z, ZA, Y, 0.6, 6.0).mean(), 1.47471667)
    close(autolora.branched_loss(Z, ZA, Y, 0.0, 6.0), F.cross_entropy(Z, Y, reduction="none"))


def test_the_branch_of_autolora_adds_what_has_a_low_rank():
    """Nothing at first; then layer by layer B A / rank, which no drawing of another rank makes."""
    torch.manual_seed(0)
    model, (x, _) = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,)).eval(), batch()
    method = make("autolora", rank=2)
    method.setup(model, 2)
    torch.testing.assert_close(method.branch(model, x), model(x))
    with torch.no_grad():
        for B in method.factors[1::2]:
            nn.init.normal_(B)
    merged = copy.deepcopy(model)
    for i, layer in enumerate(matrices(merged)[:-1]):
        A, B = method.factors[2 * i], method.factors[2 * i + 1]
        rows = layer.shape[2] if layer.dim() > 2 else 1
        added = (B @ A).detach() / 2
        assert int(torch.linalg.matrix_rank(added)) == min(2 * rows, *added.shape)
        layer.data += added.view_as(layer)
    assert len(method.factors) == 2 * len(matrices(merged)) - 2
    torch.testing.assert_close(method.branch(model, x), merged(x))
    assert float((model(x) - merged(x)).abs().max().detach()) > 1e-2


def test_each_part_of_autolora_updates_its_own_weights():
    """The branch its factors, the attacked network its own; the last layer both."""
    model, (x, y) = Net(), batch()
    method = make("autolora", consistency=0.0)
    method.setup(model, 2)
    nn.init.normal_(method.factors[1])
    own = [model.layers[1].weight, method.factors[0], model.layers[3].weight]
    for accuracy, moved in ((0.0, [False, True, True]), (1.0, [True, False, True])):
        method.accuracy = accuracy
        loss = method.loss(model, x, y, 1 - x)
        slopes = torch.autograd.grad(loss, own, allow_unused=True)
        assert [s is not None and bool(s.any()) for s in slopes] == moved
        expected = F.cross_entropy(model(1 - x) if accuracy else method.branch(model, x), y)
        torch.testing.assert_close(loss, expected)


def test_autolora_counts_where_its_branch_is_right():
    """Over all processes; what is evaluated is the network without its branch."""
    model, (x, y), sent = Net(), batch(), {0: {1: torch.tensor([3.0, 40.0])}}  # the other process
    method = make("autolora", context(world=Half(0, sent)))
    method.setup(model, 2)
    assert method.accuracy == 0.1 and method.eval_model(model) is model
    nn.init.normal_(method.factors[1])
    right, others = (int((v.argmax(1) == y).sum()) for v in (method.branch(model, x), model(1 - x)))
    assert right not in (0, 20, others)
    method.loss(model, x, y, 1 - x)
    method.on_epoch_end(Epoch(0, model, None, None))
    assert method.state() == {"branch_accuracy": pytest.approx((right + 3) / 60)} and not method.sums.any()
    with pytest.raises(InputError, match="several"):
        method.setup(nn.Linear(64, 10), 2)


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("awp", {"gamma": 2.0}),
        ("awp", {"warm_share": 1.0}),
        ("rwp", {"weight_steps": 0}),
        ("rwp", {"threshold": -1.0}),
        ("score", {"clip": 1.5}),
        ("iat", {"alpha": 0.0}),
        ("adr", {"average_decay": 1.0}),
        ("adr", {"hot": 0.0}),
        ("adr", {"last_share": 1.1}),
        ("hr", {"alpha": 1.0}),
        ("hr", {"radius": math.nan}),
        ("beta", {"smooth": -1.0}),
        ("beta", {"targets": -1}),
        ("mat", {"peers": 0}),
        ("mat", {"share": 1.5}),
        ("fomo", {"cycle": 0}),
        ("fomo", {"begin_share": 1.0}),
        ("fomo", {"forget_share": 2.0}),
        ("jacobian", {"lam": -1.0}),
        ("jacobian", {"projections": -1}),
        ("autolora", {"rank": 0}),
        ("autolora", {"consistency": -1.0}),
    ],
)
def test_what_makes_no_sense_is_refused(name, wrong):
    with pytest.raises(InputError, match=next(iter(wrong)).replace("_", "-")):
        make(name, **wrong)
