"""The page of one training step, as a reader sees it: every number on it is the library's."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from microscope.networks import X, classifier, explain_exam, image, images, trained_exam

import nnbackend as nnb
from nnbackend.drawing.text import digits


def shown_numbers(page):
    """Return the numbers on the page: their places and their texts."""
    return page.eval_on_selector_all(
        "[data-n]", "all => all.map(one => [Number(one.dataset.n), one.textContent, one.title])"
    )


def check_numbers(page, explanation, moment=-1):
    """Compare every number on the page with the library's; return how many there are."""
    values = explanation.moments[moment].values
    shown = shown_numbers(page)
    for place, text, title in shown:
        assert text == digits(values[place])
        assert float(title) == values[place]
    return len(shown)


def wait_for(page, expression):
    """Wait until an expression is true; the page's policy allows the browser no waiting of its own."""
    for _ in range(400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"still not: {expression}")


def check_drawing(page, explanation, moment=-1):
    """Compare the numbers in circles and at lines with the library's; return how many there are."""
    step = page.locator("#step").input_value()
    key = explanation.steps[int(step)].key
    order = [s.key for s in explanation.steps]
    what = {"adjustment": "gradient", "update": "after"}.get(key, "value")
    count = 0
    for name, item in explanation.items.items():
        if "value" in item.numbers:
            text = page.locator(f'[data-item="{name}"] text.value')
            if text.count():
                assert text.text_content() == digits(
                    explanation.value(item.numbers[what][0], moment)
                )
                count += 1
            continue
        for part, selector in (("sum", "text.sum"), ("result", "text.result")):
            text = page.locator(f'[data-item="{name}"] {selector}')
            if part not in item.numbers or not text.count():
                continue
            known = order.index(item.shown_from[part]) <= int(step)
            assert text.is_visible() == known
            if known:
                assert text.text_content() == digits(
                    explanation.value(item.numbers[part][0], moment)
                )
                count += 1
    return count


def walk(page, explanation, items=()):
    """Go through all steps with each item; compare all numbers; return how many there were."""
    count = 0
    for step, own in enumerate(explanation.steps):
        assert page.locator("#step-title").text_content() == f"{step + 1}. {own.title}"
        for item in ("", *items):
            page.evaluate("key => { state.item = key; state.all = true; show(); }", item)
            count += check_numbers(page, explanation)
        if explanation.drawing.style == "circles":
            count += check_drawing(page, explanation)
        if step < len(explanation.steps) - 1:
            page.locator("#next").click()
    assert page.locator("#next").is_disabled()
    return count


@pytest.fixture(scope="module")
def exam():
    return explain_exam(epochs=12)


def test_every_number_of_the_exam_is_the_library_s(open_page, exam):
    page = open_page(exam)
    assert walk(page, exam, exam.items) > 1000
    page.locator("summary").click()
    rows = page.locator("#weights tbody tr")
    rows.last.wait_for()  # they are made when the table is opened
    assert rows.count() == 9
    assert check_numbers(page, exam) >= 27


def test_numbers_are_rounded_as_python_does(open_page, exam):
    page = open_page(exam)
    rng = np.random.default_rng(0)
    values = [*(rng.normal(size=3000) * 10.0 ** rng.integers(-12, 12, 3000)).tolist(), 0.0, -0.0]
    values += [
        1234.5,
        1235.5,
        0.15625,
        0.00048828125,
        12345.0,
        99995.0,
        9999.5,
        0.99995,
        1e300,
        5e-324,
    ]
    values += [1.0, 10.0, 9999.0, 10000.0, 0.0001, 0.00001, 2.0**-30, -0.03125]
    assert page.evaluate("all => all.map(digits)", values) == [digits(v) for v in values]
    assert page.evaluate("[NaN, Infinity, -Infinity].map(digits)") == ["nan", "inf", "-inf"]


def test_the_formula_of_a_neuron_is_written_with_its_numbers(open_page, exam):
    page = open_page(exam)
    page.locator("#next").click()
    page.locator('[data-item="neuron:1:0"] circle').click()
    text = page.locator("#chosen").text_content()
    number = r"-?[0-9.e-]+"
    found = re.search(
        rf"({number}) \u00b7 ({number}) \+ ({number}) \u00b7 ({number}) = ({number})", text
    )
    a, w, b, v, z = map(float, found.groups())
    assert math.isclose(a * w + b * v, z, abs_tol=2e-3)
    assert re.search(rf"sigmoid\({re.escape(found[5])}\) = 0\.\d+", text)


def test_the_slider_shows_the_recorded_moments(open_page, exam):
    page = open_page(exam)
    page.locator("#step").select_option(label="9. Adjustment")
    page.evaluate("choose('weight:1:0:0')")
    slider = page.locator("#moment")
    assert slider.get_attribute("max") == "12"
    for moment in (0, 5, 12):
        slider.fill(str(moment))
        assert exam.moments[moment].label in page.locator("#moment-text").text_content()
        assert check_numbers(page, exam, moment) > 20
        assert check_drawing(page, exam, moment) > 12
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert slider.input_value() == "11"
    assert page.locator("#step").input_value() == "8"


def test_play_and_pause(open_page, exam):
    page = open_page(exam)
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-pressed") == "true"
    wait_for(page, "state.moment > 1 && state.moment < 12")
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-pressed") == "false"
    moment = page.evaluate("state.moment")
    page.wait_for_timeout(500)
    assert page.evaluate("state.moment") == moment
    assert check_numbers(page, exam, moment) > 0
    page.locator("#play").click()
    wait_for(page, "state.moment === 12 && !timer")
    assert page.locator("#play").get_attribute("aria-pressed") == "false"


def test_the_keyboard_alone_suffices(open_page, exam):
    page = open_page(exam)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#step-title").text_content() == "3. Forward: output layer"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("End")
    assert page.locator("#step-title").text_content() == "10. Update"
    page.keyboard.press("Home")
    page.locator('[data-item="neuron:0:0"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#chosen h2").text_content() == "unit 1 of layer 0"
    assert page.locator("#step").input_value() == "0"
    label = page.locator('[data-item="neuron:1:1"]').get_attribute("aria-label")
    assert label.startswith("unit 1 of layer 0")
    page.keyboard.press("Escape")
    assert page.locator("#chosen h2").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone(open_page, exam, scheme):
    page = open_page(exam, width=360, has_touch=True, is_mobile=True, color_scheme=scheme)
    for step in range(len(exam.steps)):
        if step:
            page.locator("#next").tap()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for name in ("#next", "#back", "#play", "#step"):
            assert page.locator(name).bounding_box()["height"] >= 40
    page.locator('[data-item="neuron:1:2"] circle').tap()
    assert page.locator("#chosen h2").text_content() == "unit 2 of layer 0"
    back = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]


@pytest.mark.parametrize("width", [360, 1200])
def test_a_long_name_hides_no_number(open_page, width):
    name = "b" * 90
    page = open_page(nnb.explain(trained_exam(1)[0], X[0], 0.92, input_names=[name, name]), width)
    for step in range(3):
        if step:
            page.locator("#next").click()
        panel = "document.querySelector('.panel')"
        assert page.evaluate(f"{panel}.scrollWidth <= {panel}.clientWidth")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_training_that_diverged_ends_at_the_upper_edge(open_page):
    net = nnb.Network([nnb.Dense(3), nnb.Dense(1)], input_shape=2, dtype="float64", seed=0)
    record = nnb.callbacks.Record()
    options = {"loss": "mse", "optimizer": nnb.SGD(1e3), "epochs": 8, "callbacks": [record]}
    with np.errstate(all="ignore"):
        with pytest.raises(FloatingPointError):
            net.fit(X, 100 * X[:, :1], **options, verbose=0)
        page = open_page(nnb.explain(net, X[0], 100.0, "mse", record=record))
    assert page.locator("#moment-text").text_content().endswith("loss inf")
    assert page.locator(".dot").evaluate("dot => dot.style.top") == "0%"


def test_rows_can_be_chosen(open_page):
    explanation = explain_exam(rows=3, epochs=3)
    page = open_page(explanation)
    page.locator("#next").click()
    for row in range(3):
        page.locator("#row").select_option(index=row)
        assert check_numbers(page, explanation) > 0
        item = explanation.items["neuron:1:0"]
        text = page.locator('[data-item="neuron:1:0"] text.sum').text_content()
        assert text == digits(explanation.value(item.numbers["sum"][row]))


def test_a_softmax_classifier(open_page):
    x = np.sin(np.arange(4.0))[None]
    explanation = nnb.explain(classifier(), x, [1], "softmax_cross_entropy", nnb.SGD(0.1))
    page = open_page(explanation)
    assert walk(page, explanation, ["neuron:3:1", "bias:1:0"]) > 500
    assert page.locator("#no-record").is_visible()
    assert not page.locator("#player").is_visible()


def test_windows_of_images(open_page):
    explanation = nnb.explain(images(), image(), 3, "softmax_cross_entropy", nnb.SGD(0.1))
    page = open_page(explanation)
    item = next(key for key in explanation.items if key.startswith("neuron:1:"))
    assert walk(page, explanation, [item]) > 500
    page.evaluate("key => { state.item = ''; go(1); choose(key); }", item)
    window = page.locator('[data-column="0"] .window')
    frame = page.locator('[data-column="0"] canvas').bounding_box()
    box, (top, left, height, width) = window.bounding_box(), explanation.items[item].window
    pixel = frame["width"] / 8
    assert math.isclose(box["width"], width * pixel, abs_tol=2)
    assert math.isclose(box["height"], height * pixel, abs_tol=2)
    assert math.isclose(box["x"] - frame["x"], left * pixel, abs_tol=2)
    assert math.isclose(box["y"] - frame["y"], top * pixel, abs_tol=2)
    # A pixel under the pointer is told.
    at = {"x": 2.5 * pixel, "y": 1.5 * pixel}
    page.locator('[data-column="0"] canvas').hover(position=at, force=True)
    caption = page.locator('[data-column="0"] figcaption').text_content()
    picture = explanation.images[0].numbers[0]
    assert caption == f"row 1, column 2: {digits(explanation.value(picture[8 + 2]))}"


def test_names_are_text(open_page):
    from microscope.networks import SCORES
    from microscope.networks import exam as network

    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    names = {"input_names": [evil, "b"], "output_names": [evil]}
    page = open_page(nnb.explain(network(), X[0], SCORES[0], "mse", nnb.SGD(1.0), **names))
    assert page.locator("img").count() == 0
    assert evil in page.locator("#formulas").text_content()


def test_a_frame_in_a_notebook(open_page, exam, tmp_path):
    page = open_page(exam)
    (tmp_path / "notebook.html").write_text(
        f"<!doctype html>{exam._repr_html_()}", encoding="utf-8"
    )
    page.goto((tmp_path / "notebook.html").as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("#step-title").text_content() == "2. Forward: layer 0"
