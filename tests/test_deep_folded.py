"""The folded network: the same logits and input gradients as the network itself, at less cost."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deep.attacks import pgd as attacks
from deep.attacks.ball import Ball
from deep.attacks.pgd import attacking, cross_entropy, pgd
from deep.nets.folded import folded
from deep.nets.networks import PreActResNet, ResNet, SmallCNN


def network(kind, *, blocks=(1, 1), channels=3, **options):
    """Return a network in evaluation mode whose statistics, scales and shifts are far from their defaults."""
    torch.manual_seed(0)
    model = kind(blocks, 4, 5, (0.4,) * channels, (0.3,) * channels, **options).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, -1.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.2, 3),
            ):
                nn.init.uniform_(tensor, low, high)
    return model


NETWORKS = {
    "preact": lambda: network(PreActResNet, blocks=(2, 2)),
    "patch": lambda: network(PreActResNet, blocks=(1, 1, 1), patch=True),
    "wide": lambda: network(PreActResNet, stem=3),
    "post": lambda: network(ResNet, blocks=(2, 1)),
    "grey": lambda: network(PreActResNet, channels=1),
}


def apart(model, other, x):
    """Return the largest differences of logits and of input gradients, relative to the largest of each."""
    y = torch.arange(len(x)) % 5
    both = []
    for net in (model, other):
        z = x.clone().requires_grad_()
        logits = net(z)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), z)
        both.append((logits.detach(), gradient))
    return [float((a - b).abs().max() / a.abs().max()) for a, b in zip(*both, strict=True)]


def inputs(model, dtype=torch.float64, side=9):
    """Return six inputs of an odd side."""
    return torch.rand(6, len(model.mean), side, side, dtype=dtype)


@pytest.mark.parametrize("name", NETWORKS)
def test_is_the_network_in_float64(name):
    model = NETWORKS[name]().double()
    assert max(apart(model, folded(model), inputs(model))) < 1e-12


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("name", NETWORKS)
def test_is_the_network_in_float32(name, side):
    model = NETWORKS[name]()
    for x in (inputs(model, torch.float32, side), inputs(model, torch.float32, side)[:1]):
        assert max(apart(model, folded(model), x)) < 1e-4


def test_a_bent_fold_is_seen():
    model = NETWORKS["preact"]().double()
    net = folded(model)
    net.body[0].conv1.bias += 1e-6
    assert max(apart(model, net, inputs(model))) > 1e-9


@pytest.mark.parametrize("change", ["running_mean", "running_var", "weight", "bias"])
def test_does_not_follow_what_changes_later(change):
    model = NETWORKS["preact"]().double()
    net = folded(model)
    for norm in ("norm", "body.0.norm1", "body.0.norm2"):
        getattr(model.get_submodule(norm), change).data.mul_(1.1)
    assert max(apart(model, net, inputs(model))) > 1e-4
    assert max(apart(model, folded(model), inputs(model))) < 1e-12


def test_leaves_the_network_as_it_was():
    model = NETWORKS["post"]()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modules = list(model.modules())
    x = inputs(model, torch.float32)
    logits = model(x)
    folded(model)(x)
    assert list(model.modules()) == modules
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(x), logits)


def test_other_networks_and_batch_statistics_stay():
    small = SmallCNN(4, 5, 8, (0.5,), (0.5,))
    assert folded(small) is small
    model = NETWORKS["preact"]()
    with attacking(model, "train"):
        assert folded(model) is model
    assert folded(model) is not model


@pytest.mark.parametrize("batch_norm", ["eval", "train"])
def test_attack_is_that_of_the_network(batch_norm, monkeypatch):
    model = NETWORKS["preact"]().double()
    x, y = inputs(model), torch.arange(6) % 5
    ball = Ball(x, torch.full((6,), 0.05, dtype=x.dtype))

    def attack():
        return pgd(model, ball, x, ball.eps / 4, 5, cross_entropy(y), batch_norm=batch_norm)

    with_fold = attack()
    used = []
    monkeypatch.setattr(attacks, "folded", lambda network: used.append(network) or network)
    assert torch.equal(with_fold, attack())
    assert used == [model]
