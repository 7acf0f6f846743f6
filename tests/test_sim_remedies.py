"""The study of Reweight and Remargin: it agrees with theory, sees what is wrong, and writes its records."""

import dataclasses

import numpy as np
import pytest

from sim.studies import remedies, studies
from theory.gaussian.mixture import GaussianMixture
from theory.results.records import Record

ALPHA = 1e-7


@pytest.fixture(autouse=True)
def fewer_samples(monkeypatch):
    monkeypatch.setattr(remedies, "N", 100_000)


def outcomes(n=2):
    study = studies()["remedies"]
    return [
        study.run(s, np.random.default_rng(0), ALPHA) for s in study.settings(n, np.random.default_rng(1))
    ]


def verdicts(n=2):
    return {c.verdict.verdict for o in outcomes(n) for c in o.comparisons}


def test_what_is_learnt_has_the_errors_of_theory():
    assert "differs" not in verdicts()


@pytest.mark.parametrize(
    "rule, odds, shift", [("reweight", 1.5, 0.0), ("remargin", 1, 0.3), ("equal", 1, 0.1)]
)
def test_another_training_is_seen(monkeypatch, rule, odds, shift):
    """Cost odds, or a bias, other than those that theory is told."""
    learn = remedies.Mitigation.learn

    def other(self, mixture, rng):
        found = learn(dataclasses.replace(self, cost_odds=self.cost_odds * odds), mixture, rng)
        return dataclasses.replace(found, bias=found.bias + shift) if self.rule == rule else found

    monkeypatch.setattr(remedies.Mitigation, "learn", other)
    assert "differs" in verdicts(1)


def test_cost_odds_K_equalise_robust_errors_or_jump():
    """K = 2 is above its critical margin at eps = 0.16, K = 3 below."""
    for K, errors in ((2.0, None), (3.0, (0.0, 1.0))):
        found = list(remedies.mitigations(GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=K), 0.16))
        (strongest,) = [r.solution for r in found if r.cost_odds == K]
        (equal,) = [r.solution for r in found if r.rule == "equal"]
        z = strongest.z_scores(0.16)
        if errors is None:
            assert z[0] == pytest.approx(z[1]) == pytest.approx(equal.z_scores(0.16)[0])
        else:
            assert z == (-np.inf, np.inf)


def test_records_say_how_they_were_made():
    (outcome,) = outcomes(1)
    assert len(outcome.records) == 6 * 12 and all(isinstance(r, Record) for r in outcome.records)
    ways = {(r.setting["rule"], r.setting["cost_odds"], *r.setting["radii"]) for r in outcome.records}
    assert len(ways) == 6 and ("remargin", 1.0, 0.32, 0.0) in ways and ("equal", 1.0, 0.16, 0.16) in ways
    judged = [r for r in outcome.records if r.extra]
    assert len(judged) == len(outcome.comparisons) == 24
    assert all(r.extra["measured"] == r.value for r in judged)
    (again,) = outcomes(1)
    assert [r.errors for r in again.records] == [r.errors for r in outcome.records]


def test_there_are_as_many_settings_as_asked():
    settings = studies()["remedies"].settings(12, np.random.default_rng(2))
    assert len({(s["K"], s["eps"]) for s in settings}) == 9 and len({s["seed"] for s in settings}) == 12
