"""Every statement of theory/theorems: discovered, so that none can stand there without being tested."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from theory import theorems
from theory.__main__ import claims, main
from theory.claims.statement import Statement, check
from theory.claims.typeset import statement_latex
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
    monkeypatch.setattr("theory.theorems.statements", lambda: {"wrong": wrong})
    assert main(["check"]) == 1


def test_a_wrong_symbolic_form_is_seen(monkeypatch):
    """Also one that is wrong by little, and where the numeric form is right."""
    good = statements()["ours_ratio_above_K"]
    wrong = dataclasses.replace(good, symbolic=lambda: good.symbolic() * (1 + sp.Rational(1, 10**6)))
    assert check(wrong, np.random.default_rng(0), 50).verdict("confirmed") == "FORMS DIFFER"
    assert check(good, np.random.default_rng(0), 50).verdict("confirmed") == "holds"
    monkeypatch.setattr("theory.theorems.statements", lambda: {"wrong": wrong})
    assert main(["check"]) == 1


@pytest.mark.parametrize("text", ["x = 1", "STATEMENT = 'Hello'"])
def test_a_file_without_a_statement_is_refused_in_one_sentence(text, tmp_path, monkeypatch, refuses):
    (tmp_path / "nobody2030_says_nothing.py").write_text(text)
    monkeypatch.setattr("theory.theorems.__path__", [*theorems.__path__, str(tmp_path)])
    statements.cache_clear()
    try:
        refuses(main, "claims", says=["nobody2030_says_nothing.py", "STATEMENT"])
    finally:
        statements.cache_clear()


def latex_document():
    """Return every statement as one LaTeX document."""
    body = "\n\n".join(statement_latex(s) for s in statements().values())
    return (
        f"\\documentclass{{article}}\\usepackage{{amsmath}}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )


def loose(latex):
    """Return the characters of a document's text that are commands of LaTeX, outside math and comments."""
    text = re.sub(r"(?m)^%.*$", "", latex)
    text = re.sub(r"(?s)\\\[.*?\\\]", "", text)
    return re.findall(r"(?<!\\)[_^#$%&~]", text)


@pytest.mark.parametrize("name", NAMES)
def test_the_latex_of_a_statement_is_balanced_and_its_text_has_no_commands(name):
    latex = statement_latex(statements()[name])
    assert loose(latex) == [] and latex.count("{") - latex.count("\\{") == latex.count("}") - latex.count(
        "\\}"
    )
    assert latex.count("\\left") - latex.count("\\leftarrow") == latex.count("\\right") - latex.count(
        "\\rightarrow"
    )


def test_commands_in_text_are_seen():
    assert loose("% a_b\nR_+ of x^2 \\_ \\[ a_b \\]") == ["_", "^"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_all_latex_compiles(tmp_path):
    (tmp_path / "all.tex").write_text(latex_document())
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:]


def test_command_lines(invoke, refuses):
    code, out, _ = invoke(main, "check", "ours_critical_margin", "--settings", 20)
    assert code == 0 and "ours_critical_margin" in out and "holds" in out
    assert invoke(main, "latex", "ours_ratio_above_K")[1].count(r"\[") == 1
    refuses(main, "check", "nonsense", says=["nonsense", "ours_critical_margin"])
    refuses(main, "latex", "nonsense", says=["nonsense"])
    assert invoke(main, "claims")[1].strip() == claims()


def test_the_readme_lists_every_claim():
    assert claims() in (ROOT / "docs" / "claims.md").read_text()
