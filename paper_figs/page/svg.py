"""Drawings of matplotlib for within a page: small, with text that can be read, and ids that none else has."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from xml.etree import ElementTree

__all__ = ["inline"]

TENTHS = re.compile(r"(\.\d)\d+")
"""A tenth of a point is less than a screen shows."""
PLACES = {"x", "y", "x1", "x2", "y1", "y2", "points"}
REFERENCE = re.compile(r"(?<=url\(#)[^)]*")
GROUP = "g"
NUMBER = re.compile(r"-?[\d.]+(?:e-?\d+)?")
STROKE = re.compile(r"M [^A-Z]+ L [^A-Z]+")


def inline(svg: bytes, name: str, label: str) -> str:
    """Return an SVG of matplotlib as an element of HTML.

    Coordinates are rounded to a tenth of a point; lines of one style become one path; ids that nothing
    refers to are dropped and the others begin with the name of the figure; styles that several elements
    share become classes, valid within this drawing alone.

    Args:
        svg: what matplotlib wrote, with text as text (``svg.fonttype: none``).
        name: of the figure, letters, digits and ``-_``; the drawing has the id ``{name}-drawing``.
        label: what a reader who does not see it is told.

    Raises:
        xml.etree.ElementTree.ParseError: it is no XML.

    >>> drawing = b'<svg viewBox="0 0 9 9"><g id="a"><path id="b" d="M 1.2345 0"/></g></svg>'
    >>> inline(drawing, "f", "A line")
    '<svg id="f-drawing" role="img" aria-label="A line" viewBox="0 0 9 9"><path d="M1.2 0" /></svg>'
    """
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    used = dict.fromkeys(name for e in root.iter() for name in _references(e))
    names = {old: f"{name}-{i}" for i, old in enumerate(used)}
    symbols = {
        e.get("id", ""): e for e in root.iter("path") if STROKE.fullmatch(" ".join(e.get("d", "").split()))
    }
    for element in root.iter("use"):
        _stroke(element, symbols)
    for element in root.iter():
        element.attrib = dict(_attributes(element, names))
    _tidy(root)
    counts = Counter(e.get("style", "") for e in root.iter())
    classes = {style: f"s{i}" for i, style in enumerate(s for s, n in counts.items() if s and n > 1)}
    rules = "".join(f"#{name}-drawing .{c}{{{style}}}" for style, c in classes.items())
    style = f"<style>{rules}</style>" if rules else ""
    body = "".join(_text(child, classes) for child in root)
    view = escape(root.get("viewBox", ""))
    opening = f'<svg id="{name}-drawing" role="img" aria-label="{escape(label)}" viewBox="{view}">'
    return f"{opening}{style}{body}</svg>"


def _references(element: ElementTree.Element) -> Iterator[str]:
    """Yield the ids that an element refers to; a colour such as #e69f00 is none."""
    yield from (name for value in element.attrib.values() for name in REFERENCE.findall(value))
    if element.get("href", "").startswith("#"):
        yield element.attrib["href"][1:]


def _stroke(use: ElementTree.Element, symbols: Mapping[str, ElementTree.Element]) -> None:
    """Make the use of a symbol that is one stroke, such as a tick, the stroke: many become one path."""
    symbol = symbols.get(use.get("href", "")[1:])
    if symbol is None:
        return
    x, y = float(use.attrib.pop("x", 0)), float(use.attrib.pop("y", 0))
    ends = [float(v) for v in NUMBER.findall(symbol.get("d", ""))]
    moved = [f"{v + (x, y)[i % 2]:.1f}" for i, v in enumerate(ends)]
    use.tag = "path"
    use.set("d", f"M {' '.join(moved[:2])} L {' '.join(moved[2:])}")
    use.set("style", f"fill: none; {symbol.get('style', '')}")
    del use.attrib["href"]


def _attributes(element: ElementTree.Element, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the attributes that are needed, with short numbers and with ids of this figure."""
    for key, value in element.attrib.items():
        if key == "id":
            if value in names:
                yield key, names[value]
        elif key == "href" and value.startswith("#"):
            yield key, f"#{names[value[1:]]}"
        elif key == "style":
            yield key, re.sub(r"(?<=[:;]) ", "", REFERENCE.sub(lambda found: names[found[0]], value))
        elif key == "d":
            numbers = TENTHS.sub(r"\1", " ".join(value.split()))
            short = re.sub(" ?([MLQCz]) ?", r"\1", numbers)
            yield key, re.sub(r"(?<=[ML])[-\d. L]+", lambda line: line[0].replace("L", " "), short)
        elif key in PLACES and element.tag != "image":
            yield key, TENTHS.sub(r"\1", value)
        elif key == "transform" and "matrix" not in value and "scale" not in value:
            yield key, TENTHS.sub(r"\1", value)
        else:
            yield key, REFERENCE.sub(lambda found: names[found[0]], value)


def _tidy(parent: ElementTree.Element) -> None:
    """Drop what shows nothing, groups that say nothing, and paths that go on as the one before."""
    children: list[ElementTree.Element] = []
    for child in list(parent):
        _tidy(child)
        if child.tag in ("metadata", "style"):
            continue
        several = list(child) if child.tag == GROUP and not child.attrib else [child]
        for element in several:
            if children and _goes_on(children[-1], element):
                children[-1].set("d", f"{children[-1].get('d')}{element.get('d')}")
            else:
                children.append(element)
    parent[:] = [c for c in children if len(c) or c.tag not in (GROUP, "defs")]


def _goes_on(one: ElementTree.Element, other: ElementTree.Element) -> bool:
    """Return whether two paths are lines that can be one: nothing is filled or seen through."""
    if {one.tag, other.tag} != {"path"} or "id" in one.attrib or "id" in other.attrib:
        return False
    style = one.get("style", "")
    alike = all(one.get(key) == other.get(key) for key in {*one.attrib, *other.attrib} - {"d"})
    return alike and "fill:none" in style and "opacity" not in style


def _text(element: ElementTree.Element, classes: dict[str, str]) -> str:
    """Return an element as HTML."""
    shown = [(k, v) if v not in classes else ("class", classes[v]) for k, v in element.attrib.items()]
    opening = element.tag + "".join(f" {key}={_value(value)}" for key, value in shown)
    inner = "".join(_text(child, classes) for child in element)
    if element.tag in ("text", "tspan"):
        inner = escape(element.text or "") + inner
    tail = escape((element.tail or "").strip()) if element.tag == "tspan" else ""
    return f"<{opening}>{inner}</{element.tag}>{tail}" if inner else f"<{opening} />"


def _value(value: str) -> str:
    """Return the value of an attribute of HTML, in quotes where it needs them."""
    return value if re.fullmatch(r"[\w.#()%:+-]+", value) else f'"{escape(value)}"'
