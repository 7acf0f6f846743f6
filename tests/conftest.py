"""Shared by all tests: hypothesis profiles and a way to run a command line in this process."""

import os
import sys

os.environ["TQDM_DISABLE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch load: small problems, equal on every machine

import pytest
from hypothesis import settings

from theory.common.cli import run

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100)
settings.register_profile("dev", deadline=None, max_examples=50)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    """Take away the width that test processes inherit: tables are printed whole unless a test sets one."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def invoke(monkeypatch, capfd):
    """Return a function that runs a command line as a user would: (exit code, stdout, stderr)."""

    def call(main, *argv):
        monkeypatch.setattr(sys, "argv", [main.__module__, *map(str, argv)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            run(main)
        out, err = capfd.readouterr()
        return stopped.value.code or 0, out, err

    return call


@pytest.fixture
def refuses(invoke):
    """Return a function that checks that a command line is refused in one sentence with exit code 2."""

    def call(main, *argv, says=()):
        code, out, err = invoke(main, *argv)
        assert code == 2, (argv, out, err)
        assert out == ""
        assert len(err.strip().splitlines()) == 1 and "Traceback" not in err, err
        for word in says:
            assert word in err, (word, err)

    return call
