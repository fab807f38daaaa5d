"""The figure of the book's chapter on training: its slider, and that its numbers are the library's."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import nnbackend as nnb

PAGE = Path(__file__).parents[2] / "docs" / "book" / "learning_rates.html"
RATES = (0.01, 1.0, 100.0)
ITERATIONS = (1, 10, 100)


def run(rate):
    """Return what the chapter puts into the figure for a learning rate: 100 steps of a neuron."""
    net = nnb.Network([nnb.Dense(1, "sigmoid")], dtype="float64", seed=0, input_shape=2)
    x, y = np.array([[0.5, 1.0], [1.0, 0.5]]), np.array([[0.9], [0.8]])
    losses = net.fit(
        x, y, optimizer=nnb.SGD(rate), epochs=100, batch_size=None, verbose=0
    )["loss"]  # fmt: skip
    facts = {"loss after all": f"{losses[-1]:.6f}"}
    return {"rate": f"{rate:g}", "losses": [losses[i - 1] for i in ITERATIONS], "facts": facts}


@pytest.fixture
def runs():
    return [run(rate) for rate in RATES]


@pytest.fixture
def page(browser, runs, tmp_path):
    """The figure on a page of its own, as narrow as a small telephone; errors fail the test."""
    data = json.dumps({"iterations": ITERATIONS, "runs": runs, "start": 1})
    target = tmp_path / "figure.html"
    figure = PAGE.read_text(encoding="utf-8").replace("RUNS", data)
    target.write_text(f"<!DOCTYPE html><html><body>{figure}</body></html>", encoding="utf-8")
    context = browser.new_context(viewport={"width": 360, "height": 800})
    opened, problems, requests = context.new_page(), [], []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(target.as_uri())
    yield opened
    context.close()
    assert problems == []
    assert requests == [target.as_uri()]


def shown(page):
    return page.locator("output").inner_text(), page.locator("dd").all_inner_texts()


def test_the_keyboard_chooses_a_run(page, runs):
    page.locator("input").focus()
    for key, i in ((None, 1), ("End", 2), ("ArrowLeft", 1), ("Home", 0)):
        if key:
            page.keyboard.press(key)
        assert shown(page) == (runs[i]["rate"], list(runs[i]["facts"].values()))
        assert page.locator("input").get_attribute("aria-valuetext") == runs[i]["rate"]


def test_the_chosen_curve_has_the_losses_of_its_run(page, runs):
    """Heights are read against those of the lines of the powers of ten."""
    page.locator("input").focus()
    page.keyboard.press("Home")
    texts = {
        text.text_content(): float(text.get_attribute("y")) - 4
        for text in page.locator("svg text[text-anchor=end]").all()
        if text.get_attribute("x") == "46"
    }
    (low, below), (high, above) = sorted((float(name), y) for name, y in texts.items())[:2]
    points = page.locator("polyline.chosen").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    per_power = (below - above) / math.log10(high / low)
    drawn = [low * 10 ** ((below - height) / per_power) for height in heights]
    np.testing.assert_allclose(drawn, runs[0]["losses"], rtol=0.01)


def test_it_fits_a_narrow_screen_in_light_and_dark(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    figure = page.locator("figure")
    light = figure.evaluate("element => getComputedStyle(element).backgroundColor")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function("document.querySelector('figure').classList.contains('dark')")
    assert figure.evaluate("element => getComputedStyle(element).backgroundColor") != light
