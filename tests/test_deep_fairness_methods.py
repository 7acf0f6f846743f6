"""Fairness methods beyond weights and radii: mixtures, confusions, targets, soft labels and class sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_setup import ZA, Net, Twin, Y, batch, close, context, digits, epoch, make, trainer
from torch import nn
from torch.nn import functional as F

import deep
from deep.methods import absld, adr, atbsl, classmix, fairtat, spectral
from theory.common.inputs import InputError
from theory.variants.augmentation import mixup, mixup_shrinkage

# mixup within a class ---------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 99))
def test_partners_are_of_the_same_class_and_each_is_one_once(labels, seed):
    y = torch.tensor(labels)
    partner = classmix.partners_within(y, torch.Generator().manual_seed(seed))
    assert torch.equal(y[partner], y) and sorted(partner.tolist()) == list(range(len(y)))


def test_partners_are_drawn_evenly():
    """Against what always takes the next one, or itself."""
    y, generator = torch.tensor([0, 1, 0, 1, 0, 0]), torch.Generator().manual_seed(0)
    drawn = torch.stack([classmix.partners_within(y, generator) for _ in range(4000)])
    for partner in (0, 2, 4, 5):
        assert float((drawn[:, 0] == partner).double().mean()) == pytest.approx(0.25, abs=0.03)
    assert float((drawn[:, 1] == 3).double().mean()) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_mixtures_are_what_is_attacked_and_trained_on(base):
    """In the loop too; with weight 1 nothing is mixed, and the loss is that of the base."""
    data = digits(train=40)
    method, seen = make("classmix", base=base), []
    original = method.loss
    method.loss = lambda model, x, y, adv: seen.append((x, y, adv)) or original(model, x, y, adv)
    trainer(Net(), method, data, epochs=1, batch_size=200).train_epoch()
    images, labels = data.train.inputs(slice(None)), data.train.labels
    for x, y, adv in seen:
        assert 1e-3 < float((adv - x).abs().max()) <= 0.1 + 1e-6
        mixed = 0
        for v, c in zip(x[:20], y, strict=False):
            of_class = images[labels == c]
            halves = (of_class[:, None] + of_class) / 2
            nearest = (halves - v).abs().amax((2, 3, 4))
            assert float(nearest.min()) < 1e-6  # a half of each of two images of its class
            mixed += float((of_class - v).abs().amax((1, 2, 3)).min()) > 1e-6
        assert mixed > 10
    x, y = batch()
    method.loss, single = original, make("classmix", base=base, weight=1.0)
    assert torch.equal(single.inputs(x, y), x) and not torch.equal(method.inputs(x, y), x)
    torch.testing.assert_close(single.loss(Net(), x, y, 1 - x), make(base).loss(Net(), x, y, 1 - x))


def blobs(n, seed, K=2.0):
    """Return two classes in one coordinate, class 1 with a deviation K times as large, within [0, 1]."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = np.where(y == 1, 1.0, -1.0) + np.where(y == 1, K, 1.0) * rng.standard_normal(n)
    x = np.clip(0.5 + x / 24, 0, 1)
    return torch.from_numpy(x).float()[:, None], torch.from_numpy(y)


def test_mixup_within_a_class_moves_the_threshold_towards_the_fair_one():
    """The gap of robust errors between two classes narrows; mixing with weight 1 changes nothing.

    Theory says so of the 0/1 loss, where the wide class is the worse one. With the cross-entropy the narrow
    class is, since the loss of a far sample grows without bound: the threshold comes from the other side.
    """
    x, y = blobs(4000, 0)
    test = blobs(20_000, 1)
    gaps = []
    for method, params in (
        ("pgd", {}),
        ("classmix", {"base": "pgd"}),
        ("classmix", {"base": "pgd", "weight": 1.0}),
    ):
        torch.manual_seed(0)
        model = nn.Linear(1, 2)
        recipe = {"eps": 0.3 / 24, "epochs": 12, "batch_size": 500, "lr": 50.0, "weight_decay": 0.0}
        deep.train(model, x, y, method=method, params=params, validation=(x[:40], y[:40]), **recipe)
        w, b = model.weight[1] - model.weight[0], model.bias[1] - model.bias[0]
        side = 2 * test[1] - 1
        score = side * (test[0] @ w + b).detach() - 0.3 / 24 * w.abs().detach()
        errors = [float((score[test[1] == c] <= 0).float().mean()) for c in (0, 1)]
        gaps.append(errors[1] - errors[0])
    m, c = 1.0 - 0.3, mixup_shrinkage(0.5)
    predicted = [mixup(m, 1.0, 2.0, v).gap for v in (1.0, c)]
    assert predicted[1] < predicted[0] - 0.1
    assert gaps[0] < -0.03 and abs(gaps[1]) < abs(gaps[0]) - 0.02
    assert abs(gaps[2] - gaps[0]) < 0.01


# confusional spectral regularisation ------------------------------------------------------------------------

CONFUSIONS = torch.tensor([[0, 5, 1], [4, 0, 2], [1, 1, 0]]).double()


def test_spectral_golden_weights():
    expected = [
        [0.55545455, 2.01, 0.55545455],
        [0.10090909, 0.64636364, 0.10090909],
        [0.01, 0.37363636, 0.01],
    ]
    close(spectral.confusion_weights(CONFUSIONS), expected)
    norm = float(torch.linalg.matrix_norm(CONFUSIONS, 2))
    assert norm == pytest.approx(5.29150262, abs=6e-9) and norm <= float(CONFUSIONS.abs().sum())
    assert not spectral.confusion_weights(torch.zeros(4, 4)).any()


@given(st.integers(2, 6), st.integers(0, 999))
def test_confusion_weights_are_the_slope_of_the_largest_singular_value(n, seed):
    """Up to an increasing affine map; of the mirrored matrix they are mirrored."""
    A = torch.rand((n, n), generator=torch.Generator().manual_seed(seed)).double() + 0.05
    A.fill_diagonal_(0)
    G = spectral.confusion_weights(A)
    assert float(G.min()) == pytest.approx(0.01) and float(G.max()) == pytest.approx(2.01)
    slope = torch.func.grad(lambda M: torch.linalg.matrix_norm(M, 2))(A)
    scale = 2 / (slope.max() - slope.min())
    close(G, 0.01 + scale * (slope - slope.min()), 1e-8)


@pytest.mark.parametrize("base", ["pgd", "trades"])
def test_spectral_loss_by_hand(base):
    model, (x, y) = Net(), batch()
    method = make("spectral", base=base, share=0.4)
    method.confusion_weights = torch.rand((10, 10), generator=torch.Generator().manual_seed(2)).double()
    p, q = (F.softmax(model(v), dim=1) for v in (x, 1 - x))
    each, answers = torch.arange(20), q.argmax(1)
    attacked = -q[each, y].log()
    main = attacked if base == "pgd" else -p[each, y].log()
    boundary = 6 * (p * (p / q).log()).sum(1) if base == "trades" else 0.0
    G = torch.stack([method.confusion_weights[a, c] for a, c in zip(answers, y, strict=True)])
    expected = (0.6 * main + boundary + 0.4 * G * attacked).mean()
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)
    method.hot = True
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), (main + boundary).mean())


def test_spectral_counts_wrong_answers_of_all_processes_and_begins_after_its_warm_up():
    method, model, (x, y) = make("spectral", context(world=Twin())), Net(), batch()
    method.setup(model, 4)
    answers = model(1 - x).argmax(1)
    expected = torch.zeros(10, 10).double()
    for a, c in zip(answers.tolist(), y.tolist(), strict=True):
        expected[a, c] += 2 * (a != c)
    for index in range(4):
        method.on_epoch_start(epoch(index))
        assert bool(method.confusion_weights.any()) == (index >= 2)
        method.loss(model, x, y, 1 - x)
        method.on_epoch_end(epoch(index))
        assert torch.equal(method.confusions, expected) and expected.any()
    close(method.confusion_weights, spectral.confusion_weights(expected), 1e-12)
    assert method.state()["confusion_norm"] == pytest.approx(float(torch.linalg.matrix_norm(expected, 2)))


# FAIR-TAT ---------------------------------------------------------------------------------------------------


def test_targets_are_never_the_class_itself_and_follow_the_odds():
    odds = fairtat.target_odds(torch.tensor([0.0, 10, 30, 60]))
    shares = torch.tensor([0, 0.1, 0.3, 0.6])
    close(odds, F.softmax(shares, dim=0), 1e-7)
    close(fairtat.target_odds(torch.zeros(4)), [0.25] * 4, 1e-7)
    uniform = torch.rand(40_000, generator=torch.Generator().manual_seed(0))
    for label in range(4):
        y = torch.full((40_000,), label)
        counts = torch.bincount(fairtat.drawn_targets(odds, y, uniform), minlength=4) / 40_000
        expected = odds.clone()
        expected[label] = 0
        close(counts, expected / expected.sum(), 0.01)
        assert counts[label] == 0
    steep = torch.tensor([1e-9, 1e-9, 1.0])
    drawn = fairtat.drawn_targets(steep, torch.full((2,), 2), torch.tensor([0.0, 1 - 2.0**-24]))
    assert drawn.tolist() == [0, 1]


def test_fairtat_attacks_towards_its_targets():
    model, (x, y) = Net(), batch(200)
    method, plain = make("fairtat", context(eps=0.05, steps=8)), make("pgd", context(eps=0.05, steps=8))
    noise = context().noise(200).fork(0).uniform((1,)).squeeze(1)
    target = fairtat.drawn_targets(method.odds, y, noise)
    adv = method.attack(model, x, y)
    towards = [float(F.cross_entropy(model(v), target).detach()) for v in (adv, x, plain.attack(model, x, y))]
    assert towards[0] < towards[1] and towards[0] < towards[2]


def test_fairtat_counts_wrong_answers_and_keeps_the_radii_of_cfa():
    method, model, (x, y) = make("fairtat", context(world=Twin()), fawa=0.0), Net(), batch()
    plain = make("fairtat", context(world=Twin()), fawa=0.0, uniform=True)
    answers = model(1 - x).argmax(1)
    named = torch.bincount(answers[answers != y], minlength=10)
    for m in (method, plain):
        m.setup(model, 3)
        m.on_epoch_start(epoch(0))
        close(m.odds, [0.1] * 10, 1e-7)
        m.loss(model, x, y, 1 - x)
        m.on_epoch_end(epoch(0))
        m.on_epoch_start(epoch(1))
    close(method.odds, F.softmax(named / named.sum(), dim=0), 1e-7)
    close(plain.odds, [0.1] * 10, 1e-7)
    accuracy = torch.stack([(answers == y)[y == c].float().mean() for c in range(10)])
    close(method.radii, 0.5 + accuracy, 1e-6)
    assert not method.named.any() and method.params.threshold == 0.2


# ABSLD ------------------------------------------------------------------------------------------------------


def test_absld_temperatures_fall_where_the_loss_is_large():
    temperatures = absld.moved_temperatures(torch.full((3,), 1.0), torch.tensor([1.0, 2, 6]), 0.1)
    close(temperatures, [1 + 0.1 * 2 / 3, 1 + 0.1 / 3, 0.9], 1e-6)
    close(
        absld.moved_temperatures(torch.tensor([0.55, 4.99]), torch.tensor([2.0, 1.0]), 0.1), [0.5, 5.0], 1e-6
    )
    close(absld.moved_temperatures(torch.ones(3), torch.ones(3), 0.1), [1.0] * 3, 0)


def test_absld_loss_by_hand():
    model, (x, y) = Net(), batch()
    method = make("absld")
    method.setup(model, 2)
    nn.init.normal_(method.average.layers[3].weight, std=2.0)
    method.attacked, method.clean = torch.linspace(0.5, 5, 10), torch.linspace(4, 1, 10)
    expected = 0.0
    for v, temperatures, share in ((1 - x, method.attacked, 5 / 6), (x, method.clean, 1 / 6)):
        target = adr.rectified(method.average(x), F.one_hot(y, 10), y, temperatures[y][:, None], 0.7)
        expected = expected - share * (target * F.log_softmax(model(v), dim=1)).sum(1).mean()
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected)


def test_absld_moves_both_temperatures_by_their_own_losses():
    method, model, (x, y) = make("absld", context(world=Twin())), Net(), batch()
    method.setup(model, 3)
    for _ in range(2):
        method.loss(model, x, y, 1 - x)
    method.on_epoch_end(epoch(0))
    for name, v in (("attacked", 1 - x), ("clean", x)):
        losses = F.cross_entropy(model(v), y, reduction="none")
        means = torch.stack([losses[y == c].mean() for c in range(10)])
        close(getattr(method, name), absld.moved_temperatures(torch.full((10,), 2.0), means, 0.1), 1e-6)
    assert not method.sums.any() and method.attacked.tolist() != method.clean.tolist()
    assert method.state()["temperatures"] == method.attacked.tolist()


# AT-BSL -----------------------------------------------------------------------------------------------------


def test_atbsl_golden_value():
    counts = torch.tensor([500.0, 50, 5], dtype=torch.float64)
    close(atbsl.balanced_cross_entropy(ZA, Y, counts.log()), 2.17484857)
    close(atbsl.balanced_cross_entropy(ZA, Y, (counts / 7).log()), 2.17484857)  # a factor of all is nothing
    plain = F.cross_entropy(ZA, Y)
    close(atbsl.balanced_cross_entropy(ZA, Y, torch.zeros(3)), plain)
    assert float(plain) < 1.2


def test_atbsl_takes_the_sizes_of_the_training_split():
    """And is PGD where they are equal, in its loss and its attack."""
    method, model, (x, y) = make("atbsl"), Net(), batch()
    plain = make("pgd")
    method.on_epoch_start(epoch(0, counts=[7] * 10))
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), plain.loss(model, x, y, 1 - x))
    method.on_epoch_start(epoch(1, counts=[2 ** (c + 1) for c in range(10)]))
    expected = F.cross_entropy(model(1 - x) + torch.arange(10) * np.log(2), y)
    torch.testing.assert_close(method.loss(model, x, y, 1 - x), expected, atol=1e-6, rtol=0)
    assert torch.equal(method.attack(model, x, y), plain.attack(model, x, y))
    data = digits(train=40, imbalance=4)
    balanced = trainer(Net(), make("atbsl"), data, epochs=1)
    balanced.train_epoch()
    counts = torch.bincount(data.train.labels).double()
    close(balanced.method.log_counts, (counts / counts.mean()).log(), 1e-6)
    assert float(counts.max() / counts.min()) > 2


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("classmix", {"weight": 1.5}),
        ("spectral", {"share": -0.1}),
        ("spectral", {"hot_share": 1.0}),
        ("fairtat", {"lam1": -1.0}),
        ("absld", {"start": 9.0}),
        ("absld", {"rate": -1.0}),
        ("absld", {"average_decay": 1.0}),
    ],
)
def test_what_makes_no_sense_is_refused(name, wrong):
    with pytest.raises(InputError, match=next(iter(wrong)).replace("_", "-")):
        make(name, **wrong)
