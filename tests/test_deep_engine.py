"""Attacks and evaluation: what every method rests on."""

import pytest
import torch
from torch import nn

from deep.attacks import attacking, cross_entropy, kl_from, near_start, pgd, uniform_start
from deep.data import load
from deep.evaluate import Attack, evaluate
from deep.models import PreActResNet

CPU = torch.device("cpu")


def digits(seed=0, **sizes):
    return load("digits", None, seed=seed, **({"val": 25, "train": None, "test": None} | sizes), device=CPU)


class Linear(nn.Module):
    """Two classes by the sign of w.x + b, for which the exact worst case is known."""

    def __init__(self, w, b):
        super().__init__()
        self.w, self.b = nn.Parameter(w), b

    def forward(self, x):
        score = x.flatten(1) @ self.w + self.b
        return torch.stack([-score, score], dim=1) / 2


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("eps", [0.0, 0.02, 0.1, 0.4])
def test_pgd_reaches_the_exact_worst_case_of_a_linear_classifier_in_the_box(eps):
    torch.manual_seed(0)
    x, y = torch.rand((300, 1, 4, 4), generator=generator()), torch.arange(300) % 2
    model = Linear(torch.randn(16), 0.1)
    radius = torch.full((300,), eps)
    adv = pgd(model, x, uniform_start(x, radius, generator(1)), radius, radius / 4, 20, cross_entropy(y))
    sign = (2 * y - 1).float()
    margin = sign * (model(adv)[:, 1] - model(adv)[:, 0]).detach()
    flat, w = x.flatten(1), model.w.detach() * sign[:, None]
    down, up = flat.clamp(max=eps), (1 - flat).clamp(max=eps)  # how far each pixel can go
    exact = (
        sign * (flat @ model.w.detach() + model.b)
        - (w.clamp(min=0) * down).sum(1)
        + (w.clamp(max=0) * up).sum(1)
    )
    assert (margin >= exact - 1e-5).all()  # no attack beats the bound
    torch.testing.assert_close(margin, exact, atol=1e-5, rtol=0)
    if eps:
        weak = pgd(model, x, x, radius, radius / 40, 3, cross_entropy(y))
        assert not torch.allclose(sign * (model(weak)[:, 1] - model(weak)[:, 0]).detach(), exact, atol=1e-3)


def test_pgd_keeps_each_sample_in_its_own_ball():
    model = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,))
    x = torch.rand((32, 1, 8, 8), generator=generator())
    eps = torch.linspace(0, 0.5, 32)
    for start in (uniform_start(x, eps, generator(1)), near_start(x, generator(1)), x + 10):
        adv = pgd(model, x, start, eps, eps / 2, 5, cross_entropy(torch.arange(32) % 10))
        assert ((adv - x).abs().amax((1, 2, 3)) <= eps + 1e-6).all()
        assert float(adv.min()) >= 0 and float(adv.max()) <= 1
    assert torch.equal(pgd(model, x, x, 0 * eps, eps, 5, kl_from(model(x))), x)


def test_attacking_restores_modes_and_flags_even_after_an_error():
    model = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,)).train()
    model.norm.eval()
    model.head.weight.requires_grad_(False)
    with pytest.raises(RuntimeError), attacking(model):
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        raise RuntimeError
    assert model.training and not model.norm.training and model.stem.weight.requires_grad
    assert not model.head.weight.requires_grad


def test_evaluation_does_not_touch_the_model():
    d = digits(test=10)
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 4, 10, (0.3,), (0.4,)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    flags = [evaluate(model, d.test, Attack(0.1, "0.1", 3), seed=s, batch_size=37) for s in (0, 0, 1)]
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert (flags[0].ok_attacked == flags[1].ok_attacked).all()
    assert not (flags[0].ok_attacked & ~flags[0].ok_natural).any()
    clean = evaluate(model, d.test, Attack(0.0, "0", 3), seed=0)
    assert (clean.ok_attacked == clean.ok_natural).all()  # eps = 0 is no attack


def test_a_larger_radius_never_helps_and_a_huge_one_breaks_everything():
    d = digits(test=20)
    torch.manual_seed(0)
    model = PreActResNet((1, 1), 8, 10, (0.3,), (0.4,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(d.train.inputs(slice(None))), d.train.labels).backward()
        optimizer.step()
    rates = [
        evaluate(model, d.test, Attack(e, str(e), 20), seed=0).errors(d.classes).average("robust_error")
        for e in (0.0, 0.05, 0.15, 1.0)
    ]
    assert rates == sorted(rates) and rates[0] < 0.3 and rates[-1] == 1.0
