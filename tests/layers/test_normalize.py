"""The fixed scale of inputs."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import host

import nnbackend as nnb
from nnbackend import Context

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("axis", [-1, 1, -3, 3])
def test_each_channel_has_its_numbers(axis, backend64):
    x = rows((2, 3, 5, 3))
    y, backward = nnb.Normalize(MEAN, np.array(STD), axis).forward(
        {}, backend64.asarray(x), Context(backend64)
    )
    dx, _ = backward(backend64.asarray(x))
    mean, std = (
        np.expand_dims(v, (0, 2, 3) if axis in (1, -3) else (0, 1, 2)) for v in (MEAN, STD)
    )
    np.testing.assert_allclose(host(backend64, y), (x - mean) / std, rtol=1e-14)
    np.testing.assert_allclose(host(backend64, dx), x / std, rtol=1e-14)


def test_a_loaded_network_takes_raw_inputs(tmp_path):
    raw = np.random.default_rng(0).uniform(0, 255, (6, 4, 3))
    layers = [nnb.Normalize((100, 120, 140.5), 60), nnb.Flatten(), nnb.Dense(2)]
    net = nnb.Network(layers, input_shape=(4, 3), dtype="float64")
    found = nnb.load(net.save(tmp_path / "net"))
    assert found.layers == net.layers
    np.testing.assert_array_equal(found.predict(raw), net.predict(raw))
    bare = nnb.Network(layers[1:], input_shape=(4, 3), dtype="float64")
    by_hand = (raw - [100, 120, 140.5]) / 60
    np.testing.assert_allclose(net.params["2"]["weight"].shape, bare.params["1"]["weight"].shape)
    bare.load_state_dict({n.replace("2.", "1."): v for n, v in net.state_dict().items()})
    np.testing.assert_allclose(net.predict(raw), bare.predict(by_hand), rtol=1e-12)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_the_mean_keeps_its_digits_in_mixed_precision(precision):
    pytest.importorskip("torch" if precision == "bfloat16" else "numpy")
    library = "torch" if precision == "bfloat16" else "numpy"
    backend = nnb.get_backend(library, precision=precision)
    x = backend.xp.astype(backend.asarray([[123.0, 124.0]]), backend.product_dtype)
    y, _ = nnb.Normalize(123.4, 1.0).forward({}, x, Context(backend))
    np.testing.assert_allclose(
        host(backend, backend.xp.astype(y, backend.dtype)), [[-0.4, 0.6]], atol=3e-3
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.0, 0.0), "std must be above 0"),
        ((0.0, (1.0, -1.0)), "std must be above 0"),
        ((0.0, float("nan")), "std must be a number"),
        ((("a",), 1.0), "mean must be a number"),
        ((np.zeros((2, 2)), 1.0), "mean must be a number"),
        (((), 1.0), "mean must be a number, or one for each channel; got none"),
        ((0.0, 1.0, 0), "axis must be a whole number other than 0"),
        ((0.0, 1.0, 1.5), "axis must be"),
        ((0.0, 1.0, True), "axis must be"),
    ],
)
def test_what_is_no_scale_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        nnb.Normalize(*arguments)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (
            nnb.Normalize((1, 2), 1.0),
            r"mean has 2 numbers, and axis -1 of rows of shape \(4, 3\) has 3",
        ),
        (nnb.Normalize(0.0, (1, 2), 1), "std has 2 numbers, and axis 1 .* has 4 channels"),
        (nnb.Normalize(0.0, 1.0, 3), "there is no axis 3"),
        (nnb.Normalize(0.0, 1.0, -3), "there is no axis -3"),
        (nnb.Normalize(0.0, 1.0, -4), "there is no axis -4"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(layer, words):
    with pytest.raises(ValueError, match=rf"layer 0 \(Normalize\): {words}"):
        nnb.Network([layer], input_shape=(4, 3))
