"""Networks with several inputs and outputs, and inputs that are indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from cases import rows
from tools import Lookup, Merge, Plain, assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend import data
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.core.shapes import check_shapes
from nnbackend.data.input_spec import InputSpec, arrange, is_tree
from nnbackend.data.samples import Samples
from nnbackend.errors import DataError

W = np.arange(1.0, 41.0)
A, B, Y = rows((40, 3)), rows((40, 2), 1), rows((40, 1), 2)
PAIR, TABLE = (A, B), {"a": A, "b": B}
JOINED = np.concatenate([A, B], axis=1)
INDICES = np.arange(80).reshape(40, 2) % 7


def pair(backend="numpy", shape=None, **given):
    return nnb.Network(
        [Merge(), nnb.Dense(4, "tanh"), nnb.Dense(1)],
        backend=backend, seed=1, input_shape=shape, **given,
    )  # fmt: skip


def flat(backend="numpy", **given):
    return nnb.Network([nnb.Dense(4, "tanh"), nnb.Dense(1)], backend=backend, seed=1, **given)


def weights(net):
    return [np.array(net.to_numpy(p)) for p in net.state_dict().values()]


def same_start(net, twin):
    """Give ``net``, whose layers come one later, the parameters of ``twin``."""
    state = {n: twin.to_numpy(p) for n, p in twin.state_dict().items()}
    net.load_state_dict({f"{int(n[0]) + 1}{n[1:]}": p for n, p in state.items()})


def trees(backend="numpy"):
    """Return networks of a pair and of a dictionary, and that of their columns in one array."""
    twin = flat(backend, input_shape=5)
    nets = pair(backend, ((3,), (2,))), pair(backend, {"a": 3, "b": (2,)})
    for net in nets:
        same_start(net, twin)
    return twin, nets


def batches(x, w, size=16):
    return [(cut(x, i, size), Y[i : i + size], w[i : i + size]) for i in range(0, 40, size)]


FIT = {"epochs": 3, "batch_size": 16, "optimizer": "adam"}
WAYS: dict[str, Any] = {
    "arrays": (lambda x, w: ((x, Y), {"sample_weight": w})),
    "batches": (lambda x, w: ((batches(x, w),), {})),
    "callable": (lambda x, w: ((lambda: batches(x, w),), {})),
    "regrouped": (lambda x, w: ((data.Batches(
        lambda: batches(x, w, 8), shuffle_buffer=50),), {"batch_size": 16})),
    "memory map": (lambda x, w: ((data.MemoryMap(x, Y, w),), {"batch_size": 16})),
    "host": (lambda x, w: ((x, Y), {"sample_weight": w, "data_on": "host"})),
}  # fmt: skip


def cut(x, start, count=16):
    if isinstance(x, dict):
        return {name: cut(part, start, count) for name, part in x.items()}
    if isinstance(x, tuple):
        return tuple(cut(part, start, count) for part in x)
    return x[start : start + count]


@pytest.mark.parametrize("way", WAYS)
def test_several_inputs_train_as_their_columns_in_one_array_do(way, backend):
    twin, nets = trees(backend)
    weight = np.linspace(0.5, 2.0, 40)
    for net, x in zip((twin, *nets), (JOINED, PAIR, TABLE), strict=True):
        args, given = WAYS[way](x, weight)
        fit = {"epochs": 3, "shuffle": way in ("arrays", "host")} | given
        if way in ("arrays", "host", "memory map"):
            fit["batch_size"] = 16
        net.fit(*args, **fit, validation_data=(x, Y), metrics=["mae"])
    for net, x in zip(nets, (PAIR, TABLE), strict=True):
        for own, other in zip(weights(net), weights(twin), strict=True):
            assert_close(own, other, 1e-5)
        assert_close(
            host(net.backend, net.predict(x)), host(twin.backend, twin.predict(JOINED)), 1e-5
        )
        assert net.evaluate(x, Y)["loss"] == pytest.approx(
            twin.evaluate(JOINED, Y)["loss"], rel=1e-5
        )


@pytest.mark.parametrize("given", [
    {"validation_split": 0.25}, {"accumulate": 3}, {"batch_size": None, "optimizer": "sgd"},
    {"batch_size": None, "optimizer": "lbfgs"},
], ids=str)  # fmt: skip
def test_several_inputs_go_through_the_rest_of_fit(given, backend64):
    twin, (net, table) = trees(backend64)
    for own, x in ((twin, JOINED), (net, PAIR), (table, TABLE)):
        own.fit(x, Y, **FIT | given)
    for own, other, third in zip(weights(net), weights(twin), weights(table), strict=True):
        assert_close(own, other, 1e-9)
        assert_equal(own, third)


def test_a_pass_returns_gradients_nested_as_the_inputs(backend64):
    twin, nets = trees(backend64)
    y, backward = twin.forward(JOINED)
    dx, grads = backward(np.ones((40, 1)))
    for net, x, parts in zip(nets, (PAIR, TABLE), ((0, 1), ("a", "b")), strict=True):
        own, back = net.forward(x)
        assert_close(host(net.backend, own), host(twin.backend, y), 1e-9)
        own_dx, own_grads = back(np.ones((40, 1)))
        assert type(own_dx) is type(x)
        joined = np.concatenate([host(net.backend, own_dx[part]) for part in parts], axis=1)
        assert_close(joined, host(twin.backend, dx), 1e-9)
        assert_close(host(net.backend, own_grads["1"]), host(twin.backend, grads["0"]), 1e-9)


def test_several_inputs_are_predicted_in_parts_and_onto_the_host(tmp_path, backend):
    _, (net, table) = trees(backend)
    expected = host(net.backend, net.predict(PAIR))
    mapped = {}
    for name, array in TABLE.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    for on_host in (False, True):
        for own, x in ((net, PAIR), (table, TABLE), (table, mapped)):
            y = own.predict(x, batch_size=16, on_host=on_host)
            assert not on_host or isinstance(y, np.ndarray)
            assert_close(y if on_host else host(own.backend, y), expected, 1e-5)


def test_the_shape_is_taken_from_the_first_data(backend):
    for x, shape in ((PAIR, ((3,), (2,))), (TABLE, {"a": (3,), "b": (2,)})):
        net = pair(backend)
        net.predict(x)
        assert net.input_shape == shape
        streamed = pair(backend).fit(lambda x=x: [(x, Y)], epochs=1)
        assert len(streamed) == 1


def test_files_and_copies_keep_the_tree_of_shapes(tmp_path, backend):
    for x in (PAIR, TABLE):
        net = pair(backend)
        expected = host(net.backend, net.predict(x))
        again = nnb.load(net.save(tmp_path / "net"), backend=net.backend)
        assert again.input_shape == net.input_shape
        assert_equal(host(net.backend, again.predict(x)), expected)
        assert_equal(host(net.backend, net.to().predict(x)), expected)
        assert str(net.input_shape) in net.summary()


def test_a_run_with_several_inputs_resumes_from_its_checkpoint(tmp_path):
    runs = []
    for epochs, folder in ((4, "a"), (2, "b"), (4, "b")):
        net = pair("numpy", {"a": 3, "b": 2})
        saved = nnb.callbacks.Checkpoint(tmp_path / folder)
        resume = tmp_path / "b" if runs and epochs == 4 else None
        net.fit(TABLE, Y, epochs=epochs, batch_size=16, callbacks=[saved], resume=resume)
        runs.append(weights(net))
    assert_equal(dict(enumerate(runs[0])), dict(enumerate(runs[2])))


def test_several_inputs_are_computed_in_mixed_precision():
    net = pair("numpy", ((3,), (2,)), precision="float16")
    net.fit(PAIR, Y, **FIT)
    dx, _ = net.forward(PAIR)[1](np.ones((40, 1)))
    assert [part.dtype for part in dx] == [np.float32] * 2


WRONG = [
    ((A, B[:9]), ValueError, r"X\[0\] and X\[1\] must have the same length, got 40 rows and 9"),
    ({"a": A, "b": B * np.nan}, ValueError, r"X\['b'\] has 80 numbers that are not finite"),
    (({"a": A}, B[0, 0]), ValueError, r"X\[1\] must have one row"),
]


@pytest.mark.parametrize(("x", "error", "words"), WRONG, ids=lambda v: str(v)[:20])
def test_what_is_wrong_in_a_tree_is_named(x, error, words, backend):
    with pytest.raises(error, match=words):
        pair(backend).predict(x)


SHAPES = [
    (((3,), (2,)), A, "takes X as a tuple of 2 arrays, got an array"),
    (((3,), (2,)), (A, B, B), "takes X as a tuple of 2 arrays, got a tuple of 3"),
    (((3,), (2,)), (B, B), r"X\[0\] has rows of shape \(2,\)"),
    ({"a": 3, "b": 2}, PAIR, r"takes X as a dictionary of \['a', 'b'\], got a tuple"),
    ({"a": 3, "b": 2}, {"a": A}, r"a dictionary of \['a', 'b'\], got a dictionary of \['a'\]"),
]


@pytest.mark.parametrize(("shape", "x", "words"), SHAPES, ids=lambda v: str(v)[:20])
def test_inputs_of_another_nesting_are_refused(shape, x, words):
    with pytest.raises(ValueError, match=words):
        pair("numpy", shape).predict(x)
    with pytest.raises((ValueError, DataError), match=words):
        pair("numpy", shape).fit(lambda: [(x, Y)])


def test_a_tuple_of_arrays_is_not_stacked(backend):
    for net in (flat(backend), flat(backend, input_shape=3)):
        with pytest.raises(
            ValueError, match=r"X is a tuple of 2 arrays, that is 2 inputs, .* takes one"
        ):
            net.predict((A, A))
        with pytest.raises(ValueError, match="takes one"):
            net.fit((A, A), Y)
    # Rows in a list or a tuple of numbers are an array, as ever.
    net = flat(backend, input_shape=3)
    for x in ([row.tolist() for row in A], tuple(map(tuple, A.tolist())), list(A)):
        assert_equal(host(net.backend, net.predict(x)), host(net.backend, net.predict(A)))


def test_a_tuple_is_several_arrays_if_there_is_one_in_it():
    for x in ((A, [1]), {"a": [1]}, ((A,), 1)):
        assert is_tree(x)
    for x in ((1, 2), ((1, 2), (3, 4)), ([1], [2]), (np.float32(1.0), 2), [A, B], A):
        assert not is_tree(x)
    assert arrange(((1, 2), (3, 4))) == [(1, 2), (3, 4)]
    assert arrange([A, B], ((3,), (2,)))[1] is B


def test_shapes_are_read_from_what_users_and_files_write():
    assert check_shapes("s", 3) == (3,)
    assert check_shapes("s", [[3], [2, 2]]) == ((3,), (2, 2))
    assert check_shapes("s", {"a": 3, "b": [[1], 2]}) == {"a": (3,), "b": ((1,), (2,))}
    for wrong in (0, [1.5], {"a": "b"}, [[0]], "3"):
        with pytest.raises(ValueError, match="whole number"):
            check_shapes("s", wrong)


@dataclass(frozen=True)
class Twice:
    """Outputs its input, and minus it."""

    def init(self, input_shape, rng):
        return {}, {"plus": input_shape, "minus": input_shape}

    def forward(self, params, x, ctx):
        def backward(dy, input_grad=True):
            return dy["plus"] - dy["minus"], {}

        return {"plus": x, "minus": -x}, backward


def both(prediction, target, sample_weight=None):
    """The sum of two mean squared errors."""
    parts = {n: nnb.losses.mse(prediction[n], target[n], *extra(sample_weight)) for n in prediction}
    return parts["plus"][0] + parts["minus"][0], {n: dy for n, (_, dy) in parts.items()}


def extra(weight):
    return () if weight is None else (weight,)


@pytest.mark.parametrize("given", [{}, {"accumulate": 2}, {"sample_weight": W}], ids=str)
def test_a_loss_of_the_users_takes_trees_of_outputs_and_targets(given, backend64):
    net = nnb.Network([nnb.Dense(1), Twice()], backend=backend64, seed=1, input_shape=3)
    twin = nnb.Network([nnb.Dense(1)], backend=backend64, seed=1, input_shape=3)
    target = {"plus": Y, "minus": -Y}
    fit = {"epochs": 2, "batch_size": 16, "optimizer": nnb.optimizers.SGD(0.05)}

    def distance(prediction, target, weight=None):
        return float(np.abs(host(net.backend, prediction["plus"] - target["plus"])).mean())

    history = net.fit(
        A, target, loss=both, metrics={"mae": distance}, validation_data=(A, target), **fit | given
    )
    fit["optimizer"] = nnb.optimizers.SGD(0.1)
    twin.fit(A, Y, **fit | given)
    for own, other in zip(weights(net), weights(twin), strict=True):
        assert_close(own, other, 1e-9)
    assert history["validation_loss"][-1] == pytest.approx(
        2 * twin.evaluate(A, Y)["loss"], rel=1e-9
    )
    streamed = net.evaluate([(A[:16], cut(target, 0)), (A[16:], cut(target, 16, 24))], loss=both)
    assert streamed["loss"] == pytest.approx(2 * twin.evaluate(A, Y)["loss"], rel=1e-9)
    y = net.predict(A, batch_size=16, on_host=True)
    assert_close(y["minus"], -host(twin.backend, twin.predict(A)), 1e-9)


def test_targets_that_are_nested_unlike_the_outputs_are_refused():
    net = nnb.Network([nnb.Dense(1)], input_shape=3)
    with pytest.raises(
        ValueError, match="y is a tuple of arrays, and the loss mse takes one array"
    ):
        net.fit(A, (Y, Y))
    net = nnb.Network([nnb.Dense(1), Twice()], input_shape=3)
    with pytest.raises(ValueError, match=r"takes y as a dictionary of \['plus', 'minus'\], got an"):
        net.fit(A, Y)
    with pytest.raises(ValueError, match=r"X and y\['minus'\] must have the same length, got 40"):
        net.fit(A, {"plus": Y, "minus": Y[:9]}, loss=both)


# Indices


def lookup(backend="numpy", count=7, **given):
    return nnb.Network(
        [Lookup(count, 3), nnb.Flatten(), nnb.Dense(1)], backend=backend, seed=1, **given
    )


def one_hot(indices):
    return np.eye(7)[indices].reshape(len(indices), -1)


@pytest.mark.parametrize("way", [*WAYS, "lists", "float64"])
def test_indices_train_as_one_hot_rows_do(way, backend):
    x = {"lists": INDICES.tolist(), "float64": INDICES.astype(float)}.get(way, INDICES)
    net = lookup(backend)
    args, given = WAYS.get(way, WAYS["arrays"])(x, np.ones(40))
    net.fit(*args, epochs=3, **{"shuffle": False} | given)
    expected = lookup("numpy")
    args, given = WAYS.get(way, WAYS["arrays"])(INDICES, np.ones(40))
    expected.fit(*args, epochs=3, **{"shuffle": False} | given)
    for own, other in zip(weights(net), weights(expected), strict=True):
        assert_close(own, other, 1e-5)


def test_indices_stay_integers_also_in_mixed_precision():
    seen = []

    @dataclass(frozen=True)
    class Seen(Lookup):
        def forward(self, params, x, ctx):
            seen.append(x.dtype)
            return super().forward(params, x, ctx)

    for given in ({}, {"precision": "float16"}, {"dtype": "float64"}):
        net = nnb.Network([Seen(7, 3), nnb.Flatten(), nnb.Dense(1)], **given)
        net.fit(INDICES, Y, epochs=1)
        net.predict(INDICES)
    assert set(seen) == {np.dtype("int32")}


def test_a_large_index_is_exact(backend):
    spec = InputSpec((1,), "indices", None)
    brought = data.inputs([[16_777_217]], nnb.get_backend(backend), spec)
    assert int(nnb.get_backend(backend).to_numpy(brought)[0, 0]) == 16_777_217


def test_indices_of_more_than_31_bits_take_64_or_are_refused(backend):
    backend = nnb.get_backend(backend)
    spec = InputSpec.of(Lookup(1 << 40, 3), (1,), backend)
    if spec.index_stop == 1 << 63:
        found = data.inputs([[1 << 35]], backend, spec)
        assert int(backend.to_numpy(found)[0, 0]) == 1 << 35
    else:
        with pytest.raises(ValueError, match="from 0 to 2147483647"):
            data.inputs([[1 << 35]], backend, spec)


BAD = [
    (1.5, r"from 0 to 6, which are indices; got 1.5 at X\[3, 1\]"),
    (np.nan, r"got nan at X\[3, 1\]"),
    (np.inf, r"got inf at X\[3, 1\]"),
    (-1, r"got -1(\.0)? at X\[3, 1\]"),
    (7, r"got 7(\.0)? at X\[3, 1\]"),
]


@pytest.mark.parametrize(("value", "words"), BAD, ids=str)
def test_an_index_that_is_none_is_refused_with_its_place(value, words, backend):
    net = lookup(backend, input_shape=2)
    net.predict(INDICES[:5])
    net.predict(INDICES[:5])
    x = INDICES.astype(type(value) if value != 7 else int)
    x[3, 1] = value
    own = net.backend.asarray(x, dtype=net.backend.xp.int32) if x.dtype.kind == "i" else x
    for given in (x, x[:5], own):
        with pytest.raises(ValueError, match=words):
            net.predict(given)
        with pytest.raises(ValueError, match=words):
            net.fit(x, Y)
    with pytest.raises(DataError, match=words):
        net.fit([(x, Y)])


def test_one_input_may_be_indices_and_another_numbers(backend):
    @dataclass(frozen=True)
    class Both:
        takes: ClassVar[Any] = ("indices", "numbers")

        def index_limit(self):
            return (7, None)

        def init(self, input_shape, rng):
            return {}, input_shape[1]

        def forward(self, params, x, ctx):
            assert ctx.xp.isdtype(x[0].dtype, "integral")
            return x[1] * 1.0, lambda dy, input_grad=True: ((None, dy), {})

    net = nnb.Network([Both(), nnb.Dense(1)], backend=backend)
    net.fit((INDICES, INDICES), Y)
    net.predict((INDICES, INDICES))
    with pytest.raises(ValueError, match=r"got 7 at X\[0\]\[0, 1\]"):
        net.predict((INDICES + 6, INDICES))
    (dx, other), _ = net.forward((INDICES, INDICES))[1](np.ones((40, 1)))
    assert dx is None
    assert other.shape == (40, 2)


def test_a_layer_that_takes_something_else_is_named():
    @dataclass(frozen=True)
    class Odd(Merge):
        takes: ClassVar[Any] = "words"

    with pytest.raises(ValueError, match="in its attribute takes, not 'words'"):
        nnb.Network([Odd()]).predict(PAIR)


def test_samples_know_rows_of_trees():
    samples = Samples(PAIR, Y)
    assert len(samples) == 40
    assert_equal(samples.slice(3, 5).x[1], B[3:5])
    assert_equal(samples.take([7, 1], nnb.get_backend("numpy")).x[0], A[[7, 1]])


@pytest.mark.parametrize("precision", ["float32", "float64", "float16"])
def test_recorded_steps_on_trees_and_indices_give_the_same_bits(precision):
    for make, x in ((pair, PAIR), (pair, TABLE), (lookup, INDICES)):
        nets = [make(backend(None, precision=precision)) for backend in (NumPyBackend, Plain)]
        for net in nets:
            net.fit(x, Y, epochs=20, batch_size=16, metrics=["mae"])
        assert_equal(*(dict(enumerate(weights(net))) for net in nets))
        for rows_of in (3, 40, 3):
            part = cut(x, 0, rows_of)
            for _ in range(6):
                assert_equal(*(net.predict(part) for net in nets))


def test_cross_validation_takes_trees_and_keeps_indices(backend64):
    twin, (net, table) = trees(backend64)
    found = [data.cross_validate(own, x, Y, folds=3, epochs=2, sample_weight=W, seed=1)
             for own, x in ((twin, JOINED), (net, PAIR), (table, TABLE))]  # fmt: skip
    for other in found[1:]:
        assert other.mean["loss"] == pytest.approx(found[0].mean["loss"], rel=1e-9)
    assert data.cross_validate(lookup(backend64), INDICES, Y, folds=2).mean["loss"] > 0.0
    with pytest.raises(ValueError, match="takes one"):
        data.cross_validate(twin, (A, A), Y)
