import json
import math

import pytest

from theory.__main__ import main
from theory.gaussian.mixture import GaussianMixture
from theory.gaussian.problem import optimal_classifier

ODD = ("1_0", " 5", "5 ", "\uff15", "\u0661", "infinity", "1e400", "0x10", "1/1_0")
"""What Python reads as a number and a person does not write."""
SETTING = {"dim": 100, "eta": 0.13, "sigma": 0.95, "K": 1.5, "eps": 0.05}
FLAGS = [word for k, v in SETTING.items() for word in (f"--{k}", v)]


def test_json_of_one_setting(invoke):
    code, out, _ = invoke(main, "errors", *FLAGS, "--json")
    result = json.loads(out)
    assert code == 0 and result["setting"] == SETTING
    z = optimal_classifier(
        GaussianMixture(**{k: v for k, v in SETTING.items() if k != "eps"}), 0.05
    ).z_scores(0.05)
    assert result["robust"]["log_robust_error"]["+1"] == pytest.approx(math.log(0.3258893), abs=1e-6)
    assert set(result["robust"]) == {
        "bias",
        "kind",
        "margin",
        "natural_error",
        "robust_error",
        "log_natural_error",
        "log_robust_error",
    }
    assert z[0] > z[1]


def test_table_for_a_person(invoke):
    code, out, _ = invoke(main, "errors", *FLAGS)
    assert code == 0 and "0.325889" in out and "always_plus" not in out


def test_many_settings_in_order(invoke, tmp_path):
    lines = [
        SETTING,
        {**SETTING, "K": 1.0, "eps": "1/5"},
        {("d" if k == "dim" else k): v for k, v in SETTING.items()},
    ]
    path = tmp_path / "settings.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    code, out, _ = invoke(main, "errors", "--from", path)
    first, second, third = map(json.loads, out.splitlines())
    assert code == 0 and first == third and second["setting"]["eps"] == 0.2
    assert second["robust"]["kind"] == "always_plus" and second["robust"]["bias"] == "inf"
    assert second["robust"]["log_natural_error"] == {"+1": "-inf", "-1": 0.0}


@pytest.mark.parametrize(
    "flag, value",
    [
        ("K", "0"),
        ("K", "nan"),
        ("K", "x"),
        ("eps", "-0.1"),
        ("eps", "8/0"),
        ("dim", "0"),
        ("dim", "1.5"),
        ("eta", "inf"),
        ("sigma", "-1"),
        ("eps", "0." + "1" * 39),
        *((flag, v) for flag in ("dim", "K", "eps") for v in ODD),
    ],
)
def test_bad_numbers_are_refused(refuses, flag, value):
    flags = [word for k, v in SETTING.items() for word in (f"--{k}", value if k == flag else v)]
    refuses(main, "errors", *flags, says=[flag, value])


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["errors"],
        ["errors", "--dim", "3"],
        ["errors", *FLAGS, "--ep", "1"],
        ["errors", *FLAGS, "--from", "x"],
    ],
)
def test_bad_command_lines_are_refused(refuses, argv):
    refuses(main, *argv)


@pytest.mark.parametrize(
    "content",
    [
        *(json.dumps({**SETTING, "eps": text}).encode() for text in ODD),
        b"",
        b"\n",
        b"{",
        b"[1]",
        b"\xff\xfe\x00",
        b'{"dim": 1}',
        b'{"dim": null, "eta": 1, "sigma": 1, "K": 2, "eps": 0}',
        b'{"dim": 1, "eta": 1e999, "sigma": 1, "K": 2, "eps": 0}',
        b'{"dim": 1, "eta": true, "sigma": 1, "K": 2, "eps": 0}',
        b'{"dim": 1, "d": 1, "eta": 1, "sigma": 1, "K": 2, "eps": 0}',
        b'{"dim": 1, "eta": 1, "sigma": 1, "K": 2, "eps": [0]}',
        b"[" * 100_000,
    ],
)
def test_damaged_files_are_refused_before_anything_is_printed(refuses, tmp_path, content):
    path = tmp_path / "settings.jsonl"
    good = json.dumps(SETTING).encode() + b"\n"
    path.write_bytes(content if content in (b"", b"\n") else good + content)
    refuses(main, "errors", "--from", path, says=[str(path)])


def test_missing_file_is_refused(refuses, tmp_path):
    refuses(main, "errors", "--from", tmp_path / "nothing", says=["nothing", "No such file"])
    refuses(main, "errors", "--from", tmp_path)


def test_derivation(invoke):
    code, out, _ = invoke(main, "derive")
    assert code == 0 and "FAILS" not in out and out.count("ok ") >= 8
