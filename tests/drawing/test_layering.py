"""Places for the nodes of a graph."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nnbackend.drawing.layering import Size, arrange
from nnbackend.drawing.repeats import gather

BOX = Size(40.0, 10.0, 30.0)


def test_columns_follow_the_longest_path_and_inputs_are_near_what_takes_them():
    sizes = dict.fromkeys(["x", "late", "a", "b", "sum"], BOX)
    edges = [("x", "a"), ("a", "b"), ("b", "sum"), ("x", "sum"), ("late", "sum")]
    arranged = arrange(sizes, edges)
    assert [set(column) for column in arranged.columns] == [{"x"}, {"a"}, {"late", "b"}, {"sum"}]
    assert len(arranged.routes["x", "sum"]) == 2
    assert arranged.routes.keys() == {("x", "sum")}


def test_crossings_that_can_be_avoided_are():
    sizes = dict.fromkeys(["x", "a", "b", "c", "d"], BOX)
    arranged = arrange(sizes, [("x", "a"), ("x", "b"), ("a", "d"), ("b", "c")])
    above = arranged.heights["a"] < arranged.heights["b"]
    assert above == (arranged.heights["d"] < arranged.heights["c"])


def test_nodes_of_a_column_do_not_overlap_and_a_way_around_leaves_the_node_where_it_is():
    names = ["x", *(f"n{i}" for i in range(9)), "y"]
    edges = [("x", n) for n in names[1:-1]] + [(n, "y") for n in names[1:-1]] + [("x", "y")]
    arranged = arrange(dict.fromkeys(names, BOX), edges)
    heights = sorted(arranged.heights[name] for name in arranged.columns[1])
    assert min(b - a for a, b in pairwise(heights)) >= 40
    straight = arrange(dict.fromkeys("xfy", BOX), [("x", "f"), ("f", "y"), ("x", "y")])
    assert len(set(straight.heights.values())) == 1
    assert straight.routes["x", "y"][0] < straight.heights["f"] - 10


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("", []),
        ("abc", [(0, 1, 1), (1, 1, 1), (2, 1, 1)]),
        ("aab", [(0, 1, 1), (1, 1, 1), (2, 1, 1)]),
        ("aaab", [(0, 1, 3), (3, 1, 1)]),
        ("xababaaaa", [(0, 1, 1), (1, 2, 2), (5, 1, 4)]),
        ("aabaabaab", [(0, 3, 3)]),
    ],
)
def test_repeats_are_found(items, expected):
    assert gather(items) == expected
