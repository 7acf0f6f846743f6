"""Who may import whom, and that the layers below deep never load torch."""

import ast
import importlib
import inspect
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

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
        "stages": "data nets attacks methods training runs strength audits",
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


def test_the_front_door_of_deep_opens_without_torch_and_a_command_can_be_called():
    code = """
import sys, deep
assert "train" in dir(deep) and "torch" not in sys.modules
function = deep.train
import deep.train
assert deep.train is function and callable(function)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    bad = subprocess.run([sys.executable, "-c", "import deep; deep.nothing"], capture_output=True, text=True)
    assert bad.returncode == 1 and "AttributeError" in bad.stderr


PATTERNS = {"Data", "Panel", "Params"}
"""Names that every figure or method has for the same part of itself."""


def defined_twice(sources):
    """Return the classes that more than one module defines, by name, with the modules."""
    modules_of = {}
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                modules_of.setdefault(node.name, []).append(path)
    return {name: paths for name, paths in modules_of.items() if len(paths) > 1 and name not in PATTERNS}


def test_no_class_name_means_two_things():
    files = [f for package in ALLOWED for f in (ROOT / package).rglob("*.py")]
    assert defined_twice({str(f.relative_to(ROOT)): f.read_text() for f in files}) == {}


def test_a_class_name_with_two_meanings_is_seen():
    twice = {"theory/a.py": "class Task: ...", "sim/b.py": "def f():\n    class Task: ..."}
    assert defined_twice(twice) == {"Task": ["theory/a.py", "sim/b.py"]}


KINDS = {"methods", "theorems", "figures", "studies"}
"""Rooms of files that are named after what they are: a method, a theorem, a figure, a study."""


def named_twice(paths):
    """Return the modules of one name in several rooms, by name."""
    rooms = {}
    for path in paths:
        if path.stem not in ("__init__", "__main__") and path.parent.name not in KINDS:
            rooms.setdefault(path.stem, []).append(path.as_posix())
    return {name: found for name, found in rooms.items() if len(found) > 1}


def test_no_module_name_means_two_things():
    paths = [f.relative_to(ROOT) for package in ALLOWED for f in (ROOT / package).rglob("*.py")]
    assert named_twice(paths) == {}


def test_a_module_name_with_two_meanings_is_seen():
    twice = ["deep/runs/flags.py", "theory/results/flags.py", "deep/methods/flags.py", "sim/__init__.py"]
    assert named_twice([Path(p) for p in twice]) == {"flags": twice[:2]}


@pytest.mark.parametrize("package", ["theory", "sim", "deep"])
def test_the_front_door_has_each_public_name_with_an_account_of_it(package):
    """Names for type checkers and at run time agree; each has a docstring, a function an example."""
    module = importlib.import_module(package)
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    guarded = next(n for n in tree.body if isinstance(n, ast.If))
    assert sorted(a.asname for n in guarded.body for a in n.names) == module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        value = value.__call__ if isinstance(value, ModuleType) else value
        assert name in ("METHODS",) or inspect.getdoc(value), name
        if inspect.isfunction(value):
            assert ">>>" in value.__doc__, name
        assert name in module.__doc__, name


def test_the_three_packages_have_the_version_of_the_project():
    versions = {importlib.import_module(package).__version__ for package in ("theory", "sim", "deep")}
    assert versions == {metadata.version("robust-fairness")}
