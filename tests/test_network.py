"""The network object: building, passes, parameters, moving, describing."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from cases import LAYERS, STATEFUL_LAYERS, each, rows
from tools import assert_close, assert_equal, gradients_of_numbers, host

import nnbackend as nnb
from nnbackend.core.tree import flatten

X = rows((6, 3))


def network(backend="numpy", **given):
    layers = [
        nnb.Dense(4, activation="relu"),
        nnb.Dropout(0.25),
        nnb.Dense(2, activation="softmax"),
    ]
    return nnb.Network(layers, **({"backend": backend, "input_shape": 3} | given))


def weights(net):
    return host(net.backend, net.state_dict())


# ------------------------------------------------------------------------------------- building


def test_shapes_come_from_the_data_or_are_given(backend):
    given, found = network(backend), network(backend, input_shape=None)
    with pytest.raises(ValueError, match="no parameters yet"):
        _ = found.params
    found.predict(X)
    assert found.input_shape == given.input_shape == (3,)
    assert found.output_shape == given.output_shape == (2,)
    assert_equal(weights(found), weights(given))


@pytest.mark.parametrize("shape", [3, (3,), [3], np.int64(3), (np.int64(3),), np.array([3])])
def test_an_input_shape_may_be_written_in_several_ways(shape):
    net = network(input_shape=shape)
    assert net.input_shape == (3,)
    assert type(net.input_shape[0]) is int
    assert net.build(shape) is net


@pytest.mark.parametrize("shape", [0, -1, 2.5, "3", (3, 0), (None,), True])
def test_a_size_that_is_none_is_refused(shape):
    with pytest.raises(ValueError, match="input_shape must be a whole number"):
        network(input_shape=shape)


def test_a_network_is_built_once():
    with pytest.raises(ValueError, match=r"built for rows of shape \(3,\)"):
        network().build(4)


def test_data_that_are_refused_do_not_fix_the_shape():
    net = network(input_shape=None)
    for x, y in [(np.ones((5, 7)), np.ones((4, 2))), (np.ones((5, 7)), ["a"] * 5)]:
        with pytest.raises((ValueError, TypeError)):
            net.fit(x, y)
        with pytest.raises((ValueError, TypeError)):
            net.evaluate(x, y, loss="mse")
        with pytest.raises((ValueError, TypeError)):
            net.partial_fit(x, y)
    net.fit(X, np.ones((6, 2)))
    assert net.input_shape == (3,)


@pytest.mark.parametrize(
    ("layers", "error"),
    [(nnb.Dense, TypeError), ([nnb.Dense], TypeError), ("Dense", TypeError), (None, TypeError),
     ([nnb.Dense(2), None], TypeError), ([[nnb.Dense(2)]], TypeError), (3, TypeError)],
)  # fmt: skip
def test_what_are_no_layers_is_refused(layers, error):
    with pytest.raises(error, match="layer"):
        nnb.Network(layers)


def test_a_single_layer_and_no_layer_are_networks(backend):
    one = nnb.Network(nnb.Dense(2), backend=backend)
    assert list(flatten(one.build(3).params)) == ["0.weight", "0.bias"]
    none = nnb.Network([], backend=backend)
    assert_equal(host(backend, none.predict(X)), X.astype(np.float32))
    assert none.output_shape == (3,)


def test_initial_weights_depend_on_the_place_and_the_seed_only():
    """Not on what the layers before have drawn."""
    plain = nnb.Network([nnb.Dense(4), nnb.Dense(4)], input_shape=4)
    other = nnb.Network([nnb.Dense(4, bias=False), nnb.Dense(4)], input_shape=4)
    assert_equal(weights(plain)["1.weight"], weights(other)["1.weight"])
    assert (weights(plain)["0.weight"] != weights(plain)["1.weight"]).all()
    assert (weights(network(seed=1))["0.weight"] != weights(network())["0.weight"]).all()


# ------------------------------------------------------------------------------------- passes


@each([*LAYERS, *STATEFUL_LAYERS])
def test_backward_is_public_and_nested_as_the_parameters(case, backend):
    net = nnb.Network(case.thing, backend=backend, input_shape=case.shape)
    x = case.inputs(2)
    y, backward = net.forward(x, training=True)
    dx, grads = backward(np.ones(tuple(y.shape)))
    gradients_of_numbers(x, dx)
    assert flatten(grads).keys() == flatten(net.params).keys()
    none, _ = backward(np.ones(tuple(y.shape)), input_grad=False)
    assert none is None or isinstance(case.thing, nnb.Dropout | nnb.Flatten)


def test_a_research_loop_of_ten_lines_learns_what_fit_does(backend64):
    net, twin = (nnb.Network([nnb.Dense(4, "tanh"), nnb.Dense(1)], backend=backend64, input_shape=3)
                 for _ in range(2))  # fmt: skip
    target = rows((6, 1), 1)
    net.load_state_dict(net.state_dict())  # arrays that the optimizer may consume
    optimizer = nnb.Adam(0.01)
    state = optimizer.init(net.params)
    for _ in range(20):
        y, backward = net.forward(X, training=True)
        _, dy = nnb.losses.mse(y, backend64.asarray(target))
        _, grads = backward(dy)
        net.params, state = optimizer.update(net.params, grads, state)
    twin.fit(X, target, optimizer=nnb.Adam(0.01), epochs=20, batch_size=None)
    assert_close(weights(net), weights(twin), 1e-10)


def test_a_backward_pass_takes_the_shape_of_the_output_only(backend):
    _, backward = network(backend).forward(X)
    with pytest.raises(ValueError, match=r"dy must have the output's shape \(6, 2\), got \(6, 1\)"):
        backward(np.ones((6, 1)))


def test_each_training_pass_has_a_new_mask_unless_its_step_is_given(backend):
    net = nnb.Network([nnb.Dropout(0.5)], backend=backend)

    def mask(**given):
        return host(backend, net(np.ones((5, 8)), training=True, **given)[0])

    first, second = mask(), mask()
    assert (first != second).any()
    assert_equal(mask(step=0), first)
    assert_equal(mask(step=1), second)
    assert_equal(host(backend, net(np.ones((5, 8)))[0]), np.ones((5, 8), np.float32))


@pytest.mark.parametrize("batch_size", [1, 4, 6, 100])
def test_predictions_do_not_depend_on_the_batch_size(batch_size, backend):
    net = network(backend)
    expected = host(backend, net.forward(X)[0])
    found = net.predict(X, batch_size=batch_size)
    assert found.dtype == backend.dtype
    assert_close(host(backend, found), expected, 1e-6)
    np.testing.assert_allclose(net.to_numpy(found), expected, atol=1e-6)


def test_results_are_the_backends_own_arrays(backend):
    net = network(backend)
    assert type(net.predict(X)) is type(backend.asarray(X))
    assert isinstance(net.to_numpy(net.predict(X)), np.ndarray)


@pytest.mark.parametrize("size", [0, -1, 1.5, None, True])
def test_a_batch_size_below_one_is_refused(size):
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1"):
        network().predict(X, batch_size=size)


def test_the_users_arrays_are_never_changed(backend):
    given = {"x": X.astype(np.float32), "y": np.eye(2, dtype=np.float32)[[0, 1] * 3],
             "w": np.ones(6, np.float32)}  # fmt: skip
    before = {name: array.copy() for name, array in given.items()}
    net = network(backend)
    for _ in range(2):
        net.fit(given["x"], given["y"], sample_weight=given["w"], epochs=2,
                loss="softmax_cross_entropy", metrics=["accuracy"], validation_split=0.2)  # fmt: skip
        net.partial_fit(given["x"], given["y"], sample_weight=given["w"])
    y, backward = net.forward(given["x"], training=True)
    backward(given["y"])
    net.predict(given["x"])
    net.evaluate(given["x"], given["y"], loss="mse")
    assert_equal(given, before)
    assert y is not None


# ------------------------------------------------------------------------------------- parameters


def test_a_state_dict_is_a_copy_by_dotted_name(backend):
    net = network(backend)
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    before = host(backend, state)
    net.fit(X, np.eye(2)[[0, 1] * 3], epochs=2)
    assert_equal(host(backend, state), before)
    learned = weights(net)
    assert (learned["0.weight"] != before["0.weight"]).any()
    assert net.load_state_dict(state) is net
    assert_equal(weights(net), before)
    net.partial_fit(X, np.eye(2)[[0, 1] * 3])
    assert_equal(host(backend, state), before)


@pytest.mark.parametrize("kind", ["lists", "float64", "torch", "jax", "readonly"])
def test_a_state_may_be_of_any_arrays(kind, backend):
    values = {name: v.astype(np.float64) for name, v in weights(network(seed=3)).items()}
    state = dict(values)
    if kind == "lists":
        state = {name: v.tolist() for name, v in values.items()}
    elif kind == "torch":
        state = {
            n: pytest.importorskip("torch").tensor(v, requires_grad=True) for n, v in values.items()
        }
    elif kind == "jax":
        state = {n: pytest.importorskip("jax").numpy.asarray(v) for n, v in values.items()}
    elif kind == "readonly":
        for v in values.values():
            v.flags.writeable = False
    net = network(backend).load_state_dict(state)
    assert_equal(weights(net), weights(network(seed=3)))
    net.partial_fit(X, np.eye(2)[[0, 1] * 3])
    if kind in ("float64", "readonly"):
        assert_equal(values, {n: v.astype(np.float64) for n, v in weights(network(seed=3)).items()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("0.bias"), "missing: 0.bias"),
        (lambda s: s.update(wieght=1), "unknown: wieght"),
        (lambda s: s.update({"0.wieght": s.pop("0.weight")}), r"did you mean 0\.weight"),
        (
            lambda s: s.update({"2.bias": np.zeros(3)}),
            r"2\.bias must have shape \(2,\), got \(3,\)",
        ),
        (lambda s: s.update({"2.bias": np.zeros((2, 1))}), r"2\.bias"),
        (lambda s: s.update({"2.bias": 0.0}), r"2\.bias"),
        (lambda s: s.clear(), "missing"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, words, backend):
    net = network(backend)
    before = weights(net)
    state = {name: v + 1 for name, v in before.items()}
    change(state)
    with pytest.raises(ValueError, match=words):
        net.load_state_dict(state)
    assert_equal(weights(net), before)


def test_a_state_of_no_numbers_names_the_parameter(backend):
    state = weights(network()) | {"0.bias": ["a", "b", "c", "d"]}
    with pytest.raises(TypeError, match=r"0\.bias"):
        network(backend).load_state_dict(state)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_state_that_nothing_can_start_from_changes_nothing(bad, backend):
    net = network(backend)
    before = weights(net)
    with pytest.raises(ValueError, match=r"2\.bias holds NaN or infinite"):
        net.load_state_dict(before | {"2.bias": np.asarray([0.0, bad])})
    assert_equal(weights(net), before)


LEFT_ALONE = [
    [nnb.Flatten()],
    [nnb.Activation("identity")],
    [nnb.Dropout(0.5), nnb.GaussianNoise(1.0)],
    [nnb.Dense(3), nnb.Flatten()],
    [nnb.Sequential([]), nnb.AlphaDropout(0.1)],
]


@pytest.mark.parametrize("layers", LEFT_ALONE, ids=repr)
def test_predictions_share_no_memory_with_what_was_given(layers, backend):
    net = nnb.Network(layers, backend=backend, input_shape=3)
    dtype = backend.dtype_name
    given = np.ones((4, 3), dtype=dtype)
    own = backend.asarray(np.ones((4, 3)))
    for x in (given, own):
        for _ in range(4):  # also when it is played from a recording
            y = net.predict(x)
            if isinstance(y, np.ndarray) and y.flags.writeable:
                y[...] = 7.0
    assert (given == 1.0).all()
    assert (host(backend, own) == 1.0).all()


# ------------------------------------------------------------------------------------- moving


def test_a_network_moves_between_backends_as_a_copy(backend):
    net = network()
    net.metadata["units"] = "points"
    net.fit(X, np.eye(2)[[0, 1] * 3], epochs=2, batch_size=2)
    moved = net.to(backend)
    assert moved.backend == backend
    assert moved.metadata == net.metadata
    assert_equal(weights(moved), weights(net))
    moved.partial_fit(X, np.eye(2)[[0, 1] * 3])
    assert (weights(moved)["0.weight"] != weights(net)["0.weight"]).any()
    back = moved.to("numpy")
    assert back.backend == net.backend
    assert_equal(weights(back), weights(moved))


def test_a_moved_network_learns_on_as_the_first_would(backend64):
    """Orders and dropout masks go on where they were."""
    target = np.eye(2)[[0, 1] * 3]
    net = network("numpy", dtype="float64")
    net.fit(X, target, epochs=3, batch_size=2)
    moved = net.to(backend64)
    for each_net in (net, moved):
        each_net.fit(X, target, epochs=3, batch_size=2)
    assert_close(weights(moved), weights(net), 1e-10)


def test_a_move_may_change_the_dtype(backend64):
    net = network(backend64)
    narrow = net.to(dtype="float32")
    assert narrow.predict(X).dtype == backend64.xp.float32
    assert narrow.to(dtype="float64").predict(X).dtype == backend64.xp.float64
    assert net.to().backend == net.backend
    assert network("numpy").to(backend64).backend == backend64  # the dtype of the backend given


def test_metadata_of_a_copy_is_its_own():
    net = network()
    net.metadata = {"classes": ["a"]}
    moved = net.to("numpy")
    moved.metadata["classes"].append("b")
    assert net.metadata == {"classes": ["a"]}


def test_an_unbuilt_network_moves_too(backend):
    moved = network(input_shape=None).to(backend)
    assert moved.input_shape is None
    assert_equal(weights(moved.build(3)), weights(network()))


# ------------------------------------------------------------------------------------- in words


def test_a_summary_is_a_table_of_layers_shapes_and_parameters(backend):
    lines = network(backend).summary().splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == ["0", "1", "2"]
    assert "Dense(4, relu)" in lines[1]
    assert lines[0].split() == ["layer", "output", "parameters", "multiply-adds", "activations"]
    assert lines[1].split()[3:] == ["(4,)", "16", "12", "16", "bytes"]
    assert "(4,)" in lines[2]
    assert lines[3].split()[3:] == ["(2,)", "10", "8", "8", "bytes"]
    assert lines[4].startswith(
        "26 parameters, 20 multiply-adds and 40 bytes of activations a row, "
    )
    assert ", input (3,), " in lines[4]
    assert backend.name in lines[4]


@each([*LAYERS, *STATEFUL_LAYERS])
def test_every_layer_has_a_line_in_a_summary(case):
    net = nnb.Network([case.thing])
    assert "not built" in net.summary()
    net.build(case.shape)
    total = sum(v.size for v in flatten(net.params).values())
    assert f"{total:,} parameters" in net.summary()
    assert type(case.thing).__name__ in net.summary() or isinstance(case.thing, nnb.Sequential)


def test_a_large_network_is_described_without_being_drawn():
    net = nnb.Network([nnb.Dense(10**6), nnb.Dense(10**6)])
    net.input_shape = (10**6,)
    assert "(1000000,)" in net.summary()


def test_a_network_says_what_it_is():
    assert repr(network()) == (
        "Network([Dense(4, relu), Dropout(0.25), Dense(2, softmax)], backend='numpy', "
        "input_shape=(3,))"
    )


# ------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_network_is_copied_and_pickled_whatever_it_was_used_for(backend, copied):
    net = network(backend)
    net.fit(X, np.ones((6, 2)), optimizer=nnb.optimizers.EMA(nnb.Adam()), metrics=["rmse"])
    net.partial_fit(X, np.ones((6, 2)))
    expected = host(backend, {"y": net.predict(X)})
    other = copied(net)
    assert_equal(weights(other), weights(net))
    assert_equal(host(backend, {"y": other.predict(X)}), expected)
    assert other.trained == net.trained
    assert other.evaluate(X, np.ones((6, 2))) == net.evaluate(X, np.ones((6, 2)))
    other.fit(X, np.ones((6, 2)))
    assert_equal(host(backend, {"y": net.predict(X)}), expected)
    same, compared = copied(net), copied(net)
    for one in (same, compared):
        one.fit(X, np.ones((6, 2)), epochs=2)
    assert_equal(weights(same), weights(compared))


def test_a_network_that_is_not_built_and_a_closed_one_are_copied_too(backend):
    other = pickle.loads(pickle.dumps(network(backend, input_shape=None)))
    assert other.build(3).input_shape == (3,)
    net = network(backend)
    net.close()
    with pytest.raises(ValueError, match="closed"):
        copy.deepcopy(net).predict(X)


# ------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("layer", "hint"),
    [("relu", r"as a layer that is Activation\('relu'\)"),
     (nnb.activations.LeakyReLU(0.2), r"Activation\(LeakyReLU\(slope=0.2\)\)"),
     (3, r"that many outputs are Dense\(3\)"),
     (nnb.Dense, r"the class Dense; write Dense\(\.\.\.\)")],
)  # fmt: skip
def test_what_was_meant_by_something_that_is_no_layer_is_said(layer, hint):
    with pytest.raises(TypeError, match=hint):
        nnb.Network([nnb.Dense(2), layer])


@pytest.mark.parametrize(
    ("given", "hint"),
    [({"optimizer": nnb.Adam}, r"write Adam\(\.\.\.\)"),
     ({"loss": nnb.losses.Huber}, r"write Huber\(\.\.\.\)"),
     ({"callbacks": [nnb.callbacks.EarlyStopping]}, r"write EarlyStopping\(\.\.\.\)")],
)  # fmt: skip
def test_a_class_in_place_of_its_object_is_named(given, hint):
    with pytest.raises(TypeError, match=hint):
        network().fit(X, np.ones((6, 2)), **given)


def test_no_callbacks_and_no_metrics_may_be_none():
    assert len(network().fit(X, np.ones((6, 2)), callbacks=None, metrics=None)) == 1


def one_of_its_own(init=None, forward=None):
    """Return a network with a layer whose functions return what is given."""

    @dataclass(frozen=True)
    class Own:
        def init(self, input_shape, rng):
            return ({}, input_shape) if init is None else init

        def forward(self, params, x, ctx):
            return forward(x)

    return nnb.Network([nnb.Dense(2), Own(), nnb.Dense(2)])


@pytest.mark.parametrize(
    ("layer", "said"),
    [({"init": {}}, r"layer 1 \(Own\): init returns \(params, output_shape\); got dict"),
     ({"forward": lambda x: x}, r"layer 1 \(Own\): forward returns \(y, backward\); got ndarray"),
     ({"forward": lambda x: (x, lambda dy, input_grad: dy)},
      r"layer 1 \(Own\): its backward pass returns \(dx, grads\); got ndarray")],
)  # fmt: skip
def test_a_layer_that_breaks_its_contract_is_named(layer, said):
    with pytest.raises(TypeError, match=said):
        one_of_its_own(**layer).fit(X, np.ones((6, 2)))


def no_pair(prediction, target, sample_weight=None):
    return ((prediction - target) ** 2).mean()


def wrong_gradient(prediction, target, sample_weight=None):
    return ((prediction - target) ** 2).mean(), (prediction - target)[:3]


@pytest.mark.parametrize(
    ("loss", "error", "said"),
    [(no_pair, TypeError, r"\(value, dy\); no_pair returned"),
     (wrong_gradient, ValueError, r"wrong_gradient returns must have .* \(6, 2\), got \(3, 2\)")],
)  # fmt: skip
def test_a_loss_that_breaks_its_contract_is_named(loss, error, said):
    with pytest.raises(error, match=said):
        network().fit(X, np.ones((6, 2)), loss=loss)
    with pytest.raises(TypeError, match=r"\(value, dy\); no_pair returned"):
        network().fit(X, np.ones((6, 2)), loss=no_pair, accumulate=2)


def test_a_plain_function_is_no_activation():
    with pytest.raises(TypeError, match=r"is a plain function\. Those with a name: celu, elu, "):
        nnb.Dense(3, activation=np.tanh)


def test_predictions_for_rows_like_the_last_are_checked_as_the_first(backend):
    net = nnb.Network([nnb.Dense(3, "relu"), nnb.Dense(2)], backend=backend, input_shape=4)
    x = backend.asarray(np.linspace(-1.0, 1.0, 8).reshape(2, 4))
    expected = host(backend, {"y": net.predict(x)})
    for _ in range(4):
        assert_equal(host(backend, {"y": net.predict(x)}), expected)
    net.load_state_dict({name: -1.0 * p for name, p in net.state_dict().items()})
    other = nnb.Network(net.layers.layers, backend=backend, input_shape=4)
    other.load_state_dict(net.state_dict())
    assert_equal(host(backend, {"y": net.predict(x)}), host(backend, {"y": other.predict(x)}))
    with pytest.raises(ValueError, match="not finite"):
        net.predict(x * float("nan"))
    with pytest.raises(ValueError, match="built for"):
        net.predict(x[:, :3])
