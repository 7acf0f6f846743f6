"""Robust margins of networks: exact on linear ones, commuting with offsets, and not with temperatures."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from deep.attacks.evaluate import Attack, evaluate, reported
from deep.attacks.robust_margins import robust_margins
from deep.data.splits import Split
from theory.common.inputs import InputError

ATTACK = Attack(0.05, "0.05", 10)


def split(n=40, classes=4, side=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = 0.3 + 0.4 * torch.rand(n, 1, side, side, generator=rng)
    return Split(x, torch.arange(n) % classes, 1, torch.arange(n))


def networks():
    torch.manual_seed(0)
    yield nn.Sequential(nn.Flatten(), nn.Linear(9, 16), nn.Tanh(), nn.Linear(16, 4))
    yield nn.Sequential(nn.Conv2d(1, 6, 2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4))
    yield nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Flatten(), nn.Linear(8, 4)
    ).eval()


class Changed(nn.Module):
    """A network with a factor and an offset of each class."""

    def __init__(self, model, factor, offsets):
        super().__init__()
        self.model, self.factor, self.offsets = model, factor, offsets

    def forward(self, x):
        return self.model(x) * self.factor + self.offsets


def test_a_linear_network_is_exact():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    data, head = split(), model[1]
    found = robust_margins(model, data, ATTACK, seed=0)
    w, logits = head.weight.detach(), model(data.images).detach()
    for i, y in enumerate(data.labels.tolist()):
        for j in range(4):
            exact = float(logits[i, j] - logits[i, y] + ATTACK.eps * (w[j] - w[y]).abs().sum())
            assert abs(found.margins[i, j] - exact) < 1e-5


@pytest.mark.parametrize("model", [*networks()])
def test_offsets_commute_with_the_attack_and_temperatures_do_not(model):
    data, offsets = split(), torch.tensor([0.0, 0.4, -0.3, 0.2])
    labels = data.labels.numpy()
    base = robust_margins(model, data, ATTACK, seed=3)
    shifted = robust_margins(Changed(model, 1.0, offsets), data, ATTACK, seed=3)
    b = offsets.double().numpy()
    moved = base.margins + b - b[labels][:, None]
    assert np.abs(shifted.margins - moved).max() < 1e-5
    assert np.array_equal(shifted.robust(np.zeros(4)), base.robust(b))
    factor = torch.tensor([1.0, 3.0, 0.3, 1.0])
    rescaled = robust_margins(Changed(model, factor, 0.0), data, ATTACK, seed=3)
    logits = model(data.images).detach().double().numpy()
    assert not np.allclose(rescaled.margins, base.margins * factor.numpy(), atol=1e-2)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("model", [*networks()])
def test_flags_are_not_weaker_than_those_of_the_evaluation(model):
    """No attack of the margins stops early: what an evaluation breaks is broken here."""
    data = split(80)
    with torch.no_grad():
        data = Split(data.images, model(data.images).argmax(1), 1, data.index)
    present = data.labels.unique().tolist()
    if present != [*range(4)]:
        data = data.take(torch.arange(80))
        data.labels[:4] = torch.arange(4)
    ours = robust_margins(model, data, Attack(0.05, "0.05", 20), seed=0).robust(np.zeros(4))
    theirs = evaluate(model, data, *reported(Attack(0.05, "0.05", 20)), seed=0).ok_attacked
    assert ours.sum() <= theirs.sum() + 1 and (ours == theirs).mean() > 0.97


def test_an_interrupted_call_goes_on_and_nothing_is_changed(tmp_path):
    model = next(networks())
    before, seen = copy.deepcopy(model.state_dict()), []
    whole = robust_margins(model, split(), ATTACK, seed=0, batch_size=10)
    with pytest.raises(KeyboardInterrupt):

        def stop(part):
            if part >= 0.5:
                raise KeyboardInterrupt

        robust_margins(model, split(), ATTACK, seed=0, batch_size=10, shards=tmp_path, tick=stop)
    kept = sorted(p.name for p in tmp_path.iterdir())
    again = robust_margins(model, split(), ATTACK, seed=0, batch_size=10, shards=tmp_path, tick=seen.append)
    assert len(kept) == 2 and seen == [0.25, 0.5, 0.75, 1.0]
    assert np.array_equal(again.margins, whole.margins)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_logits_that_are_not_finite_are_refused():
    model = Changed(next(networks()), 1.0, torch.tensor([0.0, float("nan"), 0.0, 0.0]))
    with pytest.raises(InputError, match="finite"):
        robust_margins(model, split(), ATTACK, seed=0)


def test_what_is_kept_of_another_network_attack_or_seed_is_not_taken(tmp_path):
    first, second = [*networks()][:2]
    call = {"seed": 0, "batch_size": 20}
    robust_margins(first, split(), ATTACK, shards=tmp_path, **call)
    for model, attack, seed in ((second, ATTACK, 0), (first, Attack(0.1, "0.1", 10), 0), (first, ATTACK, 1)):
        kept = robust_margins(model, split(), attack, seed=seed, batch_size=20, shards=tmp_path)
        alone = robust_margins(model, split(), attack, seed=seed, batch_size=20)
        assert np.array_equal(kept.margins, alone.margins)
