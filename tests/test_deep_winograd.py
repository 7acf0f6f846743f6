"""Winograd's convolution: the same values and input gradients as a direct sum, for fewer multiplications."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deep.attacks.pgd import kl_from
from deep.nets import folded as folding
from deep.nets.folded import folded
from deep.nets.networks import PreActResNet
from deep.nets.winograd import Filters, convolve

TILES = (2, 4)
SHAPES = [(1, 5, 7, 9, 6), (3, 4, 2, 1, 3), (2, 3, 3, 8, 8), (1, 1, 1, 4, 5), (2, 6, 4, 13, 2)]


def case(n, channels_in, channels, height, width, dtype=torch.float64):
    """Return an input, a weight, a bias and the gradient of an output."""
    torch.manual_seed(0)
    shapes = (n, channels_in, height, width), (channels, channels_in, 3, 3), (channels,)
    x, weight, bias = (torch.randn(shape, dtype=dtype) for shape in shapes)
    return x, weight, bias, torch.randn(n, channels, height, width, dtype=dtype)


def results(convolution, x, gradient):
    """Return a convolution's output and its gradient towards the input."""
    z = x.clone().requires_grad_()
    out = convolution(z)
    return out.detach(), torch.autograd.grad(out, z, gradient)[0]


def apart(x, weight, bias, gradient, filters):
    """Return the largest differences to the direct sum in float64, relative to the largest of each."""
    ours = results(lambda z: convolve(z, filters, bias), x, gradient)
    double = [v.double() for v in (x, weight, bias, gradient)]
    direct = results(lambda z: F.conv2d(z, double[1], double[2], padding=1), double[0], double[3])
    return [float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, direct, strict=True)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m", TILES)
def test_is_the_direct_sum_in_float64(m, shape, layout):
    x, weight, bias, gradient = case(*shape)
    x, weight, gradient = (v.contiguous(memory_format=layout) for v in (x, weight, gradient))
    assert max(apart(x, weight, bias, gradient, Filters(weight, m))) < 1e-13


@pytest.mark.parametrize("m", TILES)
def test_a_bent_filter_is_seen(m):
    x, weight, bias, gradient = case(*SHAPES[0])
    for value in range((m + 2) ** 2):
        filters = Filters(weight, m)
        filters.values[value] *= 1 + 1e-6
        assert min(apart(x, weight, bias, gradient, filters)) > 1e-10


@pytest.mark.parametrize(("m", "side", "bound"), [(2, 4, 2e-6), (4, 8, 6e-6)])
def test_is_close_in_float32(m, side, bound):
    x, weight, bias, gradient = case(2, 256, 256, side, side, torch.float32)
    errors = apart(x, weight, bias, gradient, Filters(weight, m))
    assert max(errors) < bound
    assert min(errors) > 0


@pytest.mark.parametrize("m", TILES)
def test_leaves_its_operands_and_has_no_gradient_towards_the_weight(m):
    x, weight, bias, gradient = case(*SHAPES[0])
    before = x.clone(), weight.clone(), bias.clone(), gradient.clone()
    weight.requires_grad_()
    results(lambda z: convolve(z, Filters(weight, m), bias), x, gradient)
    assert not convolve(x, Filters(weight, m)).requires_grad
    assert all(torch.equal(a, b) for a, b in zip(before, (x, weight, bias, gradient), strict=True))


@pytest.fixture
def wide():
    """Return a network with layers of 256 and 512 channels, whose running statistics are far from 0 and 1."""
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 256, 5, (0.4,) * 3, (0.3,) * 3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.2, 3)
    return model.eval()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_a_wide_network_uses_it_and_stays_the_same(wide, dtype, bound, monkeypatch):
    model = wide.to(dtype)
    made = []
    monkeypatch.setattr(folding, "Filters", lambda weight, m: made.append(m) or Filters(weight, m))
    net = folded(model)
    assert sorted(made) == [2, 4, 4]
    x = torch.rand(3, 3, 9, 9, dtype=dtype)
    direction = torch.randn(3, 5, dtype=dtype)
    ours, direct = (results(network, x, direction) for network in (net, model))
    for a, b in zip(ours, direct, strict=True):
        assert float((a - b).abs().max() / b.abs().max()) < bound
    objective = kl_from(direct[0])
    assert float(objective(ours[0])) < bound


def test_a_sample_does_not_depend_on_its_batch(wide):
    net = folded(wide)
    x = torch.rand(7, 3, 8, 8)
    with torch.no_grad():
        together, alone = net(x), torch.cat([net(part) for part in x.split(1)])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)
