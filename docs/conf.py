"""Sphinx: the guide, a page for every statement, the figures, and the API, from docstrings and discovery."""

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from paper_figs.__main__ import COMMITTED, modules  # noqa: E402
from paper_figs.archive import read_archive  # noqa: E402
from paper_figs.drawing import draw  # noqa: E402
from theory.claims.certificates import Certificate  # noqa: E402
from theory.claims.statement import Statement  # noqa: E402
from theory.claims.typeset import formula  # noqa: E402
from theory.theorems import statements  # noqa: E402

project = "robust-fairness"
author = "the authors of robust-fairness"
extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
default_role = "py:obj"
suppress_warnings = ["ref.python"]  # attributes of the same name in two classes
html_theme = "furo"
html_title = "Robust fairness"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_use_ivar = True
exclude_patterns = ["_build", "api/**/modules.rst"]
apidoc_modules = [
    {
        "path": str(HERE.parent / package),
        "destination": f"api/{package}",
        "separate_modules": True,
        "module_first": True,
        "include_private": False,
        "automodule_options": {"members"},
        "exclude_patterns": ["**/__main__.py"],
    }
    for package in ("theory", "sim", "deep", "paper_figs")
]


def statement_page(name: str, statement: Statement) -> str:
    """Return the page of a statement in MyST Markdown."""
    lines = [
        f"# {name}",
        f"**{statement.claim}**",
        f"*{statement.source}; {statement.status}*",
        statement.note,
        "Assumptions: " + "; ".join(f"`{a}`" for a in statement.assumptions) + ".",
        f"$$\n{formula(statement)}\n$$",
    ]
    if statement.counterexample is not None:
        values = ", ".join(f"{k} = {v:g}" for k, v in statement.counterexample.items())
        lines.append(f"A counterexample: {values}.")
    if statement.certificate is not None:
        lines += certificate_lines(name, statement.certificate)
    lines.append(f"```sh\npython -m theory check {name}\npython -m sim.sweep --study {name}\n```")
    return "\n\n".join(lines) + "\n"


def certificate_lines(name: str, certificate: Certificate) -> list[str]:
    """Return what a machine proved of a statement, and what a person argued."""
    box = ", ".join(f"{symbol} from {low} to {high}" for symbol, (low, high) in certificate.box.items())
    counts = len(certificate.identities()), len(certificate.positive())
    lines = [
        "## Proof",
        f"A machine proved, by `python -m theory certify {name}`, {counts[0]} identities for all values "
        f"(sympy) and {counts[1]} inequalities at every point of the box {box} (interval arithmetic).",
        f"A person argued that the statement follows from them: {certificate.argument}",
    ]
    if certificate.direct is not None:
        lines.append(
            "By `--arithmetic arb --direct` a machine proves the whole inequality on the box, without that "
            "argument."
        )
    return lines


def write_statements(_: Any) -> None:
    """Write a page for every statement."""
    folder = HERE / "statements"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        old.unlink()
    for name, statement in statements().items():
        (folder / f"{name}.md").write_text(statement_page(name, statement))


DRAWS = "python -m paper_figs"


def write_gallery(_: Any) -> None:
    """Write a page with the first drawing of every figure that there are records for."""
    folder = HERE / "gallery"
    folder.mkdir(exist_ok=True)
    archive, parts = read_archive(COMMITTED), ["# Figures", f"`{DRAWS}` draws these and more."]
    for name, module in modules().items():
        for data in module.compute(archive)[:1]:
            drawn = draw(module, data, name)
            (folder / f"{name}.png").write_bytes(drawn.png)
            parts += [f"## {drawn.title}", drawn.finding, f"![{drawn.title}]({name}.png)", drawn.caption]
            parts.append(f"```sh\n{module.COMMAND or DRAWS}\n```")
    (folder / "index.md").write_text("\n\n".join(parts) + "\n")


MARKUP = re.compile(r"(``.*?``|`.*?`)|(_(?!\w)|[|*])", re.DOTALL)
"""Quoted code, or a character that means something to docutils and nothing in our docstrings."""


def write_plainly(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let docutils take formulas such as z_+ and |w| as they are."""
    text = MARKUP.sub(lambda found: found[1] or "\\" + found[2], "\n".join(lines))
    lines[:] = text.split("\n")


def setup(app: Any) -> None:
    """Let Sphinx write the pages of the statements and of the figures before it reads any."""
    app.connect("builder-inited", write_statements)
    app.connect("builder-inited", write_gallery)
    app.connect("autodoc-process-docstring", write_plainly, priority=1)
