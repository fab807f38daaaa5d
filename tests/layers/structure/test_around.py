"""Layers around layers, merged and divided arrays: against torch, in training, in files, refused."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from cases import BatchScale, cube, rows
from tools import assert_equal, host, training

import nnbackend as nnb
from nnbackend.core.random import Generator
from nnbackend.core.registry import describe, rebuild
from nnbackend.core.tree import flatten, map_arrays
from nnbackend.layers import Dense, Dropout
from nnbackend.layers.output import output_activation

INSIDE = [Dense(5, "tanh"), BatchScale(0.3), Dropout(0.4), Dense(4)]


def trained(layers, backend, **settings):
    net = nnb.Network([*layers, Dense(2)], backend=backend, seed=3, input_shape=4)
    settings = {"epochs": 4, "batch_size": 6, "verbose": 0, **settings}
    history = net.fit(rows((20, 4)), rows((20, 2), seed=1), **settings)
    return net, history["loss"], {n: host(backend, a) for n, a in flatten(net._variables()).items()}


def test_bilinear_is_torchs(backend64):
    torch = pytest.importorskip("torch")
    a, b, dy = rows((5, 3)), rows((5, 4), seed=1), rows((5, 2), seed=2)
    twin = torch.nn.Bilinear(3, 4, 2).double()
    leaves = [torch.tensor(x, requires_grad=True) for x in (a, b)]
    expected = twin(*leaves)
    expected.backward(torch.tensor(dy))
    net = nnb.Network(nnb.Bilinear(2), backend=backend64, input_shape=((3,), (4,)))
    weight = twin.weight.detach().numpy().transpose(1, 2, 0)
    net.load_state_dict({"0.weight": weight, "0.bias": twin.bias.detach().numpy()})
    y, backward = net.forward((a, b))
    dx, grads = backward(backend64.asarray(dy))
    pairs = [
        (y, expected.detach().numpy()),
        (dx[0], leaves[0].grad.numpy()),
        (dx[1], leaves[1].grad.numpy()),
        (grads["0"]["weight"], twin.weight.grad.numpy().transpose(1, 2, 0)),
        (grads["0"]["bias"], twin.bias.grad.numpy()),
    ]
    for found, wanted in pairs:
        np.testing.assert_allclose(host(backend64, found), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shape", "like"),
    [
        (nnb.Split(2), (4, 3), None),
        (nnb.Split(3), (2, 6), lambda x: np.split(x, 3, axis=-1)),
        (nnb.Split((1, 3), axis=0), (4, 2), lambda x: [x[:, :1], x[:, 1:]]),
        (nnb.Split([2], axis=-2), (2, 3), lambda x: [x]),
        (nnb.Reshape((3, -1)), (4, 3), lambda x: [x.reshape(3, 3, 4)]),
        (nnb.Reshape(-1), (4, 3), lambda x: [x.reshape(3, 12)]),
        (nnb.Reshape(()), (1,), lambda x: [x.reshape(3)]),
        (nnb.Permute((1, 2, 0)), (2, 3, 4), lambda x: [x.transpose(0, 2, 3, 1)]),
    ],
)
def test_numbers_go_where_numpy_puts_them_and_gradients_come_back(layer, shape, like, backend64):
    x = rows((3, *shape))
    if like is None:
        with pytest.raises(ValueError, match=r"an axis of 3 into 2 equal parts"):
            layer.init(shape, Generator.of(0))
        return
    with backend64.scope():
        y, backward = layer.forward({}, backend64.asarray(x), training(backend64))
        dx, _ = backward(y)
    parts = y if isinstance(y, tuple) else (y,)
    _, shapes = layer.init(shape, Generator.of(0))
    assert shapes == map_arrays(lambda a: tuple(a.shape[1:]), y)
    for found, wanted in zip(parts, like(x), strict=True):
        assert_equal(host(backend64, found), wanted)
    assert_equal(host(backend64, dx), x)  # moved there and back


def test_a_product_with_zeros_has_its_gradient(backend64):
    x = np.array([[0.0, 2.0, 0.0]]), np.array([[3.0, 0.0, 0.0]]), np.array([[5.0, 7.0, 1.0]])
    on = map_arrays(backend64.asarray, x)
    _, backward = nnb.Multiply().forward({}, on, training(backend64))
    dx, _ = backward(backend64.asarray(np.ones((1, 3))))
    found = [host(backend64, a).tolist() for a in dx]
    assert found == [[[15.0, 0.0, 0.0]], [[0.0, 14.0, 0.0]], [[0.0, 0.0, 0.0]]]


def test_checkpoint_changes_no_bit_of_training(backend):
    _, plain, expected = trained([nnb.Sequential(INSIDE)], backend)
    for accumulate in (1, 2):
        if accumulate == 2:
            _, plain, expected = trained([nnb.Sequential(INSIDE)], backend, accumulate=2)
        _, losses, found = trained([nnb.Checkpoint(INSIDE)], backend, accumulate=accumulate)
        if backend.static_shapes:  # a compiler may round in another way
            np.testing.assert_allclose(losses, plain, rtol=1e-5)
            continue
        assert losses == plain
        assert_equal(found, expected)


def test_the_second_pass_sees_the_state_that_the_first_one_saw(backend64):
    """Also where the layer ran before in the same pass, and its state has changed since."""
    graph = nnb.Graph("x", {"a": (nnb.Checkpoint(INSIDE), "x"), "b": ("a", "a")}, "b")
    plain = nnb.Graph("x", {"a": (nnb.Sequential(INSIDE), "x"), "b": ("a", "a")}, "b")
    _, losses, found = trained([graph], backend64)
    _, expected_losses, expected = trained([plain], backend64)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12)


def test_checkpoint_holds_less_memory():
    layers = [Dense(64, "tanh")] * 8
    peaks = {}
    for wrap in (nnb.Sequential, nnb.Checkpoint):
        net = nnb.Network([wrap(layers[:4]), wrap(layers[4:])], input_shape=64)
        x = rows((2000, 64)).astype(np.float32)
        tracemalloc.start()
        _, backward = net.forward(x, training=True)
        peaks[wrap], _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(flatten(backward(x)[1])) == 16
    assert peaks[nnb.Checkpoint] < 0.35 * peaks[nnb.Sequential]


def test_layers_that_do_more_than_compute_run_once():
    seen = []

    @nnb.register_layer(pure=False)
    @dataclass(frozen=True)
    class Counted:
        def init(self, input_shape, rng):
            return {}, input_shape

        def forward(self, params, x, ctx):
            seen.append(x.shape[0])
            return x, lambda dy, input_grad=True: (dy, {})

    net = nnb.Network([nnb.Checkpoint([Dense(3), Counted()])], input_shape=2)
    _, backward = net.forward(rows((5, 2)))
    backward(np.ones((5, 3), np.float32))
    assert seen == [5]
    passages = nnb.observe(net, rows((2, 2)), rows((2, 3)), "mse")
    assert [p.path for p in passages] == ["0.0", "0.1", "0"]
    assert all(p.grads is not None for p in passages)


def test_a_frozen_layer_stays_as_it_is(backend, tmp_path):
    inside = nnb.Sequential([Dense(4, "tanh"), BatchScale(0.5), Dropout(0.5)])
    before = nnb.Network([nnb.Freeze(inside), Dense(2)], backend=backend, seed=3, input_shape=4)
    start = {n: host(backend, a) for n, a in flatten(before._variables()).items()}
    decay = nnb.AdamW(0.05, weight_decay=0.1)
    net, losses, found = trained([nnb.Freeze(inside)], backend, optimizer=decay, epochs=30)
    assert losses[-1] < losses[0]
    assert net.frozen == ("0.layer.0.weight", "0.layer.0.bias", "0.layer.1.weight")
    for name, value in start.items():
        assert np.array_equal(found[name], value) == ("layer" in name)
    # Nothing of it depends on the training step: it runs as in prediction.
    one, two = (host(backend, net.forward(rows((3, 4)), training=True)[0]) for _ in range(2))
    assert_equal(one, two)
    again = nnb.load(net.save(tmp_path / "frozen.safetensors"), backend=backend)
    assert again.frozen == net.frozen
    assert net.unfreeze().frozen == net.frozen
    alone = nnb.Network([nnb.Freeze(Dense(2))], backend=backend, input_shape=4)
    with pytest.raises(ValueError, match="all parameters are frozen"):
        alone.fit(rows((4, 4)), rows((4, 2)), verbose=0)


def test_repeated_layers_have_own_or_shared_weights(backend64):
    own = nnb.Network([nnb.Repeat(Dense(4), 3)], backend=backend64, input_shape=2)
    assert list(own.params["0"]) == ["0", "1", "2"]
    assert own.params["0"]["0"]["weight"].shape == (2, 4)
    block = nnb.Sequential([Dense(4), BatchScale(0.5), Dropout(0.5)])
    one = nnb.Repeat(block, 2, shared=True)
    net = nnb.Network([one], backend=backend64, input_shape=4)
    assert list(flatten(net.params)) == [
        "0.layer.0.weight", "0.layer.0.bias", "0.layer.1.weight"
    ]  # fmt: skip
    graph = nnb.Graph("x", {"layer": (block, "x"), "b": ("layer", "layer")}, "b")
    twin = nnb.Network([graph], backend=backend64, input_shape=4)
    twin.load_state_dict(net.state_dict())
    for a, b in zip(
        net.forward(rows((5, 4)), training=True),
        twin.forward(rows((5, 4)), training=True),
        strict=True,
    ):
        if not callable(a):
            assert_equal(host(backend64, a), host(backend64, b))
        else:
            dy = backend64.asarray(rows((5, 4), seed=2))
            for x, y in zip(flatten(a(dy)[1]).values(), flatten(b(dy)[1]).values(), strict=True):
                np.testing.assert_allclose(host(backend64, x), host(backend64, y), rtol=1e-12)
    with pytest.raises(ValueError, match="keeps the shape"):
        nnb.Network([one], input_shape=3)
    seen = nnb.observe(own, rows((2, 2)))
    assert [p.path for p in seen] == ["0.0", "0.1", "0.2", "0"]


def test_a_lambda_is_saved_if_its_function_is_registered(tmp_path, backend64):
    net = nnb.Network([Dense(3), nnb.Lambda(cube)], backend=backend64, input_shape=4)
    again = nnb.load(net.save(tmp_path / "cube.safetensors"), backend=backend64)
    outputs = [host(backend64, each.predict(rows((2, 4)))) for each in (net, again)]
    assert_equal(*outputs)
    assert rebuild(describe(nnb.Lambda(cube))).function is cube
    plain = nnb.Network([Dense(3), nnb.Lambda(lambda x, xp: (x, lambda dy: dy))], input_shape=4)
    words = r"Sequential.layers\[1\]: Lambda.function: the function <lambda> cannot be written"
    with pytest.raises(TypeError, match=words):
        plain.save(tmp_path / "plain.safetensors")
    assert not (tmp_path / "plain.safetensors").exists()
    data = describe(nnb.Lambda(cube))
    data["fields"]["function"]["function"] = "cub"
    with pytest.raises(nnb.errors.ModelFileError, match="unknown function 'cub'"):
        rebuild(data)
    with pytest.raises(ValueError, match="called 'cube' already"):
        nnb.register_function("cube")(lambda x, xp: x)
    with pytest.raises(TypeError, match="registered by its definition"):
        nnb.register_function("other")(3)


def test_a_lambda_may_change_the_shape(backend64):
    layer = nnb.Lambda(
        lambda x, xp: (xp.sum(x, axis=1), lambda dy: dy[:, None] + 0.0 * x),
        output_shape=lambda shape: shape[1:],
    )
    net = nnb.Network([layer, nnb.Lambda(lambda x, xp: (x, lambda dy: dy), output_shape=3)][:1],
                      backend=backend64, input_shape=(4, 3))  # fmt: skip
    assert net.output_shape == (3,)
    wrong = nnb.Network([nnb.Lambda(lambda x, xp: (xp.sum(x, axis=1), None))], input_shape=4)
    with pytest.raises(TypeError, match=r"must return \(y, backward\)"):
        wrong.predict(rows((2, 4)))
    other = nnb.Lambda(lambda x, xp: xp.sum(x, axis=1), lambda x, xp: x)
    with pytest.raises(ValueError, match=r"rows of shape \(\), and output_shape says \(4,\)"):
        nnb.Network([other], input_shape=4).predict(rows((2, 4)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nnb.Split(0), "parts must be a whole number"),
        (lambda: nnb.Split(()), "parts must be a number of parts"),
        (lambda: nnb.Split([2, 0]), r"parts\[1\] must be a whole number"),
        (lambda: nnb.Split(1.5), "parts must be a whole number"),
        (lambda: nnb.Split("x"), "parts must be a number of parts"),
        (lambda: nnb.Reshape((-1, -1)), "shape may have one -1"),
        (lambda: nnb.Reshape("x"), "shape must be a sequence"),
        (lambda: nnb.Reshape((2, 0)), "shape must be a whole number"),
        (lambda: nnb.Permute((1, 2)), "axes must be 0 to n - 1"),
        (lambda: nnb.Parallel([]), "branches must have one layer"),
        (lambda: nnb.Parallel([3]), r"branches\[0\].*got 3"),
        (lambda: nnb.Parallel([Dense(1)], "sum"), "mode must be 'concat', 'add'"),
        (lambda: nnb.Lambda(3), r"function must be called with \(x, xp\), got 3"),
        (lambda: nnb.Lambda(lambda x: x), r"function is called as <lambda>\(x, xp\)"),
        (lambda: nnb.Network([nnb.Reshape((5, -1))], input_shape=4), "a multiple of 5 numbers"),
        (lambda: nnb.Network([nnb.Permute((0,))], input_shape=(2, 3)), "rows of 1 axes"),
        (lambda: nnb.Network([nnb.Add()], input_shape=4), "begins with|several inputs"),
        (lambda: nnb.Network([nnb.Add()], input_shape=((4,), (3,))), "inputs of the same shape"),
        (lambda: nnb.Network([nnb.Bilinear(2)], input_shape=((4,), (3,), (2,))), "two inputs"),
        (lambda: nnb.Network([nnb.Highway([Dense(3)])], input_shape=4), "keep the shape"),
        (lambda: nnb.Network([nnb.Concatenate(axis=2)], input_shape=((4,), (3,))), "axis=2 is no axis"),
        (lambda: nnb.Network([nnb.Parallel([Dense(3), Dense(2)], "add")], input_shape=4), "same shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()


@pytest.mark.parametrize(
    "layer",
    [
        nnb.Parallel([Dense(2, "softmax"), Dense(2, "softmax")], "average"),
        nnb.Repeat(Dense(4, "softmax"), 2),
        nnb.Checkpoint([Dense(2, "softmax")]),
        nnb.Freeze(Dense(2, "softmax")),
        nnb.Sequential([Dense(4, "softmax"), nnb.Reshape((2, 2))]),
        nnb.Sequential([Dense(4, "softmax"), nnb.Permute((0,))]),
    ],
)
def test_a_softmax_inside_is_not_taken_for_logits(layer):
    activation, where = output_activation(layer)
    assert nnb.activations.name_of(activation) == "softmax"
    assert where is not None


def test_parallel_branches_of_several_inputs(backend64):
    """Each branch gets all inputs, numbers and indices, and each input the sum of the gradients."""
    branches = [
        nnb.Graph(
            ("numbers", "codes"),
            {
                "looked_up": (nnb.Sequential([nnb.Embedding(n, 2), nnb.Flatten()]), "codes"),
                "all": (nnb.Concatenate(), "numbers", "looked_up"),
                "out": (Dense(3, "tanh"), "all"),
            },
            "out",
        )
        for n in (6, 5)
    ]
    shape = {"numbers": (2,), "codes": (1,)}
    net = nnb.Network([nnb.Parallel(branches, "average")], backend=backend64, input_shape=shape)
    x = {"numbers": rows((7, 2)), "codes": np.arange(7).reshape(7, 1) % 5}
    nnb.testing.check_gradients(net, x)
    each = [
        nnb.Network([b], backend=backend64).restore(shape, {"0": net.params["0"][str(i)]}, {}, {})
        for i, b in enumerate(branches)
    ]
    expected = np.mean([host(backend64, one.predict(x)) for one in each], axis=0)
    np.testing.assert_allclose(host(backend64, net.predict(x)), expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="5"):  # the smaller of the tables
        net.predict({"numbers": rows((1, 2)), "codes": [[5]]})
