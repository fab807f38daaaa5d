"""``nnb.draw``: what it takes and refuses, texts for everyone, files, and what notebooks show."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from drawing.svg import NS, Page

import nnbackend as nnb


def network():
    return nnb.Network([nnb.Dense(3, "tanh"), nnb.Dense(2)], input_shape=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nnb.draw(nnb.Network([nnb.Dense(1)])), "not built.*input_shape=.*with a row x"),
        (lambda: nnb.draw(network(), [1.0, 2, 3]), r"2 features|\(2,\)"),
        (lambda: nnb.draw(network(), [[1.0, 2], [3, 4]]), r"one row of shape \(2,\).*\(2, 2\)"),
        (lambda: nnb.draw(network(), [np.nan, 1.0]), "not finite"),
        (lambda: nnb.draw(network(), y=[1.0, 2]), "the target y belongs to a row: give x"),
        (lambda: nnb.draw(network(), gradients=True), "gradients belong to a row: give x"),
        (lambda: nnb.draw(network(), [1.0, 2], gradients=True), "give y"),
        (lambda: nnb.draw(network(), [1.0, 2], [1.0, 2], gradients=True), "say which loss"),
        (lambda: nnb.draw(network(), [1.0, 2], [1.0, 2], "mse"), "give gradients=True"),
        (lambda: nnb.draw(network(), [1.0, 2], [1.0, 2, 3]), r"2 numbers, one for each output.*\(3,\)"),
        (lambda: nnb.draw(network(), [1.0, 2], 5), "number of a class"),
        (lambda: nnb.draw(network(), [1.0, 2], ["a", "b"]), "y must be numbers"),
        (lambda: nnb.draw(network(), input_names=["a"]), "input_names must be 2 names, got 1"),
        (lambda: nnb.draw(network(), output_names=["a"] * 3), "output_names must be 2 names, got 3"),
        (lambda: nnb.draw(network(), style="round"), "'auto', 'circles' or 'blocks'"),
        (lambda: nnb.draw(network(), depth=-1), "depth"),
        (lambda: nnb.draw(network(), gather="no"), "gather"),
        (lambda: nnb.draw(network(), [1.0, 2], style="blocks"), "drawn as blocks; leave x out"),
        (lambda: nnb.draw(large(), np.zeros(40)), "the input has 40 units.*nnb.observe"),
        (lambda: nnb.draw(large(), style="circles"), "cannot be drawn as circles: the input has 40"),
        (lambda: nnb.draw(image(), input_names=["a"]), "single numbers, and a row is 4\u00d74\u00d71"),
    ],
)  # fmt: skip
def test_bad_input_gets_clear_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def large():
    return nnb.Network([nnb.Dense(3)], input_shape=40)


def image():
    return nnb.Network([nnb.Conv2D(2, 3), nnb.Flatten()], input_shape=(4, 4, 1))


def test_other_things_than_networks_and_names_are_refused():
    with pytest.raises(TypeError, match="network must be a Network"):
        nnb.draw(nnb.Dense(3))
    with pytest.raises(TypeError, match="input_names must be a sequence of names"):
        nnb.draw(network(), input_names="ab")
    closed = network()
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        nnb.draw(closed)


def test_a_network_that_is_too_large_for_circles_says_so():
    drawing = nnb.draw(large())
    assert drawing.style == "blocks"
    assert drawing.note == "the input has 40 units, and a column of circles at most 16"
    assert f"Drawn as blocks: {drawing.note}." in Page(drawing.svg).texts()
    wide = nnb.draw(nnb.Network([nnb.Dense(17)], input_shape=4))
    assert "layer 0 has 17 units" in wide.note
    deep = nnb.draw(nnb.Network([nnb.Dense(2)] * 12, input_shape=4))
    assert "13 columns of units, and circles at most 12" in deep.note


def test_a_row_builds_a_network_and_may_be_a_batch_of_one():
    net = nnb.Network([nnb.Dense(2)])
    first = nnb.draw(net, [1.0, 2.0])
    assert net.input_shape == (2,)
    assert nnb.draw(net, np.array([[1.0, 2.0]])).svg == first.svg
    assert nnb.draw(net, np.array([1.0, 2.0])).svg == first.svg


def test_drawing_changes_nothing(backend):
    net = nnb.Network(
        [nnb.Dense(3), nnb.Dropout(0.5), nnb.Dense(1)], backend=backend, input_shape=2
    )
    before = {name: net.to_numpy(value) for name, value in net.state_dict().items()}
    nnb.draw(net, [1.0, 2], [3.0], "mse", gradients=True)
    assert net.trained == (0, 0)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(net.to_numpy(value), before[name])


EVIL = '<script>alert("&")</script>]]>\' onload="x" \x00\x1b\u202e'


def test_names_of_users_are_escaped():
    svg = nnb.draw(
        network(), [1.0, 2], input_names=[EVIL, "b"], output_names=["c", EVIL], title=EVIL
    ).svg
    root = ET.fromstring(svg)
    tags = {one.tag.removeprefix(NS) for one in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "g", "line", "circle", "text"}
    for element in root.iter():
        assert not [name for name in element.attrib if name.startswith("on") or "href" in name]
    assert "<script" not in svg
    cleaned = '<script>alert("&")</script>]]>\' onload="x" \ufffd\ufffd\ufffd'
    assert root.find(f"{NS}title").text == cleaned
    graph = nnb.Graph(EVIL[:30].replace(".", ""), {"a<b": (nnb.Dense(2), EVIL[:30])}, "a<b")
    page = Page(nnb.draw(nnb.Network(graph, input_shape=2)).svg)
    assert "a<b" in page.texts()
    assert "<script" not in nnb.draw(nnb.Network(graph, input_shape=2)).svg


def test_a_screen_reader_and_both_backgrounds_are_served():
    drawing = nnb.draw(network(), [1.0, 2], [3.0, 4], input_names=["hours", "sleep"])
    root = ET.fromstring(drawing.svg)
    assert root.get("role") == "img"
    title, description = root.find(f"{NS}title"), root.find(f"{NS}desc")
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == drawing.title == "Network 2 \u2192 3 \u2192 2"
    twice = nnb.Network([nnb.Dense(2, "tanh"), nnb.Dropout(0.1), nnb.Dense(2)], input_shape=2)
    assert nnb.draw(twice).title == "Network 2 \u2192 2 \u2192 2"
    assert description.text == drawing.description
    for words in ("input 2", "0: Dense(3, tanh), output 3, 9 parameters",
                  "For hours 1, sleep 2 the result is output 0", "; the target is 3, 4"):  # fmt: skip
        assert words in drawing.description
    style = root.find(f"{NS}style").text
    assert "prefers-color-scheme:dark" in style
    rules = [line for line in style.splitlines() if line.endswith("}") and line != "}"]
    assert all(rule.startswith(".nnb-drawing ") for rule in rules)  # nothing else on a page changes


def test_the_same_network_gives_the_same_text_and_others_other_ids():
    assert nnb.draw(network()).svg == nnb.draw(network()).svg
    ids = [
        ET.fromstring(nnb.draw(net).svg).find(f"{NS}title").get("id")
        for net in (network(), large())
    ]
    assert ids[0] != ids[1]


def test_files(tmp_path, monkeypatch):
    drawing = nnb.draw(network())
    assert drawing._repr_svg_() == drawing.svg
    assert "svg" not in repr(drawing)
    path = drawing.save(tmp_path / "net.svg")
    assert path.read_text(encoding="utf-8") == drawing.svg
    for name in ("net.gif", "net"):
        with pytest.raises(ValueError, match=r"ends in \.svg, \.png or \.pdf"):
            drawing.save(tmp_path / name)
    for missing, error, words in (
        (None, ModuleNotFoundError, r"pip install 'nnbackend\[draw\]'"),
        (FailingFinder(), OSError, "needs the library cairo.*libcairo2"),
    ):
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "cairosvg", raising=False)
            if missing is None:
                patch.setitem(sys.modules, "cairosvg", None)
            else:
                patch.setattr(sys, "meta_path", [missing, *sys.meta_path])
            with pytest.raises(error, match=words):
                drawing.save(tmp_path / "net.png")
    assert [one.name for one in tmp_path.iterdir()] == ["net.svg"]


class FailingFinder:
    """Imports of cairosvg fail as they do where the library is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name == "cairosvg":
            raise OSError('no library called "cairo-2" was found')


@pytest.mark.filterwarnings("ignore")  # of other libraries
def test_png_and_pdf(tmp_path):
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("needs cairosvg and cairo")
    drawing = nnb.draw(network(), [1.0, 2])
    png = drawing.save(tmp_path / "net.PNG").read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    page = Page(drawing.svg)
    assert (width, height) == (int(2 * page.width), int(2 * page.height))
    assert drawing.save(tmp_path / "net.pdf").read_bytes().startswith(b"%PDF")


def test_a_notebook_shows_drawing_and_summary_and_never_fails():
    html = network()._repr_html_()
    assert "<svg" in html
    assert "17 parameters" in html
    assert ET.fromstring(html) is not None
    unbuilt = nnb.Network([nnb.Dense(3, "tanh"), nnb.Dense(2)])._repr_html_()
    assert "Dense(3, tanh)" in unbuilt
    assert "not built" in unbuilt
    assert "<svg" not in unbuilt
    assert unbuilt.count("<pre>") == 1
    closed = network()
    closed.close()
    assert "no drawing: the network is closed" in closed._repr_html_()
    many = nnb.Network([nnb.Dense(2 + i % 2) for i in range(1600)], input_shape=2)
    assert "<svg" in many._repr_html_()  # gathered
    broken = network()
    broken.layers = None
    assert "<div" in broken._repr_html_()
