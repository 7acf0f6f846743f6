"""RiFT: the criticality of layers, the tuning of the least critical, and the way to it."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deep import train
from deep.data.tensors import Split
from deep.repair import main as repair
from deep.runs.reload import load_run
from deep.stages.interpolate import between_weights
from deep.stages.rift import criticality, layers_of, tuned


class Two(nn.Module):
    """Two linear branches, of which the answer has one tenth of the second alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.used, self.hardly, self.norm = nn.Linear(6, 3), nn.Linear(6, 3), nn.BatchNorm1d(6)

    def forward(self, x):
        x = self.norm(x)
        return self.used(x) + 0.1 * self.hardly(x)


def batch(n=60):
    x = torch.rand((n, 6), generator=torch.Generator().manual_seed(1))
    return x, torch.arange(n) % 3


def head(weight):
    layer = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight], dtype=torch.float64))
    return layer


def test_golden_way_between_weights():
    first, end = head([1.0, -0.5]), head([1.2, -0.1])
    mixed = between_weights(first, end, 0.3).weight.detach()
    torch.testing.assert_close(mixed, torch.tensor([[1.06, -0.38]], dtype=torch.float64), atol=1e-12, rtol=0)
    assert torch.equal(between_weights(first, end, 0.0).weight, first.weight)


def test_criticality_is_the_worst_rise_within_a_tenth_of_the_norm():
    """No random move of that size raises the loss more, and one less than half as much: the bound is used."""
    model, (x, y) = Two().eval(), batch()
    rise = criticality(model, "used", x, y, epochs=50)
    with torch.no_grad():
        weight, base = model.used.weight.clone(), float(F.cross_entropy(model(x), y))
        rises = []
        for _ in range(200):
            v = torch.randn_like(weight)
            model.used.weight.copy_(weight + 0.1 * weight.norm() / v.norm() * v)
            rises.append(float(F.cross_entropy(model(x), y)) - base)
        model.used.weight.copy_(weight)
    assert max(rises) < rise < 4 * max(rises)
    short = criticality(model, "used", x, y, reach=0.05, epochs=50)
    assert 0.3 * rise < short < 0.6 * rise and criticality(model, "used", x, y, reach=0.0) == 0
    assert torch.equal(model.used.weight, weight) and model.used.weight.grad is None
    assert criticality(model, "hardly", x, y) < 0.3 * rise  # the control: a layer that hardly matters


def test_only_the_layer_is_tuned():
    """And the statistics of batch norm stay as they were, though the inputs have others."""
    model, (x, y) = Two().eval(), batch()
    data = Split(x, y, 1, torch.arange(len(y)))
    end = tuned(model, "hardly", data, 6, 0.5, torch.Generator().manual_seed(0))
    before, after = model.state_dict(), end.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"hardly.weight", "hardly.bias"} and not end.training
    losses = [float(F.cross_entropy(m(x), y).detach()) for m in (model, end)]
    assert losses[1] < losses[0] and all(p.requires_grad for p in end.parameters())
    same = tuned(model, "hardly", data, 6, 0.5, torch.Generator().manual_seed(0)).state_dict()
    assert all(torch.equal(after[name], same[name]) for name in after)
    assert [*layers_of(model)] == ["used", "hardly"]


def test_a_run_is_tuned_in_its_least_critical_layer(invoke, refuses, tmp_path):
    words = "--epochs 2 --train-per-class 20 --test-per-class 6 --width 4 --steps 2 --eval-steps 2".split()
    run, out = tmp_path / "run", tmp_path / "out"
    assert invoke(train.main, *words, "--out", run)[0] == 0
    tune = ["--stage", "rift", "--epochs", 2, "--lr", 0.05, "--budget", 100, "--out", out]
    code, text, _ = invoke(repair, run, *tune)
    state = json.loads((out / "result.json").read_text())["state"]
    before, after = (load_run(folder).model.state_dict() for folder in (run, out))
    layer = min(state["criticality"], key=state["criticality"].__getitem__)
    assert code == 0 and state["layer"] == layer and layer in text
    assert [*state["criticality"]] == [*layers_of(load_run(run).model)]
    changed = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == ({layer} if state["share"] > 0 else set())
    refuses(repair, run, "--stage", "rift", "--lr", 0, "--out", tmp_path / "no", says=["--lr"])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_of_the_way_are_the_networks(share):
    ends = Two(), Two()
    nn.init.normal_(ends[1].used.weight)
    mixed = between_weights(*ends, share).state_dict()
    assert all(torch.equal(v, mixed[k]) for k, v in ends[int(share)].state_dict().items())
