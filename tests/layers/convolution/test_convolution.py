"""Convolution layers: PyTorch's outputs and gradients, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host, parameters, training

import nnbackend as nnb
from nnbackend.core.random import Generator

CONVOLUTIONS = {  # of rows of that shape: the arguments of Conv1D, Conv2D or Conv3D, by the axes
    "plain": ((5, 6, 3), {"kernel_size": 3}),
    "one-row-kernel": ((5, 6, 3), {"kernel_size": 1}),
    "as-large-as-the-input": ((4, 5, 2), {"kernel_size": (4, 5)}),
    "larger-than-the-input": ((2, 3, 2), {"kernel_size": 5, "padding": 2}),
    "stride-larger-than-kernel": ((8, 9, 2), {"kernel_size": 2, "stride": (3, 4)}),
    "stride-leaves-some": ((9, 8, 3), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "dilation": ((9, 7, 2), {"kernel_size": (3, 2), "dilation": (2, 3), "padding": (1, 2)}),
    "dilation-and-stride": (
        (9, 9, 2),
        {"kernel_size": 3, "dilation": 2, "stride": 2, "padding": 2},
    ),
    "asymmetric": ((5, 4, 2), {"kernel_size": 3, "padding": ((0, 2), (1, 3))}),
    "same": ((5, 6, 3), {"kernel_size": 3, "padding": "same"}),
    "same-even": ((5, 6, 3), {"kernel_size": (2, 4), "padding": "same"}),
    "same-dilated": ((5, 6, 3), {"kernel_size": (2, 3), "padding": "same", "dilation": 3}),
    "groups": ((5, 4, 6), {"kernel_size": 3, "groups": 2, "padding": 1}),
    "groups-and-stride": ((5, 4, 6), {"kernel_size": 2, "groups": 3, "stride": 2}),
    "groups-of-one-channel": ((5, 4, 6), {"kernel_size": 3, "groups": 6, "padding": "same"}),
    "groups-of-one-channel-stride": ((7, 6, 3), {"kernel_size": 3, "groups": 3, "stride": 2}),
    "reflect": ((5, 4, 2), {"kernel_size": 3, "padding": (2, 1), "padding_mode": "reflect"}),
    "edge": ((5, 4, 2), {"kernel_size": 3, "padding": (2, 1), "padding_mode": "edge"}),
    "no-bias": ((5, 4, 2), {"kernel_size": 3, "bias": False}),
    "many-channels": ((6, 5, 40), {"kernel_size": 3, "padding": 1}),
    "one-axis": ((9, 4), {"kernel_size": 4, "stride": 2, "padding": 1}),
    "one-axis-same": ((9, 4), {"kernel_size": 4, "padding": "same", "dilation": 2}),
    "three-axes": ((3, 4, 5, 2), {"kernel_size": (2, 3, 2), "stride": (1, 2, 1), "padding": 1}),
    "three-axes-groups": ((3, 3, 4, 4), {"kernel_size": 2, "groups": 4, "padding": "same"}),
}
TRANSPOSED = {
    "plain": ((3, 4, 3), {"kernel_size": 2}),
    "doubled": ((3, 4, 3), {"kernel_size": 2, "stride": 2}),
    "stride-larger-than-kernel": ((3, 2, 3), {"kernel_size": 2, "stride": (3, 4)}),
    "output-padding": (
        (3, 4, 2),
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    ),
    "output-padding-of-one-axis": (
        (3, 4, 2),
        {"kernel_size": 2, "stride": (3, 2), "output_padding": (2, 0)},
    ),
    "dilation": ((3, 4, 2), {"kernel_size": 3, "stride": 2, "dilation": (2, 1), "padding": (3, 0)}),
    "groups": ((3, 4, 4), {"kernel_size": 3, "groups": 2, "stride": 2, "padding": 1}),
    "groups-of-one-channel": ((3, 4, 6), {"kernel_size": 3, "groups": 6, "stride": 2}),
    "one-by-one": ((1, 1, 3), {"kernel_size": 4}),
    "one-axis": ((5, 3), {"kernel_size": 4, "stride": 3, "padding": 1, "output_padding": 2}),
    "three-axes": ((2, 3, 2, 2), {"kernel_size": 3, "stride": (1, 2, 1), "padding": 1}),
}


def spatial_axes(shape) -> int:
    return len(shape) - 1


def results(layer, shape, backend, batch):
    """Return x, dy, the parameters, and what a pass gives, all on the host."""
    params = parameters(layer, shape, backend)
    params = {name: backend.asarray(rows(p.shape, seed=5)) for name, p in params.items()}
    x = rows((batch, *shape))
    with backend.scope():
        y, backward = layer.forward(params, backend.asarray(x.copy()), training(backend))
        dy = rows(y.shape, seed=1)
        dx, grads = backward(backend.asarray(dy.copy()))
    found = {"y": y, "dx": dx, **{f"d{name}": grad for name, grad in grads.items()}}
    return x, dy, host(backend, params), host(backend, found)


def torchs(torch, name, x, dy, params, first, **arguments):
    """Return what a function of PyTorch gives, with the channels on its second axis."""
    tensor = torch.from_numpy
    given = tensor(np.moveaxis(x, -1, 1).copy()).requires_grad_()
    weight = tensor(np.moveaxis(params["weight"], (-1, -2), (0, 1)).copy()).requires_grad_()
    bias = tensor(params["bias"]).requires_grad_() if "bias" in params else None
    y = getattr(torch.nn.functional, name)(first(given), weight, bias, **arguments)
    y.backward(tensor(np.moveaxis(dy, -1, 1).copy()))
    found = {"y": np.moveaxis(y.detach().numpy(), 1, -1)}
    found["dx"] = np.moveaxis(given.grad.numpy(), 1, -1)
    found["dweight"] = np.moveaxis(weight.grad.numpy(), (0, 1), (-1, -2))
    return found if bias is None else {**found, "dbias": bias.grad.numpy()}


def pairs_of(layer, shape):
    """Return the padding before and after each axis, by the rule in PyTorch's and Keras's documents."""
    axes = spatial_axes(shape)
    if layer.padding == "valid":
        return [(0, 0)] * axes
    if layer.padding != "same":
        return list(layer.padding)
    found = []
    for n, k, s, d in zip(shape, layer.kernel_size, layer.stride, layer.dilation, strict=False):
        total = max((int(np.ceil(n / s)) - 1) * s + (k - 1) * d + 1 - n, 0)
        found.append((total // 2, total - total // 2))
    return found


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_is_pytorchs(case, batch, backend64):
    torch = pytest.importorskip("torch")
    shape, arguments = case
    axes = spatial_axes(shape)
    kind = (nnb.Conv1D, nnb.Conv2D, nnb.Conv3D)[axes - 1]
    layer = kind(arguments.get("groups", 1) * 2, **arguments)
    x, dy, params, found = results(layer, shape, backend64, batch)
    pairs = pairs_of(layer, shape)
    mode = {"zeros": "constant", "edge": "replicate"}.get(layer.padding_mode, layer.padding_mode)
    sides = [side for pair in reversed(pairs) for side in pair]
    expected = torchs(
        torch, f"conv{axes}d", x, dy, params,
        lambda x: torch.nn.functional.pad(x, sides, mode=mode),
        stride=layer.stride, dilation=layer.dilation, groups=layer.groups,
    )  # fmt: skip
    assert_close(found, expected, 1e-10)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("shape", "size"), [((5, 6, 2), (3, 2)), ((1, 4, 2), (4, 3))])
def test_same_padding_with_a_stride_is_tensorflows(stride, shape, size, backend64):
    jax = pytest.importorskip("jax")  # whose "SAME" is TensorFlow's
    layer = nnb.Conv2D(3, size, stride, "same", bias=False)
    x, _, params, found = results(layer, shape, backend64, 2)
    with jax.enable_x64(True):
        expected = jax.lax.conv_general_dilated(
            x,
            params["weight"],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    assert_close(found["y"], np.asarray(expected), 1e-10)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", TRANSPOSED.values(), ids=TRANSPOSED)
def test_a_transposed_convolution_is_pytorchs(case, batch, backend64):
    torch = pytest.importorskip("torch")
    shape, arguments = case
    axes = spatial_axes(shape)
    kind = (nnb.ConvTranspose1D, nnb.ConvTranspose2D, nnb.ConvTranspose3D)[axes - 1]
    layer = kind(arguments.get("groups", 1) * 2, **arguments)
    x, dy, params, found = results(layer, shape, backend64, batch)
    padding = [low for low, _ in pairs_of(layer, shape)]
    expected = torchs(
        torch, f"conv_transpose{axes}d", x, dy, params, lambda x: x,
        stride=layer.stride, dilation=layer.dilation, groups=layer.groups, padding=padding,
        output_padding=layer.output_padding,
    )  # fmt: skip
    assert_close(found, expected, 1e-10)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 3), (5, 6, 3), (3, 4, 2, 3)], ids=str)
def test_a_depthwise_convolution_is_pytorchs(multiplier, stride, shape, backend64):
    torch = pytest.importorskip("torch")
    axes = spatial_axes(shape)
    kind = (nnb.DepthwiseConv1D, nnb.DepthwiseConv2D, nnb.DepthwiseConv3D)[axes - 1]
    layer = kind(2, multiplier, stride, padding=1, dilation=2)
    x, dy, params, found = results(layer, shape, backend64, 2)
    expected = torchs(
        torch, f"conv{axes}d", x, dy, params, lambda x: x, stride=stride, padding=1, dilation=2,
        groups=shape[-1],
    )  # fmt: skip
    assert_close(found, expected, 1e-10)


@pytest.mark.parametrize(
    ("kind", "one", "shape"),
    [
        (nnb.SeparableConv1D, (nnb.DepthwiseConv1D, nnb.Conv1D), (7, 3)),
        (nnb.SeparableConv2D, (nnb.DepthwiseConv2D, nnb.Conv2D), (5, 6, 3)),
    ],
)
def test_a_separable_convolution_is_a_depthwise_one_and_one_of_size_one(
    kind, one, shape, backend64
):
    layer = kind(4, 3, 2, "same", multiplier=2, activation="tanh")
    depthwise, last = one
    both = nnb.Sequential([
        depthwise(3, 2, 2, "same", bias=False), last(4, 1, activation="tanh"),
    ])  # fmt: skip
    x, dy, params, found = results(layer, shape, backend64, 2)
    kernel = params["weight"].reshape((1,) * spatial_axes(shape) + params["weight"].shape)
    nested = {
        "0": {"weight": backend64.asarray(params["depthwise"])},
        "1": {"weight": backend64.asarray(kernel), "bias": backend64.asarray(params["bias"])},
    }
    with backend64.scope():
        y, backward = both.forward(nested, backend64.asarray(x), training(backend64))
        dx, grads = backward(backend64.asarray(dy))
    expected = host(backend64, {"y": y, "dx": dx, "dbias": grads["1"]["bias"]})
    expected["ddepthwise"] = host(backend64, grads["0"]["weight"])
    expected["dweight"] = host(backend64, grads["1"]["weight"]).reshape(params["weight"].shape)
    assert_close(found, expected, 1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        lambda **how: nnb.Conv2D(4, 3, 2, "same", groups=2, activation="tanh", **how),
        lambda **how: nnb.DepthwiseConv2D(3, 2, **how),
        lambda **how: nnb.SeparableConv2D(3, 2, **how),
        lambda **how: nnb.ConvTranspose2D(4, 3, 2, 1, 1, groups=2, **how),
    ],
    ids=["conv", "depthwise", "separable", "transposed"],
)
def test_channels_first_are_the_same_numbers(layer, backend64):
    last, first = layer(), layer(channels="first")
    shape = (5, 6, 4)
    _, made = last.init(shape, Generator.of(0))
    _, made_first = first.init((4, 5, 6), Generator.of(0))
    assert made_first == (made[-1], *made[:-1])
    params = parameters(last, shape, backend64)
    x = rows((2, *shape))
    with backend64.scope():
        y, backward = last.forward(params, backend64.asarray(x), training(backend64))
        dx, grads = backward(y)
        turned = backend64.asarray(np.moveaxis(x, -1, 1).copy())
        y_first, backward = first.forward(params, turned, training(backend64))
        dx_first, grads_first = backward(y_first)
    assert tuple(y_first.shape[1:]) == made_first
    assert_close(np.moveaxis(host(backend64, y_first), 1, -1), host(backend64, y), 1e-14)
    assert_close(np.moveaxis(host(backend64, dx_first), 1, -1), host(backend64, dx), 1e-13)
    assert_close(host(backend64, grads_first), host(backend64, grads), 1e-13)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nnb.Conv2D(0, 3), "out_channels"),
        (lambda: nnb.Conv2D(4, 0), "kernel_size"),
        (lambda: nnb.Conv2D(4, (3, 3, 3)), "kernel_size must be .* a tuple of 2"),
        (lambda: nnb.Conv2D(4, 3, stride=0), "stride"),
        (lambda: nnb.Conv2D(4, 3, stride=(1, 0)), "stride"),
        (lambda: nnb.Conv2D(4, 3, padding=-1), "padding"),
        (lambda: nnb.Conv2D(4, 3, padding=((0, -1), 0)), "padding"),
        (lambda: nnb.Conv2D(4, 3, padding="full"), "padding"),
        (lambda: nnb.Conv1D(4, 3, padding=(1, 2)), "padding must be .* a tuple of 1"),
        (lambda: nnb.Conv2D(4, 3, dilation=0), "dilation"),
        (lambda: nnb.Conv2D(4, 3, groups=3), "groups must divide out_channels=4, got 3"),
        (lambda: nnb.Conv2D(4, 3, channels="middle"), "channels"),
        (lambda: nnb.Conv2D(4, 3, padding_mode="wrap"), "padding_mode"),
        (lambda: nnb.Conv2D(4, 3, activation="rellu"), "did you mean 'relu'"),
        (lambda: nnb.DepthwiseConv2D(3, 0), "multiplier"),
        (lambda: nnb.SeparableConv2D(4, 3, multiplier=0), "multiplier"),
        (lambda: nnb.ConvTranspose2D(4, 3, 2, output_padding=2), "output_padding must be below"),
        (lambda: nnb.ConvTranspose2D(4, 3, output_padding=-1), "output_padding"),
        (lambda: nnb.ConvTranspose2D(4, 3, 2, "same", 1), "output_padding must be 0"),
        (lambda: nnb.ConvTranspose2D(4, 3, groups=3), "groups"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (nnb.Conv2D(4, 3), (784,), r"expects \(batch, height, width, channels\), got \(batch, 784\)"),
        (nnb.Conv2D(4, 3, channels="first"), (8, 8), r"\(batch, channels, height, width\)"),
        (nnb.Conv1D(4, 3), (8, 8, 3), r"expects \(batch, length, channels\)"),
        (nnb.Conv3D(4, 3), (8, 8, 3), r"expects \(batch, depth, height, width, channels\)"),
        (nnb.Conv2D(4, 3), (2, 8, 3), r"size \(3, 3\) is larger than its padded input .*\(2, 8\)"),
        (nnb.Conv2D(4, 3, dilation=4), (8, 8, 3), r"spans \(9, 9\)"),
        (nnb.Conv2D(4, 3, groups=2), (8, 8, 3), "groups must divide the input's 3 channels, got 2"),
        (nnb.DepthwiseConv2D(5), (4, 8, 3), "larger than its padded input"),
        (nnb.SeparableConv1D(4, 5), (4, 3), "larger than its padded input"),
        (nnb.ConvTranspose2D(4, 3, groups=2), (8, 8, 3), "groups must divide the input's 3"),
        (nnb.ConvTranspose2D(4, 3, padding=2), (2, 8, 3), "padding must leave something"),
        (nnb.Conv2D(4, 3, padding=3, padding_mode="reflect"), (3, 8, 3), "at least 4, got 3"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_refused_when_the_network_is_built(layer, shape, words):
    name = f"layer 1 \\({type(layer).__name__}\\): "
    with pytest.raises(ValueError, match=name + f".*{words}"):
        nnb.Network([nnb.Activation("relu"), layer], input_shape=shape)


def test_a_batch_of_other_channels_is_refused_by_the_path(backend):
    layer = nnb.Conv2D(2, 3)
    params = parameters(layer, (5, 5, 3), backend)
    x = backend.asarray(rows((2, 5, 5, 4)))
    where = training(backend).child("2").child("conv")
    with pytest.raises(
        ValueError, match=r"^2\.conv: expects \(batch, height, width, 3\), got \(2,"
    ):
        layer.forward(params, x, where)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nnb.Conv2D(2, 3, activation="relu"), "he_uniform"),
        (nnb.Conv2D(2, 3), "glorot_uniform"),
        (nnb.DepthwiseConv2D(3, activation="relu"), "he_uniform"),
        (nnb.DepthwiseConv2D(3), "lecun_uniform"),
        (nnb.ConvTranspose2D(2, 3, activation="tanh"), "glorot_uniform"),
    ],
)
def test_the_initializer_suits_the_activation(layer, expected):
    assert layer.initializer == nnb.initializers.get(expected)


def test_sizes_are_plain_numbers_in_a_file():
    layer = nnb.Conv2D(np.int64(2), [np.int32(3), 2], padding=[np.int64(1), [0, 1]])
    assert layer == nnb.Conv2D(2, (3, 2), padding=((1, 1), (0, 1)))
    assert {type(n) for n in layer.kernel_size} == {int}


def test_on_jax_each_step_with_a_convolution_is_a_call():
    """In a loop XLA computes convolutions on the CPU many times slower."""
    pytest.importorskip("jax")
    found = {}
    for name in ("numpy", "jax"):
        net = nnb.Network(
            [nnb.Residual([nnb.Conv2D(2, 3, padding=1)]), nnb.Flatten(), nnb.Dense(1)],
            backend=nnb.get_backend(name, dtype="float64"), input_shape=(4, 3, 2), seed=1,
        )  # fmt: skip
        x, y = rows((12, 4, 3, 2)), rows((12, 1), seed=1)
        for size in (4, None, 5):  # also one batch again and again, and a smaller last one
            history = net.fit(x, y, epochs=3, batch_size=size, metrics=["mae"], verbose=0)
        found[name] = {"loss": np.asarray(history["loss"]), **host(net.backend, net.state_dict())}
    assert_close(found["jax"], found["numpy"], 1e-10)
