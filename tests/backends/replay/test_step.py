"""A recorded step must do what the step does, to the last bit."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS, WRAPPERS, each, rows
from tools import EPOCHS, Plain, fitted

import nnbackend as nnb
from nnbackend.backends import numpy as numpy_backend
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.backends.replay import program as replay
from nnbackend.backends.replay import replayed as steps
from nnbackend.transforms import CutMix, Mixup, RandomCrop, RandomFlip, RandomShift


@pytest.fixture
def recordings(monkeypatch) -> list[replay.Program]:
    """Return the training steps made during a test, which are recorded early on."""
    made: list[replay.Program] = []

    def new(*args, **kwargs):
        made.append(replay.Program(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(numpy_backend, "Program", new)
    monkeypatch.setattr(replay, "is_built_in", lambda parts: False)  # everything is tried
    monkeypatch.setattr(steps, "WARMUP_STEPS", 8)
    return made


def assert_identical(layers, **task):
    (plain, history, outputs), (recorded, history2, outputs2) = (
        fitted(backend, layers, **task) for backend in (Plain, NumPyBackend)
    )
    for name in plain:
        np.testing.assert_array_equal(recorded[name], plain[name])
    del history["seconds"], history2["seconds"]
    assert history2 == history
    np.testing.assert_array_equal(outputs2, outputs)


def used(recordings) -> bool:
    """Return whether the step for the usual batch runs from a recording."""
    return recordings[0].player is not None


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@each(LAYERS)
def test_layers(case, weighted, recordings):
    layers = [case.thing, nnb.Flatten(), nnb.Dense(2)]
    assert_identical(layers, shape=case.shape, indices=case.indices, weighted=weighted)
    assert used(recordings)


@each(ACTIVATIONS)
def test_activations(case, recordings):
    assert_identical([nnb.Dense(5, activation=case.thing), nnb.Dropout(0.2), nnb.Dense(2)])
    assert used(recordings)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@each(LOSSES)
def test_losses(case, weighted, recordings):
    layers = [nnb.Dense(6, activation="tanh"), nnb.Dense(case.shape[-1])]
    assert_identical(layers, loss=case.thing, shape=case.shape, target=case.target,
                     weighted=weighted)  # fmt: skip
    assert used(recordings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each([*OPTIMIZERS, *WRAPPERS])
def test_optimizers(case, dtype, recordings):
    layers = [nnb.Dense(6, activation="silu"), nnb.Dropout(0.3), nnb.Dense(2)]
    assert_identical(layers, optimizer=case.thing, dtype=dtype)
    assert used(recordings)


def test_a_full_batch_and_metrics(recordings):
    """One batch for all steps, many epochs at a time; and outputs that are looked at."""
    layers = [nnb.Dense(3, activation="sigmoid", bias=False), nnb.Dense(2, activation="sigmoid")]
    assert_identical(layers, batch_size=None, dtype="float64")
    assert_identical(layers, metrics=["mae"], validation_split=0.25)
    assert all(map(used, [recordings, recordings[1:]]))


@dataclass(frozen=True)
class Counted(nnb.SGD):
    """A rule of a user's that does more than compute."""

    pure = False

    def rule(self, p, g, slots, h, xp):
        COUNT.append(1)
        return super().rule(p, g, slots, h, xp)


COUNT: list[int] = []


@pytest.mark.parametrize("wrapped", [lambda o: o,
                                     lambda o: nnb.optimizers.EMA(o, decay=0.9),
                                     lambda o: nnb.optimizers.Grouped("sgd", {"*.bias": o}),
                                     lambda o: nnb.optimizers.Frozen(o, "0.*")])  # fmt: skip
def test_an_optimizer_that_is_not_pure_runs_in_every_step(wrapped, recordings):
    COUNT.clear()
    fitted(NumPyBackend, [nnb.Dense(3), nnb.Dense(2)], optimizer=wrapped(Counted(0.1)))
    assert not used(recordings)
    assert len(COUNT) >= EPOCHS * 5


def test_gradients_in_parts(recordings):
    layers = [nnb.Dense(5, activation="tanh", regularizer="l2"), nnb.Dropout(0.2), nnb.Dense(2)]
    assert_identical(layers, accumulate=3, weighted=True, metrics=["mae"])
    assert used(recordings)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_augmentation(weighted, recordings):
    augment = [RandomFlip(), RandomCrop(padding=1), RandomShift(fraction=0.3, fill="edge"), Mixup(0.4),
               CutMix(per="row")]  # fmt: skip
    assert_identical(
        [nnb.Flatten(), nnb.Dense(2)], shape=(5, 4, 2), augment=augment, weighted=weighted
    )
    assert used(recordings)


def test_large_batches_are_read_where_they_lie(monkeypatch, recordings):
    monkeypatch.setattr(replay.Program.__init__, "__defaults__", ((), 1, 0, None, ()))
    assert_identical([nnb.Dense(5, activation="relu"), nnb.Dense(2)], weighted=True)
    assert used(recordings)
    assert recordings[0]._copied == {2}  # a weight is reshaped on its way


def test_parameters_larger_than_a_chunk(monkeypatch, recordings):
    monkeypatch.setattr(NumPyBackend, "chunk", 7)
    assert_identical([nnb.Dense(5, activation="relu"), nnb.Dense(2)])
    assert used(recordings)


@pytest.mark.parametrize("metrics", [[], ["mae"]], ids=["", "metrics"])
def test_rows_gathered_in_the_same_memory_again(metrics, monkeypatch, recordings):
    monkeypatch.setattr(NumPyBackend, "block_bytes", 1)  # a batch is a block
    assert_identical([nnb.Dense(5, activation="relu"), nnb.Dense(2)], metrics=metrics,
                     weighted=True, validation_split=0.25)  # fmt: skip
    assert used(recordings)


@nnb.register_layer
@dataclass(frozen=True)
class Beside:
    """A layer of a user's whose output is its input itself; its parameter has no effect."""

    def init(self, input_shape, rng):
        return {"unused": np.zeros(1)}, input_shape

    def forward(self, params, x, ctx):
        return x, lambda dy, input_grad=True: (dy, {"unused": 0.0 * params["unused"]})


def test_metrics_of_outputs_that_are_the_inputs(monkeypatch):
    monkeypatch.setattr(NumPyBackend, "block_bytes", 1)
    x, y = rows((30, 2)).astype("f4"), rows((30, 2), seed=1)
    net = nnb.Network([Beside()], input_shape=2)
    history = net.fit(x, y, batch_size=10, metrics=["mae"], optimizer="sgd", verbose=0)
    assert history["mae"][0] == pytest.approx(np.mean(np.abs(x - y)), rel=1e-5)


def test_partial_fit(recordings):
    nets = [nnb.Network([nnb.Dense(3)], backend=b(), input_shape=4) for b in (Plain, NumPyBackend)]
    x, y = rows((40, 5, 4)), rows((40, 5, 3), seed=2)
    for a, b in zip(x, y, strict=True):
        losses = [net.partial_fit(a, b) for net in nets]
        assert losses[0] == losses[1]
    assert used(recordings)


def test_another_carry_is_not_trained_in_the_place_of_the_old_one(recordings, monkeypatch):
    """Epochs that are done together and diverge are undone, by going on from a copy."""
    # As many together as on a machine that is never slow: the same ones in every run.
    monkeypatch.setattr("nnbackend.training.loop._BRIEF_SECONDS", float("inf"))
    x, y = rows((4, 3)), rows((4, 2))
    histories, params = [], []
    for backend in (Plain, NumPyBackend):
        net = nnb.Network([nnb.Dense(2)], backend=backend(), input_shape=3)
        # A rate that lets the loss grow from some step on, long after the step was recorded.
        rate = nnb.schedules.Exponential(0.01, factor=1.05)
        with pytest.raises(nnb.errors.DivergenceError) as caught:
            net.fit(x, y, optimizer=nnb.SGD(rate), epochs=5000, batch_size=None, verbose=0)
        histories.append(caught.value.history["loss"])
        params.append(net.state_dict())
    assert used(recordings)
    assert histories[0] == histories[1]
    np.testing.assert_array_equal(params[0]["0.weight"], params[1]["0.weight"])


@pytest.mark.parametrize("order", ["C", "F"])
def test_data_in_either_order_give_the_same_bits(order, recordings):
    x, y = np.asarray(rows((60, 40)), "f4", order=order), rows((60, 2))
    states = []
    for backend in (Plain, NumPyBackend):
        net = nnb.Network([nnb.Dense(30, activation="tanh"), nnb.Dense(2)], backend=backend())
        net.fit(x, y, epochs=40, batch_size=10, shuffle=False)
        states.append(net.state_dict())
    assert used(recordings)
    for name in states[0]:
        np.testing.assert_array_equal(states[0][name], states[1][name])


@pytest.mark.parametrize("order", ["columns", "part of wider rows"])
@pytest.mark.parametrize("largest", [None, 0], ids=["packed", "as it is"])
def test_rows_are_gathered_alike_however_they_lie(order, largest, monkeypatch):
    if largest is not None:
        monkeypatch.setattr("nnbackend.data.samples._MAX_COPIED_BYTES", largest)
    wide, y = rows((60, 41)).astype("f4"), rows((60, 2))
    x = np.asfortranarray(wide[:, 1:]) if order == "columns" else wide[:, 1:]
    assert not x.flags.c_contiguous
    states = []
    for given in (np.ascontiguousarray(x), x):
        net = nnb.Network([nnb.Dense(30, activation="tanh"), nnb.Dense(2)])
        net.fit(given, y, epochs=3, batch_size=16, verbose=0)
        states.append(net.state_dict())
    for name in states[0]:
        np.testing.assert_array_equal(states[0][name], states[1][name])


@nnb.register_layer(pure=False)
@dataclass(frozen=True)
class Counting:
    """A layer that does more than compute: it counts its passes."""

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        passes.append(x.shape)
        return x, lambda dy, input_grad=True: (dy, {})


passes: list[Any] = []


@pytest.mark.parametrize("layers", [[Counting()], [nnb.Residual([Counting()])]])
def test_a_layer_that_is_not_pure_runs_in_every_step(layers, recordings):
    passes.clear()
    net = nnb.Network([*layers, nnb.Dense(2)], input_shape=4)
    net.fit(rows((60, 4)), rows((60, 2)), epochs=10, batch_size=6)
    assert len(passes) == 100
    assert "more than compute" in recordings[0].refused
    for _ in range(10):
        net.predict(rows((1, 4)))
    assert len(passes) == 110


# What users write is recorded as the library's own is


@dataclass(frozen=True)
class MyDense(nnb.Dense):
    """A dense layer by another name."""


@dataclass(frozen=True)
class MyRule(nnb.SGD):
    """A rule with a constant of its own."""

    def rule(self, p, g, slots, h, xp):
        p -= h.learning_rate * xp.tanh(0.5 * g)
        return p, slots


class MyLoss:
    """A loss that ignores weights."""

    def __call__(self, prediction, target, sample_weight=None):
        error = prediction - target
        return (error**2).mean(), error * (2.0 / error.size)


@dataclass(frozen=True)
class Masked:
    """A layer with an array of its own, and NumPy's functions and methods."""

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        y = np.einsum("ij,j->ij", x, MASK[: x.shape[-1]]) + x.mean(axis=1, keepdims=True)
        return y, lambda dy, input_grad=True: (
            dy * MASK[: dy.shape[-1]] + dy.sum(axis=1, keepdims=True) / dy.shape[1],
            {},
        )


MASK = np.asarray([1, 0, 1, 1, 0, 1, 1], "f4")


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(
    "task",
    [
        {"layers": [MyDense(5, activation="relu"), nnb.Dense(2)]},
        {"layers": [nnb.Dense(5), Masked(), nnb.Dense(2)]},
        {"layers": [nnb.Dense(2)], "optimizer": MyRule(0.02)},
        {"layers": [nnb.Dense(2)], "optimizer": nnb.optimizers.EMA(MyRule(0.02), decay=0.9)},
        {"layers": [nnb.Dense(2)], "loss": MyLoss()},
        {"layers": [nnb.Dense(2)], "loss": lambda p, t, w=None: MyLoss()(p, t)},
        {"layers": [nnb.Dense(2, activation=nnb.activations.Tanh(), regularizer="l2")]},
    ],
    ids=["subclass", "NumPy's", "rule", "wrapped rule", "loss", "function", "penalty"],
)
def test_what_users_write_is_recorded(task, weighted, recordings):
    assert_identical(**task, weighted=weighted)
    assert used(recordings)


class Deed:
    """Makes layers that do something beside computing with what they are given."""

    def __init__(self, deed):
        self.deed = deed

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        y, factor = self.deed(self, x, ctx)
        return y, lambda dy, input_grad=True: (dy * factor, {})


def draws(layer, x, ctx):
    noise = layer.__dict__.setdefault("rng", np.random.default_rng(0)).normal(size=x.shape)
    return x + noise.astype(x.dtype), 1.0


def counts(layer, x, ctx):
    layer.n = getattr(layer, "n", 0) + 1
    return x * (1.0 / layer.n), 1.0 / layer.n


def branches(layer, x, ctx):
    return (x, 1.0) if np.max(x) > 1.5 else (x * 0.5, 0.5)


def waits_for_a_step(layer, x, ctx):
    return (x, 1.0) if ctx.step < 20 else (x * 0.5, 0.5)


def remembers(layer, x, ctx):
    layer.mean = 0.9 * getattr(layer, "mean", 0.0) + 0.1 * x.mean(axis=0)
    return x - layer.mean, 1.0


def crops(layer, x, ctx):
    start = int(layer.__dict__.setdefault("rng", np.random.default_rng(0)).integers(0, 3))
    y = x * 1.0
    y[:, start : start + 2] = 0.0
    return y, 1.0


def changes_in_place(layer, x, ctx):
    y = x * 1.0
    np.asarray(y)[...] *= 0.5
    return y, 0.5


def takes_out(layer, x, ctx):
    return np.asarray(x) * np.float32(0.5), 0.5


def takes_a_mean_out(layer, x, ctx):
    return x - float(np.asarray(x).mean() > 0.1), 1.0


def takes_plain_arrays_only(layer, x, ctx):
    if type(x) is not np.ndarray:  # as compiled code of users may do
        raise TypeError("cannot determine the type of an argument")
    return x * 0.5, 0.5


DEEDS = [takes_plain_arrays_only, draws, counts, branches, waits_for_a_step, remembers, crops,
         changes_in_place, takes_out, takes_a_mean_out]  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS)
def test_what_must_not_be_played_is_refused(deed, recordings):
    """It runs in every step, and its results are those without a recording."""
    assert_identical_deed(deed)
    assert not used(recordings)
    # Where the layer's attributes change, steps are made again before they are recorded.
    assert recordings[0].refused or deed in (draws, counts, remembers, crops)


FACTORS = np.asarray([1.0, 2.0])


def from_a_table(mask, xp):
    return FACTORS[xp.astype(mask, xp.int64)]


def taken_from_a_table(mask, xp):
    return xp.take(FACTORS, xp.astype(mask[:, 0], xp.int64))[:, None]


def copied_into_a_plain_array(mask, xp):
    factor = np.ones(mask.shape)
    factor[...] += np.asarray(mask)
    return factor


def written_into_a_plain_array(mask, xp):
    factor = np.zeros(mask.shape)
    factor[:] = mask
    return 1.0 + factor


def sorted_by_a_method(mask, xp):
    return 1.0 + mask.argsort(axis=1)[:, :1]


def largest_by_a_method(mask, xp):
    return 1.0 + mask.argmax()


def counted_by_a_method(mask, xp):
    return 1.0 + mask.nonzero()[0].size


def read_as_memory(mask, xp):
    return 1.0 + max(memoryview(mask).tobytes())


def asked_of_a_view(mask, xp):
    return 2.0 if np.asarray(mask).max().item() else 1.0


def multiplied_by_a_plain_array(mask, xp):
    return 1.0 + np.eye(len(mask)).dot(mask * 1.0)


@dataclass(frozen=True)
class Threshold:
    """A layer that reads where its inputs are large past the recorder."""

    read: Any

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        factor = self.read(x > 50.0, ctx.xp)
        return x * factor, lambda dy, input_grad=True: (dy * factor, {})


@pytest.mark.parametrize(
    "read",
    [from_a_table, taken_from_a_table, copied_into_a_plain_array, written_into_a_plain_array,
     sorted_by_a_method, largest_by_a_method, counted_by_a_method, read_as_memory, asked_of_a_view,
     multiplied_by_a_plain_array],
)  # fmt: skip
def test_what_is_read_past_the_recorder_is_found_before_it_matters(read, recordings):
    """It is the same in all batches until the last, which the trial's data do not come near."""
    x, y = rows((6 * 40, 4)), rows((6 * 40, 2))
    x[-6:] *= 1e3
    found = []
    for backend in (Plain, NumPyBackend):
        net = nnb.Network([Threshold(read), nnb.Dense(2)], backend=backend(), seed=3, input_shape=4)
        net.fit(x, y, loss="mae", epochs=1, batch_size=6, shuffle=False, verbose=0)
        found.append(net.params["1"]["weight"])
    np.testing.assert_array_equal(*found)
    assert recordings[0].refused


def assert_identical_deed(deed):
    states = []
    for backend in (Plain, NumPyBackend):
        net = nnb.Network([nnb.Dense(4), Deed(deed), nnb.Dense(2)], backend=backend(), seed=3,
                          input_shape=4)  # fmt: skip
        history = net.fit(rows((24, 4)), rows((24, 2)), epochs=10, batch_size=6, verbose=0)
        states.append((net.state_dict(), history["loss"]))
    for name, array in states[0][0].items():
        if deed not in (draws, counts, remembers, crops):  # the trial runs them once more
            np.testing.assert_array_equal(states[1][0][name], array)
    assert states[0][1][:2] == states[1][1][:2]


@dataclass(frozen=True)
class Late(nnb.SGD):
    """A rule that branches on a number of the step."""

    def rule(self, p, g, slots, h, xp):
        if h.learning_rate > 0.05:
            g = xp.sign(g)
        return super().rule(p, g, slots, h, xp)


def test_a_rule_that_branches_on_its_numbers_is_refused(recordings):
    rate = nnb.schedules.Exponential(0.1, factor=0.98)
    assert_identical([nnb.Dense(2)], optimizer=Late(rate))
    assert not used(recordings)
    assert "asks for the value" in recordings[0].refused


def test_state_that_a_step_makes_new_goes_where_the_old_one_is():
    """Also if two arrays change places."""

    def function(held, x, numbers):
        return {"a": held["b"], "b": held["a"] + x, "c": held["c"]}, np.sum(x) * numbers[-1]

    held = {name: np.full(3, float(i)) for i, name in enumerate("abc")}
    expected = {name: array.copy() for name, array in held.items()}
    program = replay.Programs(lambda: replay.Program(function, tree_mapped, (None, np.int32)))
    for i, x in enumerate(rows((9, 3))):
        new, result = program(held, x, (i,))
        expected, right = function(expected, x, (i,))
        assert new is held
        assert result == pytest.approx(right)
        for name in held:
            np.testing.assert_array_equal(held[name], expected[name])
    assert program.last.player is not None


def tree_mapped(tree, function):
    return {name: function(array) for name, array in tree.items()}


def test_trees_of_inputs():
    def function(held, inputs, numbers):
        (a, meta), weight = inputs["x"], inputs["weight"]
        y = a @ held["w"] + meta["b"][:, None]
        return held, {"y": y, "n": np.sum(y * weight[:, None])}

    held = {"w": rows((4, 2))}
    program = replay.Programs(lambda: replay.Program(function, tree_mapped))
    for i in range(8):
        inputs = {"x": (rows((6, 4), seed=i), {"b": rows((6,), seed=i + 9)}),
                  "weight": rows((6,), seed=i + 20)}  # fmt: skip
        _, found = program(held, inputs)
        _, right = function(held, inputs, ())
        np.testing.assert_array_equal(found["y"], right["y"])
        assert found["n"] == right["n"]
    assert program.last.player is not None
    for count in (1, 2, 3, 4):  # for further shapes functions are called as they are
        program(held, {"x": (rows((count, 4)), {"b": rows((count,))}), "weight": rows((count,))})
    assert program.last not in program._made.values()


def test_integers_are_tried_within_their_range():
    """Indices of an embedding: other data must not be out of range."""

    def function(held, x, numbers):
        return held, np.take(held["table"], x, axis=0) * 2.0

    held = {"table": rows((5, 3))}
    program = replay.Programs(lambda: replay.Program(function, tree_mapped))
    for i in range(8):
        x = np.random.default_rng(i).integers(0, 5, 7)
        np.testing.assert_array_equal(program(held, x)[1], function(held, x, ())[1])
    assert program.last.player is not None


def test_predictions_follow_the_parameters():
    net = nnb.Network([nnb.Dense(3, activation="relu"), nnb.Dense(2)], input_shape=4)
    x = rows((1, 4))

    def assert_right():
        expected = net.to(Plain()).predict(x)
        for _ in range(5):
            np.testing.assert_array_equal(net.predict(x), expected)
        # They were made from a recording.
        assert net._predictor._forward._programs.last.player is not None

    assert_right()
    net.load_state_dict({name: 2.0 * p for name, p in net.state_dict().items()})
    assert_right()
    net.params["0"]["weight"] = rows((4, 3), seed=9).astype("f4")
    assert_right()
    net.params["0"]["bias"] += 1.0
    assert_right()
    net.fit(rows((8, 4)), rows((8, 2)), epochs=3)
    assert_right()


def test_a_prediction_is_not_overwritten_by_the_next():
    net = nnb.Network([nnb.Dense(3)], input_shape=4)
    x, other = rows((2, 1, 4))
    first = [net.predict(x) for _ in range(5)]
    net.predict(other)
    for y in first:
        np.testing.assert_array_equal(y, first[0])


def test_threads_predict_with_one_network():
    net = nnb.Network([nnb.Dense(64, activation="tanh"), nnb.Dense(2)], input_shape=4)
    inputs = rows((8, 1, 4))
    expected = [net.to(Plain()).predict(x) for x in inputs]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(300):
            if not np.array_equal(net.predict(inputs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
