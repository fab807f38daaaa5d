"""Networks in blocks: their sizes, frames and connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from cases import LAYERS, each
from drawing.svg import Page, contains, overlap, text_boxes

import nnbackend as nnb


def check_page(page: Page) -> None:
    """Blocks do not overlap, frames hold each other or are apart, and texts are where there is room."""
    blocks = [*page.blocks().values()]
    frames = page.frames()
    for i, block in enumerate(blocks):
        assert contains((0, 0, page.width, page.height), block)
        assert not any(overlap(block, other) for other in blocks[:i])
        assert all(contains(frame, block) or not overlap(frame, block) for frame in frames)
    for i, frame in enumerate(frames):
        for other in frames[:i]:
            assert contains(frame, other) or contains(other, frame) or not overlap(frame, other)
    boxes = [*text_boxes(page)]
    for i, (text, box) in enumerate(boxes):
        assert contains((0, 0, page.width, page.height), box), text
        assert not any(overlap(box, block) for block in blocks), text
        for other, other_box in boxes[:i]:
            assert not overlap(box, other_box), (text, other)


@each(LAYERS)
def test_every_layer_can_be_drawn(case):
    net = nnb.Network(case.thing, input_shape=case.shape)
    drawing = nnb.draw(net, style="blocks")
    page = Page(drawing.svg)
    check_page(page)
    for row in net.summary_rows():
        assert f"{row.path}: {row.layer}" in drawing.description
    assert nnb.draw(net, style="blocks").svg == drawing.svg
    assert "<svg" in net._repr_html_()
    assert nnb.draw(net).style in ("circles", "blocks")
    closed = nnb.draw(net, style="blocks", depth=0)
    check_page(Page(closed.svg))
    assert not Page(closed.svg).frames()


def image_network():
    return nnb.Network(
        [
            nnb.Conv2D(8, 3, padding="same", activation="relu"),
            nnb.MaxPool2D(2),
            nnb.Residual([nnb.Conv2D(8, 3, padding="same", activation="relu"), nnb.BatchNorm()]),
            nnb.Conv2D(64, 3, padding="same"),
            nnb.Flatten(),
            nnb.Dense(10),
        ],
        input_shape=(32, 32, 3),
    )


def test_height_is_resolution_and_width_is_features():
    net = image_network()
    drawing = nnb.draw(net)
    assert drawing.style == "blocks"
    blocks = {title.partition(":")[0]: box for title, box in Page(drawing.svg).blocks().items()}
    height = {path: round(box[3] - box[1], 1) for path, box in blocks.items()}
    width = {path: round(box[2] - box[0], 1) for path, box in blocks.items()}
    assert height["input"] == height["0"] > height["2.0"] == height["3"] > height["5"]
    assert width["input"] < width["0"] == width["1"] == width["2.0"] < width["3"] < width["4"]


def test_channels_first_are_features_too():
    first = nnb.Network([nnb.Conv2D(16, 3, channels="first")], input_shape=(3, 32, 32))
    last = nnb.Network([nnb.Conv2D(16, 3)], input_shape=(32, 32, 3))
    sizes = [[*Page(nnb.draw(net).svg).blocks().values()] for net in (first, last)]
    first_sizes, last_sizes = (
        [round(size) for b in boxes for size in (b[2] - b[0], b[3] - b[1])] for boxes in sizes
    )
    assert first_sizes == last_sizes


def test_texts_say_layer_shape_and_parameters():
    texts = Page(nnb.draw(image_network()).svg).texts()
    for text in ("32\u00d732\u00d73", "Conv2D", "8, 3, relu,", "output 32\u00d732\u00d78",
                 "224 parameters", "Residual", "+"):  # fmt: skip
        assert text in texts
    assert not any("identity" in text for text in texts)


def test_repeated_layers_are_gathered():
    block = [nnb.Dense(8, "relu"), nnb.LayerNorm()]
    net = nnb.Network([*block * 4, nnb.Dense(2)], input_shape=8)
    page = Page(nnb.draw(net, style="blocks").svg)
    assert "\u00d7 4" in page.texts()
    assert any("4 times the same block of 2 layers: 0 to 7" in title for title in page.titles())
    assert len(page.blocks()) == 4
    assert f"{4 * (72 + 16)} parameters" in page.texts()
    assert len(Page(nnb.draw(net, style="blocks", gather=False).svg).blocks()) == 10
    # Others are alike in their arguments, and not in their shapes.
    net = nnb.Network([nnb.Dense(8)] * 3, input_shape=20)
    assert "\u00d7 3" not in Page(nnb.draw(net, style="blocks").svg).texts()
    net = nnb.Network([nnb.Repeat(nnb.Dense(8), 5, shared=True)], input_shape=8)
    page = Page(nnb.draw(net, style="blocks").svg)
    assert {"Repeat \u00d7 5", "shared weights, 72 parameters"} <= set(page.texts())


def graph_network():
    return nnb.Network(
        nnb.Graph(
            inputs=("image", "table"),
            nodes={
                "seen": (nnb.Sequential([nnb.Flatten(), nnb.Dense(4)]), "image"),
                "again": ("facts", "seen"),
                "facts": (nnb.Dense(4, "relu"), "table"),
                "both": (nnb.Concatenate(), "seen", "facts", "again"),
                "price": (nnb.Dense(1), "both"),
                "kind": (nnb.Dense(3, "softmax"), "both"),
            },
            outputs={"price": "price", "sort": "kind"},
        ),
        input_shape={"image": (2, 2), "table": (4,)},
    )


def test_a_graph_is_drawn_with_names_from_left_to_right():
    page = Page(nnb.draw(graph_network()).svg)
    check_page(page)
    boxes = {title.partition(":")[0]: box for title, box in page.blocks().items()}
    assert boxes.keys() == {"image", "table", "0.seen.0", "0.seen.1", "0.again", "0.facts",
                            "0.both", "0.price", "0.kind"}  # fmt: skip
    ways = "image 0.seen.0, table 0.facts, 0.seen.1 0.again, 0.again 0.both, 0.both 0.price"
    for before, after in (way.split() for way in ways.split(", ")):
        assert boxes[before][2] < boxes[after][0]
    assert {"shares facts", "seen: Sequential", "sort", "price"} <= set(page.texts())
    assert len(page.all("path", "flow")) == 2 + 1 + 1 + 1 + 3 + 2 + 2


def test_a_graph_inside_a_network_has_its_entry_and_its_parts():
    graph = nnb.Graph(
        "x",
        {
            "cut": (nnb.Split((1, 3)), "x"),
            "gate": (nnb.Dense(3, "sigmoid"), "cut.0"),
            "y": (nnb.Multiply(), "gate", "cut.1"),
        },
        "y",
    )
    net = nnb.Network([nnb.Dense(4), graph, nnb.Dense(1)], input_shape=4)
    page = Page(nnb.draw(net, style="blocks").svg)
    check_page(page)
    assert {".0", ".1", "Graph"} <= set(page.texts())
    several = nnb.Graph(("a", "b"), {"s": (nnb.Add(), "a", "b"), "t": (nnb.Multiply(), "a", "b")},
                        ("s", "t"))  # fmt: skip
    net = nnb.Network([nnb.Split(2), several, nnb.Add()], input_shape=4)
    page = Page(nnb.draw(net, style="blocks").svg)
    check_page(page)
    assert {"a", "b", "s", "t"} <= set(page.texts())


@dataclass(frozen=True)
class Mixture:
    """A layer that someone wrote, whose layers are connected in a way of their own."""

    left: Any
    right: Any

    def init(self, input_shape, rng):
        left, shape = self.left.init(input_shape, rng.child("left"))
        right, _ = self.right.init(input_shape, rng.child("right"))
        return {"left": left, "right": right}, shape


def test_a_composite_of_users_shows_what_is_inside_and_claims_no_connections():
    layer = Mixture(nnb.Dense(4), nnb.Dense(4, "tanh"))
    object.__setattr__(layer, "forward", None)
    net = nnb.Network([layer], input_shape=4)
    page = Page(nnb.draw(net, style="blocks").svg)
    check_page(page)
    assert "connections not known, 40 parameters" in page.texts()
    assert len(page.blocks()) == 3
    assert len(page.all("path", "flow")) == 1  # from the input to the frame


class Swapped(nnb.Residual):
    """A subclass that connects its layers in another way."""

    def forward(self, params, x, ctx):
        return super().forward(params, x, ctx)


def test_a_subclass_that_runs_in_its_own_way_claims_no_connections_either():
    net = nnb.Network([Swapped([nnb.Dense(4), nnb.Dropout(0.1)])], input_shape=4)
    page = Page(nnb.draw(net, style="blocks").svg)
    assert any(text.startswith("connections not known") for text in page.texts())
    assert "+" not in page.texts()


def test_a_long_chain_is_broken_into_rows_with_texts_at_one_height():
    sizes = [(64, 32), (128, 16), (256, 8)]
    layers = [
        layer
        for features, _ in sizes
        for layer in (nnb.Conv2D(features, 3, padding="same"), nnb.BatchNorm(), nnb.MaxPool2D(2))
    ]
    net = nnb.Network([*layers, nnb.Flatten(), nnb.Dense(10)], input_shape=(64, 64, 3))
    page = Page(nnb.draw(net).svg)
    check_page(page)
    assert page.width < 1250
    axes = {round((box[1] + box[3]) / 2) for box in page.blocks().values()}
    assert len(axes) == 2
    names = {"input", "Conv2D", "BatchNorm", "MaxPool2D", "Flatten", "Dense"}
    assert (
        len({float(one.get("y")) for one in page.all("text", "strong") if one.text in names}) == 2
    )


def test_very_deep_layers_are_opened_to_twenty_levels():
    layer = nnb.Dense(3)
    for _ in range(100):
        layer = nnb.Sequential([layer])
    drawing = nnb.draw(nnb.Network([layer], input_shape=3), style="blocks")
    assert len(Page(drawing.svg).frames()) == 20
    assert "opened to depth 20" in drawing.note


def test_hundreds_of_layers_are_drawn_one_by_one():
    chain = nnb.Network([nnb.Dense(20 + i % 7) for i in range(400)], input_shape=30)
    nodes: dict[str, Any] = {"n0": (nnb.Dense(8), "x")}
    for i in range(1, 400):
        sources = {f"n{i - 1}", f"n{i * 7 % i}", f"n{max(0, i - 5)}"}
        nodes[f"n{i}"] = (nnb.Add() if len(sources) > 1 else nnb.Dense(8), *sorted(sources))
    graph = nnb.Network(nnb.Graph("x", nodes, "n399"), input_shape=8)
    for net in (chain, graph):
        drawing = nnb.draw(net, gather=False)
        assert len(Page(drawing.svg).blocks()) == 401
        assert drawing.note.count(";") == 0


def test_what_is_too_large_is_closed_or_refused():
    net = nnb.Network([nnb.Sequential([nnb.Dense(3 + (i + j) % 5) for j in range(30)])
                       for i in range(30)], input_shape=3)  # fmt: skip
    drawing = nnb.draw(net, gather=False)
    assert len(Page(drawing.svg).blocks()) == 31
    assert "opened to depth 0" in drawing.note
    assert len(Page(nnb.draw(net, gather=False, depth=1).svg).blocks()) == 901
    long = nnb.Network([nnb.Dense(2)] * 1600, input_shape=2)
    with pytest.raises(ValueError, match=r"1,601 blocks, more than the 1,500.*or gather=True"):
        nnb.draw(long, gather=False)
    assert len(Page(nnb.draw(long).svg).blocks()) == 2
