"""Who may import whom, and that the layers below deep never load torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {"theory": set(), "sim": {"theory"}, "deep": {"theory"}, "paper_figs": {"theory"}}


def imported(source):
    """Return the top-level packages that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def breaches(package, source):
    """Return what a module of ``package`` imports against the rules."""
    forbidden = (set(ALLOWED) - ALLOWED[package] - {package}) | {"tests"}
    return sorted(set(imported(source)) & (forbidden | ({"torch"} if package != "deep" else set())))


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_follow_the_layers(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    assert {f.name: breaches(package, f.read_text()) for f in files if breaches(package, f.read_text())} == {}


def test_a_breach_is_seen():
    assert breaches("theory", "from sim.train import x\nimport torch") == ["sim", "torch"]
    assert breaches("sim", "import deep.loop") == ["deep"]


def loads_torch(*modules):
    code = f"import {', '.join(modules)}, sys; sys.exit('torch' in sys.modules)"
    return bool(subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode)


def test_torch_is_loaded_by_the_networks_alone():
    assert not loads_torch(
        "theory", "sim", "paper_figs", "sim.sweep", "theory.__main__", "paper_figs.report", "deep.compare"
    )
    assert loads_torch("deep.loop")  # the check can fail
