"""Modules keep the names from before they had rooms."""

import subprocess
import sys

import pytest

NAMES = "theory.inputs theory.arrays theory.optimal sim.newton deep.evaluate deep.ball".split()


@pytest.mark.parametrize("name", NAMES)
def test_an_old_name_is_the_same_module_and_says_the_new_one(name):
    code = f"""
import sys, {name} as old
(home,) = [n for n, module in sys.modules.items() if module is old and n.count(".") == 2]
print(home, old.__spec__.name)
"""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True
    )
    home, spec = done.stdout.split()
    assert home == spec and home.split(".")[::2] == name.split(".")
    assert f"DeprecationWarning: {name} is now {home}" in done.stderr


def test_what_was_never_there_is_not_found():
    with pytest.raises(ModuleNotFoundError, match="theory.nothing"):
        __import__("theory.nothing")
    with pytest.raises(ModuleNotFoundError):
        __import__("theory.base")  # of deep alone
