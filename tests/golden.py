"""Golden values of the reference: numbers computed at 30 digits by code that shares nothing with ours."""

import json
from pathlib import Path

import pytest

CASES = json.loads((Path(__file__).parent / "data" / "golden_theory2.json").read_text())


def golden(key):
    """Return the parametrisation of a test over (given, value) of every case of a formula."""
    return pytest.mark.parametrize(("case", "value"), [(c["given"], c["value"]) for c in CASES[key]])


def agrees(measured, value, rel=1e-10):
    """Say whether each golden value is met; ``measured`` has them by the same names."""
    for name, expected in value.items():
        if isinstance(expected, str):
            assert measured[name] == expected, name
        else:
            # a bias that is 0 by symmetry is 0 but for rounding; errors keep their digits however small
            smallest = 1e-15 if name.startswith("b") else 0.0
            assert measured[name] == pytest.approx(expected, rel=rel, abs=smallest), name
    return True
