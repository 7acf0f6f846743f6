"""Methods, attacks and radii are values: what they are is never read from a label or a sentence."""

import dataclasses

import numpy as np
import pytest
from test_deep_compare import CLASSES, N, draw, studied, write_run
from test_theory_errors import run_records

from deep import compare
from theory.common.inputs import InputError, parse_radius, usual_radius
from theory.results.attacks import attack_key, kinds_of
from theory.results.findings import findings
from theory.results.flags import Evaluation
from theory.results.methods import MethodId, bases_of, labels_of
from theory.results.protocols import comparisons, mixed

PGD, NATURAL = MethodId("pgd"), MethodId("natural")
TRADES = [MethodId.of("trades", {"beta": beta}) for beta in (1.0, 6.0)]


def test_a_method_is_its_name_hyper_parameters_and_start():
    assert MethodId.of("a", {"x": 1, "y": 2.0}) == MethodId.of("a", {"y": 2.0, "x": 1})
    others = [MethodId.of("b", {}), MethodId.of("a", {"x": 1}), MethodId("a", (), "init")]
    assert len({MethodId("a"), *others}) == 4
    (record, *_) = run_records("frl", 0, (5, 5), (30, 70), variant="both", beta=6.0)
    assert MethodId.of_record(record) == MethodId.of("frl", {"variant": "both", "beta": 6.0})


def test_only_the_name_says_what_a_method_is():
    """A method that is called natural-looking, with a label that begins like that of a base, is no base."""
    odd = [MethodId("natural x"), MethodId("pgd at"), MethodId("trades-fair")]
    assert [m.is_base for m in (NATURAL, PGD, *TRADES, *odd)] == [True] * 4 + [False] * 3
    assert NATURAL.is_natural and not any(m.is_natural for m in (PGD, *odd))
    assert bases_of([PGD, *odd]) == dict.fromkeys(odd, PGD)


def test_the_base_is_that_at_the_nearest_beta():
    fair = MethodId.of("fair", {"beta": 2.0})
    on_pgd = MethodId.of("fair", {"beta": 2.0, "base": "pgd"})
    every = [NATURAL, PGD, *TRADES, fair, on_pgd, MethodId("bat")]
    assert bases_of(every) == {
        **dict.fromkeys(TRADES, PGD),
        fair: TRADES[0],
        on_pgd: PGD,
        MethodId("bat"): PGD,
    }
    assert bases_of([*TRADES, on_pgd]) == {on_pgd: TRADES[0]}  # without PGD the nearest TRADES
    assert bases_of([PGD, fair]) == {fair: PGD} and bases_of([fair]) == {}


def test_labels_tell_methods_apart_and_no_more():
    caps = [MethodId.of("frl", {"variant": "both", "cap": c, "beta": 6.0}) for c in (0.1, 0.9)]
    labels = labels_of([*TRADES, *caps, PGD, NATURAL])
    assert [*labels.values()] == [
        *("natural", "PGD", "FRL both cap=0.1", "FRL both cap=0.9"),
        *("TRADES beta=1", "TRADES beta=6"),
    ]
    assert labels_of(caps[:1]) == {caps[0]: "FRL both"}


@pytest.mark.parametrize(
    "text, usual",
    [
        *(("0.15", "0.15"), ("0.150", "0.15"), (".15", "0.15"), ("15/100", "0.15"), ("0.1500000000", "0.15")),
        *(
            ("8/255", "8/255"),
            ("16/510", "8/255"),
            ("2/255", "2/255"),
            ("0", "0"),
            ("0.0", "0"),
            ("1.0", "1"),
        ),
        *(("1/7", "1/7"), ("2/14", "1/7"), ("0.3", "0.3"), ("1e-1", "0.1"), ("6/255", "6/255")),
    ],
)
def test_a_radius_has_one_usual_spelling(text, usual):
    assert usual_radius(text) == usual == usual_radius(usual)
    assert parse_radius(usual) == parse_radius(text)


def test_radii_of_other_values_stay_apart():
    rng = np.random.default_rng(0)
    values = [*rng.random(300), *(k / 255 for k in range(256)), 0.0313, 0.03137, 0.031372549]
    texts = [usual_radius(repr(float(v))) for v in values]
    assert [parse_radius(t) for t in texts] == values and len({*texts}) == len({*values})
    with pytest.raises(InputError):
        usual_radius("8/0")


def respelled(records, old, new):
    """Return records of a run whose radius was spelled in another way."""
    for r in records:
        setting = {**r.setting, "eps": parse_radius(new), "eps_text": new}
        yield dataclasses.replace(r, setting=setting, attack=f"PGD-20, eps={new}, step=eps/4")


@pytest.mark.parametrize("one, other, same", [("8/255", "16/510", True), ("0.15", "0.150", True),
                                              ("8/255", "0.031", False)])  # fmt: skip
def test_spellings_of_a_radius_are_one_protocol(one, other, same):
    first = [*respelled(run_records("pgd", 0, (5, 5), (30, 70)), "", one)]
    second = [*respelled(run_records("trades", 0, (5, 5), (30, 60), beta=6.0), "", other)]
    found = comparisons([*first, *second])
    assert len(found) == (1 if same else 2)
    assert found[0].protocol["eps_text"] == one and f"eps={one}," in found[0].title  # as it was given
    assert (found[0].label_of(second[0]) is not None) == same
    assert (mixed(("a", first[0]), ("b", second[0])) == "") == same


def test_runs_whose_radius_is_spelled_otherwise_are_paired(tmp_path, invoke):
    """Their flags name the attack with the radius as it was given."""
    for name, method, eps in (("a", "pgd", "0.1"), ("b", "frl", "0.10")):
        attack = f"PGD-20, eps={eps}, step=eps/4"
        folder = write_run(tmp_path / name, method, 0, draw(0), attack=attack, setting={"eps_text": eps})
        flags = Evaluation.read(folder / "flags.npz")
        named = dataclasses.replace(flags, attacks=("clean", attack))
        (folder / "flags.npz").write_bytes(named.to_bytes())
    study = studied(tmp_path)
    assert len(study.pairs("FRL", "PGD", "robust_error")) == 1
    assert invoke(compare.main, tmp_path)[0] == 0
    other = dataclasses.replace(named, attacks=("clean", "PGD-20, eps=0.2, step=eps/4"))
    (folder / "flags.npz").write_bytes(other.to_bytes())
    with pytest.raises(InputError, match="same samples"):
        studied(tmp_path).pairs("FRL", "PGD", "robust_error")


def test_attacks_have_kinds_and_old_files_get_them(tmp_path):
    names = ("clean", "PGD-20, cross-entropy, x", "PGD-9, margin to 9 wrong classes, x", "AutoAttack (a), x")
    assert kinds_of([*names, "PGD-20", "Square"]) == (
        *("clean", "pgd", "targeted", "autoattack", "pgd", "other"),
    )
    ok = np.ones((2, 3), bool)
    odd = Evaluation(("clean", "not AutoAttack at all"), np.arange(3), np.arange(3), ok)
    assert odd.kinds == ("clean", "other")  # the name of a program in a sentence is no kind
    own = Evaluation(("clean", "my attack"), np.arange(3), np.arange(3), ok, kinds=("clean", "autoattack"))
    (tmp_path / "flags.npz").write_bytes(own.to_bytes())
    assert Evaluation.read(tmp_path / "flags.npz").kinds == own.kinds
    assert own.without("autoattack") == ("clean",)
    with pytest.raises(InputError, match="kinds"):
        Evaluation(("clean", "x"), np.arange(3), np.arange(3), ok, kinds=("clean",))
    assert attack_key("X, eps=0.10; and Y, eps=1/10") == attack_key("X, eps=1/10; and Y, eps=0.1")
    assert attack_key("X, eps=0.10") != attack_key("X, eps=0.11") and attack_key("eps=?") == "eps=?"


def test_a_finding_has_its_class(tmp_path):
    for s in range(2):
        write_run(tmp_path / f"p{s}", "pgd", s, draw(s))
        write_run(tmp_path / f"t{s}", "trades", s, draw(s, salt=1), params={"beta": 6.0})
    by_name = {f.name: f for f in findings(studied(tmp_path))}
    assert by_name["worst class"].error.label == CLASSES[-1] and N
    assert by_name["worst class"].to_json()["class"] == "d"
    assert by_name["robust average"].error.label is None
    assert "class" not in by_name["robust average"].to_json()


def test_a_base_may_be_named_as_written_or_as_given(tmp_path, invoke, refuses):
    write_run(tmp_path / "p", "pgd", 0, draw(0))
    write_run(tmp_path / "t", "trades", 0, draw(0, salt=1), params={"beta": 6.0})
    outs = {invoke(compare.main, tmp_path, "--base", base)[1] for base in ("TRADES", "trades")}
    assert len(outs) == 1 and "Against TRADES beta=6" in outs.pop()
    refuses(compare.main, tmp_path, "--base", "TRADES beta=6", says=["--base"])
