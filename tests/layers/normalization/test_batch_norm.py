"""Batch normalization: its statistics, its state, and batches that it cannot take."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host, training
from training.test_communicator import Hub, InThreads

import nnbackend as nnb
from nnbackend import Context
from nnbackend.core.tree import tree_map


def passed(layer, x, dy, backend, weight=None, state=None):
    """Return output, gradients and new state of a training pass, on the host."""
    params, _ = layer.init(x.shape[1:], nnb.core.random.Generator.of(0))
    if params:
        size = params["weight"].size
        params = {"weight": np.linspace(0.5, 1.5, size), "bias": np.linspace(-1.0, 1.0, size)}
    params = tree_map(backend.asarray, params)
    state = tree_map(backend.asarray, layer.init_state(x.shape[1:]) if state is None else state)
    ctx = training(backend)
    ctx.start_pass(0, state, None if weight is None else backend.asarray(weight))
    with backend.scope():
        y, backward = layer.forward(params, backend.asarray(x), ctx)
        dx, grads = backward(backend.asarray(dy))
        return host(backend, {"y": y, "dx": dx, "grads": grads, "state": ctx.new_state()})


@pytest.mark.parametrize("shape", [(5, 3), (1, 4, 3), (6, 5, 3), (4, 3, 8, 2), (3, 2, 4, 8, 3)])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.0}, {"momentum": 1.0, "epsilon": 0.1},
                                     {"affine": False}])  # fmt: skip
def test_it_is_torchs(shape, options):
    torch = pytest.importorskip("torch")
    backend = nnb.get_backend("numpy", dtype="float64")
    x, dy = rows(shape, 1), rows(shape, 2)
    found = passed(nnb.BatchNorm(**options), x, dy, backend)
    names = {"epsilon": "eps"}
    kind = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d,
            5: torch.nn.BatchNorm3d}[len(shape)]  # fmt: skip
    layer = kind(shape[-1], dtype=torch.float64, **{names.get(k, k): v for k, v in options.items()})
    if layer.affine:
        layer.weight.data = torch.linspace(0.5, 1.5, shape[-1], dtype=torch.float64)
        layer.bias.data = torch.linspace(-1.0, 1.0, shape[-1], dtype=torch.float64)
    first = torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)
    y = layer(first)
    y.backward(torch.tensor(np.moveaxis(dy, -1, 1)))
    assert_close(found["y"], np.moveaxis(y.detach().numpy(), 1, -1), 1e-10)
    assert_close(found["dx"], np.moveaxis(first.grad.numpy(), 1, -1), 1e-10)
    for name in ("running_mean", "running_var"):
        assert_close(found["state"][name], getattr(layer, name).numpy(), 1e-10)
    if layer.affine:
        assert_close(found["grads"]["weight"], layer.weight.grad.numpy(), 1e-10)
        assert_close(found["grads"]["bias"], layer.bias.grad.numpy(), 1e-10)


@pytest.mark.parametrize(
    ("axis", "shape"), [(1, (5, 3, 4)), ((1, 3), (5, 3, 4, 2)), (-2, (6, 2, 3))]
)
def test_channels_may_be_anywhere(axis, shape, backend):
    layer, x, dy = nnb.BatchNorm(axis), rows(shape, 1), rows(shape, 2)
    found = passed(layer, x, dy, backend)
    axes = tuple(a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,)))
    last = tuple(range(-len(axes), 0))
    moved = [np.moveaxis(a, axes, last).reshape(-1, np.prod([shape[b] for b in axes]))
             for a in (x, dy)]  # fmt: skip
    plain = passed(nnb.BatchNorm(), *moved, backend)
    for name in ("y", "dx"):
        assert_close(
            np.moveaxis(found[name], axes, last).reshape(plain[name].shape), plain[name], 1e-5
        )
    for own, other in ((found["grads"], plain["grads"]), (found["state"], plain["state"])):
        assert_close({n: a.reshape(-1) for n, a in own.items()}, other, 1e-5)


def test_rows_of_weight_0_do_not_count(backend):
    x, dy = rows((7, 4, 3), 1), rows((7, 4, 3), 2)
    weight = np.asarray([1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    dy[5:] = 0.0
    found = passed(nnb.BatchNorm(), x, dy, backend, weight)
    alone = passed(nnb.BatchNorm(), x[:5], dy[:5], backend)
    for name in ("y", "dx"):
        assert_close(found[name][:5], alone[name], 1e-5)
    assert_close(found["grads"], alone["grads"], 1e-5)
    assert_close(found["state"], alone["state"], 1e-5)


def test_a_row_of_weight_2_counts_as_two(backend):
    x, dy = rows((4, 3), 1), rows((4, 3), 2)
    found = passed(nnb.BatchNorm(), x, dy, backend, np.asarray([1.0, 2.0, 1.0, 1.0]))
    twice = [np.concatenate([a, a[1:2]]) for a in (x, dy)]
    twice[1][[1, 4]] /= 2.0
    other = passed(nnb.BatchNorm(), *twice, backend)
    assert_close(found["y"], other["y"][:4], 1e-5)
    assert_close(found["grads"], other["grads"], 1e-5)
    assert_close(found["state"]["running_mean"], other["state"]["running_mean"], 1e-5)


def test_a_batch_without_weight_is_finite(backend):
    found = passed(nnb.BatchNorm(), rows((3, 2)), np.zeros((3, 2)), backend, np.zeros(3))
    assert all(np.all(np.isfinite(found[name])) for name in ("y", "dx"))


def test_numbers_far_from_zero_keep_their_variance(backend):
    x = 1000.0 + np.random.default_rng(0).normal(size=(4096, 8, 2))
    y = passed(nnb.BatchNorm(), x, np.zeros_like(x), backend)["y"] - np.linspace(-1.0, 1.0, 2)
    np.testing.assert_allclose(np.std(y, axis=(0, 1)), [0.5, 1.5], rtol=1e-3)


def test_outside_training_the_running_numbers_count(backend):
    layer, x = nnb.BatchNorm(epsilon=0.5), rows((3, 4, 2))
    params = tree_map(backend.asarray, {"weight": [2.0, 3.0], "bias": [0.0, 1.0]})
    state = tree_map(backend.asarray, {"running_mean": [1.0, -1.0], "running_var": [3.5, 0.5]})
    ctx = Context(backend, state=state)
    with backend.scope():
        y, backward = layer.forward(params, backend.asarray(x), ctx)
        dx, _ = backward(backend.asarray(np.ones_like(x)))
    scale = np.asarray([1.0, 3.0])
    expected = (x - [1.0, -1.0]) * scale + [0.0, 1.0]
    assert_close(host(backend, y), expected.astype(np.float32), 1e-6)
    assert_close(host(backend, dx), np.broadcast_to(scale, x.shape).astype(np.float32), 1e-6)
    assert ctx.new_state() is state


def network(backend, **options):
    layers = [nnb.Dense(4), nnb.BatchNorm(), nnb.Dense(1)]
    return nnb.Network(layers, backend=backend, seed=1, input_shape=3, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 1},
        {"batch_size": 4},
        {"batch_size": 8, "accumulate": 8},
        {"batch_size": 3, "accumulate": 2},
        {"batch_size": None, "accumulate": 3},
    ],
)
def test_a_step_of_one_row_is_refused_at_the_start(options, backend):
    net = network(backend)
    before = host(backend, net.params), host(backend, net.state)
    x, calls = rows((7 if options.get("accumulate") == 3 else 9, 3)), []
    watch = nnb.callbacks.Lambda(batch_end=calls.append)
    with pytest.raises(ValueError, match=r"layer 1 \(BatchNorm\) cannot be trained on .* one row"):
        net.fit(x, x[:, :1], verbose=0, callbacks=[watch], **options)
    assert not calls
    assert_close(host(backend, net.params), before[0], 0.0)
    assert_close(host(backend, net.state), before[1], 0.0)


def test_a_stream_with_a_batch_of_one_row_is_refused(backend):
    net, x = network(backend), rows((5, 3))
    batches = [(x[:4], x[:4, :1]), (x[4:], x[4:, :1])]
    with pytest.raises(ValueError, match="BatchNorm"):
        net.fit(batches, verbose=0)
    with pytest.raises(ValueError, match="BatchNorm"):
        net.partial_fit(x[:1], x[:1, :1])


def test_a_single_row_with_several_places_is_a_batch(backend):
    layers = [nnb.BatchNorm(), nnb.Flatten(), nnb.Dense(1)]
    net = nnb.Network(layers, backend=backend, input_shape=(3, 2))
    x = rows((3, 3, 2))
    net.fit(x, x[:, 0, :1], batch_size=1, epochs=2, verbose=0)
    assert np.all(np.isfinite(host(backend, net.predict(x))))


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_two_processes_normalize_together(weighted, backend64):
    if backend64.name == "jax":
        pytest.skip("a compiled step cannot wait for another thread")
    x, dy = rows((7, 2, 3), 1), rows((7, 2, 3), 2)
    weight = np.linspace(0.5, 2.0, 7) if weighted else None
    layer, hub = nnb.BatchNorm(synchronized=True), Hub(2)
    whole = passed(layer, x, dy, backend64, weight)
    parts = [slice(0, 3), slice(3, 7)]
    masses = [float(np.sum(weight[p])) if weighted else p.stop - p.start for p in parts]
    found = [None, None]

    def run(rank):
        part, own = parts[rank], masses[rank]
        params = tree_map(backend64.asarray, {"weight": np.linspace(0.5, 1.5, 3),
                                              "bias": np.linspace(-1.0, 1.0, 3)})  # fmt: skip
        ctx = training(backend64)
        state = tree_map(backend64.asarray, layer.init_state((2, 3)))
        ctx.start_pass(0, state, None if weight is None else backend64.asarray(weight[part]))
        ctx.share_batch(InThreads(hub, rank), own)
        with backend64.scope():
            y, backward = layer.forward(params, backend64.asarray(x[part]), ctx)
            # The loss of a process is the mean over its rows.
            dx, grads = backward(backend64.asarray(dy[part] * sum(masses) / own))
            found[rank] = host(
                backend64, {"y": y, "dx": dx, "grads": grads, "state": ctx.new_state()}
            )

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    shares = [own / sum(masses) for own in masses]
    for part, one, share in zip(parts, found, shares, strict=True):
        assert_close(one["y"], whole["y"][part], 1e-12)
        assert_close(share * one["dx"], whole["dx"][part], 1e-12)
        assert_close(one["state"], whole["state"], 1e-12)
    grads = {n: sum(s * one["grads"][n] for s, one in zip(shares, found, strict=True))
             for n in ("weight", "bias")}  # fmt: skip
    assert_close(grads, whole["grads"], 1e-12)


def test_it_trains_resumes_and_moves_between_backends(backend64, tmp_path):
    layers = [nnb.Dense(6, "relu"), nnb.BatchNorm(), nnb.Dropout(0.3), nnb.Dense(1)]
    x = rows((30, 3))
    nets = []
    for backend in (backend64, nnb.get_backend("numpy", dtype="float64")):
        net = nnb.Network(layers, backend=backend, seed=2)
        net.fit(x, x[:, :1], epochs=25, batch_size=8, verbose=0)
        nets.append({"params": host(backend, net.params), "state": host(backend, net.state)})
    assert_close(nets[0], nets[1], 1e-10)
    path = net.save(tmp_path / "net.safetensors")
    moved = nnb.load(path, backend=backend64)
    assert_close(host(backend64, moved.predict(x)), np.asarray(net.predict(x)), 1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"axis": 0}, "axis must not be 0"), ({"axis": 1.5}, "axis"), ({"axis": ()}, "axis"),
     ({"axis": (0, 1)}, "axis"), ({"momentum": 1.5}, "momentum"), ({"momentum": -0.1}, "momentum"),
     ({"epsilon": 0.0}, "epsilon"), ({"affine": 1}, "affine"), ({"synchronized": None}, "synchronized")],
)  # fmt: skip
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        nnb.BatchNorm(**arguments)


@pytest.mark.parametrize("axis", [3, -3, (1, -2), (1, 1)])
def test_an_axis_that_the_input_lacks_is_refused(axis):
    words = r"layer 0 \(BatchNorm\): axis must name axes .*\(batch, 4, 2\)"
    with pytest.raises(ValueError, match=words):
        nnb.Network([nnb.BatchNorm(axis)], input_shape=(4, 2))
