"""Every statement of theory/theorems: discovered, so that none can stand there without being tested."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.__main__ import claims, main
from theory.claims.statement import Statement, check
from theory.common.inputs import InputError
from theory.theorems import statements

NAMES = sorted(statements())
ROOT = Path(__file__).parent.parent


def settings_of(statement, n, seed=0):
    rng = np.random.default_rng(seed)
    return [statement.draw(rng) for _ in range(n)]


def test_every_file_is_a_statement_with_an_author_or_a_kind():
    files = {p.stem for p in (ROOT / "theory" / "theorems").glob("*.py")} - {"__init__"}
    assert files == set(NAMES) and len(NAMES) >= 25
    assert all(re.match(r"(ours|folklore|[a-z]+20\d\d)_", name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_numeric_and_symbolic_forms_agree_at_50_digits(name):
    statement = statements()[name]
    for setting in settings_of(statement, 6):
        exact = statement.exact(setting)
        assert statement.evaluate(setting) == pytest.approx(exact, rel=1e-8, abs=1e-9)
        if statement.status != "refuted":
            assert abs(exact) < 1e-30 if statement.kind == "=" else exact > 0


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32))
def test_holds_over_its_domain(name, seed):
    statement = statements()[name]
    if statement.status != "refuted":
        for setting in settings_of(statement, 5, seed):
            assert statement.holds(statement.evaluate(setting)), setting


@pytest.mark.parametrize("name", NAMES)
def test_is_refused_outside_its_domain(name):
    statement = statements()[name]
    setting = settings_of(statement, 1)[0]
    statement.require(setting)
    outside = {k: -1.0 for k in setting}
    with pytest.raises(InputError, match="assumes .*, got .*-1"):
        statement.evaluate(outside)


@pytest.mark.parametrize("name", NAMES)
def test_the_control_is_rejected(name):
    statement = statements()[name]
    outcome = check(statement, np.random.default_rng(1), 60)
    assert outcome.control_rejected > 0
    assert outcome.verdict(statement.status) not in ("VIOLATED", "BLIND")


@pytest.mark.parametrize("name", [n for n in NAMES if statements()[n].status == "refuted"])
def test_a_refuted_claim_ships_with_its_counterexample(name):
    statement = statements()[name]
    assert statement.counterexample is not None
    assert not statement.holds(statement.evaluate(statement.counterexample))
    exact = statement.exact(statement.counterexample)
    assert abs(exact) > 1e-6 if statement.kind == "=" else exact < -1e-6


def test_a_wrong_statement_is_seen(monkeypatch):
    good = statements()["xu2021_stationarity"]
    wrong = Statement(**(vars(good) | {"residual": good.control}))
    assert check(wrong, np.random.default_rng(0), 50).verdict("confirmed") == "VIOLATED"
    blind = Statement(**(vars(good) | {"control": good.residual}))
    assert check(blind, np.random.default_rng(0), 50).verdict("confirmed") == "BLIND"
    monkeypatch.setattr("theory.__main__.statements", lambda: {"wrong": wrong})
    monkeypatch.setattr("theory.theorems.statements", lambda: {"wrong": wrong})
    assert main(["check"]) == 1


def test_command_lines(invoke, refuses):
    code, out, _ = invoke(main, "check", "ours_critical_margin", "--settings", 20)
    assert code == 0 and "ours_critical_margin" in out and "holds" in out
    assert invoke(main, "latex", "ours_ratio_above_K")[1].count(r"\[") == 1
    refuses(main, "check", "nonsense", says=["nonsense", "ours_critical_margin"])
    refuses(main, "latex", "nonsense", says=["nonsense"])
    assert invoke(main, "claims")[1].strip() == claims()


def test_the_readme_lists_every_claim():
    assert claims() in (ROOT / "README.md").read_text()
