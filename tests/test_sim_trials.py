"""Monte Carlo of every statement, through the simulation that its own file describes."""

import dataclasses

import numpy as np
import pytest
from scipy.special import ndtri

from sim.learning.biases import draw_scores, learn
from sim.studies.simulations import Sizes, attempt, settings_to_try
from theory.claims.simulation import Distribution, Simulation, Training, rates_of
from theory.gaussian.optimal import optimal_bias
from theory.gaussian.surrogate import hinge_optimum
from theory.theorems import statements
from theory.variants.stable import stable_cdf

NAMES = sorted(statements())
SMALL = Sizes(threshold=200_000, loss=20_000, test=200_000, values=20_000)
ALPHA = 1e-8
LAW = Distribution(margin=1.0, widths=(2.0, 1.0))


def tried(name, statement=None, n=2, sizes=SMALL):
    rng = np.random.default_rng([7, NAMES.index(name)])
    settings = settings_to_try(statements()[name], n, rng)
    return [attempt(statement or statements()[name], s, rng, alpha=ALPHA, sizes=sizes) for s in settings]


@pytest.mark.parametrize("name", NAMES)
def test_counts_agree_with_theory_and_with_the_claim(name):
    outcomes = tried(name)
    assert len(outcomes) == 2
    assert all(rate.verdict != "differs" for o in outcomes for rate in o.rates)
    if statements()[name].status != "refuted":
        assert all(o.claim.verdict != "differs" for o in outcomes)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_predictions_are_seen(name):
    good = statements()[name]

    def bent(setting):
        trial = good.simulation(setting)
        rates = [
            dataclasses.replace(r, predicted=r.predicted + (0.15 if r.predicted < 0.5 else -0.15))
            for r in trial.rates
        ]
        return dataclasses.replace(trial, rates=rates)

    outcomes = tried(name, dataclasses.replace(good, simulation=bent))
    assert any(rate.verdict == "differs" for o in outcomes for rate in o.rates)


@pytest.mark.parametrize("name", [n for n in NAMES if statements()[n].status == "refuted"])
def test_a_refuted_claim_is_seen_to_fail(name):
    sizes = Sizes() if name in ("hu2023_minority_never_gains", "folklore_robust_errors_rise") else SMALL
    assert tried(name, n=1, sizes=sizes)[0].claim.verdict == "differs"


@pytest.mark.parametrize(
    "name", ["xu2021_wide_class_errs_more", "ours_price_of_fairness", "tsipras2019_theorem_2_1"]
)
def test_the_reverse_of_a_true_claim_is_seen_to_fail(name):
    good = statements()[name]

    def reversed_(setting):
        trial = good.simulation(setting)
        return dataclasses.replace(trial, claim=lambda p: -trial.claim(p))

    assert any(
        o.claim.verdict == "differs" for o in tried(name, dataclasses.replace(good, simulation=reversed_))
    )


IN_DOUBT = {
    "zhang2024_class_dro_is_stationary": lambda s: (
        (s["p"] - 0.5) / 2
    ),  # the control's weight is (p + 1/2) / 2
    "ours_class_radii_shift_max_margin": lambda s: 0.1,
}
"""Claims that a sweep of all studies could once not judge, and by how much a wrong one is off."""


@pytest.mark.parametrize("name", IN_DOUBT)
def test_a_sweep_can_judge_the_claim(name):
    good, alpha = statements()[name], 3e-9  # of a setting in a sweep of all studies

    def wrong(setting):
        trial = good.simulation(setting)
        return dataclasses.replace(trial, claim=lambda p: trial.claim(p) + IN_DOUBT[name](setting))

    setting = settings_to_try(good, 1, np.random.default_rng(0))[0]
    for statement, verdict in (
        (good, "agrees"),
        (dataclasses.replace(good, simulation=wrong), "differs"),
    ):
        outcome = attempt(statement, setting, np.random.default_rng(1), alpha=alpha)
        assert outcome.claim.verdict == verdict


def test_rates_of_learning_are_those_of_theory():
    """The 0/1 threshold converges like n^(-1/3) after Kim and Pollard, equal errors like n^(-1/2)."""
    rng = np.random.default_rng(0)
    best = Training(distribution=LAW, rule="threshold", bias=float(optimal_bias(1.0, 1.0, 2.0)))
    even = Training(distribution=LAW, rule="equal", bias=1 / 3)
    _, hinge_bias, _ = hinge_optimum(1.0, 1.0, 2.0)
    for training, rate in ((best, -1 / 3), (even, -1 / 2)):
        spreads = []
        for n in (500, 32_000):
            learnt = [learn(training, n, rng) for _ in range(300)]
            away = np.array([one.bias - training.bias for one in learnt])
            # the standard deviation of Chernoff's distribution
            unit = {"chernoff": 0.5132, "normal": 1.0}[learnt[0].tail]
            assert away.std() / (unit * learnt[0].scale) == pytest.approx(1, abs=0.25)
            spreads.append(away.std())
        assert np.log(spreads[1] / spreads[0]) / np.log(64) == pytest.approx(rate, abs=0.05)
    hinge = Training(distribution=LAW, rule="hinge", bias=float(hinge_bias))
    z = [(one.bias - hinge.bias) / one.scale for one in (learn(hinge, 4000, rng) for _ in range(60))]
    assert 0.7 < np.std(z) < 1.35 and abs(np.mean(z)) < 0.6


def test_weighted_thresholds_and_constants():
    rng = np.random.default_rng(1)
    for odds in (0.5, 2.0):
        bias = float(optimal_bias(1.0, 1.0, 2.0, np.log(odds)))
        training = Training(distribution=LAW, rule="threshold", bias=bias, log_odds=float(np.log(odds)))
        learnt = learn(training, 500_000, rng)
        assert abs(learnt.bias - bias) < learnt.half_width(1e-6)
    always = Training(distribution=LAW, rule="threshold", bias=np.inf, log_odds=float(np.log(50)))
    assert learn(always, 10_000, rng).bias == np.inf


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_stable_scores_have_the_law_of_theory(alpha):
    law = Distribution(margin=0.5, widths=(1.0, 2.0), alpha=alpha)
    rng = np.random.default_rng(2)
    for label, width in ((1, 1.0), (-1, 2.0)):
        scores = draw_scores(law, label, 200_000, rng)
        measured = (label * (scores + 0.3) <= 0).mean()
        predicted = law.error(0.3, label)
        assert abs(measured - predicted) < 5 * np.sqrt(predicted * (1 - predicted) / 200_000)
        if alpha < 2:
            assert predicted == pytest.approx(stable_cdf((-label * 0.3 - 0.5) / width, alpha))
        assert abs((label * (scores + 0.4) <= 0).mean() - predicted) > 1e-3  # control: another bias


def test_interval_of_a_claim_holds_as_often_as_it_says():
    """95 % intervals of a z-score difference, over true settings: rarely wrong, and not always right."""
    fixed = Training(distribution=LAW, rule="fixed", bias=0.2)
    wrong = 0
    truth = ndtri(LAW.error(0.2, 1)) - ndtri(LAW.error(0.2, -1))
    trial = Simulation(rates=rates_of(fixed), claim=lambda p: float(ndtri(p[0]) - ndtri(p[1])) - truth)
    statement = dataclasses.replace(
        statements()["xu2021_stationarity"], simulation=lambda s: trial, counterexample=None
    )
    rng = np.random.default_rng(3)
    for _ in range(400):
        outcome = attempt(statement, {}, rng, alpha=0.15, sizes=Sizes(test=2000))
        wrong += outcome.claim.verdict == "differs"
    assert wrong <= 60  # expected at most 400 * 0.05
