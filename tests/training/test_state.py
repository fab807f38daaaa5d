"""The state of layers, in all that trains, predicts, copies and saves a network."""

from __future__ import annotations

import copy
import itertools
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import BatchScale, RunningMean, rows
from tools import Plain, assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import Checkpoint, EarlyStopping, Lambda
from nnbackend.core.layer_tree import init_state, is_stateful
from nnbackend.core.tree import flatten
from nnbackend.errors import ModelFileError
from nnbackend.optimizers import EMA, SWA

ROWS = 23
X, Y = rows((ROWS, 4)), rows((ROWS, 2), seed=1)
LAYERS = [
    nnb.Dense(5, activation="tanh"),
    BatchScale(),
    nnb.Dropout(0.2),
    RunningMean(),
    nnb.Dense(2),
]
NAMES = {"1.square", "3.mean", "3.count"}


def network(backend: Any, layers: Any = LAYERS, **options: Any) -> nnb.Network:
    return nnb.Network(layers, backend=backend, seed=3, input_shape=4, **options)


def everything(net: nnb.Network) -> Any:
    return host(net.backend, net.state_dict())


def fit(net: nnb.Network, epochs: int = 3, **options: Any) -> nnb.Network:
    net.fit(X, Y, **{"batch_size": 5, "epochs": epochs, "optimizer": nnb.Adam(1e-2), **options})
    return net


# What it is


def test_a_network_has_the_state_of_its_layers(backend):
    net = network(backend)
    assert {name: tuple(a.shape) for name, a in flatten(net.state).items()} == {
        "1.square": (5,), "3.mean": (5,), "3.count": (),
    }  # fmt: skip
    assert all(a.dtype == backend.dtype for a in flatten(net.state).values())
    assert network(backend, [nnb.Dense(2)]).state == {}


def test_training_moves_it_and_prediction_reads_it(backend64):
    """``RunningMean`` alone: what it becomes can be said by hand."""
    net = nnb.Network([RunningMean(0.5), nnb.Dense(1)], backend=backend64, input_shape=4)
    net.fit(X, Y[:, :1], batch_size=10, epochs=1, shuffle=False)
    mean = np.zeros(4)
    for start in (0, 10, 20):  # the last batch has three rows
        mean += 0.5 * (X[start : start + 10].mean(axis=0) - mean)
    state = host(backend64, net.state)["0"]
    np.testing.assert_allclose(state["mean"], mean, rtol=1e-12)
    assert state["count"] == 3.0
    weight, bias = host(backend64, net.params)["1"].values()
    expected = (X - mean) @ weight + bias
    for y in (net.predict(X), net.forward(X)[0], net.predict(X, batch_size=7), net.predict(X)):
        np.testing.assert_allclose(host(backend64, y), expected, rtol=1e-10, atol=1e-12)
    loss = net.evaluate(X, Y[:, :1], loss="mse")["loss"]
    assert loss == pytest.approx(np.mean((expected - Y[:, :1]) ** 2))


def test_a_training_pass_of_the_users_moves_it_and_another_pass_does_not(backend64):
    net = network(backend64)
    before = host(backend64, net.state)
    net.forward(X)
    net.predict(X)
    assert_equal(host(backend64, net.state), before)
    net.forward(X, training=True)
    assert host(backend64, net.state)["3"]["count"] == 1.0
    assert host(backend64, net.state)["1"]["square"][0] != 1.0


def test_a_layer_sets_only_what_it_has(backend):
    @dataclass(frozen=True)
    class Wrong(RunningMean):
        name: str = "mean"
        size: int = 4

        def forward(self, params, x, ctx):
            ctx.set_state(**{self.name: ctx.xp.ones(self.size, device=backend.device)})
            return x, lambda dy, input_grad=True: (dy, {})

    with pytest.raises(KeyError, match=r"init_state of this layer makes no 'other'"):
        network(backend, [Wrong(name="other")]).forward(X, training=True)
    with pytest.raises(ValueError, match=r"'mean' has the shape \(4,\), got \(3,\)"):
        network(backend, [Wrong(size=3)]).forward(X, training=True)


def test_a_composite_without_a_word_about_state_is_refused_if_it_has_some():
    @dataclass(frozen=True)
    class Twice:
        layers: tuple[Any, ...]

        def init(self, input_shape, rng):
            return nnb.Sequential(self.layers).init(input_shape, rng)

        def forward(self, params, x, ctx):
            return nnb.Sequential(self.layers).forward(params, x, ctx)

    stateless = nnb.Dense(3), nnb.Sequential([]), nnb.Residual([nnb.Dropout(0.1)])
    assert nnb.Network([Twice(stateless)], input_shape=4).state == {}
    for inner in (RunningMean(), nnb.Sequential([nnb.Dense(3), RunningMean()])):
        assert is_stateful(Twice((inner,)))
        with pytest.raises(TypeError, match=r"Twice needs a method init_state\(input_shape\)"):
            nnb.Network([nnb.Dense(4), Twice((inner,))], input_shape=4)


def test_the_state_of_a_network_is_set_as_a_whole(backend):
    net = network(backend)
    net.state = {"1": {"square": backend.asarray(np.full(5, 2.0))}, "3": net.state["3"]}
    assert host(backend, net.state)["1"]["square"].tolist() == [2.0] * 5
    with pytest.raises(ValueError, match=r"state must have the arrays .*1\.square"):
        net.state = {"3": net.state["3"]}


# How it trains


def test_rows_of_padding_do_not_count(backend64):
    """The last batch has three rows; what compiles pads it, with and without weights of the user's."""
    assert_close(everything(fit(network(backend64))), everything(fit(network("numpy", dtype="float64"))),
                 1e-10)  # fmt: skip
    weight = np.random.default_rng(0).uniform(0.5, 2.0, ROWS)
    ones = fit(network(backend64), sample_weight=np.ones(ROWS))
    assert_close(everything(ones), everything(fit(network(backend64))), 1e-12)
    weighted = everything(fit(network(backend64), sample_weight=weight))
    assert np.abs(weighted["1.square"] - everything(ones)["1.square"]).max() > 1e-3


def test_rows_of_weight_0_are_as_if_they_were_not_there(backend64):
    weight = np.where(np.arange(ROWS) < 20, 1.0, 0.0)  # with batches of five, the last one is all 0
    layers = [nnb.Dense(5, activation="tanh"), BatchScale(), RunningMean(), nnb.Dense(2)]
    some, fewer = network(backend64, layers), network(backend64, layers)
    some.fit(X, Y, batch_size=5, shuffle=False, optimizer="sgd", sample_weight=weight)
    fewer.fit(X[:20], Y[:20], batch_size=5, shuffle=False, optimizer="sgd")
    assert_close(everything(some), everything(fewer), 1e-12)


def test_microbatches_move_it_in_order(backend64):
    net = nnb.Network([RunningMean(0.5), nnb.Dense(1)], backend=backend64, input_shape=4)
    net.fit(X, Y[:, :1], batch_size=10, epochs=1, shuffle=False, accumulate=4)
    mean, bounds = np.zeros(4), [0, 3, 6, 9, 10, 13, 16, 19, 20, 23]
    for start, stop in itertools.pairwise(bounds):
        mean += 0.5 * (X[start:stop].mean(axis=0) - mean)
    state = host(backend64, net.state)["0"]
    np.testing.assert_allclose(state["mean"], mean, rtol=1e-12)
    assert state["count"] == len(bounds) - 1


def test_many_epochs_of_one_step_move_it_each_time(backend64):
    net = fit(network(backend64), epochs=100, batch_size=None)
    assert host(backend64, net.state)["3"]["count"] == 100.0
    twin = network(backend64)
    for _ in range(100):
        twin.partial_fit(X, Y, optimizer=nnb.Adam(1e-2))
    assert_close(everything(net), everything(twin), 1e-10)


def test_partial_fit_goes_on_with_the_state_that_there_is(backend64):
    net = network(backend64)
    net.partial_fit(X, Y)
    net.forward(X, training=True)
    net.partial_fit(X, Y)
    assert host(backend64, net.state)["3"]["count"] == 3.0


def test_a_recorded_step_gives_the_same_bits(backend):
    if backend.name != "numpy":
        pytest.skip("NumPy alone plays recordings")
    plain, recorded = network(Plain()), network("numpy")
    for net in (plain, recorded):
        fit(net, epochs=30)
        for row in X[:4]:
            net.predict(row[None])
    assert_equal(everything(recorded), everything(plain))
    for row in X[4:8]:
        assert_equal(recorded.predict(row[None]), plain.predict(row[None]))
    fit(recorded, 2)  # with the recorded pass at hand, and another state
    fit(plain, 2)
    assert_equal(recorded.predict(X[:1]), plain.predict(X[:1]))


def test_two_arrays_may_change_places(backend64):
    @dataclass(frozen=True)
    class Swap:
        def init(self, input_shape, rng):
            return {}, input_shape

        def init_state(self, input_shape):
            return {"a": np.zeros(input_shape), "b": np.ones(input_shape)}

        def forward(self, params, x, ctx):
            ctx.set_state(a=ctx.state["b"], b=ctx.state["a"])
            return x, lambda dy, input_grad=True: (dy, {})

    net = fit(network(backend64, [Swap(), nnb.Dense(2)]), epochs=1)  # five steps
    state = host(backend64, net.state)["0"]
    assert (state["a"] == 1.0).all()
    assert (state["b"] == 0.0).all()


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_it_is_wide_in_mixed_precision(precision, backend):
    try:
        half = backend.replace(precision=precision)
    except nnb.errors.PrecisionError:
        pytest.skip(f"no {precision}")
    net = fit(network(half))
    assert all(a.dtype == half.dtype for a in flatten(net.state).values())
    assert_close(host(half, net.state), host(backend, fit(network(backend)).state), 0.05)
    assert np.isfinite(host(half, net.predict(X))).all()


@pytest.mark.parametrize("optimizer", [EMA(nnb.Adam(1e-2)), SWA(nnb.SGD(1e-2))])
def test_with_averaged_parameters_it_is_as_the_steps_left_it(optimizer, backend64):
    net = fit(network(backend64), optimizer=optimizer)
    plain = fit(network(backend64), optimizer=optimizer.inner)
    assert_equal(host(backend64, net.state), host(backend64, plain.state))


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(backend64):
    net = network(backend64)
    fit(net, 1)
    before = everything(net)
    with np.errstate(all="ignore"), pytest.raises(nnb.errors.DivergenceError):
        net.fit(X, 1e200 * np.ones_like(Y), optimizer=nnb.SGD(1e3), batch_size=5)
    assert_equal(everything(net), before)
    with np.errstate(all="ignore"), pytest.raises(nnb.errors.DivergenceError):
        net.partial_fit(X, 1e200 * np.ones_like(Y), optimizer=nnb.SGD(1e3), batch_size=5)
    assert_equal(everything(net), before)


def test_lbfgs_refuses_it():
    with pytest.raises(ValueError, match="layers with state"):
        network("numpy", dtype="float64").fit(X, Y, optimizer="lbfgs", batch_size=None)


# Callbacks and checkpoints


def test_callbacks_see_it_and_may_set_it(backend64):
    counts = []

    def look(run):
        counts.append(float(run.network.state["3"]["count"]))
        if run.epoch == 2:
            new = {name: dict(arrays) for name, arrays in run.network.state.items()}
            new["3"]["count"] = new["3"]["count"] + 100.0
            run.network.state = new

    fit(network(backend64), callbacks=[Lambda(epoch_end=look)])
    assert counts == [5.0, 10.0, 115.0]


def test_the_best_epochs_state_comes_back_with_its_parameters(backend64):
    kept = []
    stopping = EarlyStopping("loss", patience=2, mode="max")  # the first epoch is the best
    net = network(backend64)
    note = Lambda(epoch_end=lambda run: kept.append(everything(run.network)))
    fit(net, 10, callbacks=[stopping, note])
    assert len(kept) == 3
    assert_equal(everything(net), kept[0])


@pytest.mark.parametrize("every_steps", [None, 2])
def test_a_resumed_run_is_as_one_that_was_not_left(every_steps, backend, tmp_path):
    whole = fit(network(backend), 6)
    writing = Checkpoint(tmp_path, every_steps=every_steps, keep=None)
    stop = Lambda(
        batch_end=lambda run: run.stop("enough", at_once=True) if run.steps > 12 else None
    )
    fit(network(backend), 6, callbacks=[writing, stop])
    resumed = fit(network(backend), 6, resume=tmp_path)
    # Compiled, the last bits depend on which steps are run together.
    assert_close(everything(resumed), everything(whole), 1e-6 if backend.static_shapes else 0.0)
    loaded = nnb.load(nnb.checkpoints.files(tmp_path)[-1], backend=backend)
    assert host(backend, loaded.state)["3"]["count"] >= 12.0


# Copies and files


def test_a_state_dict_has_it_by_name(backend):
    net = fit(network(backend))
    names = net.state_dict().keys()
    assert names - flatten(net.params).keys() == NAMES
    twin = network(backend).load_state_dict(net.state_dict())
    assert_equal(everything(twin), everything(net))
    assert_equal(host(backend, twin.predict(X)), host(backend, net.predict(X)))
    with pytest.raises(ValueError, match=r"missing: 1\.square"):
        network(backend).load_state_dict(flatten(net.params))
    fit(net)  # which changes no copy of it
    assert host(backend, twin.state)["3"]["count"] == 15.0


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_copies_have_it(make, backend):
    net = fit(network(backend))
    twin = make(net)
    assert_equal(everything(twin), everything(net))
    fit(twin)
    assert host(backend, net.state)["3"]["count"] == 15.0


def test_it_goes_to_another_backend(backend):
    net = fit(network(backend))
    there = net.to("numpy", dtype="float64")
    assert there.state["3"]["mean"].dtype == np.float64
    assert_close(everything(there.to(backend, dtype="float32")), everything(net), 0.0)
    np.testing.assert_allclose(
        there.predict(X), host(backend, net.predict(X)), rtol=1e-3, atol=1e-5
    )


def test_it_is_in_files(backend, tmp_path):
    net = fit(network(backend))
    loaded = nnb.load(net.save(tmp_path / "model"), backend=backend)
    assert_equal(everything(loaded), everything(net))
    assert_equal(host(backend, loaded.predict(X)), host(backend, net.predict(X)))


def test_a_file_without_its_state_is_refused(tmp_path):
    import safetensors.numpy

    path = network("numpy").save(tmp_path / "model")
    with safetensors.safe_open(path, framework="np") as content:
        header = content.metadata()
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    assert "state/3.mean" in tensors
    del tensors["state/3.mean"]
    safetensors.numpy.save_file(tensors, path, metadata=header)
    with pytest.raises(ModelFileError, match=r"its tensors are not those .*state/3.mean"):
        nnb.load(path)


def test_a_closed_network_has_none_and_a_refused_fit_leaves_none():
    net = nnb.Network(LAYERS)
    with pytest.raises(ValueError, match="rows"):
        net.fit(X, Y[:-1])
    assert net.state == {}
    net.build(4)
    net.close()
    assert net.state == {}


def test_the_initial_state_follows_the_shapes():
    layer = nnb.Sequential(
        [nnb.Flatten(), nnb.Residual([RunningMean()]), nnb.Dense(3), BatchScale()]
    )
    state = init_state(layer, (2, 3))
    assert {n: np.shape(a) for n, a in flatten(state).items()} == {
        "1.0.mean": (6,), "1.0.count": (), "3.square": (3,),
    }  # fmt: skip
