"""Predictions by the short ways must be those by the long one, whatever comes in."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import ACTIVATIONS, LAYERS, each, rows
from tools import Plain, host

import nnbackend as nnb
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.backends.replay.calls import Call
from nnbackend.inference import predictor as inference

TIMES = 6  # the first calls are made without a recording, and make it


def network(backend: Any = NumPyBackend, dtype: str = "float32") -> nnb.Network:
    layers = [nnb.Dense(7, activation="relu"), nnb.Dense(3, activation="softmax")]
    return nnb.Network(layers, backend=backend(None, dtype), input_shape=4, seed=3)


def recorded(net: nnb.Network) -> bool:
    return net._predictor._forward._programs.last.player is not None


def taken(net: nnb.Network, x: Any) -> bool:
    """Return whether a prediction for ``x`` takes the short way."""
    return net._predictor.repeat(net.params, net.state, x) is not None


def assert_same(net: nnb.Network, x: Any) -> None:
    """Assert that predictions, again and again, are those without a recording, to the last bit."""
    expected = net.to(Plain(None, net.backend.dtype_name)).predict(x)
    for _ in range(TIMES):
        y = net.predict(x)
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == expected.dtype


def error_of(net: nnb.Network, x: Any) -> tuple[type, str]:
    with pytest.raises((ValueError, TypeError)) as caught:
        net.predict(x)
    return caught.type, str(caught.value)


# Few rows


@pytest.mark.parametrize("count", [1, 2])
@each(LAYERS)
def test_layers(case, count):
    net = nnb.Network([case.thing, nnb.Flatten(), nnb.Dense(2)], input_shape=case.shape)
    assert_same(net, case.inputs(count))
    assert recorded(net)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2])
@each(ACTIVATIONS)
def test_activations(case, count, dtype):
    layers = [nnb.Dense(6, activation=case.thing), nnb.Dense(3, activation="softmax")]
    net = nnb.Network(layers, input_shape=4, dtype=dtype)
    assert_same(net, rows((count, 4)))
    assert recorded(net)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "u2", "i8", "?", ">f4"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_any_dtype(kind, dtype):
    net = network(dtype=dtype)
    x = (5 * rows((2, 4))).astype(kind)
    assert_same(net, x)
    assert taken(net, x)


def test_the_dtype_may_change_from_call_to_call():
    net = network()
    assert_same(net, rows((1, 4)))
    for kind in ("i4", "f8", "f4", "?"):
        assert_same(net, rows((1, 4), seed=8).astype(kind))


STRIDED = {
    "reversed": lambda x: x[::-1, ::-1],
    "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "columns first": np.asfortranarray,
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "unaligned": lambda x: np.frombuffer(b"-" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "broadcast": lambda x: np.broadcast_to(x[0], x.shape),
}


@pytest.mark.parametrize("name", STRIDED)
def test_rows_that_lie_in_another_way(name):
    net = network()
    x = STRIDED[name](rows((3, 4)).astype("f4"))
    assert_same(net, x)
    assert taken(net, x)


def test_what_is_no_plain_array_goes_the_long_way():
    net, x = network(), rows((1, 4)).astype("f4")
    assert_same(net, x)
    for other in (x.tolist(), np.ma.masked_array(x), x.astype(object)):
        assert not taken(net, other)
        np.testing.assert_array_equal(net.predict(other), net.predict(x))


WRONG = {
    "no rows": np.empty((0, 4), "f4"),
    "a single row": np.ones(4, "f4"),
    "other features": np.ones((1, 5), "f4"),
    "another axis": np.ones((1, 4, 1), "f4"),
    "nan": np.asarray([[1, 2, np.nan, 4]], "f4"),
    "infinite": np.asarray([[1, -np.inf, np.nan, 4]], "f4"),
    "infinite in float32": np.asarray([[1, 1e300, 2, 4]], "f8"),
    "complex": np.ones((1, 4), "c8"),
    "text": np.asarray([["1", "2", "3", "4"]]),
    "a number": np.asarray(3.0),
    "nothing": None,
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_the_same_before_and_after_a_recording(name):
    net = network()
    expected = error_of(net, WRONG[name])
    assert_same(net, rows((1, 4)).astype("f4"))
    assert error_of(net, WRONG[name]) == expected
    assert_same(net, rows((1, 4)).astype("f4"))


def test_numbers_are_looked_at_however_the_recorded_rows_lay():
    net = network()
    x = np.asfortranarray(rows((3, 4)).astype("f4"))
    assert_same(net, x)
    assert taken(net, x)
    x[1, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        net.predict(x)


@pytest.mark.parametrize("size", [0, -1, 2.5, "all", True])
def test_a_batch_size_is_checked_also_then(size):
    net, x = network(), rows((1, 4))
    assert_same(net, x)
    with pytest.raises(ValueError, match="batch_size"):
        net.predict(x, batch_size=size)


def test_large_numbers_are_predicted_in_silence():
    """Their squares overflow, which proves nothing; and so may the products."""
    net, x = network(), np.full((1, 4), 1e30, "f4")
    assert_same(net, x)
    net.params["0"]["weight"] *= 1e30
    assert_same(net, x)
    assert_same(net, rows((1, 4)))


@pytest.mark.parametrize("count", [1, 3000])
def test_numpys_error_handling_is_the_users_outside(count):
    net = nnb.Network([nnb.Dense(3, activation="softmax")], input_shape=4)
    net.params["0"]["weight"] *= 1e3  # exp underflows
    before = np.geterr()
    with np.errstate(all="raise"):
        raised = np.geterr()
        for _ in range(TIMES):
            net.predict(rows((count, 4)))
            assert np.geterr() == raised
    assert np.geterr() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.predict(rows((count, 4)))


def test_parameters_are_read_in_each_call():
    net, x = network(), rows((1, 4)).astype("f4")
    assert_same(net, x)
    for name in ("weight", "bias"):
        for layer in ("0", "1"):
            net.params[layer][name][...] *= 1.5
            assert taken(net, x)
            assert_same(net, x)
            net.params[layer][name] = net.params[layer][name] + 0.5
            assert not taken(net, x)
            assert_same(net, x)
    net.params["1"] = {name: p * 2.0 for name, p in net.params["1"].items()}
    assert not taken(net, x)
    assert_same(net, x)
    net.params = {name: dict(layer) for name, layer in net.params.items()}
    assert not taken(net, x)
    assert_same(net, x)
    net.load_state_dict({name: p + 1.0 for name, p in net.state_dict().items()})
    assert_same(net, x)
    net.partial_fit(rows((6, 4)), rows((6, 3), seed=2) ** 2)
    assert_same(net, x)


def test_a_prediction_is_the_callers():
    net, x = network(), rows((1, 4)).astype("f4")
    assert_same(net, x)
    kept = x.copy()
    net.predict(x)[...] = 7.0
    np.testing.assert_array_equal(x, kept)
    assert_same(net, x)


def test_threads_take_the_short_way_in_turn():
    net, inputs = network(), rows((6, 1, 4)).astype("f4")
    expected = [net.to(Plain()).predict(x) for x in inputs]
    assert_same(net, inputs[0])
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(500):
            if not np.array_equal(net.predict(inputs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("operand", ["row", "number", "same", "every other", "another dtype"])
def test_calls_without_broadcasting_do_the_same(operand):
    x, target, row = rows((1, 5)), np.zeros((1, 5)), rows((5,), seed=2)
    other = {"row": row, "number": row[:1, None], "same": row[None],
             "every other": np.repeat(row, 2)[::2], "another dtype": row.astype("f4"),
             }[operand]  # fmt: skip
    for function in (np.add, np.maximum, np.divide):
        Call(function, [x, other, target], 2, [], 0).bind()()
        np.testing.assert_array_equal(target, function(x, other))
    x, target = rows((4, 5)), np.zeros((4, 5))  # of several rows a row is broadcast as ever
    Call(np.add, [x, row, target], 2, [], 0).bind()()
    np.testing.assert_array_equal(target, x + row)


# Many rows


@dataclass(frozen=True)
class Seen:
    """A layer that notes how many rows it is given at a time."""

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        seen.append(x.shape[0])
        return x, lambda dy, input_grad=True: (dy, {})


seen: list[int] = []


def test_many_rows(backend):
    net = nnb.Network([nnb.Dense(3, activation="tanh")], backend=backend, input_shape=4)
    x = rows((1300, 4))
    parts = [net.predict(x[i : i + 100]) for i in range(0, 1300, 100)]
    expected = np.concatenate([host(net.backend, part) for part in parts])
    for y in (net.predict(x), net.predict(x, batch_size=600), net.predict(backend.asarray(x))):
        np.testing.assert_allclose(host(net.backend, y), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "width", "size", "most"),
    [
        ((5000, 4), 8, None, 4096),  # narrow
        ((5000, 784), 8, None, 2674),  # 8 MB of inputs
        ((3000, 2), 1024, None, 2048),  # 8 MB of what a hidden layer gives
        ((1100, 3, 800), 8, None, 1024),  # not fewer
        ((5000, 4), 8, 10000, 10000),
        ((700, 784), 8, 100, 100),
    ],
)
def test_as_many_rows_at_a_time_as_the_cache_holds(shape, width, size, most):
    net = nnb.Network([Seen(), nnb.Dense(width), Seen(), nnb.Dense(1)], input_shape=shape[1:])
    x = np.ones(shape, "f4")
    seen.clear()
    y = net.predict(x) if size is None else net.predict(x, batch_size=size)
    assert y.shape == (*shape[:-1], 1)
    assert max(seen) == min(most, shape[0])
    assert sum(seen) == 2 * shape[0]


@pytest.mark.parametrize("kind", ["f4", "f8", "i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_converted_a_part_at_a_time(kind, order):
    net, x = network(), np.asarray(5 * rows((9000, 4)), kind, order=order)
    forward = inference._forward_pass(Plain(), net.layers)
    expected = [forward(net.params, x[i : i + 4096].astype("f4")) for i in (0, 4096, 8192)]
    np.testing.assert_array_equal(net.predict(x), np.concatenate(expected))


def test_numbers_that_are_not_finite_are_counted_in_all_rows(tmp_path):
    net, x = network(), rows((9000, 4))
    x[7000, 2], x[7001, 1], x[8999, 3] = np.nan, np.inf, np.nan
    message = r"X has 3 numbers that are not finite, the first \(nan\) at X\[7000, 2\]"
    with pytest.raises(ValueError, match=message):
        net.predict(x)
    x[7000, 2] = 1e300  # in float32 it is infinite
    with pytest.raises(ValueError, match=r"X has 3 .* \(inf\) at X\[7000, 2\]"):
        net.predict(x)
    file = np.memmap(tmp_path / "x", "f8", "w+", shape=x.shape)
    file[...] = x
    with pytest.raises(ValueError, match=r"the first \(inf\) at X\[7000, 2\]"):
        net.predict(file)
    file[7000:, :] = 0.0
    np.testing.assert_array_equal(net.predict(file), net.predict(np.array(file)))


MANY_WRONG = {
    "a vector": (np.ones(5000), ValueError, r"got shape \(5000,\)"),
    "features": (np.ones((5000, 5)), ValueError, r"rows of shape \(5,\), but .* built for \(4,\)"),
    "complex": (np.ones((5000, 4), "c8"), TypeError, "complex64"),
    "text": (np.full((5000, 4), "1"), TypeError, "real numbers"),
    "objects": (
        np.asarray([[1, 2, 3, 4]] * 4999 + [[1, 2, "3", 4]], object),
        TypeError,
        r"\(4999, 2\)",
    ),
}


@pytest.mark.parametrize("name", MANY_WRONG)
def test_errors_of_many_rows_are_about_all_of_them(name):
    x, kind, message = MANY_WRONG[name]
    with pytest.raises(kind, match=message):
        network().predict(x)


def test_a_network_is_built_by_the_first_rows_it_predicts():
    net = nnb.Network([nnb.Dense(2)])
    with pytest.raises(ValueError, match="not finite"):
        net.predict(np.full((5000, 3), np.nan))
    assert net.input_shape is None
    assert net.predict(rows((5000, 3))).shape == (5000, 2)
    assert net.input_shape == (3,)


def test_a_network_that_predicted_can_be_copied():
    net, x = network(), rows((1, 4))
    assert_same(net, x)
    np.testing.assert_array_equal(net.to("numpy").predict(x), net.predict(x))


@pytest.mark.parametrize("key", [[0, 2], (0, 2), range(2), [True, False, True, False], [[0]]],
                         ids=str)  # fmt: skip
def test_a_layer_that_assigns_to_a_list_of_columns(key):
    """Such a key takes a copy, which a recording must not be misled by."""

    @dataclass(frozen=True)
    class Zero:
        def init(self, input_shape, rng):
            return {}, input_shape

        def forward(self, params, x, ctx):
            y = x + 0.0
            y[:, key] = 0.0
            return y, lambda dy, input_grad=True: (dy, {})

    net = nnb.Network([Zero()], input_shape=(4,))
    for i in range(1, 7):
        expected = np.full((1, 4), i, np.float32)
        expected[:, key] = 0.0
        np.testing.assert_array_equal(net.predict(np.full((1, 4), i, np.float32)), expected)


def test_an_array_that_is_filled_again_is_read_again():
    """The recording is given the very array that it was given before, with other numbers in it."""
    layers = [nnb.Dense(8, "tanh"), nnb.Dense(2)]
    net = nnb.Network(layers, input_shape=(4,))
    x, y = rows((3, 4)).astype("f4"), rows((3, 2), 1).astype("f4")
    other = rows((3, 4), 2).astype("f4")
    for _ in range(8):
        net.predict(x, batch_size=100)
        net.evaluate(x, y, loss="mse")
    x[...] = other
    expected = nnb.Network(layers, input_shape=(4,)).evaluate(other, y, loss="mse")
    assert net.evaluate(x, y, loss="mse") == expected
    np.testing.assert_array_equal(net.predict(x, batch_size=100), net.predict(other.copy()))


def test_partial_fit_reads_arrays_that_are_filled_again():
    x, y = np.empty((5, 4), "f4"), np.empty((5, 2), "f4")
    nets = [nnb.Network([nnb.Dense(2)], input_shape=4) for _ in range(2)]
    for i in range(50):
        x[...], y[...] = rows((5, 4), i), rows((5, 2), i + 100)
        assert nets[0].partial_fit(x, y) == nets[1].partial_fit(x.copy(), y.copy())
