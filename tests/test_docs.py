"""What the documents say can be done, done."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMALL = "--epochs 1 --train-per-class 30 --test-per-class 10 --threads 1".split()


def section(path, heading):
    """Return the text below a heading of second order."""
    return re.split(rf"^## {re.escape(heading)}$", path.read_text(), flags=re.MULTILINE)[1].split("\n## ")[0]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def python(folder, *words):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def test_a_method_added_as_the_readme_says_has_flags_tests_and_a_row(tmp_path):
    for name in ("theory", "deep", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (code,) = blocks(section(ROOT / "README.md", "Add a method"), "python")
    (tmp_path / "deep" / "methods" / "smooth.py").write_text(code)
    runs = {"smooth": ["--method", "smooth", "--smoothing", "0.2"], "pgd": ["--method", "pgd"]}
    for name, words in runs.items():
        python(tmp_path, "deep.train", *words, *SMALL, "--out", f"runs/{name}")
    assert "SMOOTH" in python(tmp_path, "deep.compare", "runs")
    tried = python(tmp_path, "pytest", "-q", "-k", "smooth", "tests/test_deep_methods.py")
    assert re.search(r"[3-9] passed", tried), tried
