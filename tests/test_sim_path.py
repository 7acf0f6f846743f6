"""The path of linear training over radii: each solution as one by one, each with its certificate."""

import numpy as np
import pytest

from sim import features
from sim.sampling.images import Images
from sim.solvers.path import path
from sim.solvers.solve import solve
from theory.common.inputs import InputError

RADII = np.linspace(0, 0.3, 16)


def samples(n=300, d=12, seed=0):
    rng = np.random.default_rng(seed)
    mean = rng.exponential(0.2, d)
    return mean + rng.normal(size=(n, d)), -mean + 0.7 * rng.normal(size=(n, d))


@pytest.mark.parametrize(
    "setting",
    [{}, {"l2": 0.1}, {"norm": "l2"}, {"loss": "hinge", "weights": (2.0, 1.0)}, {"loss": "squared"}],
)
def test_the_path_has_the_solutions_of_single_trainings(setting):
    radii = RADII[::5]
    solutions = path(*samples(), radii, **setting)
    for eps, trained in zip(radii, solutions, strict=True):
        alone = solve(*samples(), eps=eps, **setting)
        assert trained.gap <= 1e-8 * max(1, trained.objective)
        assert trained.objective == pytest.approx(alone.objective, abs=2e-8)
        np.testing.assert_allclose(trained.classifier.weights, alone.classifier.weights, atol=2e-3)
    objectives = [s.objective for s in solutions]
    assert objectives == sorted(objectives) and objectives[-1] > objectives[0] + 0.05


def test_a_start_from_the_neighbour_saves_steps():
    path_steps = sum(s.iterations for s in path(*samples(), RADII))
    single = sum(solve(*samples(), eps=eps).iterations for eps in RADII)
    assert path_steps < 0.85 * single


def test_what_the_adversary_leaves_nothing_of_is_exactly_0():
    natural, robust = path(*samples(), [0.0, 5.0], l2=1e-3)
    assert natural.classifier.weights.all() and not robust.classifier.weights.any()


def test_radii_come_back_in_their_order_and_may_be_texts_or_pairs():
    mixed = path(*samples(), ["3/10", 0, np.float32(0.125), (0.1, "1/4")])
    plain = path(*samples(), [0.3, 0.0, 0.125, (0.1, 0.25)])
    assert [s.objective for s in mixed] == [s.objective for s in plain]
    for eps, trained in zip((0.3, 0.0, 0.125, (0.1, 0.25)), mixed, strict=True):
        assert trained.objective == pytest.approx(solve(*samples(), eps=eps).objective, abs=2e-8)
    assert path(*samples(), []) == []


def test_what_cannot_be_solved_names_its_radius():
    plus = np.array([[2.0, 0.1], [1.5, -0.2]])
    with pytest.raises(InputError, match="eps = 1/10: .*separable"):
        path(plus, -plus, [3.0, "1/10"])
    with pytest.raises(InputError, match="eps must be"):
        path(plus, -plus, [0.1, -1])
    assert len(path(plus, -plus, [3.0, "1/10"], l2=0.1)) == 2


def test_features_train_along_the_path(monkeypatch):
    """The command trains by the path: another path is another study."""
    rng = np.random.default_rng(0)
    pair = tuple(sign * 0.2 + rng.random((40, 6)) for sign in (1, -1))
    images = Images(train=pair, test=pair, shape=(2, 3))
    calls = []

    def spied(*train, **setting):
        calls.append(train[2])
        return path(*train, **setting)

    monkeypatch.setattr(features, "path", spied)
    study = features.study(images, 0.1, l2=1e-3, resamples=2, seed=0)
    assert calls == [[0.0, 0.1]] * 3
    alone = solve(*pair, eps=0.1, l2=1e-3).classifier
    np.testing.assert_allclose(study.trained["adversarial"].weights, alone.weights, atol=1e-3)
