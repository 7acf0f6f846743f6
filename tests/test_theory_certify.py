"""Certificates: every part holds, and a wrong part is seen."""

import dataclasses

import pytest
import sympy as sp

from theory.__main__ import main
from theory.claims import optimum_certificates as c
from theory.claims.certificates import ARITHMETICS, certify, prove
from theory.common.inputs import InputError
from theory.theorems import statements

CERTIFIED = {name: s.certificate for name, s in statements().items() if s.certificate}
UNIT = {"x": ("-1", "1")}
x = sp.Symbol("x")


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("name", CERTIFIED)
def test_certificates_hold(name, arithmetic):
    assert all(p.proved for p in certify(CERTIFIED[name], arithmetic))


@pytest.mark.parametrize("name", CERTIFIED)
def test_a_wrong_identity_is_seen(name):
    whole = CERTIFIED[name]
    for i in range(len(whole.identities())):
        bent = dataclasses.replace(
            whole,
            identities=lambda i=i: [e + c.a * int(j == i) / 7 for j, e in enumerate(whole.identities())],
        )
        assert not certify(bent)[0].proved


@pytest.mark.parametrize("name", CERTIFIED)
def test_a_wrong_sign_is_refuted(name):
    for part in CERTIFIED[name].positive():
        assert "negative" in prove(-part, CERTIFIED[name].box).failure


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_what_is_needed_and_no_more(arithmetic):
    # false only in a corner, true without it
    bracket = (c.K - 1) ** 2 - 2 * c.K * c.one_minus_t
    assert not prove(bracket, c.BOX, arithmetic).proved
    assert prove(bracket, {"K": ("4", "10"), "a": ("0", "20")}, arithmetic).proved
    # > 0 fails at one point only, the end of the box: it must not be proved
    assert not prove(sp.log(c.K), {"K": ("1", "2")}, arithmetic, limit=500).proved
    assert prove(sp.log(c.K), {"K": ("1.0000001", "2")}, arithmetic).proved


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize(
    "expression, true",
    [
        (x**2 + sp.Rational(1, 10**9), True),
        (x**2 - sp.Rational(1, 10**9), False),
        (1 - x**2 + sp.Rational(1, 1000), True),
        (sp.exp(x) - 1 - x + sp.Rational(1, 1000), True),
        (sp.exp(x) - 1 - x - sp.Rational(1, 1000), False),
        (sp.sqrt(x + 2) - sp.Rational(9, 10), True),
        (sp.pi - 3 + x**3 / 8, True),
        ((x + 3) ** sp.Rational(-3, 2) - sp.Rational(1, 8) + sp.Rational(1, 10**6), True),
        ((x + 3) ** sp.Rational(-3, 2) - sp.Rational(1, 8) - sp.Rational(1, 10**6), False),
    ],
)
def test_proves_what_is_true_and_nothing_else(expression, true, arithmetic):
    assert prove(expression, UNIT, arithmetic, limit=20_000).proved == true


def test_constants_are_enclosed():
    third = sp.Rational(1, 3)
    assert not prove(x - third, {"x": ("0.3333333333333333", "1")}).proved  # below 1/3 by 3e-17
    assert prove(x - third, {"x": ("0.33333333333333334", "1")}).proved


def test_arb_needs_no_argument_for_the_price_of_fairness():
    certificate = dataclasses.replace(
        CERTIFIED["ours_price_of_fairness"], box={"K": ("2", "3"), "a": ("1", "2")}
    )
    assert certify(certificate, "arb", direct=True)[-1].proved
    dear = dataclasses.replace(certificate, direct=lambda: certificate.direct() - sp.Rational(1, 20))
    assert "negative" in certify(dear, "arb", direct=True)[-1].failure


def test_bad_requests_are_refused(refuses, invoke):
    with pytest.raises(InputError, match="arithmetic"):
        prove(x, UNIT, "floats")
    with pytest.raises(InputError, match="of x"):
        prove(x, {"y": ("0", "1")})
    with pytest.raises(InputError, match="half-integer"):
        prove((x + 2) ** sp.Rational(1, 3), UNIT)
    refuses(main, "certify", "ours_critical_margin", says=["no certificate", "ours_ratio_above_K"])
    refuses(main, "certify", "--direct", says=["only arb"])
    refuses(main, "certify", "--arithmetic", "floats", says=["mpmath", "arb"])
    code, out, _ = invoke(main, "certify", "xu2021_wide_class_pays")
    assert code == 0 and out.count("| proved") == 3 and "K [1.01, 10], a [0, 20]" in out


def test_the_table_says_what_a_person_argued(invoke):
    text = invoke(main, "certify", "ours_ratio_above_K")[1]
    assert "person argued" in text and "l'Hopital" in text and "machine proved" in text


@pytest.mark.parametrize("name", [name for name, certificate in CERTIFIED.items() if certificate.direct])
def test_direct_forms_hold_and_their_reverse_is_refuted(name):
    """On a small part of their boxes, which take a minute each."""
    certificate = dataclasses.replace(CERTIFIED[name], direct_box={"K": ("2", "2.5"), "a": ("1", "1.5")})
    proof = certify(certificate, "arb", direct=True)[-1]
    assert proof.proved and proof.method.startswith("direct") and "K [2, 2.5]" in proof.box
    reverse = dataclasses.replace(certificate, direct=lambda: -certificate.direct())
    assert "negative" in certify(reverse, "arb", direct=True)[-1].failure
