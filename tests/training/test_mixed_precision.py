"""Precision: what is computed in what, how far that is from float64, and how a loss is scaled."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors
from cases import ACTIVATIONS, EMBEDDING, LAYERS, OPTIMIZERS, WRAPPERS, each, rows
from conftest import chosen, unusable
from tools import assert_equal, gradients_of_numbers, host, on_backend, parameters, training

import nnbackend as nnb
from nnbackend.backends.cuda.tf32 import cupy_products, torch_products
from nnbackend.backends.cupy import CuPyBackend
from nnbackend.callbacks import Checkpoint
from nnbackend.core import functional
from nnbackend.core.precision import PRECISIONS, resolve
from nnbackend.core.tree import arrays_in, flatten, leaves, map_arrays, tree_map
from nnbackend.core.types import Batch
from nnbackend.data.samples import Samples
from nnbackend.errors import BackendUnavailableError, DivergenceError, PrecisionError, ResumeError
from nnbackend.layers.mixed_precision import MixedPrecision, with_precision
from nnbackend.training import loss_scaling
from nnbackend.training.accumulation import gradients
from nnbackend.training.layout import layout_for
from nnbackend.training.objective import Objective
from nnbackend.training.trainer import Trainer

MIXED = ("float16", "bfloat16")
# What takes a compiler long: there float16, which does all that bfloat16 does and more, is enough.
COMPILED = {
    "test_all_that_training_can_do_goes_with_it",
    "test_penalties_constraints_and_frozen_layers_go_with_it",
    "test_a_layer_computes_in_what_it_is_given",
    "test_gradients_are_those_of_float64_to_the_digits_there_are",
    "test_what_goes_in_and_comes_out_is_of_the_backends_dtype",
}
EPS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # half the distance of 1 to the next number

BLOBS = np.random.default_rng(0)
CENTRES = 2.0 * BLOBS.normal(size=(4, 6))
LABELS = np.arange(200) % 4
POINTS = CENTRES[LABELS] + BLOBS.normal(size=(200, 6))
HIDDEN = [nnb.Dense(16, activation="relu"), nnb.Dense(4, activation="softmax")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mixed" in metafunc.fixturenames:
        pairs = [(library, name) for library in chosen(metafunc.config) for name in MIXED]
        there = [pair for pair in pairs if not unusable(pair[0]) and not missing(*pair)]
        if metafunc.function.__name__ in COMPILED:
            there = [pair for pair in there if pair != ("jax", "bfloat16")]
        metafunc.parametrize("mixed", there, ids="-".join, indirect=True)


def missing(library: str, precision: str) -> str:
    """Return why a library does not have a precision, or an empty text."""
    return nnb.get_backend(library).unsupported_reason(PRECISIONS[precision])


@pytest.fixture
def mixed(request):
    """A backend in mixed precision: each library's in each that it has."""
    library, precision = request.param
    return nnb.get_backend(library, precision=precision)


@pytest.fixture
def half(backend):
    """The backend under test in mixed float16, whose loss is scaled."""
    return made(backend, "float16")


def uncompiled(backend, quick):
    """Skip a case on a backend that compiles, which takes long, unless it is one of a few."""
    if backend.name == "jax" and not quick:
        pytest.skip("each case is a program to compile; other backends have them all")


def made(backend, precision):
    reason = backend.unsupported_reason(PRECISIONS[precision])
    if reason:
        pytest.skip(reason)
    return backend.replace(precision=precision)


# The choice


@pytest.mark.parametrize(
    ("dtype", "precision", "name", "kept"),
    [
        (None, None, "float32", "float32"),
        ("float64", None, "float64", "float64"),
        (None, "float64", "float64", "float64"),
        ("float32", "float32", "float32", "float32"),
        (None, "tf32", "tf32", "float32"),
        ("float32", "float16", "float16", "float32"),
        (None, "bfloat16", "bfloat16", "float32"),
    ],
)
def test_a_precision_has_a_dtype_that_parameters_are_kept_in(dtype, precision, name, kept):
    chosen = resolve(dtype, precision)
    assert (chosen.name, chosen.dtype) == (name, kept)


@pytest.mark.parametrize(
    ("dtype", "precision", "message"),
    [
        ("float64", "float16", "contradict each other: float16 means products and activations"),
        ("float64", "float32", "dtype='float64' and precision='float32' contradict"),
        ("float32", "float64", "with parameters in float64. Leave one of the two out"),
        ("float16", None, "dtype must be one of 'float32', 'float64'; got 'float16'; say precision="),
        ("int32", None, "dtype must be one of 'float32', 'float64'; got 'int32'$"),
        (None, "half", "precision must be one of 'float64', 'float32', 'tf32', 'float16', 'bfloat16'"),
        (None, "", "precision must be one of"),
        (None, np.float16, "precision must be one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(dtype, precision, message):
    with pytest.raises(ValueError, match=message):
        nnb.Network(HIDDEN, dtype=dtype, precision=precision)


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        ("numpy", "bfloat16", "'bfloat16' is not possible on numpy: it has no bfloat16; torch"),
        ("numpy", "tf32", "'tf32' is not possible on numpy: tf32 is a mode of NVIDIA GPUs"),
        ("torch", "tf32", "'tf32' is not possible on torch: tf32 is a mode of NVIDIA GPUs"),
        ("jax", "tf32", "'tf32' is not possible on jax: tf32 is a mode of NVIDIA GPUs"),
        ("array-api-strict", "float16", "the array API standard has no float16"),
        ("array-api-strict", "bfloat16", "the array API standard has no bfloat16"),
    ],
)
def test_what_a_library_does_not_have_is_refused_with_the_reason(name, precision, message):
    pytest.importorskip(name.replace("-", "_"))
    with pytest.raises(PrecisionError, match=message):
        nnb.Network(HIDDEN, backend=name, precision=precision)


def test_a_namespace_without_a_file_has_the_types_that_it_has():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(PrecisionError, match="it has no float16"):
        nnb.Backend(xp=strict, precision="float16")


def test_a_backend_keeps_its_precision_unless_another_is_asked_for(mixed):
    assert mixed.mixed
    assert mixed.dtype_name == "float32"
    assert mixed != mixed.replace(precision="float32")
    assert mixed.replace() == mixed
    assert mixed.replace(dtype="float32").precision == "float32"
    assert nnb.get_backend(mixed) is mixed
    assert nnb.get_backend(mixed, precision=mixed.precision) is mixed
    assert nnb.get_backend(mixed, precision="float32").precision == "float32"
    if mixed.name != "jax":  # whose devices cannot be pickled
        assert pickle.loads(pickle.dumps(mixed)) == mixed
    assert f"precision={mixed.precision!r}" in repr(mixed)
    assert mixed.precision_label == f"mixed {mixed.precision}"
    assert "precision" not in repr(mixed.replace(precision="float32"))


def test_a_network_says_its_precision(mixed):
    net = nnb.Network(HIDDEN, backend=mixed, input_shape=6)
    assert f"precision={mixed.precision!r}" in repr(net)
    assert net.summary().endswith(f"mixed {mixed.precision}")
    assert "precision" not in repr(net.to(precision="float32"))


def test_a_move_keeps_the_precision_where_it_exists(mixed):
    net = nnb.Network(HIDDEN, backend=mixed, input_shape=6)
    assert net.to(mixed.name).backend.precision == mixed.precision
    assert net.to(dtype="float32").backend.precision == "float32"
    assert (
        net.to(precision="float64" if mixed.name == "numpy" else "float32").backend.mixed is False
    )
    if mixed.precision == "bfloat16":
        assert net.to("numpy").backend.precision == "float32"  # more exact, and not requested
        with pytest.raises(PrecisionError):
            net.to("numpy", precision="bfloat16")


# What is computed in what


def assert_half(array, backend):
    assert array.dtype == backend.product_dtype, array.dtype


@each(LAYERS)
def test_a_layer_computes_in_what_it_is_given(case, mixed):
    xp = mixed.xp
    narrow = lambda a: xp.astype(a, mixed.product_dtype)  # noqa: E731
    with mixed.scope():
        params = tree_map(narrow, parameters(case.thing, case.shape, mixed))
        x = map_arrays(
            lambda a: narrow(a) if xp.isdtype(a.dtype, "real floating") else a,
            on_backend(mixed, case.inputs(5)),
        )
        y, backward = case.thing.forward(params, x, training(mixed))
        assert_half(y, mixed)
        dx, grads = backward(y)
        for gradient in gradients_of_numbers(x, dx):
            assert_half(gradient, mixed)
        for name, gradient in flatten(grads).items():
            norms = nnb.LayerNorm | nnb.RMSNorm | nnb.GroupNorm | nnb.InstanceNorm
            is_sum = case in EMBEDDING or isinstance(case.thing, norms)
            if name.endswith("bias") or is_sum:  # over all rows
                assert gradient.dtype == mixed.dtype
            else:
                assert_half(gradient, mixed)


@each(ACTIVATIONS)
def test_an_activation_computes_in_what_it_is_given(case, mixed):
    with mixed.scope():
        x = mixed.xp.astype(mixed.asarray(rows((5, 4))), mixed.product_dtype)
        y, backward = case.thing(x, training(mixed))
        assert_half(y, mixed)
        assert_half(backward(y), mixed)


@each(ACTIVATIONS)
def test_an_activation_of_large_numbers_of_16_bits_is_a_number(case, mixed):
    """The largest number of float16 is 65504, so squares of what is not large are infinite."""
    values = np.asarray([[-3e4, -300.0, -30.0, -12.0, 0.0], [8.0, 12.0, 30.0, 300.0, 3e4]])
    with mixed.scope():
        x = mixed.xp.astype(mixed.asarray(values), mixed.product_dtype)
        y, backward = case.thing(x, training(mixed))
        dx = backward(mixed.xp.ones_like(x))
        wide = [host(mixed, mixed.xp.astype(a, mixed.dtype)) for a in (y, dx)]
    assert np.isfinite(wide).all()


@each(LAYERS)
def test_what_goes_in_and_comes_out_is_of_the_backends_dtype(case, mixed):
    uncompiled(mixed, case.id in ("dense-softmax", "nested"))
    net = nnb.Network([case.thing], backend=mixed, input_shape=case.shape)
    x = case.inputs(5)
    y, backward = net.forward(x, training=True)
    dx, grads = backward(y)
    for array in (y, *arrays_in(dx), *leaves(grads), *leaves(net.params), net.predict(x)):
        assert array.dtype == mixed.dtype


def test_probabilities_add_up_to_one(mixed):
    found = host(mixed, nnb.Network(HIDDEN, backend=mixed, seed=1).predict(POINTS))
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)


def test_products_are_of_16_bits(mixed):
    """2049 is no number of float16, nor 257 one of bfloat16."""
    number = {"float16": 2049.0, "bfloat16": 257.0}[mixed.precision]
    net = nnb.Network([nnb.Dense(1, bias=False, initializer="ones")], backend=mixed, input_shape=1)
    (found,) = host(mixed, net.predict([[number]])).ravel()
    assert found == number - 1
    (exact,) = host(mixed, net.to(precision="float32").predict([[number]])).ravel()
    assert exact == number


def test_many_terms_of_16_bits_add_up(mixed):
    """A sum of ones in bfloat16 ends at 256, and in float16 at 2048."""
    net = nnb.Network([nnb.Dense(1, initializer="zeros")], backend=mixed, input_shape=1)
    _, backward = net.forward(np.ones((5000, 1)))
    _, grads = backward(np.ones((5000, 1)))
    assert host(mixed, grads["0"]["bias"]) == 5000.0


# How far it is from float64


def step_gradients(layers, backend, shape, loss, y, scale=None):
    """Return the loss and the gradients of a training step."""
    with backend.scope():
        params = parameters(layers, shape, backend)
        net = with_precision(layers, backend)
        if scale is not None:
            net = net.scaled(backend.xp.full((), scale, dtype=backend.dtype, device=backend.device))
        x, target = backend.asarray(rows((32, *shape))), backend.asarray(y)
        value, grads = gradients(net, loss, params, Batch(x, target), training(backend))
        return float(value), flatten(host(backend, grads))


# Numbers close to the kink at 0.05 are on the other side of it once they are rounded.
@each(case for case in ACTIVATIONS if case.id != "hardtanh-0.05-4")
def test_gradients_are_those_of_float64_to_the_digits_there_are(case, mixed):
    uncompiled(mixed, case.id in ("relu", "tanh", "gelu"))
    layers = nnb.Sequential([nnb.Dense(16, case.thing), nnb.Dense(12, case.thing), nnb.Dense(2)])
    y = np.random.default_rng(1).normal(size=(32, 2))
    exact = step_gradients(layers, nnb.get_backend("numpy", dtype="float64"), (4,),
                           nnb.losses.mse, y)  # fmt: skip
    value, found = step_gradients(layers, mixed, (4,), nnb.losses.mse, y,
                                  2.0**10 if mixed.scales_loss else None)  # fmt: skip
    bound = 16 * EPS[mixed.precision]
    assert value == pytest.approx(exact[0], rel=bound)
    for name, gradient in found.items():
        error = np.linalg.norm(gradient - exact[1][name]) / np.linalg.norm(exact[1][name])
        assert error < bound, (name, error)
        assert gradient.dtype == np.float32


def test_without_a_scale_small_gradients_vanish_in_float16(half):
    """The reason for loss scaling, seen: gradients of 1e-8 are zero, or right to four digits."""
    layers = nnb.Sequential([nnb.Dense(3), nnb.Dense(1)])
    y = np.ones((32, 1))

    def small(prediction, target):
        return nnb.losses.mse(prediction * 0.0, target)[0], 0.0 * prediction + 1e-9

    reference = nnb.get_backend("numpy", dtype="float64")
    _, exact = step_gradients(layers, reference, (4,), small, y)
    _, plain = step_gradients(layers, half, (4,), small, y)
    _, scaled = step_gradients(layers, half, (4,), small, y, 2.0**16)
    for name, gradient in exact.items():
        assert not np.any(plain[name])
        np.testing.assert_allclose(scaled[name], gradient, rtol=0.02, atol=1e-10)


def trained(backend, optimizer=None, **given):
    net = nnb.Network(HIDDEN, backend=backend, seed=1)
    fit = {"epochs": 10, "batch_size": 20, "loss": "softmax_cross_entropy", "verbose": 0} | given
    return net, net.fit(POINTS, LABELS, optimizer=optimizer or nnb.Adam(1e-2), **fit)


def test_training_comes_to_the_same_loss(mixed):
    exact, expected = trained(nnb.get_backend("numpy", dtype="float64"), metrics=["accuracy"])
    net, history = trained(mixed, metrics=["accuracy"])
    assert history["loss"][-1] == pytest.approx(expected["loss"][-1], abs=0.01)
    assert history["accuracy"][-1] == pytest.approx(expected["accuracy"][-1], abs=0.02)
    apart = np.abs(host(mixed, net.predict(POINTS)) - exact.predict(POINTS)).max()
    assert 0.0 < apart < 40 * EPS[mixed.precision]
    given = {"loss": "softmax_cross_entropy"}
    assert net.evaluate(POINTS, LABELS, **given)["loss"] == pytest.approx(
        exact.evaluate(POINTS, LABELS, **given)["loss"], abs=0.01
    )


@pytest.mark.parametrize(
    "given",
    [
        {"accumulate": 3},
        {"optimizer": nnb.optimizers.EMA(nnb.optimizers.Clipped(nnb.AdamW(1e-2), norm=0.5), 0.9)},
        {"optimizer": nnb.optimizers.Grouped(nnb.AdamW(1e-2), {"0.*": {"learning_rate_factor": 0.5}})},
        {"optimizer": nnb.optimizers.LAMB(1e-2)},
        {"sample_weight": np.linspace(0.0, 2.0, 200), "batch_size": 33},
        {"batch_size": None, "epochs": 60},
    ],
    ids=["accumulate", "ema-clipped", "grouped", "lamb", "weights", "full"],
)  # fmt: skip
def test_all_that_training_can_do_goes_with_it(given, mixed):
    uncompiled(mixed, given.keys() & {"accumulate", "sample_weight"})
    exact, expected = trained(nnb.get_backend("numpy", dtype="float64"), **given)
    net, history = trained(mixed, **given)
    # With float16 the first steps may be left out, until the scale is small enough.
    assert history["loss"][-1] == pytest.approx(expected["loss"][-1], abs=0.03)
    assert all(p.dtype == mixed.dtype for p in leaves(net.params))
    assert (net.raw_params is net.params) == (exact.raw_params is exact.params)


def test_penalties_constraints_and_frozen_layers_go_with_it(mixed):
    layers = [nnb.Dense(8, "tanh"), nnb.Dense(8, "relu", regularizer="l2"),
              nnb.Dense(4, "softmax", constraint=nnb.constraints.MaxNorm(0.7))]  # fmt: skip

    def fitted(backend):
        net = nnb.Network(layers, backend=backend, seed=2, input_shape=6).freeze("0.*")
        history = net.fit(POINTS, LABELS, loss="softmax_cross_entropy", epochs=4, verbose=0)
        return host(backend, net.state_dict()), history["loss"][-1]

    exact, expected = fitted(nnb.get_backend("numpy", dtype="float64"))
    found, value = fitted(mixed)
    assert value == pytest.approx(expected, abs=0.02)
    assert_equal(found["0.weight"], exact["0.weight"].astype(np.float32))
    assert np.linalg.norm(found["2.weight"], axis=0).max() <= 0.7 + 1e-6
    np.testing.assert_allclose(found["1.weight"], exact["1.weight"], atol=0.02)


def test_lbfgs_is_refused(mixed):
    pytest.importorskip("scipy")
    with pytest.raises(
        ValueError, match=r"L-BFGS compares losses.*precision='float32' or 'float64'"
    ):
        trained(mixed, nnb.LBFGS(), batch_size=None)


def test_profiles_measure_products_of_16_bits(mixed):
    if mixed.static_shapes:
        pytest.skip("compiled steps have no profile")
    _, history = trained(mixed, profile=True, epochs=1)
    assert history.profile.floors.keys() == {"0 Dense", "1 Dense"}


# Loss scaling


def trainer_of(backend, optimizer, layers=None, loss=nnb.losses.mse):
    net = nnb.Network(layers or [nnb.Dense(3, "tanh"), nnb.Dense(2)], backend=backend, seed=5)
    net.build(4)
    objective = Objective(net.layers, loss, nnb.activations.Identity(), {})
    return Trainer(objective, optimizer, backend, net.params, 5)


def learn(trainer, factor=1.0, rows_of=8):
    """Do a step on rows whose targets are that far away."""
    backend = trainer.backend
    x, y = rows((rows_of, 4)), factor * np.random.default_rng(2).normal(size=(rows_of, 2))
    with backend.scope():
        samples = Samples(backend.asarray(x), backend.asarray(y))
        return trainer.epoch([(samples, rows_of)])["loss"]


def state(trainer):
    """Return copies of the parameters and of all state but that of the scale, and the scale."""
    backend = trainer.backend
    slots = host(backend, trainer.optimizer_state()["slots"])
    scale = slots.pop("loss_scale")
    found = {"params": host(backend, trainer.params), "slots": slots}
    return found, float(scale["scale"]), int(scale["steps"])


HUGE = 1e7  # such gradients are infinite in float16, the loss is not in float32


@each([*OPTIMIZERS, *WRAPPERS])
def test_an_overflow_leaves_out_one_step_and_halves_the_scale(case, half):
    uncompiled(half, case.id in ("sgd-momentum", "adamw", "nested"))
    layers = [nnb.Dense(3, "tanh"), nnb.Dropout(0.1), nnb.Dense(2)]
    with half.scope():
        trainer = trainer_of(half, case.thing, layers)
        assert np.isfinite(learn(trainer))
        before, scale, steps = state(trainer)
        assert (scale, steps) == (2.0**16, 1)
        assert np.isfinite(learn(trainer, HUGE))
        after, scale, steps = state(trainer)
        assert_equal(after, before)
        assert (scale, steps) == (2.0**15, 0)
        learn(trainer)
        later, scale, steps = state(trainer)
        assert (scale, steps) == (2.0**15, 1)
        moved = [np.any(a != b) for a, b in zip(leaves(later["params"]), leaves(after["params"]),
                                                strict=True)]  # fmt: skip
        assert any(moved)
        assert all(np.isfinite(leaf).all() for leaf in leaves(later))


def test_the_scale_doubles_after_steps_without_an_overflow(half, monkeypatch):
    monkeypatch.setattr(loss_scaling, "INITIAL", 256.0)
    monkeypatch.setattr(loss_scaling, "STEPS_UNTIL_GROWTH", 3)
    nnb.training.step._compiled_steps.forget()
    trainer = trainer_of(half, nnb.SGD(1e-3))
    scales = []
    for factor in [1.0, 1.0, 1.0, 1e9, 1.0, 1.0, 1.0, 1.0]:
        learn(trainer, factor)
        scales.append(state(trainer)[1:])
    high, low = 512.0, 256.0
    expected = [(low, 1), (low, 2), (high, 0), (low, 0), (low, 1), (low, 2), (high, 0), (high, 1)]
    assert scales == expected
    nnb.training.step._compiled_steps.forget()


def test_bfloat16_has_no_scale(backend):
    trainer = trainer_of(made(backend, "bfloat16"), nnb.SGD(1e-3))
    assert trainer.layout.slots(trainer.carry.storage) == {}


def test_gradients_that_are_never_finite_end_the_training(half):
    """Halved forty times, a scale is no scale any more."""
    net = nnb.Network([nnb.Dense(1)], backend=half)
    with pytest.raises(DivergenceError, match=r"precision='bfloat16' or 'float32' \(float16 ends"):
        net.fit(rows((64, 4)), np.full((64, 1), 1e15), epochs=3, batch_size=1, verbose=0)


def test_an_overflow_in_the_forward_pass_says_what_to_do(half):
    net = nnb.Network([nnb.Dense(8), nnb.Dense(1)], backend=half)
    with pytest.raises(DivergenceError, match=r"precision='bfloat16' or 'float32' \(float16 ends"):
        net.fit(1e5 * rows((8, 4)), np.ones(8), epochs=2, verbose=0)


def test_steps_are_those_of_torch_with_its_scaler(monkeypatch):
    """PyTorch's GradScaler, over the same passes in float16 by its own autograd."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(loss_scaling, "STEPS_UNTIL_GROWTH", 5)
    backend = nnb.get_backend("torch", precision="float16")
    trainer = trainer_of(backend, nnb.SGD(0.05, momentum=0.9))
    theirs = {n: p.clone().requires_grad_() for n, p in flatten(trainer.params).items()}
    optimizer = torch.optim.SGD(theirs.values(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=5)
    x, scales = torch.tensor(rows((8, 4)), dtype=torch.float16), []
    for factor in [1.0, 1.0, HUGE, *[1.0] * 7, HUGE, HUGE, *[1.0] * 8]:
        learn(trainer, factor)
        y = factor * np.random.default_rng(2).normal(size=(8, 2))
        halves = {n: p.half() for n, p in theirs.items()}
        z = torch.tanh(x @ halves["0.weight"] + halves["0.bias"])
        z = z @ halves["1.weight"] + halves["1.bias"]
        loss = ((z.float() - torch.tensor(y, dtype=torch.float32)) ** 2).mean()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        assert state(trainer)[1] == scaler.get_scale()
        scales.append(scaler.get_scale())
    assert len(set(scales)) > 2
    for name, ours in flatten(trainer.params).items():
        torch.testing.assert_close(ours, theirs[name].detach(), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("optimizer", [nnb.Adam(1e-2), nnb.optimizers.LAMB(1e-2)],
                         ids=["vector", "in-place"])  # fmt: skip
def test_recorded_steps_are_the_steps(optimizer, monkeypatch):
    """Overflows happen before, in and after the recordings."""
    from tools import Plain

    from nnbackend.backends.numpy import NumPyBackend
    from nnbackend.backends.replay import replayed as replay

    monkeypatch.setattr(replay, "WARMUP_STEPS", 4)
    x, y = rows((60, 4)), np.random.default_rng(3).normal(size=(60, 2))
    y[[7, 20, 41]] = HUGE

    def fitted(backend):
        net = nnb.Network([nnb.Dense(3, "gelu"), nnb.Dropout(0.2), nnb.Dense(2, "softmax")],
                          backend=backend, seed=2)  # fmt: skip
        history = net.fit(x, y, optimizer=optimizer, epochs=3, batch_size=4, verbose=0)
        return host(backend, net.state_dict()), history["loss"]

    plain = fitted(Plain(precision="float16"))
    recorded = fitted(NumPyBackend(precision="float16"))
    assert_equal(recorded[0], plain[0])
    assert recorded[1] == plain[1]


# Files


def test_a_run_goes_on_as_if_nothing_had_happened(half, tmp_path):
    settings = {"epochs": 4, "batch_size": 20, "loss": "mse", "verbose": 0}
    x, y = POINTS.copy(), np.eye(4)[LABELS]
    y[[13, 70]] = HUGE  # two steps of each epoch are left out

    def network():
        return nnb.Network([nnb.Dense(5, "tanh"), nnb.Dropout(0.3), nnb.Dense(4)], backend=half,
                           seed=3)  # fmt: skip

    whole = network()
    expected = whole.fit(x, y, **settings)
    first = network()
    first.fit(x, y, **settings | {"epochs": 2}, callbacks=[Checkpoint(tmp_path)])
    second = network()
    history = second.fit(x, y, **settings, callbacks=[Checkpoint(tmp_path)], resume=tmp_path)
    assert history["loss"] == expected["loss"]
    assert_equal(host(half, second.state_dict()), host(half, whole.state_dict()))
    newest = max(tmp_path.glob("*.safetensors"))
    with safetensors.safe_open(newest, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    kinds = {name: tensor.dtype.name for name, tensor in tensors.items()}
    assert kinds.pop("optimizer/slots/loss_scale/steps") == "int32"
    assert set(kinds.values()) == {"float32"}
    assert tensors["optimizer/slots/loss_scale/scale"] == 2.0 ** (16 - 8)
    other = network().to(precision="float32")
    with pytest.raises(ResumeError, match='precision is "float16" in the checkpoint and "float32"'):
        other.fit(x, y, **settings, resume=tmp_path)


def test_a_file_keeps_float32_and_the_precision(mixed, tmp_path):
    net, _ = trained(mixed, epochs=1)
    path = net.save(tmp_path / "net.safetensors")
    with safetensors.safe_open(path, framework="np") as file:
        assert json.loads(file.metadata()["nnbackend"])["precision"] == mixed.precision
        assert {file.get_tensor(name).dtype.name for name in file.keys()} == {"float32"}  # noqa: SIM118
    again = nnb.load(path, backend=mixed.name)
    assert again.backend.precision == mixed.precision
    assert_equal(host(mixed, again.predict(POINTS)), host(mixed, net.predict(POINTS)))
    assert nnb.load(path, backend=mixed.name, precision="float32").backend.precision == "float32"
    assert nnb.load(path, backend=mixed.name, dtype="float32").backend.precision == "float32"
    elsewhere = nnb.load(path, backend="array-api-strict") if mixed.name != "cupy" else net
    assert elsewhere is net or elsewhere.backend.precision == "float32"


# The switches of libraries


def inside(scope, look):
    """Return what is seen in a context, and when it is entered again in itself; an error ends it."""
    seen = set()

    def fail():
        with scope():
            seen.add(look())
            with scope():
                seen.add(look())
            seen.add(look())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    return seen


class Core:
    """What ``cupy._core`` has."""

    def __init__(self, value: int) -> None:
        self.value = value

    def get_compute_type(self, dtype: Any) -> int:
        assert dtype == "f"
        return self.value

    def set_compute_type(self, dtype: Any, value: int) -> None:
        assert dtype == "f"
        self.value = value


@pytest.mark.parametrize(
    ("before", "tf32", "within"),
    [(1, False, 1), (1, True, 7), (7, False, 1), (7, True, 7), (2, False, 2), (3, False, 1),
     (6, False, 1), (4, True, 7)],
)  # fmt: skip
def test_cupys_products_are_what_was_asked_for_and_only_inside(before, tf32, within):
    core = Core(before)
    assert inside(lambda: cupy_products(core, tf32), lambda: core.value) == {within}
    assert core.value == before


def cupy_on(capability, compiler=(12, 9)):
    """Return CuPy's backend as it would be on a card, as far as it says what it lacks."""
    backend = object.__new__(CuPyBackend)
    properties = lambda number: {"name": b"A card"}  # noqa: E731
    runtime = SimpleNamespace(getDeviceProperties=properties)
    backend._cupy = SimpleNamespace(
        dtype=np.dtype,
        cuda=SimpleNamespace(runtime=runtime, nvrtc=SimpleNamespace(getVersion=lambda: compiler)),
    )
    backend.xp = np
    backend.device = SimpleNamespace(id=0, compute_capability=capability)
    return backend


@pytest.mark.parametrize("name", ["tf32", "bfloat16"])
def test_older_cards_are_told_what_they_lack(name, monkeypatch):
    types = SimpleNamespace(bfloat16=np.float32)  # any type does, here
    monkeypatch.setattr("nnbackend.backends.cupy.import_library", lambda cls, module: types)
    reason = cupy_on("75").unsupported_reason(PRECISIONS[name])
    assert reason.startswith(f"{name} needs a GPU of compute capability 8.0 (Ampere) or higher")
    assert reason.endswith("A card (cuda:0) has 7.5")
    assert cupy_on("90").unsupported_reason(PRECISIONS[name]) == ""
    assert cupy_on("75").unsupported_reason(PRECISIONS["float16"]) == ""
    reason = cupy_on("90", (12, 1)).unsupported_reason(PRECISIONS[name])
    assert reason == ("" if name == "tf32" else
                      "CuPy compiles bfloat16 with CUDA 12.2 or newer; here it is 12.1")  # fmt: skip


def test_cupy_without_ml_dtypes_has_no_bfloat16(monkeypatch):
    def absent(cls, module):
        raise BackendUnavailableError(module)

    monkeypatch.setattr("nnbackend.backends.cupy.import_library", absent)
    assert "pip install ml_dtypes" in cupy_on("90").unsupported_reason(PRECISIONS["bfloat16"])


def switches(torch):
    """Return PyTorch's switches; None where they disagree."""
    try:
        for_all = torch.get_float32_matmul_precision()
    except RuntimeError:
        for_all = None
    matmul = torch.backends.cuda.matmul
    return for_all, getattr(matmul, "fp32_precision", None)


def set_one(torch):
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("this PyTorch has one switch for all")
    torch.backends.cuda.matmul.fp32_precision = "tf32"


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize(
    "choose",
    [
        lambda torch: None,
        lambda torch: torch.set_float32_matmul_precision("high"),
        lambda torch: torch.set_float32_matmul_precision("medium"),
        set_one,
    ],
    ids=["untouched", "high", "medium", "one-of-them"],
)
def test_torchs_products_are_what_was_asked_for_and_only_inside(choose, tf32):
    torch = pytest.importorskip("torch")
    wanted = "high" if tf32 else "highest"
    try:
        choose(torch)
        before = switches(torch)
        seen = inside(lambda: torch_products(torch, tf32), torch.get_float32_matmul_precision)
        assert seen == {wanted}
        assert switches(torch) == before
    finally:
        torch.set_float32_matmul_precision("highest")


def test_float32_is_float32_on_torch_whatever_the_switch_says():
    torch = pytest.importorskip("torch")
    seen = []

    def look(prediction, target):
        seen.append(torch.get_float32_matmul_precision())
        return nnb.losses.mse(prediction, target)

    try:
        torch.set_float32_matmul_precision("medium")
        net = nnb.Network([nnb.Dense(1)], backend="torch")
        net.fit(rows((4, 2)), np.ones(4), loss=look, verbose=0)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]


@pytest.mark.parametrize(("name", "within"), [("float32", "(HIGHEST, "), ("tf32", "(HIGH, ")])
def test_jaxs_programs_carry_their_precision(name, within, monkeypatch):
    jax = pytest.importorskip("jax")
    from nnbackend.backends.jax import JAXBackend

    monkeypatch.setattr(JAXBackend, "unsupported_reason", lambda self, precision: "")
    backend = nnb.get_backend("jax", precision=name)
    seen = []

    def look(prediction, target):
        seen.append(jax.config.jax_default_matmul_precision)
        return nnb.losses.mse(prediction, target)

    def product(x):
        with backend.scope():
            return x @ x

    program = str(jax.make_jaxpr(product)(np.ones((2, 2), np.float32)))
    assert within in program.upper().replace("PRECISION.", "")
    net = nnb.Network([nnb.Dense(1)], backend=backend)
    net.fit(rows((4, 2)), np.ones(4), loss=look, verbose=0)
    assert set(seen) == {"tensorfloat32" if name == "tf32" else "highest"}
    assert jax.config.jax_default_matmul_precision is None


# Inside


def test_the_pieces_say_what_they_are(half):
    layers = nnb.Sequential(HIDDEN)
    assert with_precision(layers, half.replace(precision="float32")) is layers
    net = with_precision(layers, half)
    assert isinstance(net, MixedPrecision)
    assert isinstance(net.output, nnb.activations.Softmax)
    assert net.layers.layers[1].activation == nnb.activations.Identity()
    params = nnb.Network(HIDDEN, backend=half, input_shape=3).params
    layout = layout_for(half, nnb.Adam().prepared(params))
    assert (layout.scale(layout.init(params)) is None) == (not half.scales_loss)
    assert layout.in_place == half.slices_are_views


def test_the_error_function_of_16_bits_is_that_of_float32(mixed):
    xp, x = mixed.xp, mixed.asarray(np.linspace(-4.0, 4.0, 33))
    with mixed.scope():
        narrow = mixed.erf(xp.astype(x, mixed.product_dtype))
        assert_half(narrow, mixed)
        found, exact = host(mixed, xp.astype(narrow, mixed.dtype)), host(mixed, mixed.erf(x))
    np.testing.assert_allclose(found, exact, atol=EPS[mixed.precision])


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_a_dtype_of_16_bits_is_known(name):
    assert functional.is_half(np.dtype(name)) == (name == "float16")
