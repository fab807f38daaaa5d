"""A training step that is run as a program must do what the step does.

The kernels are compiled for the host (``host_device.py``), from the very text that a card is given.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from cases import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS, WRAPPERS, each, rows
from host_device import COMPILER, HostDevice
from numpy.testing import assert_allclose, assert_array_equal
from tools import host

import nnbackend as nnb
from nnbackend import Backend, random
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.optimizers import Clipped
from nnbackend.program import namespace, plan, run, source
from nnbackend.program.forward import ProgramForward
from nnbackend.program.run import Steps, TracedBackend
from nnbackend.program.trace import Trace, Untraceable

EPOCHS, BATCH, ROWS = 8, 6, 24

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler here")


class Plain(NumPyBackend):
    """NumPy with all parameters in one piece, as on a card, and without recordings."""

    chunk = None

    def scan(self, step_on, see=None):
        return Backend.scan(self, step_on)


class Programs(Plain):
    """The same, with steps run as programs on the host."""

    made: list[Steps] = []

    def scan(self, step_on, see=None):
        plain = super().scan(step_on)
        if see is None:
            return plain
        traced = step_on(TracedBackend(self))
        self.made.append(Steps(plain, step_on(self), traced, see, self, HostDevice))
        return self.made[-1]

    def recorded(self, forward_on):
        traced = forward_on(TracedBackend(self))
        return ProgramForward(forward_on(self), traced, self, HostDevice)


@pytest.fixture(autouse=True)
def programs(monkeypatch) -> list[Steps]:
    """Return the steps made during a test, which become programs early on."""
    monkeypatch.setattr(run, "EARLY", 6)
    monkeypatch.setattr(Programs, "made", [])
    return Programs.made


def fitted(backend, layers, loss="mse", optimizer=None, shape=(4,), target=None, weighted=False,
           dtype="float64", **settings):  # fmt: skip
    """Return parameters and history of a network that was trained."""
    made = backend(None, None, precision=dtype)
    net = nnb.Network(layers, backend=made, seed=3, input_shape=shape)
    rng = np.random.default_rng(0)
    x, y = rows((ROWS, *shape), seed=1), rng.normal(size=(ROWS, *net.output_shape))
    if target is not None:
        y = target(rng, (ROWS, *net.output_shape))
    weight = rng.uniform(0.5, 2.0, ROWS) if weighted else None
    history = net.fit(
        x, y, loss=loss, optimizer=optimizer or nnb.Adam(1e-2), verbose=0, sample_weight=weight,
        **{"batch_size": BATCH, "epochs": EPOCHS, **settings},
    )  # fmt: skip
    return host(net.backend, net.state_dict()), history.to_dict()


def assert_same(layers, tolerance=1e-9, **task):
    (plain, history), (program, history2) = (fitted(b, layers, **task) for b in (Plain, Programs))
    for name in plain:
        assert_allclose(program[name], plain[name], rtol=tolerance, atol=tolerance, err_msg=name)
    del history["seconds"], history2["seconds"]
    assert history.keys() == history2.keys()
    for name in history:
        assert_allclose(history2[name], history[name], rtol=tolerance, atol=tolerance)


def assert_used(programs):
    assert programs[0].refused is None
    assert programs[0].programs


@each(LAYERS)
def test_layers(case, programs):
    assert_same([case.thing, nnb.Flatten(), nnb.Dense(2)], shape=case.shape)
    assert_used(programs)


@each(ACTIVATIONS)
def test_activations(case, programs):
    assert_same([nnb.Dense(5, activation=case.thing), nnb.Dropout(0.2), nnb.Dense(2)])
    assert_used(programs)


@pytest.mark.parametrize(("weighted", "dtype", "tolerance"), [
    (False, "float64", 1e-9), (True, "float64", 1e-9), (False, "float32", 1e-3)
], ids=["", "weighted", "float32"])  # fmt: skip
@each(LOSSES)
def test_losses(case, weighted, dtype, tolerance, programs):
    layers = [nnb.Dense(6, activation="tanh"), nnb.Dense(case.shape[-1])]
    assert_same(layers, tolerance, loss=case.thing, shape=case.shape, target=case.target,
                weighted=weighted, dtype=dtype)  # fmt: skip
    assert_used(programs)


@each([*OPTIMIZERS, *WRAPPERS])
def test_optimizers(case, programs):
    layers = [nnb.Dense(6, activation="silu"), nnb.Dropout(0.3), nnb.Dense(2)]
    assert_same(layers, optimizer=case.thing)
    assert_used(programs)


def test_float32_and_a_last_batch_that_is_smaller(programs):
    layers = [
        nnb.Dense(7, activation="relu"),
        nnb.Dropout(0.3),
        nnb.GaussianNoise(0.1),
        nnb.Dense(2),
    ]
    assert_same(layers, 2e-5, batch_size=5, dtype="float32", epochs=20)
    assert_used(programs)
    assert [key[1] for key in programs[0].programs] == [5, 4]


def test_mixed_precision_and_steps_that_are_left_out(programs):
    """Programs round to 16 bits where the step asks for it, not after each operation."""
    layers = [nnb.Dense(7, activation="relu"), nnb.Dropout(0.3), nnb.Dense(5, "gelu"), nnb.Dense(2)]
    assert_same(layers, 2e-3, dtype="float16", loss="huber")
    assert_used(programs)
    # A scale with which all gradients are infinite: the first steps halve it, and do nothing else.
    big = [nnb.Dense(4, initializer=nnb.initializers.Normal(std=40.0)), nnb.Dense(2)]
    assert_same(big, 2e-3, dtype="float16", optimizer=nnb.SGD(1e-4), epochs=4)
    assert programs[1].refused is None
    assert programs[1].programs


def test_one_batch_for_all_steps(programs):
    layers = [nnb.Dense(3, activation="sigmoid", bias=False), nnb.Dense(2, activation="sigmoid")]
    assert_same(layers, batch_size=None, epochs=40)
    assert_used(programs)


def test_metrics_and_validation(programs):
    assert_same([nnb.Dense(3), nnb.Dense(2)], metrics=["mae"], validation_split=0.25, weighted=True)
    assert_used(programs)


def test_gradients_in_parts(programs):
    layers = [nnb.Dense(5, activation="tanh", regularizer="l2"), nnb.Dropout(0.2), nnb.Dense(2)]
    assert_same(layers, accumulate=3, weighted=True, metrics=["mae"], batch_size=8)
    assert_used(programs)


def test_a_schedule_compiles_nothing(programs):
    rate = nnb.schedules.Cosine(0.1, steps=20)
    assert_same([nnb.Dense(3)], optimizer=nnb.AdamW(rate))
    assert len(programs[0].device.sources) == 1


def test_blocks_longer_than_a_program_has_room_for(monkeypatch, programs):
    monkeypatch.setattr(run, "_MOST_STEPS", 3)
    assert_same([nnb.Dense(3, activation="tanh"), nnb.Dense(2)], metrics=["mae"], batch_size=3)
    assert_same([nnb.Dense(3, activation="tanh"), nnb.Dense(2)], batch_size=None, epochs=30)
    assert_used(programs)


def test_large_sums_are_divided_among_blocks(monkeypatch, programs):
    monkeypatch.setattr(source, "_SPLIT", 10)
    monkeypatch.setattr(source, "_PARTS", 3)  # blocks that the host has
    assert_same([nnb.Dense(5, activation="tanh"), nnb.Dense(2)], loss="mae", optimizer=Clipped(
        nnb.AdamW(0.02), norm=0.5))  # fmt: skip
    assert_used(programs)
    assert "nnb_over_block" in programs[0].device.sources[0]


def test_another_carry_gets_programs_of_its_own(programs):
    x, y = rows((12, 3)), rows((12, 2))
    nets = [nnb.Network([nnb.Dense(2)], backend=b(), input_shape=3) for b in (Plain, Programs)]
    for net in nets:
        for _ in range(3):
            net.fit(x, y, epochs=6, batch_size=4, verbose=0)
    assert_allclose(*(net.predict(x) for net in nets), rtol=1e-5)
    assert len(programs) == 3


@pytest.mark.parametrize("epilogues", [(), (None,), (None, "relu")])
@pytest.mark.parametrize("activation", ["relu", "tanh", None])
def test_a_product_adds_the_bias_and_cuts_off_below_zero_if_it_can(
    epilogues, activation, monkeypatch, programs
):
    monkeypatch.setattr(HostDevice, "epilogues", epilogues)
    assert_same([nnb.Dense(8, activation=activation), nnb.Dense(3, "relu"), nnb.Dense(2)])
    (program,) = programs[0].programs.values()
    products = [launch for launch in program.plan.launches if isinstance(launch, plan.Product)]
    fused = [p.activation for p in products if p.bias is not None]
    # The first layer's bias is added where its output goes; tanh is not what a product can do.
    first = {"relu": ["relu"], "tanh": [], None: [None]}[activation]
    assert fused == [done for done in (*first, "relu") if done in epilogues]


def test_a_step_takes_few_launches(programs):
    """What is in one kernel: an activation with the bias, its gradient, the loss, the optimiser."""
    layers = [nnb.Dense(8, activation="gelu"), nnb.Dropout(0.1), nnb.Dense(8, "relu"), nnb.Dense(3)]
    fitted(Programs, layers, "softmax_cross_entropy", target=lambda rng, shape: np.eye(3)[
        rng.integers(0, 3, shape[0])])  # fmt: skip
    (program,) = programs[0].programs.values()
    products = [launch for launch in program.plan.launches if isinstance(launch, plan.Product)]
    assert len(products) == 3 + 5
    # The input, an activation, two gradients, three biases, the loss (2), the optimiser, the count.
    assert len(program.plan.launches) - len(products) <= 1 + 1 + 2 + 3 + 2 + 1 + 1


def test_the_same_step_has_the_same_text(programs):
    """What was compiled is found again, also by another process."""
    for seed in (1, 2):
        layers = [nnb.Dense(5, activation="softmax"), nnb.Dropout(0.2), nnb.Dense(2)]
        net = nnb.Network(layers, backend=Programs(), seed=seed)
        net.fit(rows((24, 4)), rows((24, 2)), batch_size=6, epochs=4, verbose=0)
    first, second = (steps.device.sources for steps in programs)
    assert first == second


def test_memory_between_launches_is_used_again(programs):
    layers = [nnb.Dense(64, activation="tanh") for _ in range(8)]
    fitted(Programs, layers, epochs=2, optimizer=nnb.SGD(0.01))
    (program,) = programs[0].programs.values()
    assert len(program.plan.buffers) < len(program.plan.pieces)


# What a program cannot be.


class Wrong(HostDevice):
    """A device whose products are wrong."""

    def product(self, a, b, out, bias, activation):
        launch = super().product(a, b, out, bias, activation)

        def wrong():
            launch()
            np.multiply(out, 1.5, out=out)

        return wrong


class Broken(HostDevice):
    """A device whose compiler does not work."""

    def kernels(self, source, names):
        raise OSError("no compiler")


@pytest.mark.parametrize(("device", "reason"), [(Wrong, "elsewhere"), (Broken, "no compiler")])
def test_what_goes_wrong_is_said_and_steps_are_run_as_they_are(
    device, reason, monkeypatch, programs
):
    monkeypatch.setattr(sys.modules[__name__], "HostDevice", device)
    with pytest.warns(RuntimeWarning, match=reason):
        assert_same([nnb.Dense(3, activation="tanh"), nnb.Dense(2)], tolerance=0.0)
    assert reason in programs[0].refused
    assert programs[0].programs == {}


@nnb.register_layer
@dataclass(frozen=True)
class ProgramCounted:
    """A layer of a user's that does more than compute."""

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        passes.append(x.shape)
        return x, lambda dy, input_grad=True: (dy, {})


passes: list[tuple[int, ...]] = []


def test_what_users_write_runs_in_every_step(programs):
    passes.clear()
    fitted(Programs, [ProgramCounted(), nnb.Dense(2)])
    assert len(passes) >= EPOCHS * ROWS // BATCH
    assert programs == []


def traced(function, *arrays):
    """Return what a program makes of a function of arrays."""
    trace = Trace()
    inputs = [np.array(array, order="C") for array in arrays]
    value = function(*map(trace.array, inputs))
    out = np.zeros(value.shape, value.dtype)
    trace.store(out, value)
    for launch in run.launches(plan.plan(trace.stores), HostDevice()):
        launch()
    return out


FUNCTIONS = {
    "broadcast": lambda xp, x: x + x[:1, :] * x[:, :1],
    "slices": lambda xp, x: xp.exp(x[1:, 2:5])[..., None] - x[1:2, :1],
    "reshape": lambda xp, x: xp.reshape(xp.reshape(x, (7, 5)) * 2.0, (35,)) + 1.0,
    "transpose": lambda xp, x: xp.permute_dims(x * 2.0, (1, 0)) @ x,
    "product of parts": lambda xp, x: x[1:4, :] @ x[:3, :].T,
    "products in a row": lambda xp, x: (x.T @ x) @ (x.T @ x) - x.T @ x,
    "row sums": lambda xp, x: x - xp.sum(x, axis=1, keepdims=True) / xp.max(xp.abs(x)),
    "column sums": lambda xp, x: xp.sum(x * x, axis=0) + xp.min(x, axis=0),
    "sum of sums": lambda xp, x: xp.sum(xp.sum(x, axis=0) * xp.sum(xp.exp(x), axis=0)),
    "softmax": lambda xp, x: xp.exp(x) / xp.sum(xp.exp(x), axis=-1, keepdims=True),
    "of transposed": lambda xp, x: xp.sum(x.T * 2.0, axis=-1),
    "argmax": lambda xp, x: xp.argmax(xp.where(x > 1.0, 1.0, x), axis=-1),
    "all and any": lambda xp, x: xp.all(xp.isfinite(x)) & xp.any(x > 1.0),
    "gather": lambda xp, x: xp.take(x, xp.argmax(x[:, :5], axis=1), axis=0),
    "concat": lambda xp, x: xp.concat([x, x[:2, :] * 3.0, x]) + 1.0,
    "stack": lambda xp, x: xp.stack([x, x * 2.0, -x], axis=1),
    "whole numbers": lambda xp, x: xp.astype(x * 1000.0, xp.int32) * 2000003 << 3 >> 5 & 0xFFFF,
    "truth": lambda xp, x: xp.sum(xp.astype(~(x > 0.0) | (x == x), xp.float32)),
    "sum of truths": lambda xp, x: xp.sum(x > 0.0) * 3 - xp.sum(xp.where(x > 1.0, 1, 2)),
    "powers": lambda xp, x: xp.abs(x) ** 0.3 + 2.0 ** x - 1.0 / x,
    "functions": lambda xp, x: xp.sin(x) + xp.cos(x) + xp.sign(x) + xp.log1p(xp.abs(x)) + xp.sqrt(x * x),
    "constants": lambda xp, x: xp.ones_like(x) * xp.arange(7, dtype=xp.float32) - xp.mean(x, axis=0),
    "infinite": lambda xp, x: xp.where(x > 0.0, float("inf"), float("nan")),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, dtype):
    from array_api_compat import numpy as xp

    x = rows((5, 7), seed=4).astype(dtype)
    expected = FUNCTIONS[name](xp, x)
    found = traced(lambda array: FUNCTIONS[name](namespace, array), x)
    assert found.dtype == expected.dtype
    assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6)


def test_nan_goes_through_the_largest_number_and_its_place():
    x = np.array([[1.0, np.nan, 3.0], [2.0, 5.0, 5.0]])
    assert_array_equal(traced(lambda a: namespace.max(a, axis=1), x), [np.nan, 5.0])
    assert_array_equal(traced(lambda a: namespace.argmax(a, axis=1), x), [1, 1])
    assert_array_equal(traced(lambda a: namespace.maximum(a, 2.0), x), np.maximum(x, 2.0))
    assert_array_equal(traced(lambda a: namespace.minimum(2.0, a), x), np.minimum(x, 2.0))


def test_random_bits_are_those_of_the_generator():
    step, backend = np.asarray(7, np.int32), TracedBackend(Plain())
    for count in (1, 10, 11):
        found = traced(lambda s, n=count: backend.random_bits((2**32 - 5, 12345), s, n), step)
        assert_array_equal(found, random.bits((2**32 - 5, 12345), 7, count, np))


def swapped(trace, a, b):
    """Put two arrays into each other's place."""
    new_a, new_b = b * 2.0, a + 1.0
    a[...] = new_a
    b[...] = new_b


def overwritten(trace, a, b):
    """Read an array that has been written over."""
    a[...] = a * 2.0
    b[...] = b + a


@pytest.mark.parametrize("change", [swapped, overwritten])
def test_stores_keep_their_order(change):
    a, b = rows((6,)), rows((6,), seed=1)
    expected = (b * 2.0, a + 1.0) if change is swapped else (a * 2.0, b + a * 2.0)
    trace = Trace()
    change(trace, trace.array(a), trace.array(b))
    for launch in run.launches(plan.plan(trace.stores), HostDevice()):
        launch()
    assert_array_equal([a, b], expected)


def test_what_would_be_read_after_it_was_written_over_is_refused():
    a = rows((6, 6))
    trace = Trace()
    array = trace.array(a)
    array[...] = array.T * 2.0  # each thread would write what another reads
    with pytest.raises(Untraceable, match="written over"):
        plan.plan(trace.stores)


def test_a_product_is_not_computed_where_a_factor_lies():
    a, b = rows((6, 6)), rows((6, 6), seed=1)
    expected = a @ b
    trace = Trace()
    array = trace.array(a)
    array[...] = array @ trace.array(b)
    made = plan.plan(trace.stores)
    assert all(p.out.place != p.a.place for p in made.launches if isinstance(p, plan.Product))
    for launch in run.launches(made, HostDevice()):
        launch()
    assert_allclose(a, expected)


def test_arrays_that_an_int_cannot_count_are_refused():
    few = np.zeros((2, 3), "f4")
    trace = Trace()
    many = np.lib.stride_tricks.as_strided(np.zeros(1, "f4"), (2**30,), (4,))
    trace.store(many, trace.array(few), trace.array(np.zeros((), np.int32)))
    with pytest.raises(Untraceable, match="more numbers"):
        plan.plan(trace.stores)


@pytest.mark.parametrize(("function", "reason"), [
    (lambda xp, x: Trace().store(np.zeros((5, 7), "f4"), x), "float64 into float32"),
    (lambda xp, x: xp.astype(x, xp.int32) ** 2, "to a power"),
    (lambda xp, x: x if x[0, 0] > 0.0 else -x, "value"),
    (lambda xp, x: x * float(x[0, 0]), "value"),
    (lambda xp, x: x[::2, :], "every second"),
    (lambda xp, x: xp.sort(x), "sort"),
    (lambda xp, x: x[x > 0.0], "data decide"),
    (lambda xp, x: xp.sum(xp.reshape(x, (5, 7, 1)), axis=1), "middle"),
])  # fmt: skip
def test_what_cannot_be_traced_is_named(function, reason):
    with pytest.raises(Untraceable, match=reason):
        function(namespace, Trace().array(rows((5, 7))))


def test_an_array_in_pieces_is_refused():
    with pytest.raises(Untraceable, match="one piece"):
        Trace().array(rows((5, 7))[:, ::2])


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no CUDA compiler here")
def test_kernels_are_valid_cuda(programs, tmp_path):
    fitted(
        Programs, [nnb.Dense(8, activation="gelu"), nnb.Dropout(0.1), nnb.Dense(3)], metrics=["mae"]
    )
    assert_valid_cuda(programs[0].device.sources[0], tmp_path)


# Predictions.


@each(ACTIVATIONS)
def test_predictions(case):
    layers = [nnb.Dense(5, activation=case.thing), nnb.Dropout(0.2), nnb.Dense(2, "softmax")]
    net = nnb.Network(layers, backend=Programs(None, "float64"), input_shape=4)
    for i in range(6):
        x = rows((3, 4), seed=i)
        assert_allclose(net.predict(x), net.to(Plain(None, "float64")).predict(x), rtol=1e-12)
    assert net._forward.refused is None
    assert net._forward._launch is not None
    launched = net._forward.device.launched
    net.predict(rows((3, 4)).astype("f4"))  # another dtype, from the host
    assert net._forward.device.launched > launched


def test_predictions_follow_rows_and_parameters():
    net = nnb.Network([nnb.Dense(3, "relu"), nnb.Dense(2)], backend=Programs(), input_shape=4)
    x, y = rows((3, 4)), rows((3, 2))

    def assert_right():
        expected = net.to(Plain()).predict(x)
        found = [net.predict(x) for _ in range(5)]
        assert_allclose(found[0], expected, rtol=1e-6)
        for again in found[1:]:
            assert_allclose(again, expected, rtol=1e-6)
        assert_allclose(net.predict(x[:2]), expected[:2], rtol=1e-6)

    assert_right()
    net.load_state_dict({name: 2.0 * p for name, p in net.state_dict().items()})
    assert_right()
    net.params["0"]["bias"] += 1.0
    assert_right()
    net.fit(x, y, epochs=3, verbose=0)
    assert_right()
    for bad in (np.full((3, 4), np.nan), np.full((3, 4), 1e300)):
        with pytest.raises(ValueError, match="finite"):
            net.predict(bad)


def test_predictions_on_another_stream_are_made_as_they_are(monkeypatch):
    """The memory of a program could be in use on the stream that it was made on."""
    net = nnb.Network([nnb.Dense(2)], backend=Programs(), input_shape=4)
    x = rows((3, 4))
    expected = [net.predict(x) for _ in range(4)][-1]
    launched = net._forward.device.launched
    monkeypatch.setattr(HostDevice, "current", 7)
    assert_allclose(net.predict(x), expected, rtol=1e-6)
    assert net._forward.device.launched == launched


def test_predictions_that_go_wrong_are_made_as_they_are(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "HostDevice", Wrong)
    net = nnb.Network([nnb.Dense(2)], backend=Programs(), input_shape=4)
    x = rows((3, 4))
    expected = net.predict(x)
    net.predict(x)
    with pytest.warns(RuntimeWarning, match="outputs are others"):
        assert_array_equal(net.predict(x), expected)
    assert_array_equal(net.predict(x), expected)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no CUDA compiler here")
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_kernels_of_16_bits_are_valid_cuda(half, tmp_path):
    dtype = np.float16 if half == "float16" else pytest.importorskip("ml_dtypes").bfloat16
    trace, x, out = Trace(), rows((6, 4)).astype("f4"), np.zeros((6, 4), dtype)
    array = namespace.astype(trace.array(x), dtype)
    array = array - namespace.max(array, axis=-1, keepdims=True)
    trace.store(out, namespace.exp(array) * 0.5)
    kernels = list(plan.plan(trace.stores).launches)
    assert_valid_cuda(source.program(kernels)[0], tmp_path)


def assert_valid_cuda(text, tmp_path):
    path = tmp_path / "program.cu"
    path.write_text(text)
    command = [
        "nvcc",
        "-arch=sm_90",
        "-std=c++17",
        "--fmad=false",
        "-cubin",
        "-o",
        os.devnull,
        path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
