"""Whether a checkpoint belongs to a run: what is compared, and how differences are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend.errors import ResumeError
from nnbackend.saving.checkpoint import Checkpoint
from nnbackend.saving.run_identity import check_same_run, data_checksum, describe, find_differences


def test_a_description_is_plain_data_with_names_and_fields():
    class Custom:
        pass

    assert describe(nnb.SGD(0.1)) == describe(nnb.SGD(np.float64(0.1)))
    assert describe(nnb.SGD(0.1)) != describe(nnb.SGD(0.2))
    assert describe([nnb.Dense(2), None, True, {"a": 1}])[1:] == [None, True, {"a": 1}]
    assert describe(nnb.Dense(2))["layer"] == "Dense"
    assert describe(Custom()) == {"object": f"{__name__}.{Custom.__qualname__}"}
    assert describe(np.mean)["object"].endswith("mean")


@pytest.mark.parametrize(
    ("theirs", "mine", "texts"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "only theirs": 2}, {"a": 1}, []),
        ({"a": {"b": 1, "more": 2}}, {"a": {"b": 1}},
         ["a more is 2 in the checkpoint and null here"]),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a 1 is 2 in the checkpoint and 3 here"]),
        ({"a": [1]}, {"a": [1, 3]}, ["a is [1] in the checkpoint and [1, 3] here"]),
        ({"a": 1}, {"a": 1.0}, ["a is 1 in the checkpoint and 1.0 here"]),
        ({"a": {"object": "A", "fields": {"n": 1}}}, {"a": {"object": "B", "fields": {"n": 2}}},
         ['a object is "A" in the checkpoint and "B" here', "a n is 1 in the checkpoint and 2 here"]),
        ({"a": {"object": "A"}}, {"a": {"loss": "mse", "fields": {}}},
         ["a is A in the checkpoint and mse here"]),
    ],
)  # fmt: skip
def test_differences_are_told_by_place(theirs, mine, texts):
    assert find_differences(theirs, mine) == texts


def test_another_run_is_refused_and_another_place_is_a_warning():
    found = Checkpoint(Path("c"), {}, {}, {"task": {"dtype": "float32", "seed": 1, "where": "a"}})
    task = {"dtype": "float32", "precision": "float32", "seed": 1, "where": "a"}
    check_same_run(found, task)
    with pytest.warns(UserWarning, match="the run is resumed elsewhere than it began"):
        check_same_run(found, task | {"where": "b"})
    with pytest.raises(ResumeError, match="c is of another run: seed is 1 in the checkpoint and 2"):
        check_same_run(found, task | {"seed": 2})


def test_a_checksum_sees_the_first_and_the_last_row_of_every_array():
    x, y = np.arange(200.0).reshape(100, 2), np.arange(100)
    before = data_checksum((x, y, None), np.asarray)
    assert before == data_checksum((x.copy(), y.copy(), None), np.asarray)
    for row in (0, 99):
        changed = x.copy()
        changed[row, 1] += 1
        assert data_checksum((changed, y, None), np.asarray) != before
    tree = {"a": x, "b": (y, x)}
    whole = data_checksum((tree, y, None), np.asarray)
    assert data_checksum(({"a": x, "b": (y, x + 1)}, y, None), np.asarray) != whole
