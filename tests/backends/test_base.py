"""What a backend computes beside its library: scans, copies, rows, labels."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import require
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.backends.choose import get_backend
from nnbackend.core.types import Batch, StepResult

VALUES = np.array([[0.0, 1.5, -2.0], [3.0, -4.25, 5.0]])


def test_gradient_tapes_stay_off():
    torch = pytest.importorskip("torch")
    x = torch.ones((3, 2), requires_grad=True)
    net = nnb.Network([nnb.Dense(1)], backend="torch")
    net.fit(x, torch.zeros(3, requires_grad=True))
    y, backward = net.forward(x)
    dx, grads = backward(torch.ones_like(y, requires_grad=True))
    for array in (net.predict(x), y, dx, *grads["0"].values(), *net.state_dict().values()):
        assert not array.requires_grad
    assert x.grad is None


def test_an_integer_dtype_can_be_asked_for(backend):
    labels = backend.asarray([0, 2, 1], backend.xp.int32)
    assert labels.dtype == backend.xp.int32
    assert_equal(host(backend, labels), np.array([0, 2, 1], np.int32))


def test_scans_join_numbers_and_batches(backend):
    """The loop that each backend may turn into one program of its own."""
    xp = backend.xp

    def body(carry, batch, scalars, number):
        x = batch.x
        return carry + xp.sum(x) * scalars[0], StepResult(xp.sum(x), None, x + 0.0)

    run = backend.scan(body)
    x = backend.asarray(np.arange(8.0).reshape(4, 2))
    start = xp.zeros((), dtype=backend.dtype, device=backend.device)
    carry, sums, nothing, same = run(start, Batch(x, x), 2, [(1.0,), (10.0,)], range(2))
    assert float(carry) == 6 + 220
    assert np.asarray(backend.fetch(sums)).tolist() == [6, 22]
    assert nothing is None
    assert_equal(host(backend, same), host(backend, x))


def test_jax_shares_no_memory_that_may_change():
    require("jax")
    backend = get_backend("jax")
    wide = np.zeros(1000 + 16, dtype=np.float32)
    for first in range(16):  # one of these starts where JAX would share what it is given
        given = wide[first : first + 1000]
        given[...] = 1.0
        x = backend.asarray(given)
        given[...] = 2.0
        assert (host(backend, x) == 1.0).all()


def test_what_jax_has_goes_through_unless_something_is_to_change():
    require("jax")
    backend = get_backend("jax")
    x = backend.asarray(VALUES)
    assert backend.asarray(x) is x
    assert backend.asarray(x, dtype=backend.xp.int32).dtype == backend.xp.int32


def test_scans_cut_trees_of_inputs_and_join_trees_of_outputs(backend):
    def body(carry, batch, scalars, number):
        image, meta = batch.x["image"], batch.x["meta"][0]
        return carry + 1.0, StepResult(
            xp.sum(batch.y * meta), None, {"image": image + 0.0, "both": (image + meta, None)}
        )

    xp, x = backend.xp, backend.asarray(np.arange(8.0).reshape(4, 2))
    meta = backend.asarray(np.arange(4.0)[:, None])
    rows = Batch({"image": x, "meta": (meta,)}, meta)
    start = xp.zeros((), dtype=backend.dtype, device=backend.device)
    carry, sums, _, outputs = backend.scan(body)(start, rows, 2, [(1.0,), (1.0,)], range(2))
    assert float(carry) == 2.0
    assert backend.fetch(sums).tolist() == [1.0, 13.0]
    assert_equal(host(backend, outputs["image"]), host(backend, x))
    assert_equal(host(backend, outputs["both"][0]), host(backend, x + meta))
    assert outputs["both"][1] is None


def test_copies_are_arrays_of_their_own(backend):
    tree = {"a": {"b": backend.asarray(VALUES.copy())}, "c": {}, "0": backend.asarray([1.0])}
    copy = backend.copy_tree(tree)
    assert copy.keys() == tree.keys()
    assert copy["a"]["b"] is not tree["a"]["b"]
    assert copy["a"]["b"].dtype == backend.dtype
    assert_equal(host(backend, copy), host(backend, tree))


def test_labels_become_rows_of_a_unit_matrix(backend):
    rows = backend.one_hot(np.array([2, 0, 1, 2], dtype=np.int32), 3)
    again = backend.one_hot(backend.asarray([2, 0, 1, 2], backend.xp.int32), 3)
    assert_equal(host(backend, rows), host(backend, again))
    assert rows.dtype == backend.dtype
    assert str(rows.device) == str(backend.device)
    assert_equal(host(backend, rows), np.eye(3)[[2, 0, 1, 2]])


def test_the_host_sees_what_is_in_its_memory(backend):
    x = backend.asarray(VALUES.astype(np.float32))
    view = backend.host_view(x)
    assert (view is not None) == backend.in_host_memory
    if view is not None:
        assert_equal(view, VALUES.astype(np.float32))
    assert_equal(backend.host_view(VALUES), VALUES)
    assert_equal(backend.host_view([[1, 2]]), np.array([[1, 2]]))
    with pytest.raises(TypeError, match="real numbers"):
        backend.host_view([["a"]])


@pytest.mark.parametrize("wrong", [None, np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_found(wrong, backend):
    x = VALUES.astype(np.float32)
    if wrong is not None:
        x[1, 2] = wrong
    with backend.scope():
        assert backend.all_finite(backend.asarray(x)) == (wrong is None)
        assert backend.all_finite(backend.asarray(np.full((2, 2), 3e38)))  # whose squares are not


def test_rows_are_concatenated(backend):
    x = backend.asarray(VALUES)
    for parts in ([x], [x, x[:1, :]]):
        total = sum(part.shape[0] for part in parts)
        expected = np.concatenate([host(backend, part) for part in parts])
        assert_equal(host(backend, backend.concat_rows(iter(parts))), expected)
        assert_equal(host(backend, backend.concat_rows(iter(parts), total)), expected)
