"""Who may import whom, and that the layers below deep never load torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {"theory": set(), "sim": {"theory"}, "deep": {"theory"}, "paper_figs": {"theory"}}


ROOMS = {
    "theory": {
        "common": "",
        "gaussian": "common",
        "variants": "common gaussian",
        "claims": "common gaussian variants",
        "theorems": "common gaussian variants claims",
        "results": "common",
        "networks": "common gaussian results",
    },
    "sim": {
        "solvers": "",
        "sampling": "",
        "learning": "solvers sampling",
        "testing": "solvers sampling learning",
        "studies": "solvers sampling learning testing",
    },
    "deep": {
        "data": "",
        "nets": "data",
        "attacks": "data nets",
        "methods": "data nets attacks",
        "training": "data nets attacks methods",
        "runs": "data nets attacks methods training",
        "margins": "data nets attacks methods training runs",
        "strength": "data nets attacks methods training runs",
        "audits": "data nets attacks methods training runs strength",
    },
}
"""Which rooms of its package a room may import from."""


def modules(source):
    """Return the modules that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(source):
    """Return the top-level packages that a module imports."""
    return {name.split(".")[0] for name in modules(source)}


def trespasses(package, room, source):
    """Return what a module of a room imports from its package against the rules."""
    allowed = {room, *ROOMS[package][room].split()}
    parts = [name.split(".") for name in modules(source)]
    return sorted({".".join(p[:2]) for p in parts if p[0] == package and p[1] not in allowed})


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
    assert breaches("theory", "from sim.learning.threshold import x\nimport torch") == ["sim", "torch"]
    assert breaches("sim", "import deep.training.loop") == ["deep"]


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_from_those_below(package):
    there = {path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()}
    assert there == set(ROOMS[package])
    for room in there:
        for path in (ROOT / package / room).glob("*.py"):
            assert trespasses(package, room, path.read_text()) == [], path


@pytest.mark.parametrize(("package", "room"), [(p, room) for p, rooms in ROOMS.items() for room in rooms])
def test_every_trespass_is_seen(package, room):
    allowed = {room, *ROOMS[package][room].split()}
    for other in {*ROOMS[package], "sweep"} - allowed:
        for source in (
            f"import {package}.{other}.x",
            f"from {package}.{other} import x",
            f"from {package} import {other}",
        ):
            assert trespasses(package, room, source) == [f"{package}.{other}"]
    assert trespasses(package, room, f"from {package}.{room}.x import y") == []


@pytest.mark.parametrize("package", ALLOWED)
def test_a_floor_has_few_entries(package):
    """At most 12, but for the commands of deep, which are all that its floor has."""
    entries = {p for p in (ROOT / package).iterdir() if p.name != "__pycache__"}
    commands = {p for p in entries if p.suffix == ".py" and package == "deep" and p.name != "__init__.py"}
    assert len(entries - commands) <= 12
    assert all('if __name__ == "__main__":' in p.read_text() for p in commands)


def loads_torch(*modules):
    code = f"import {', '.join(modules)}, sys; sys.exit('torch' in sys.modules)"
    return bool(subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode)


def test_torch_is_loaded_by_the_networks_alone():
    assert not loads_torch(
        "theory", "sim", "paper_figs", "sim.sweep", "theory.__main__", "paper_figs.page.page", "deep.compare"
    )
    assert loads_torch("deep.training.loop")  # the check can fail
