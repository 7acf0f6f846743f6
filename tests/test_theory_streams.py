"""Commands whose streams are closed, full or of few letters, and commands without an extra."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRINTS = "from theory.common.cli import run; run(lambda argv: print('1 ±2 \\u00e9') or 0)"
REFUSES = """
from theory.common.cli import run
from theory.common.inputs import InputError
def main(argv):
    raise InputError("no")
run(main)"""


def shell(code, redirection, **environment):
    words = f"""exec "{sys.executable}" -c "$0" {redirection}"""
    return subprocess.run(
        ["bash", "-c", words, code],
        cwd=ROOT,
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "code, redirection, expected",
    [
        (PRINTS, "", (0, "1 ±2 é\n", "")),
        (PRINTS, ">&-", (0, "", "")),
        (PRINTS, "2>&-", (0, "1 ±2 é\n", "")),
        (PRINTS, "<&- >&- 2>&-", (0, "", "")),
        (PRINTS, ">/dev/full", (2, "", "[Errno 28] No space left on device\n")),
        (REFUSES, "", (2, "", "no\n")),
        (REFUSES, "2>&-", (2, "", "")),
        (REFUSES, "2>/dev/full", (2, "", "")),
    ],
)
def test_streams_that_are_closed_or_full(code, redirection, expected):
    done = shell(code, redirection, PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == expected


def test_a_terminal_of_few_letters_shows_the_others_in_those():
    done = shell(PRINTS, "", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1 +-2 \\xe9\n", b"")


def test_no_file_is_taken_for_a_closed_stream(tmp_path):
    code = f"""
import os
from theory.common.cli import run
def f(_):
    with open({str(tmp_path / "result")!r}, "w") as file:
        os.write(2, b"noise")
    return file.name == 2
run(f)"""
    assert shell(code, "2>&-").returncode == 0 and (tmp_path / "result").read_text() == ""


@pytest.fixture
def without(tmp_path):
    """Return a function that runs a module where a package is not installed."""

    def call(package, *words):
        fault = f"raise ModuleNotFoundError('No module named {package}', name={package!r})\n"
        (tmp_path / f"{package}.py").write_text(fault)
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
        words = [sys.executable, "-m", *map(str, words)]
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)

    return call


COMMANDS = sorted(p.stem for p in (ROOT / "deep").glob("*.py") if "\n    run(main)\n" in p.read_text())


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "compare"])
def test_a_command_without_torch_says_so_in_one_sentence(without, command):
    done = without("torch", f"deep.{command}", "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "pip install 'robust-fairness[deep]'" in done.stderr


def test_a_command_without_a_part_of_its_extra_says_so(without):
    done = without("safetensors", "deep.train", "--help")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "safetensors" in done.stderr


def test_methods_are_compared_without_torch(without):
    assert without("torch", "deep.compare", "--help").returncode == 0


def test_a_fault_of_ours_keeps_its_trace(without):
    done = without("scipy", "deep.compare", "--help")
    assert done.returncode == 1 and "Traceback" in done.stderr
