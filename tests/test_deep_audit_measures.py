"""Adversarial sparsity, and ratios of accuracies: golden values, and what makes each wrong."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from deep.attacks.ball import Ball
from deep.audits.any_model import audit
from deep.audits.ratios import accuracy_ratios
from deep.audits.sparsity import Masked, sparsity
from deep.data import Split
from theory.common.inputs import InputError

QUICK = {"progress": False, "strength": 0, "steps": 8}


def signs(size, margin_each=2.0):
    """Return a linear binary model of weights +-1: each coordinate moves the margin by 2 eps."""
    torch.manual_seed(0)
    w = torch.randn(size).sign()
    model = nn.Sequential(nn.Flatten(), nn.Linear(size, 2, bias=False))
    model[1].weight.data = torch.stack([w, -w]) * margin_each / 2
    return model, w


def split_of(x, y):
    return Split(x, y, 1, torch.arange(len(y)))


@pytest.mark.parametrize("size, eps", [(16, 0.25), (27, 0.125)])
def test_sparsity_of_equal_weights_is_exact(size, eps):
    """With |w_i| = 1, k coordinates take 2 k eps from the margin 2 m: k = floor(m / eps) + 1."""
    model, w = signs(size)
    m = torch.tensor([0.1, 0.3, 0.9, 1.6, size * eps + 0.1, -0.5])
    x = (m / size)[:, None] * w
    found = sparsity(model, split_of(x, torch.zeros(6, dtype=torch.long)), eps, bounds=None, directions=3)
    due = [math.floor(v / eps) + 1 for v in m.tolist()[:4]]
    assert found[:4].tolist() == due
    assert found[4] == size and math.isnan(found[5])


def test_sparsity_is_a_mean_over_orders_by_brute_force():
    """One coordinate alone decides: freed at a uniform place of the order, so the mean is (d + 1) / 2."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2, bias=False))
    model[1].weight.data = torch.zeros(2, 9)
    model[1].weight.data[0, 4] = 1.0
    x = torch.full((1, 1, 3, 3), 0.05)
    data = split_of(x, torch.zeros(1, dtype=torch.long))
    orders = 400
    found = sparsity(model, data, 0.1, bounds=None, directions=orders)[0]
    deviation = math.sqrt((81 - 1) / 12 / orders)
    assert abs(found - 5) < 4 * deviation
    assert found == sparsity(model, data, 0.1, bounds=None, directions=orders)[0]
    assert found != sparsity(model, data, 0.1, bounds=None, directions=orders, seed=1)[0]


def test_a_mask_keeps_the_rest_in_place():
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(6).expand(4, 6) < torch.arange(4)[:, None]
    eps = torch.full((4,), 0.2)
    z = Masked(x, eps, "linf", (0.0, 1.0), mask).project(x + 1)
    assert (z[~mask] == x[~mask]).all()
    assert (z[mask] == Ball(x, eps).project(x + 1)[mask]).all()


def test_ratios_are_means_of_ratios_and_the_smallest():
    found, average, worst = accuracy_ratios([0.8, 0.3, 0.2], [0.8, 0.6, 0.25])
    assert found.tolist() == [1, 0.5, 0.8] and average == pytest.approx(2.3 / 3) and worst == 0.5
    assert accuracy_ratios([0.9], [0.6])[1] == pytest.approx(1.5)  # above 1 it stays
    found, average, worst = accuracy_ratios([[0.0, 0.2]], [[0.0, 0.4]])
    assert math.isnan(found[0, 0]) and (average, worst) == (0.5, 0.5)


@pytest.mark.parametrize(
    "bad", [([0.5], [0.5, 0.5]), ([1.2], [1.0]), ([0.5], [0.0]), ([], []), ([np.nan], [1.0])]
)
def test_bad_accuracies_are_refused(bad):
    with pytest.raises(InputError):
        accuracy_ratios(*bad)


def test_ratios_of_an_audit_by_class_and_their_worst_cell():
    torch.manual_seed(0)
    x = torch.rand(60, 6)
    models = [nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)) for _ in range(2)]
    with torch.no_grad():
        y = models[0](x).argmax(1)
    ours, theirs = (audit(m, x, y, [0.02, 0.05], ["linf", "l2"], **QUICK) for m in models)
    names = ["clean", *(t.name for t in ours.threats)]
    same = ours.ratios(dict.fromkeys(names, ours))
    cells = [v for row in same["classes"].values() for v in row.values() if not math.isnan(v)]
    assert same["average"] == same["worst"] == 1 and set(cells) == {1.0}
    found = ours.ratios(dict.fromkeys(names, theirs))
    rates = [1 - e.rates("robust_error") for e in (ours.errors(0), theirs.errors(0))]
    for i, row in enumerate(found["classes"].values()):
        assert row[names[1]] == pytest.approx(rates[0][i] / rates[1][i], nan_ok=True)
    cell = found["worst_cell"]
    assert cell["ratio"] == found["classes"][cell["class"]][cell["threat"]]
    with pytest.raises(InputError, match="reference"):
        ours.ratios({"clean": theirs})


def test_an_audit_tells_the_sparsity_of_each_class(tmp_path):
    model, w = signs(16)
    x = 0.5 + 0.1 * torch.randn((10, 16), generator=torch.Generator().manual_seed(1))
    x = (x - 0.5 * w.sum() * w / 16).clamp(0, 1)  # so that both classes are there
    with torch.no_grad():
        y = model(x).argmax(1)
    found = audit(model, x, y, 0.2, sparsity=2, **QUICK)
    table = found.sparsity[found.threats[0].name]
    assert len(table) == 10 and np.isfinite(table).sum() == 2 * len(y.unique())
    assert "coordinates" in str(found) and found.as_json()["sparsity"]
    found.save(tmp_path)
    assert audit(model, x, y, 0.2, **QUICK).sparsity == {}
