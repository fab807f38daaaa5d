"""Rows are gathered in memory that is used again, and from arrays of any order."""

from __future__ import annotations

import numpy as np
from cases import rows
from tools import assert_equal, host

from nnbackend.backends.choose import get_backend
from nnbackend.data.samples import row_gatherer, row_major


def test_rows_are_gathered_in_the_same_memory():
    gather, x = row_gatherer(get_backend("numpy")), rows((10, 3))
    numbers = [np.asarray(n, dtype=np.int32) for n in ([3, 1, 9, 3], [0, 2], [5], [1] * 6)]
    found = []
    for n in numbers:
        found.append(gather(x, n))
        np.testing.assert_array_equal(found[-1], x[n])
        assert not np.may_share_memory(found[-1], x)
    # A step knows by the array whether it has seen a batch, so that it must be another one each time.
    assert len(set(map(id, found))) == len(found)
    assert np.may_share_memory(found[0], found[1])
    for other in (x.astype("f4"), x[:, :2], x[:, 0], np.asfortranarray(x)):
        np.testing.assert_array_equal(gather(other, numbers[0]), other[numbers[0]])


def test_each_array_of_a_tree_has_memory_of_its_own(backend):
    gather = row_gatherer(backend)
    x = {"a": rows((6, 2)), "b": (rows((6, 2), 1), None)}
    for numbers in ([4, 1, 1], [0, 5], [2]):
        tree = {"a": backend.asarray(x["a"]), "b": (backend.asarray(x["b"][0]), None)}
        found = gather(tree, backend.asarray(numbers, backend.xp.int32))
        assert_equal(host(backend, found["a"]), host(backend, tree["a"])[numbers])
        assert_equal(host(backend, found["b"][0]), host(backend, tree["b"][0])[numbers])
        assert found["b"][1] is None


def test_integers_are_gathered_as_integers(backend):
    labels = backend.asarray([3, 16_777_217, 5], backend.xp.int32)
    gather, index = row_gatherer(backend), backend.asarray([1, 1, 0], backend.xp.int32)
    for _ in range(2):
        found = gather(labels, index)
        assert found.dtype == labels.dtype
        assert host(backend, found).tolist() == [16_777_217, 16_777_217, 3]


def test_columns_are_copied_to_rows_on_the_host_alone():
    numpy, x = get_backend("numpy"), np.asfortranarray(rows((5, 3)))
    assert row_major(x, numpy).flags.c_contiguous
    np.testing.assert_array_equal(row_major(x, numpy), x)
    assert row_major("anything else", numpy) == "anything else"
