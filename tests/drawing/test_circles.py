"""Small networks as circles and lines: places, names, and the numbers of a row."""

from __future__ import annotations

import re

import numpy as np
import pytest
from drawing.svg import Page, overlap, text_boxes

import nnbackend as nnb

X, TARGET = [2 / 3, 1.0], [0.92]
NAMES = {"input_names": ["hours studied", "hours slept"], "output_names": ["score"]}


def exam_network(backend="numpy", bias=False):
    """The network of examples/exam_scores.py."""
    layers = [
        nnb.Dense(3, "sigmoid", bias=bias, initializer="normal", bias_initializer="normal"),
        nnb.Dense(1, "sigmoid", bias=bias, initializer="normal", bias_initializer="normal"),
    ]
    return nnb.Network(layers, backend=backend, seed=1, input_shape=2)


def shown(value) -> str:
    return f"{float(value):.4g}"


def test_the_exam_network_looks_like_its_textbook_drawing():
    page = Page(nnb.draw(exam_network(), X, TARGET, **NAMES).svg)
    circles = page.circles()
    columns = {}
    for title, (x, y, _) in circles.items():
        columns.setdefault(x, []).append((y, title.partition(",")[0]))
    assert [[name for _, name in sorted(columns[x])] for x in sorted(columns)] == [
        ["hours studied", "hours slept"],
        ["unit 0 of layer 0", "unit 1 of layer 0", "unit 2 of layer 0"],
        ["score"],
    ]
    middles = [np.mean([y for y, _ in column]) for column in columns.values()]
    assert max(middles) - min(middles) < 0.2
    studied = next(c for title, c in circles.items() if title.startswith("hours studied"))
    x, y = page.text_at("hours studied")
    assert x < studied[0] - studied[2]
    assert abs(y - studied[1]) < 6
    score = next(c for title, c in circles.items() if title.startswith("score"))
    for text in ("score", "target 0.92"):
        x, y = page.text_at(text)
        assert x > score[0] + score[2]
        assert abs(y - score[1]) < score[2]
    assert {"input", "hidden", "output", "Dense(3, sigmoid)"} <= {*page.texts()}
    assert len(page.groups("weight")) == 9


def test_numbers_are_those_of_observe(backend):
    net = exam_network(backend, bias=True)
    page = Page(nnb.draw(net, X, TARGET, **NAMES).svg)
    hidden, output = nnb.observe(net, [X])
    z, y = ([net.to_numpy(p.notes["z"])[0] for p in (hidden, output)],
            [net.to_numpy(p.y)[0] for p in (hidden, output)])  # fmt: skip
    assert page.texts("sum") == [shown(v) for v in np.concatenate(z)]
    assert page.texts("result") == [shown(v) for v in [*X, *np.concatenate(y)]]
    titles = [*page.circles()]
    assert titles[2] == f"unit 0 of layer 0, sum {shown(z[0][0])}, result {shown(y[0][0])}"
    weights = net.to_numpy(net.params["0"]["weight"])
    bias = net.to_numpy(net.params["1"]["bias"])
    lines = [*page.groups("weight")]
    assert f"weight from hours slept to unit 2 of layer 0: {shown(weights[1, 2])}" in lines
    assert f"bias of score: {shown(bias[0])}" in lines
    assert len(lines) == 2 * 3 + 3 + 3 + 1
    assert len(page.groups("neuron-bias")) == 1  # both have the same title
    assert {shown(v) for v in weights.ravel()} <= set(page.texts("value"))


def test_the_way_back_shows_the_gradients_of_observe(backend):
    net = exam_network(backend, bias=True)
    page = Page(nnb.draw(net, X, TARGET, "mse", gradients=True, **NAMES).svg)
    passages = nnb.observe(net, [X], [TARGET], "mse")
    expected = []
    for p in passages:
        dy, dz = net.to_numpy(p.dy)[0], net.to_numpy(p.notes["dz"])[0]
        for a, b in zip(dy, dz, strict=True):
            expected += [f"dy {shown(a)}", f"dz {shown(b)}"]
    assert page.texts("gradient") == expected
    grads = net.to_numpy(passages[0].grads["weight"])
    weights = net.to_numpy(net.params["0"]["weight"])
    title = "weight from hours studied to unit 1 of layer 0"
    assert f"{title}: {shown(weights[0, 1])}, gradient {shown(grads[0, 1])}" in page.titles()
    assert {shown(v) for v in grads.ravel()} <= set(page.texts("value"))
    assert "positive gradient" in page.texts()


def test_signs_are_seen_without_color_and_sizes_as_widths():
    net = exam_network()
    net.load_state_dict({"0.weight": [[1.0, -2, 0], [4, -0.5, 2]], "1.weight": [[1.0], [1], [-1]]})
    lines = {t: g[1] for t, g in Page(nnb.draw(net, **NAMES).svg).groups("weight").items()}
    kinds = {t.rpartition(" ")[2]: line.get("class") for t, line in lines.items()}
    assert kinds == {
        "1": "positive", "-2": "negative", "0": "line", "4": "positive", "-0.5": "negative",
        "2": "positive", "-1": "negative",
    }  # fmt: skip
    widths = {t: float(line.get("stroke-width")) for t, line in lines.items()}
    by_size = sorted(widths, key=lambda t: abs(float(t.rpartition(" ")[2])))
    assert [widths[t] for t in by_size] == sorted(widths.values())
    assert widths["weight from hours slept to unit 0 of layer 0: 4"] == 5.0
    svg = nnb.draw(net).svg
    assert re.search(r"\.negative\{stroke-dasharray", svg)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_loss_that_contains_the_activation_shows_what_it_takes(gradients):
    layers = [nnb.Dense(4), nnb.Activation("relu"), nnb.Dropout(0.5), nnb.Dense(3, "softmax")]
    net = nnb.Network(layers, input_shape=2, seed=3)
    loss = "softmax_cross_entropy" if gradients else None
    page = Page(nnb.draw(net, [0.5, -1.0], 2, loss, gradients=gradients).svg)
    passages = {
        p.path: p
        for p in (
            nnb.observe(net, [[0.5, -1.0]], [2], loss)
            if gradients
            else nnb.observe(net, [[0.5, -1.0]])
        )
    }
    # The ReLU is part of the column before it, dropout a column of its own.
    results = [0.5, -1.0]
    for path in ("1", "2", "3"):
        results += passages[path].y[0].tolist()
    assert page.texts("result") == [shown(v) for v in results]
    assert page.texts("target") == ["target 0", "target 0", "target 1"]
    headers = {
        "Dense(4) \u2192 relu",
        "Dropout(0.5)",
        "Dense(3)" if gradients else "Dense(3, softmax)",
    }
    assert headers <= set(page.texts())
    absorbed = [text for text in page.texts() if "which the loss contains" in text]
    assert len(absorbed) == gradients


def test_an_activation_that_the_loss_contains_is_not_shown_as_one_that_ran():
    net = nnb.Network([nnb.Dense(3), nnb.Activation("softmax")], input_shape=2)
    page = Page(nnb.draw(net, X, 1, "softmax_cross_entropy", gradients=True).svg)
    what = "The output is that before its activation, softmax, which the loss contains."
    assert what in page.texts()
    logits = nnb.observe(net, [X], [1], "softmax_cross_entropy")[0].y[0]
    assert page.texts("result")[2:] == [shown(v) for v in logits]
    assert not any("\u2192" in text for text in page.texts())
    assert "Dense(3) \u2192 softmax" in Page(nnb.draw(net, X).svg).texts()


def test_a_softmax_between_others_is_not_drawn_as_one_to_one():
    net = nnb.Network([nnb.Dense(3, "tanh"), nnb.Activation("softmax")], input_shape=2)
    drawing = nnb.draw(net)
    assert drawing.style == "blocks"
    assert drawing.note == "layer 1 is Activation(softmax), and follows no layer of neurons"


def test_nothing_overlaps():
    layers = [nnb.Dense(6, "tanh"), nnb.Dropout(0.1), nnb.Dense(2), nnb.Dense(4, "softmax")]
    net = nnb.Network(layers, input_shape=5)
    row = [0.1, -12345.6789, 3e-9, -4.44444e-5, 123456.0]
    names = {"input_names": [f"a long name {i} " * 9 for i in range(5)]}
    for more in ({}, {"x": row, "y": 1}, {"x": row, "y": 1, "loss": "mse", "gradients": True}):
        if "loss" in more:
            more |= {"y": [1.0, 2, 3, 4]}
        page = Page(nnb.draw(net, **more, **names).svg)
        circles = list(page.circles().values())
        for i, (x, y, r) in enumerate(circles):
            assert x - r > 0
            assert x + r < page.width
            for other_x, other_y, _ in circles[:i]:
                assert np.hypot(x - other_x, y - other_y) > 2 * r
        boxes = [*text_boxes(page)]
        for i, (text, box) in enumerate(boxes):
            assert box[0] >= 0, text
            assert box[2] <= page.width, text
            assert box[3] <= page.height, text
            for other, other_box in boxes[:i]:
                assert not overlap(box, other_box), (text, other)
        assert any(text.endswith("\u2026") for text in page.texts("strong"))
        assert names["input_names"][3].strip() in page.titles()


def test_numbers_that_are_none_are_shown_as_such():
    net = exam_network()
    net.params["0"]["weight"][0, 0] = np.nan
    net.params["0"]["weight"][1, 1] = np.inf
    page = Page(nnb.draw(net).svg)
    assert {"nan", "inf"} <= set(page.texts("value"))
    assert all(float(line.get("stroke-width")) <= 5 for line in page.all("line", "positive"))


def test_nested_sequentials_are_one_row():
    inner = nnb.Sequential([nnb.Dense(3, "relu"), nnb.Sequential([nnb.Dense(2)])])
    net = nnb.Network([inner, nnb.Dense(1)], input_shape=2)
    page = Page(nnb.draw(net, X).svg)
    paths = {title.partition(",")[0].rpartition(" ")[2] for title in page.circles()}
    assert {"0.0", "0.1.0"} <= paths
    y = {p.path: p.y[0] for p in nnb.observe(net, [X])}
    assert page.texts("result")[2:5] == [shown(v) for v in y["0.0"]]
