"""Layouts: one vector with a range for each group, or leaves; both do the same."""

from __future__ import annotations

import numpy as np
import pytest
from cases import OPTIMIZERS, WRAPPERS, rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.core.tree import flatten, tree_map
from nnbackend.optimizers import EMA, LBFGS, SGD, Adam, AdamW, Clipped, Constrained, Frozen, Grouped
from nnbackend.training.layout import Layout, VectorLayout, layout_for

SHAPES = {
    "0": {"weight": (3, 4), "bias": (4,)},
    "1": {},
    "2": {"0": {"weight": (4, 1), "bias": (1,)}},
}
GROUPS = {"0.*": {"learning_rate_factor": 0.5}, "*.bias": {"weight_decay": 0.0}}
BOUND = (("0.weight", nnb.constraints.MaxNorm(0.5)),)
COMPOSED = [
    Frozen(Adam(0.1), "0.bias"),
    Frozen(EMA(Clipped(Grouped(AdamW(0.1), GROUPS), norm=0.5), decay=0.5), "2.0.bias"),
    EMA(Constrained(Grouped(AdamW(0.1), GROUPS), BOUND), decay=0.5),
    Grouped(Adam(0.1), {"*.bias": Clipped(SGD(0.1, momentum=0.9), norm=0.1)}),
    Clipped(Grouped(Adam(0.1), {"*.bias": Clipped(SGD(0.1), norm=0.1)}), norm=0.5),
    Grouped(Adam(0.1), {"*.bias": EMA(SGD(0.1), decay=0.5)}),
    Clipped(Clipped(Clipped(SGD(0.1), norm=0.2), value=0.1), norm=0.3),
]


def tree(seed):
    return tree_map(lambda shape: rows(shape, seed), SHAPES)


def stepped(layout, prepared, steps=4):
    """Return the storage after some steps."""
    storage = layout.init(tree(0))
    found = prepared.number_rows(range(1, steps + 1))
    for step, row in enumerate(np.asarray(found).tolist()):
        storage = layout.update(storage, tree(step + 1), tuple(row))
    return storage


@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize(
    "optimizer",
    [case.thing for case in (*OPTIMIZERS, *WRAPPERS) if not isinstance(case.thing, LBFGS)]
    + COMPOSED,
    ids=repr,
)
def test_a_vector_does_what_a_loop_over_parameters_does(optimizer, chunk, monkeypatch):
    monkeypatch.setattr(NumPyBackend, "chunk", chunk)
    backend = nnb.get_backend("numpy", dtype="float64")
    prepared = optimizer.prepared(tree(0))
    layout = layout_for(backend, prepared)
    assert isinstance(layout, VectorLayout)
    storage = stepped(layout, prepared)
    params, state = tree(0), optimizer.init(tree(0))
    for step in range(4):
        params, state = optimizer.update(params, tree(step + 1), state)
    assert_close(flatten(layout.params(storage)), flatten(params), 1e-14)
    assert_close(flatten(layout.slots(storage)), flatten(state["slots"]), 1e-14)
    averages = optimizer.averaged(params, state)
    assert_close(flatten(layout.result(storage)), flatten(averages), 1e-14)


@pytest.mark.parametrize("optimizer", COMPOSED, ids=repr)
def test_what_a_program_knows_of_an_optimizer_does_the_same_with_its_numbers(optimizer):
    """So no rule looks at a number anywhere but among those it is handed."""
    backend = nnb.get_backend("numpy", dtype="float64")
    prepared = optimizer.prepared(tree(0))
    known = prepared.for_program(_Static())
    assert known != prepared
    found = [stepped(Layout(backend, rules), prepared) for rules in (known, prepared)]
    assert_equal(flatten(found[0].params), flatten(found[1].params))
    assert_equal(flatten(found[0].arrays), flatten(found[1].arrays))


@pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda case: case.id)
def test_so_does_each_optimizer(case):
    if not isinstance(case.thing, LBFGS):
        test_what_a_program_knows_of_an_optimizer_does_the_same_with_its_numbers(case.thing)


class _Static:
    """A backend that compiles, as far as the optimizer asks."""

    static_shapes = True


def test_groups_are_ranges_of_one_vector_and_frozen_parameters_have_none():
    backend = nnb.get_backend("numpy")
    optimizer = Frozen(Grouped(Adam(0.1), {"*.bias": SGD(0.1)}), "0.bias")
    layout = layout_for(backend, optimizer.prepared(tree(0)))
    storage = layout.init(tree(0))
    assert len(storage.pieces) == 2  # a call of a rule for each group
    assert sorted(piece.p.size for piece in storage.pieces) == [1, 16]
    assert storage.vector.size == 21
    for array in flatten(layout.params(storage)).values():
        assert np.shares_memory(array, storage.vector)
    assert "0.bias" not in {name.split(".", 2)[2] for name in flatten(layout.slots(storage))}


def test_a_rule_that_is_not_elementwise_gets_views_in_their_shape():
    backend = nnb.get_backend("numpy")
    layout = layout_for(backend, nnb.Muon().prepared(tree(0)))
    storage = layout.init(tree(0))
    assert sorted(piece.p.shape for piece in storage.pieces) == [(1,), (3, 4), (4,), (4, 1)]
    assert all(np.shares_memory(piece.p, storage.vector) for piece in storage.pieces)


@pytest.mark.parametrize("optimizer", [Adam(0.1), *COMPOSED[:3]], ids=repr)
def test_what_is_taken_out_goes_back_in(optimizer, backend):
    prepared = optimizer.prepared(tree(0))
    layout = layout_for(backend, prepared.for_program(backend))
    with backend.scope():
        start = tree_map(backend.asarray, tree(0))
        storage, other = layout.init(start), layout.init(start)
        grads = tree_map(backend.asarray, tree(1))
        row = tuple(np.asarray(prepared.number_rows(range(1, 2)))[0].tolist())
        storage = layout.update(storage, grads, row)
        trees = layout.params(storage), layout.slots(storage)
        before = [tree_map(np.array, host(backend, found)) for found in trees]
        twin, snapshot = layout.copy(storage), layout.snapshot(storage)
        other = layout.with_params(other, layout.params(storage))
        other = layout.with_slots(other, layout.slots(storage))
        grads = tree_map(backend.asarray, tree(2))
        row = tuple(np.asarray(prepared.number_rows(range(2, 3)))[0].tolist())
        storage = layout.restored(layout.update(storage, grads, row), snapshot)
        for one in (twin, other):
            assert_equal(host(backend, layout.params(one)), before[0])
            assert_equal(flatten(host(backend, layout.slots(one))), flatten(before[1]))
        assert_equal(host(backend, layout.params(storage)), before[0])
        assert layout.finite(storage)
