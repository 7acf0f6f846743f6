"""The iterative attack on linear scores against the exact criterion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from sim.sampling.draws import draw
from sim.solvers.solve import solve
from sim.studies import attack as attack_study
from sim.testing.iterative import attack, compare, exact_margins, margins, two_scores
from theory.common.inputs import InputError
from theory.gaussian.adversary import NORMS
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import GaussianMixture


def several(seed, classes=4, d=6, n=400):
    rng = np.random.default_rng(seed)
    weights, bias = rng.standard_normal((classes, d)), 0.1 * rng.standard_normal(classes)
    x = 1.5 * rng.standard_normal((n, d))
    return weights, bias, x, (x @ weights.T + bias).argmax(axis=1)


def length(shift, norm):
    return {
        "linf": np.abs(shift).max(axis=1),
        "l2": np.linalg.norm(shift, axis=1),
        "l1": np.abs(shift).sum(axis=1),
    }[norm]


@given(st.integers(0, 10**6), st.sampled_from(NORMS), st.floats(0.01, 2))
def test_with_two_classes_the_attack_finds_the_exact_maximum(seed, norm, eps):
    rng = np.random.default_rng(seed)
    classifier = LinearClassifier(rng.standard_normal(5), float(rng.standard_normal()))
    x, labels = rng.standard_normal((30, 5)), rng.integers(0, 2, 30)
    points = attack(*two_scores(classifier), x, labels, eps, norm)
    left = margins(*two_scores(classifier), points, labels).min(axis=1)
    np.testing.assert_allclose(left, exact_margins(*two_scores(classifier), x, labels, eps, norm), atol=1e-9)
    assert (length(points - x, norm) <= eps * (1 + 1e-9)).all()


def test_too_few_steps_miss_with_two_classes():
    """Negative control: one step of 2.5 eps is enough, a step that is too short is not."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((30, 5)), np.zeros(30, int)
    scores = two_scores(LinearClassifier(np.ones(5), 0.0))
    short = x + 0.9 * (attack(*scores, x, labels, 0.3) - x)
    assert (margins(*scores, short, labels).min(axis=1) > exact_margins(*scores, x, labels, 0.3) + 0.1).all()


def test_the_attack_agrees_with_the_closed_form_of_training():
    """Losses of the trained classifier at attacked samples add up to the objective of the exact problem."""
    plus, minus = draw(GaussianMixture(dim=5, eta=0.8, sigma=1.0, K=2.0), 300, np.random.default_rng(0))
    found = solve(plus, minus, eps=0.2)
    x, labels = np.concatenate([plus, minus]), np.repeat([0, 1], 300)
    scores = two_scores(found.classifier)
    left = margins(*scores, attack(*scores, x, labels, 0.2), labels).min(axis=1)
    assert np.logaddexp(0, -left).mean() == pytest.approx(found.objective, abs=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_with_several_classes_the_attack_misses_and_is_never_wrong(norm):
    eps = {"linf": 0.15, "l2": 0.3, "l1": 0.5}[norm]
    missed = {"linf": 0, "l2": 0, "l1": 0}
    for seed in range(8):
        decided = compare(*several(seed), eps, norm)
        assert decided.wrong == 0 and decided.found == decided.exact - decided.missed
        assert 0 < decided.exact < decided.n
        missed[norm] += decided.missed
    assert missed[norm] > 0
    assert missed[norm] < 0.2 * 8 * 400


def test_the_exact_criterion_is_the_linear_programme_of_each_class():
    """A wrong class wins somewhere in the linf ball iff the programme of its margin reaches 0 there."""
    weights, bias, x, labels = several(1, n=25)
    exact = exact_margins(weights, bias, x, labels, 0.2)
    for point, k, value in zip(x, labels, exact, strict=True):
        programmes = [
            linprog(weights[k] - weights[j], bounds=np.stack([point - 0.2, point + 0.2], axis=1)).fun
            + bias[k]
            - bias[j]
            for j in range(4)
            if j != k
        ]
        assert min(programmes) == pytest.approx(value, abs=1e-9)


def test_restarts_miss_less():
    once, often = (compare(*several(3, classes=6), 0.15, restarts=r) for r in (1, 10))
    assert often.missed <= once.missed and often.exact == once.exact


@pytest.mark.parametrize(
    "change, says",
    [
        ({"eps": -1.0}, "eps"),
        ({"norm": "l0"}, "norm must be one of"),
        ({"labels": np.full(400, 4)}, "must fit"),
        ({"bias": np.zeros(3)}, "must fit"),
        ({"steps": 0}, "steps"),
        ({"restarts": 0}, "restarts"),
    ],
)
def test_bad_attacks_are_refused(change, says):
    names = ("weights", "bias", "x", "labels")
    with pytest.raises(InputError, match=says):
        attack(**(dict(zip(names, several(0), strict=True)) | {"eps": 0.1} | change))


def test_the_study_sees_an_attack_that_is_too_short(monkeypatch):
    rng = np.random.default_rng(0)
    two, five = ({"classes": c, "norm": "linf", "dim": 10, "seed": 0} for c in (2, 5))
    outcome = attack_study.run(two, rng, 1e-7)
    assert {c.verdict.verdict for c in outcome.comparisons} == {"agrees"}
    assert ", 0 missed" not in attack_study.run(five, rng, 1e-7).comparisons[0].what
    monkeypatch.setattr(attack_study, "compare", lambda *a: compare(*a[:4], 0.9 * a[4], a[5]))
    short = attack_study.run(two, rng, 1e-7)
    assert {c.verdict.verdict for c in short.comparisons} == {"agrees"}  # exact at its own radius
    monkeypatch.setattr(attack_study, "compare", lambda *a: compare(*a, steps=2, restarts=1))
    monkeypatch.setattr("sim.testing.iterative._steepest", lambda gradient, norm: 0.3 * np.sign(gradient))
    weak = attack_study.run(two, rng, 1e-7)
    assert weak.comparisons[1].verdict.verdict == "differs"
