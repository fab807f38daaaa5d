"""What may go into a recording, and what must not."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from cases import rows

from nnbackend.backends.numpy import NumPyBackend, xp
from nnbackend.backends.replay.calls import Call, _larger, _row_maxima
from nnbackend.backends.replay.recorder import MAX_CALLS, Recorder


def record(
    function: Any, *arrays: np.ndarray, hidden: bool = False
) -> tuple[Recorder, Any, list[Call]]:
    recorder = Recorder()
    result = function(*(recorder.watch(a, hidden) for a in arrays))
    recorder.finish([result])
    return recorder, result, recorder.calls


def replayed(function: Any, x: np.ndarray, other: np.ndarray) -> None:
    """Assert that a recording made on ``x`` gives the function's value for ``other``."""
    expected = function(other.copy())
    own = x.copy()
    recorder, result, calls = record(function, own)
    assert recorder.refused is None
    np.testing.assert_array_equal(np.asarray(result), function(x.copy()))
    own[...] = other
    for call in calls:
        call.bind()()
    np.testing.assert_array_equal(np.asarray(result), expected)


NUMPY = NumPyBackend(dtype="float64")


def made_on_the_way(x: Any) -> Any:
    y = np.ones((3, 4))
    y += x
    y *= 2.0
    return y


FUNCTIONS = {
    "ufuncs": lambda x: np.exp(x) * 2.0 - x / 3,
    "in place": lambda x: np.negative(np.add(x, 1.0)),
    "reductions": lambda x: x / np.sum(np.abs(x), axis=-1, keepdims=True) + np.max(x, axis=0),
    "a number": lambda x: np.sum(x * x) * 0.5,
    "mean": lambda x: x - np.mean(x, axis=0),
    "products": lambda x: (x @ x.T) @ x + x[:, :1] @ np.ones((1, 4)),
    "row times column": lambda x: x[:1, :] @ x.T,
    "views": lambda x: x.T.reshape(2, 6)[:, ::2] + 1.0,
    "a reshape that copies": lambda x: np.reshape(x.T, (12,))[3:] * 2.0,
    "where": lambda x: np.where(x > 0.0, x, 0.1 * x),
    "astype": lambda x: (x > 0.0).astype(np.float64) * x,
    "gather": lambda x: np.take(x, np.asarray([2, 0]), axis=0) + x[np.asarray([1, 1])],
    "an index": lambda x: x * x[1, np.argmax(x[0])],
    "one element": lambda x: x * x[0, 1],
    "assignment": lambda x: assigned(x),
    "made on the way": made_on_the_way,
    "concat": lambda x: np.concatenate([x, x * 2.0], axis=1) ** 2,
    "sort": lambda x: np.sort(x, axis=1) - np.argmax(x, axis=1)[:, None],
    "cumulative": lambda x: np.add.accumulate(x, axis=1) + xp.cumulative_sum(x, axis=1),
    "repeated": lambda x: np.repeat(x, 2, axis=0)[::2] * np.size(x),
    "asarray of a namespace": lambda x: xp.asarray(x, copy=True) * xp.asarray(x),
    "filled": lambda x: filled(x),
    "windows": lambda x: NUMPY.windows(x[None, :, :, None], (2, 2), (1, 2), (1, 1)) * 1.0,
    "windows' adjoint": lambda x: NUMPY.windows_adjoint(
        NUMPY.windows(x[None, :, :, None], (2, 2), (1, 1), (1, 1)) * x[0, 0],
        (1, 3, 4, 1),
        (2, 2),
        (1, 1),
        (1, 1),
    ),
    "scatter-add": lambda x: NUMPY.scatter_add(3, np.argmax(x, axis=1) % 3, x),
    "loop": lambda x: NUMPY.loop(lambda c, i: (c * 0.5 + x, c[0]), x, 3)[1],
    "several outputs": lambda x: x.copy() + x.mean(),
}


def filled(x: Any) -> Any:
    y = x * 2.0
    y[1].fill(3.0)
    return y


def assigned(x: Any) -> Any:
    y = np.zeros_like(x)
    y[1:, :2] = x[:-1, 2:]
    y[0] = 5.0
    return y


@pytest.mark.parametrize("name", FUNCTIONS)
def test_recorded(name):
    x, other = rows((2, 3, 4))
    replayed(FUNCTIONS[name], x, other)


FASTER = {
    "maxima of short rows": lambda x: x - np.maximum.reduce(x, axis=-1, keepdims=True),
    "maxima of short rows, flat": lambda x: np.exp(np.maximum.reduce(x * 2.0, axis=1)),
    "the larger of an array and a number": lambda x: np.maximum(x, 0.5),
    "the smaller of a number and an array": lambda x: (
        np.minimum(0.25, x * x) + np.maximum(x, x * x)
    ),
    "one that is no constant": lambda x: np.maximum(x, x[0, 0]),
}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", FASTER)
def test_recorded_in_a_faster_form(name, dtype):
    x, other = rows((2, 60, 12)).astype(dtype)
    x[3, 4] = other[5, 6] = np.nan
    replayed(FASTER[name], x, other)
    _, _, calls = record(FASTER[name], x)
    forms = [call.form for call in calls]
    if "rows" in name:
        assert _row_maxima in forms
    elif "constant" not in name:
        assert all(arg.shape == x.shape for arg in calls[forms.index(_larger)].bind().args)


def test_what_is_only_copied_is_made_where_it_goes():
    """Also by way of another copy, but not what is changed or used besides."""

    def update(x: Any, w: Any, place: Any) -> Any:
        place[...] = x.T @ x + 0.1 * w
        return place * 2.0

    def copied_twice(x: Any, w: Any, place: Any) -> Any:
        place[...] = (x.T @ x).copy()
        return place * 2.0

    def changed(x: Any, w: Any, place: Any) -> Any:
        gradient = x.T @ x
        gradient += 0.1 * w
        place[...] = gradient
        return place * 2.0

    def also_used_later(x: Any, w: Any, place: Any) -> Any:
        gradient = x.T @ x
        place[...] = gradient
        gradient += 0.1 * w
        return place + gradient

    def part(x: Any, w: Any, place: Any) -> Any:
        gradient = x.T @ x
        below = gradient[1:]
        below += 0.1 * w[1:]
        place[...] = gradient
        return place * 2.0

    def old_place_read(x: Any, w: Any, place: Any) -> Any:
        gradient = x.T @ x
        gradient += 0.1 * place
        place[...] = gradient
        return place * 2.0

    def place_used_between(x: Any, w: Any, place: Any) -> Any:
        gradient = x.T @ x
        old = place * 3.0
        place[...] = gradient
        return place * old

    cases = {update: 0, copied_twice: 0, changed: 1, also_used_later: 1, part: 1,
             old_place_read: 1, place_used_between: 1}  # fmt: skip
    for function, left in cases.items():
        x, other, w, place = rows((5, 4)), rows((5, 4), seed=1), rows((4, 4), seed=2), rows((4, 4))
        expected = function(other.copy(), w, place.copy())
        own, own_place = x.copy(), place.copy()
        _, result, calls = record(function, own, w, own_place)
        copies = sum(call.function is np.ndarray.__setitem__ for call in calls)
        assert copies == left, function.__name__
        own[...], own_place[...] = other, place
        for call in calls:
            call.bind()()
        np.testing.assert_array_equal(np.asarray(result), expected)


REFUSED = {
    "a branch": lambda x: x if x.sum() > 0 else -x,
    "a float": lambda x: x * float(x[0, 0]),
    "an int": lambda x: x * int(x[0, 0]),
    "an item": lambda x: x * x.sum().item(),
    "a list": lambda x: x * x[0].tolist()[0],
    "an unknown function": lambda x: np.linalg.inv(x[:, :3]),
    "an unknown method": lambda x: x.flatten() + 1.0,
    "a scattered assignment": lambda x: scattered(x),
    "ufunc.at on a plain array": lambda x: np.add.at(np.zeros(3), np.argmax(x, axis=0), 1.0) or x,
    "a mask": lambda x: np.sum(x[x > 0.0]) * x,
    "sorting in place": lambda x: sorted_in_place(x * 1.0),
    "flat": lambda x: x * np.fromiter(x.flat, float).reshape(x.shape),
    "asarray": lambda x: np.sum(np.asarray(x)) * 0.0 + np.exp(np.asarray(x * 1.0) * x),
    "where": lambda x: np.add(x, 1.0, where=x > 0.0, out=x * 1.0),
    "out": lambda x: np.clip(x, 0.0, 1.0, out=x * 1.0),
    "a result of a method": lambda x: x.dot(np.ones((4, 2))),
}


def sorted_in_place(x: Any) -> Any:
    x.sort()
    return x


def scattered(x: Any) -> Any:
    y = x * 1.0
    y[np.asarray([0, 1])] = 2.0
    return y


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    x = rows((3, 4))
    recorder, result, _ = record(REFUSED[name], x.copy(), hidden=True)
    assert recorder.refused is not None
    np.testing.assert_array_equal(np.asarray(result), REFUSED[name](x.copy()))  # right all the same


def test_what_was_not_recorded_shows_as_a_constant_that_differs():
    def leaking(x: Any) -> Any:
        hidden = np.zeros((3, 4))
        hidden[...] = x  # not seen: the array that is assigned to is a plain one
        return hidden + x

    def differ(function: Any) -> bool:
        first, second = (record(function, x.copy())[0].signature for x in rows((2, 3, 4)))
        return first != second

    chance = np.random.default_rng(0)
    assert differ(leaking)
    assert differ(lambda x: x + chance.normal())
    assert differ(lambda x: x + chance.normal(size=4))
    assert not differ(FUNCTIONS["ufuncs"])
    assert not differ(made_on_the_way)


def test_places_that_chance_decides_differ():
    """As a random crop does: the same calls on other places."""
    places = iter([0, 1])

    def crop(x: Any) -> Any:
        start = next(places)
        return x[:, start : start + 2] * 1.0

    first, second = (record(crop, x.copy())[0].signature for x in rows((2, 3, 4)))
    assert first != second


def test_an_array_that_was_kept_from_an_earlier_recording_is_a_constant_that_differs():
    """A running mean in a variable of a user's layer."""
    kept: list[Any] = [np.zeros((3, 4))]

    def function(x: Any) -> Any:
        kept[0] = kept[0] * 0.5 + x
        return kept[0] * 2.0

    free: list[Any] = []
    signatures = []
    expected = np.zeros((3, 4))
    for x in rows((3, 3, 4)):
        recorder = Recorder(free)
        result = function(recorder.watch(x, hidden=True))
        recorder.finish([result])
        signatures.append(recorder.signature)
        expected = expected * 0.5 + x
        np.testing.assert_array_equal(np.asarray(result), expected * 2.0)
        del result
    assert signatures[0] != signatures[1] != signatures[2]
    np.testing.assert_array_equal(np.asarray(kept[0] + 1.0), expected + 1.0)  # not recorded
    assert type(kept[0] + 1.0) is np.ndarray


def test_a_recording_has_an_end():
    def loop(x: Any) -> Any:
        for _ in range(MAX_CALLS + 1):
            x = x + 1.0
        return x

    x = rows((2, 2))
    recorder, result, calls = record(loop, x)
    assert "more than 4000 calls" in str(recorder.refused)
    assert calls == []
    np.testing.assert_array_equal(np.asarray(result), loop(x))


def test_memory_is_used_again():
    def chain(x: Any) -> Any:
        for _ in range(50):
            x = np.tanh(x) * 0.5
        return x

    _, _, calls = record(chain, rows((100, 100)))
    assert len(calls) == 100
    assert len({call.target.ctypes.data for call in calls}) <= 3

    def transposed(x: Any) -> Any:
        for _ in range(50):
            x = np.tanh(x.T) * 0.5
        return x

    _, _, calls = record(transposed, rows((100, 100)))
    assert len({call.target.ctypes.data for call in calls}) <= 3


def test_a_recording_goes_when_it_is_not_needed():
    recorder, result, calls = record(FUNCTIONS["products"], rows((3, 4)))
    gone = weakref.ref(recorder)
    del recorder, result
    gc.disable()
    try:
        del calls
        assert gone() is None
    finally:
        gc.enable()
