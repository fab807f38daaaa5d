"""Processes that share the reading have the batches' sizes of one process, and each row once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nnbackend.data.reading_share import ReadingShare


@pytest.mark.parametrize("batch_size", [3, 7, 32, 1000])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("rows", [[1], [100], [5, 0, 70, 1, 1, 30], [10] * 9])
def test_stretches_are_all_rows_in_batches_of_the_whole_size(rows, size, batch_size):
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    shares = [ReadingShare(rank, size, batch_size) for rank in range(size)]
    assert sum(share.rows_of_batch for share in shares) == batch_size
    assert [s.first for s in shares] == [0, *itertools.accumulate(s.rows_of_batch for s in shares)][
        :-1
    ]
    found = [
        [(n, i) for n, start, stop in share.cut(order, rows) for i in range(rows[n])[start:stop]]
        for share in shares
    ]
    assert list(itertools.chain(*found)) == [(n, i) for n in order for i in range(rows[n])]
    steps = -(-sum(rows) // batch_size)
    for share, own in zip(shares, found, strict=True):
        assert len(own) // share.rows_of_batch in (steps - 1, steps)
        assert -(-len(own) // share.rows_of_batch) <= steps


def test_pieces_of_unknown_rows_are_dealt_out():
    found = [
        list(ReadingShare(rank, 3, 8).cut([4, 2, 0, 1, 3], [9, None, 9, 9, 9])) for rank in range(3)
    ]
    assert found == [[(4, 0, None), (1, 0, None)], [(2, 0, None), (3, 0, None)], [(0, 0, None)]]
