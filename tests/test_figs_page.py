"""The page in Chromium: its numbers are theory's, by mouse and by keyboard, and it reads well on any screen.

Needs ``pip install 'robust-fairness[browser]'`` and a Chromium (Debian: ``apt-get install chromium``).
"""

import json
import shutil

import numpy as np
import pytest
from test_figs_explorer import TOLERANCE, distance, theory_says

from paper_figs import __main__ as command
from paper_figs.archive import Archive
from paper_figs.page import explorer
from paper_figs.page.page import page
from theory.__main__ import main as theory_main
from theory.variants.many_classes import nearest_mean_errors
from theory.variants.sample_curve import sample_curve

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def html():
    """Return the page without records."""
    nothing = {name: [] for name in command.modules()}
    return page(command.TITLE, command.sections(Archive(()), nothing, {}), "nothing")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser, html, tmp_path):
    """Return a function that opens the page from a file; nothing may be logged, fail or be fetched."""
    said, tabs = [], []

    def call(text=html, query="", **view):
        path = tmp_path / "report.html"
        path.write_text(text)
        tab = browser.new_page(**view)
        tabs.append(tab)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: request.url == path.as_uri() + query or said.append(request.url))
        tab.goto(path.as_uri() + query)
        return tab

    yield call
    for tab in tabs:
        tab.close()
    assert said == []


def slider(tab, name):
    return tab.locator(f"#explorer-{name}")


def shown(tab):
    """Return the values of the sliders and the numbers beside them."""
    setting = {}
    for s in explorer.SLIDERS:
        value = float(slider(tab, s.name).input_value())
        setting[s.name] = int(value) if s.name == "d" else 10**value if s.log else value
    cells = "cells => Object.fromEntries(cells.map(c => [c.dataset.name, c.value]))"
    numbers = tab.eval_on_selector_all("data[data-name]", cells)
    return setting, {k: float(v.replace("Infinity", "inf")) for k, v in numbers.items()}


def off(tab):
    """Return how far the numbers are from theory's at the values of the sliders."""
    setting, numbers = shown(tab)
    return distance(theory_says(setting), numbers)


def test_moving_a_slider_changes_the_numbers_to_those_of_theory(opened):
    tab, rng = opened(), np.random.default_rng(0)
    start = shown(tab)
    assert off(tab) < TOLERANCE
    for s in explorer.SLIDERS:
        slider(tab, s.name).fill(f"{s.low + s.step * round((s.high - s.low) / s.step * 0.6):.10g}")
        setting, numbers = shown(tab)
        assert setting[s.name] != start[0][s.name] and numbers != start[1] and off(tab) < TOLERANCE
        tab.get_by_role("button", name="Start values").click()
        assert shown(tab) == start
    for _ in range(12):
        for s in explorer.SLIDERS:
            steps = int(rng.integers(0, round((s.high - s.low) / s.step) + 1))
            slider(tab, s.name).fill(f"{s.low + s.step * steps:.10g}")
        assert off(tab) < TOLERANCE


def test_a_bent_formula_is_seen_on_the_page(opened, html):
    right, wrong = "return margin*(ratio - 1)/(ratio + 1)", "return margin*(ratio - 1)/(ratio + 1.000001)"
    assert right in html and off(opened(html.replace(right, wrong))) > TOLERANCE


def test_the_command_on_the_page_gives_the_same_numbers(opened, invoke):
    tab = opened()
    for name, value in (("K", 3), ("prior", 0.3), ("cost", 0.4), ("radius_plus", 1.5), ("eps", 0.2)):
        slider(tab, name).fill(str(value))
    words = tab.locator(".command").text_content().split()
    assert words[:3] == ["python", "-m", "theory"]
    code, out, _ = invoke(theory_main, *words[3:], "--json")
    said, (_, numbers) = json.loads(out), shown(tab)
    assert code == 0
    for name, key in (("natural", "natural"), ("robust", "robust"), ("fair", "fair_robust")):
        for kind in ("natural", "robust"):
            plus, minus = said[key][f"{kind}_error"].values()
            assert numbers[f"{name}_{kind}_plus"] == pytest.approx(plus, abs=TOLERANCE)
            assert numbers[f"{name}_{kind}_minus"] == pytest.approx(minus, abs=TOLERANCE)


def test_the_curves_are_the_numbers(opened):
    tab = opened()
    for name in explorer.CLASSIFIERS:
        tab.get_by_label(name, exact=True).check()
        for s, value in (("eps", "0.1"), ("eps", "0.25")):
            slider(tab, s).fill(value)
            _, numbers = shown(tab)
            for kind in explorer.KINDS:
                for label in ("plus", "minus"):
                    height = "c => [c.cy.baseVal.value, +c.parentNode.viewBox.baseVal.height]"
                    y, whole = tab.eval_on_selector(f"svg.errors circle.{kind}.{label}", height)
                    top = max(
                        float(t) for t in tab.locator("svg.errors text[text-anchor=end]").all_text_contents()
                    )
                    ends = tab.eval_on_selector_all("svg.errors .grid", "g => g.map(l => l.y1.baseVal.value)")
                    expected = ends[0] + (ends[-1] - ends[0]) * 100 * numbers[f"{name}_{kind}_{label}"] / top
                    assert y == pytest.approx(expected, abs=0.01) and 0 <= y <= whole
    before = tab.locator("svg.scores").inner_html()
    slider(tab, "cost").fill("0.3")
    assert tab.locator("svg.scores").inner_html() != before


def test_it_works_by_keyboard_and_tells_what_it_does(opened):
    tab = opened()
    focus = "e => [e.name, parseFloat(getComputedStyle(e).outlineWidth)]"
    reached = []
    while "classifier" not in reached and len(reached) < 60:  # contents and links come first
        tab.keyboard.press("Tab")
        name, width = tab.evaluate(f"({focus})(document.activeElement)")
        assert width >= 2, name
        reached.append(name)
    names = [s.name for s in explorer.SLIDERS]
    assert [n for n in reached if n in names] == names
    assert "classifier" in reached
    for s in explorer.SLIDERS:
        tab.get_by_role("button", name="Start values").click()
        handle = slider(tab, s.name)
        before, (old, _) = tab.locator("output.summary").text_content(), shown(tab)
        text = handle.get_attribute("aria-valuetext")
        handle.focus()
        for key in ("ArrowRight", "ArrowRight", "PageUp"):
            tab.keyboard.press(key)
        assert shown(tab)[0][s.name] > old[s.name] and off(tab) < TOLERANCE
        assert handle.get_attribute("aria-valuetext") != text
        assert tab.locator("output.summary").text_content() != before
        handle.press("Home")
        assert float(handle.input_value()) == pytest.approx(s.low)
        assert handle.evaluate("h => h.labels.length == 1 && h.labels[0].textContent.length > 5")
    assert tab.locator("output.summary").get_attribute("aria-live") == "polite"


def robust_errors(tab):
    """Return the robust errors in percent of the classes in the plane."""
    return [float(t) for t in tab.locator("form.classes tbody td:nth-of-type(2)").all_text_contents()]


def test_a_mean_that_is_dragged_or_moved_by_keys_changes_the_errors(opened):
    tab = opened()
    start = robust_errors(tab)
    expected = nearest_mean_errors([[-2.2, -1.2], [0, -1.2], [2.2, -1.2], [0.3, 1.8]], 1.0, 0.5)
    np.testing.assert_allclose(start, [100 * c.R for c in expected], atol=0.006)
    mean = tab.locator(".mean").nth(3)
    mean.scroll_into_view_if_needed()
    box = mean.locator(".dot").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x, y + 40, steps=4)
    tab.mouse.up()
    dragged = robust_errors(tab)
    assert dragged[1] > start[1] + 0.5 and dragged[3] > start[3] + 0.5
    tab.mouse.move(x, y)  # the button is up: nothing follows
    assert robust_errors(tab) == dragged
    tab.get_by_role("button", name="First places").click()
    assert robust_errors(tab) == start
    tab.locator(".mean").nth(0).focus()
    tab.keyboard.press("ArrowRight")
    expected = nearest_mean_errors([[-2.1, -1.2], [0, -1.2], [2.2, -1.2], [0.3, 1.8]], 1.0, 0.5)
    np.testing.assert_allclose(robust_errors(tab), [100 * c.R for c in expected], atol=0.006)
    tab.locator("#classes-eps").fill("0")
    assert tab.locator("output.worst").text_content().startswith("Worst: class 2")


def test_a_chart_is_read_by_pointing_and_moved_by_dragging_and_the_address_keeps_it(opened):
    tab = opened()
    chart = tab.locator("svg.errors")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    x, y = box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"]
    hint = tab.locator(".hover").text_content()
    tab.mouse.move(x, y)
    assert tab.locator(".hover").text_content() != hint and shown(tab)[0]["eps"] == pytest.approx(0.16)
    tab.mouse.down()
    tab.mouse.move(x + 5, y, steps=2)
    tab.mouse.up()
    eps = shown(tab)[0]["eps"]
    assert eps > 0.25 and off(tab) < TOLERANCE
    slider(tab, "K").fill("0.5")  # the class -1 is the wide one
    assert off(tab) < TOLERANCE
    tab.wait_for_function("location.search.includes('K=0.5')")
    tab.evaluate("location.hash = '#claim-ours_impossibility'")
    assert tab.locator("[id=claim-ours_impossibility]").is_visible()  # what is folded opens
    again = opened(query=tab.evaluate("location.search"))
    assert shown(again)[0]["K"] == 0.5 and shown(again)[0]["eps"] == pytest.approx(eps)


def sampled(tab):
    """Return the robust errors in percent of each way of training, at n / d and with endless samples."""
    rows = tab.locator("form.samples tbody tr").all()
    return [[cell.text_content() for cell in row.locator("td").all()] for row in rows]


def test_errors_of_few_samples_follow_the_sliders(opened):
    tab = opened()
    start = sampled(tab)
    assert start[-1][:2] == ["–", "–"] and len(start) == 4
    curves = tab.locator("svg.curves").inner_html()
    for log_alpha, K, method in (("0", "3", "max_margin"), ("1", "3", "logistic")):
        tab.locator("#samples-alpha").fill(log_alpha)
        tab.locator("#samples-K").fill(K)
        theory = sample_curve(1.5, 1.0, float(K), 0.3, [10 ** float(log_alpha)])
        rows = sampled(tab)
        for name, row in (("midpoint", rows[0]), ("reoptimised", rows[1]), (method, rows[2])):
            expected = 100 * getattr(theory, name)[0]
            np.testing.assert_allclose([float(v) for v in row[:2]], expected, atol=0.006)
        np.testing.assert_allclose([float(v) for v in rows[3][2:]], 100 * theory.population, atol=0.006)
        assert f"up to {theory.robustly_separable:.2f} " in tab.locator("output.separable").text_content()
    assert tab.locator("svg.curves").inner_html() != curves
    before = tab.locator("svg.curves").inner_html()
    tab.get_by_label("averaging", exact=True).check()
    assert tab.locator("svg.curves").inner_html() != before
    tab.get_by_role("button", name="First values").click()
    tab.wait_for_function("document.querySelector('#samples-alpha-value').textContent === '5.01'")
    assert sampled(tab) == start


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_reads_well(opened, width, scheme):
    tab = opened(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    sizes = tab.eval_on_selector_all("svg text", "all => all.map(t => t.getBoundingClientRect().height)")
    assert len(sizes) > 20 and min(sizes) >= 10
    for form in ("explorer", "samples"):
        box = tab.locator(f"form.{form} table").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    heights = tab.eval_on_selector_all(
        "input, button", "all => all.map(i => i.getBoundingClientRect().height)"
    )
    assert min(heights) >= 13
    colours = (
        "all => all.map(e => [getComputedStyle(e).color, getComputedStyle(document.body).backgroundColor])"
    )
    pairs = tab.eval_on_selector_all("p, th, td span, a, .note, code, .key span", colours)
    assert min(contrast(*pair) for pair in map(tuple, {tuple(p) for p in pairs})) >= 4.5  # WCAG 2.2, 1.4.3


def contrast(one, other):
    """Return the ratio of WCAG 2.2 between two colours written rgb(r, g, b)."""

    def luminance(text):
        parts = np.array([float(v) for v in text[text.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_and_grey():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(150, 150, 150)", "rgb(255, 255, 255)") < 4.5
