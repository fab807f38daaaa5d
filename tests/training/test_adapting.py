"""Initial parameters that layers derive from data."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb

X = rows((40, 5))


def layers():
    return [
        nnb.FeatureScale(),
        nnb.Residual([nnb.ScaledDense(5), nnb.ParametricActivation("selu"), nnb.Dropout(0.5)]),
        nnb.ScaledDense(3),
    ]


def state(net):
    return host(net.backend, net.state_dict())


def test_outputs_have_unit_deviation_and_biases_are_means_of_five(backend64):
    net = nnb.Network([nnb.ScaledDense(200)], backend=backend64, seed=5)
    drawn = state(nnb.Network([nnb.ScaledDense(200)], backend=backend64, seed=5, input_shape=5))
    assert net.initialize_from(X) is net
    weight, bias = (state(net)[name] for name in ("0.weight", "0.bias"))
    z = X @ weight / np.sqrt(5)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-12)
    ratio = weight / drawn["0.weight"]
    np.testing.assert_allclose(ratio, np.tile(ratio[:1], (5, 1)), rtol=1e-12)  # a factor a column
    assert (z.min(axis=0) <= -bias).all()
    assert (-bias <= z.max(axis=0)).all()
    # Of five independent numbers of deviation 1 with normalized exponential weights: the deviation of
    # their mean is sqrt(5 E[w**2]) = sqrt(5 * 2 / (5 * 6)).
    assert (bias + z.mean(axis=0)).std() == pytest.approx((1 / 3) ** 0.5, rel=0.15)
    assert len(np.unique(bias)) == 200


def test_each_layer_adapts_to_what_those_before_it_give(backend):
    net = nnb.Network(layers(), backend=backend, seed=2).initialize_from(X)
    passages = {passage.path: passage for passage in nnb.observe(net, X)}
    for path in ("1.0", "2"):
        passage = passages[path]
        own = host(backend, passage.params)
        z = host(backend, passage.y) - own["bias"]
        np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-4)
    assert_equal(state(net)["0.weight"], np.ones(5, np.float32))


def test_all_backends_begin_alike_and_the_seed_decides(backend64):
    def begun(backend, seed=2):
        return state(nnb.Network(layers(), backend=backend, seed=seed).initialize_from(X))

    numpy64 = nnb.get_backend("numpy", dtype="float64")
    assert_close(begun(backend64), begun(numpy64), 1e-12)
    assert (begun(numpy64, 3)["2.bias"] != begun(numpy64)["2.bias"]).all()


def test_each_member_has_its_own(backend64):
    net = nnb.Network([nnb.Replicate(3), nnb.ScaledDense(4, members=3)], backend=backend64)
    own = state(net.initialize_from(X))
    z = np.einsum("ni,kio->nko", X, own["1.weight"]) / np.sqrt(5)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-12)
    assert len(np.unique(own["1.bias"])) == 12


def test_a_column_of_equal_outputs_stays_as_it_was_drawn(backend):
    net = nnb.Network([nnb.ScaledDense(4)], backend=backend, input_shape=3)
    before = state(net)["0.weight"]
    net.initialize_from(np.full((9, 3), 1 / 3))
    after = state(net)
    assert_equal(after["0.weight"], before)
    z = np.full(3, 1 / 3) @ before / np.sqrt(3)
    np.testing.assert_allclose(after["0.bias"], -z, rtol=1e-5)


def test_layers_that_are_frozen_or_say_so_stay(backend):
    net = nnb.Network(
        [nnb.ScaledDense(4), nnb.Freeze(nnb.ScaledDense(4)), nnb.ScaledDense(4, data_driven=False),
         nnb.ScaledDense(2, bias=False)],
        backend=backend, input_shape=5,
    )  # fmt: skip
    before = state(net)
    after = state(net.freeze("0.bias").initialize_from(X))
    same = {name for name, value in after.items() if (value == before[name]).all()}
    assert same == set(before) - {"3.weight"}


def test_a_layer_that_runs_twice_adapts_once(backend64):
    shared = nnb.Network([nnb.Repeat(nnb.ScaledDense(5), 2, shared=True)], backend=backend64)
    once = nnb.Network([nnb.Repeat(nnb.ScaledDense(5), 1, shared=True)], backend=backend64)
    assert_equal(state(shared.initialize_from(X)), state(once.initialize_from(X)))


def test_it_is_there_after_saving_and_training_goes_on_from_it(backend, tmp_path):
    net = nnb.Network(layers(), backend=backend).initialize_from(X)
    loaded = nnb.load(net.save(tmp_path / "begun.safetensors"), backend=backend)
    assert_equal(state(loaded), state(net))
    y = X @ rows((5, 3), 4)
    history = net.fit(X, y, optimizer=nnb.AdamW(0.02), epochs=60, batch_size=10, verbose=0)
    assert history["loss"][-1] < 0.2 * history["loss"][0]


def test_what_cannot_be_initialized_is_refused_and_stays():
    with pytest.raises(
        ValueError, match="no layer of this network derives its parameters from data"
    ):
        nnb.Network([nnb.Dense(2)]).initialize_from(X)
    net = nnb.Network(layers())
    net.fit(X, X[:, :3], verbose=0)
    with pytest.raises(ValueError, match="trained for 2 steps, which initialize_from would undo"):
        net.initialize_from(X)
    net = nnb.Network([nnb.WeightNorm(nnb.ScaledDense(2))], input_shape=5)
    before = state(net)
    with pytest.raises(
        ValueError, match=r"layer 0\.layer \(ScaledDense\) .* computes them from others"
    ):
        net.initialize_from(X)
    assert_equal(state(net), before)
    net = nnb.Network(layers())
    with pytest.raises(ValueError, match="got 1 with 5 outputs"):
        net.initialize_from(X[:1])
    assert net.input_shape is None  # another shape of rows may come
    with pytest.raises(ValueError, match=r"finite|NaN"):
        net.initialize_from(np.full((4, 5), np.nan))
