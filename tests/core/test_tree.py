"""Nested parameters: walked, mapped, named with dots."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from nnbackend.core.tree import flatten, leaves, paths, tree_map, unflatten

NAMES = st.text("abc019_", min_size=1, max_size=3)
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        st.integers(), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
    ),
    max_size=4,
)


@given(tree=TREES)
def test_flatten_and_unflatten_undo_each_other(tree):
    assert unflatten(flatten(tree), tree) == tree


@given(tree=TREES)
def test_names_paths_and_leaves_come_in_the_same_order(tree):
    assert list(flatten(tree)) == [".".join(path) for path in paths(tree)]
    assert list(flatten(tree).values()) == leaves(tree)


@given(tree=TREES)
def test_a_map_keeps_names_and_nesting(tree):
    doubled = tree_map(lambda a, b: a + b, tree, tree)
    assert flatten(doubled) == {name: 2 * leaf for name, leaf in flatten(tree).items()}
    assert unflatten(flatten(doubled), tree) == doubled


def test_empty_branches_stay():
    tree = {"0": {}, "1": {"weight": 1, "inner": {}}}
    assert tree_map(str, tree) == {"0": {}, "1": {"weight": "1", "inner": {}}}
    assert flatten(tree) == {"1.weight": 1}
