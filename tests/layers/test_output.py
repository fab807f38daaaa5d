"""The activation at the end of a network: found wherever it is, or refused with the reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from cases import rows

import nnbackend as nnb
from nnbackend import Activation, Dense, Dropout, Flatten, Layer, Residual, Sequential
from nnbackend.activations import Identity, ReLU, Softmax
from nnbackend.layers.output import output_activation, split_output_activation

X = rows((20, 4))
LABELS = np.random.default_rng(1).integers(0, 3, 20)
BITS = (LABELS == 1).astype(float)[:, None]


@dataclass(frozen=True)
class Wrap:
    """A composite of the user's."""

    inner: Layer

    def init(self, input_shape, rng):
        params, shape = self.inner.init(input_shape, rng.child("inner"))
        return {"inner": params}, shape

    def forward(self, params, x, ctx):
        y, inner_backward = self.inner.forward(params["inner"], x, ctx.child("inner"))

        def backward(dy, input_grad=True):
            dx, grads = inner_backward(dy, input_grad=input_grad)
            return dx, {"inner": grads}

        return y, backward


@dataclass(frozen=True)
class Scores(Wrap):
    """A composite that says that it ends in no activation."""

    output_activation = None


class Doubled(Sequential):
    """A Sequential that does something else than its layers."""

    def forward(self, params, x, ctx):
        y, inner_backward = super().forward(params, x, ctx)
        return 2.0 * y, lambda dy, input_grad=True: inner_backward(2.0 * dy, input_grad=input_grad)


class DoubledDense(Dense):
    """A subclass with a forward pass of its own."""

    def forward(self, params, x, ctx):
        y, dense_backward = super().forward(params, x, ctx)
        return 2.0 * y, lambda dy, input_grad=True: dense_backward(2.0 * dy, input_grad=input_grad)


class SameDense(Dense):
    """A subclass that changes nothing."""


SEEN = {
    "empty subclass": lambda last: [
        SameDense(last.out_features, last.activation) if isinstance(last, Dense) else last
    ],
    "nested": lambda last: [Sequential([last])],
    "nested twice": lambda last: [Sequential([Sequential([last])])],
    "before an empty one": lambda last: [last, Sequential([])],
    "before a nested empty one": lambda last: [Sequential([last, Sequential([Sequential([])])])],
    "before the identity": lambda last: [last, Activation("identity")],
    "before no dropout": lambda last: [last, Sequential([Dropout(0.0), nnb.AlphaDropout(0.0)])],
    "before no dropped path": lambda last: [last, nnb.DropPath(0.0)],
    "before no noise": lambda last: [Sequential([last]), nnb.GaussianNoise(0.0)],
}
LOSSES = {
    "softmax_cross_entropy": (3, "softmax", LABELS, ["accuracy", "log_loss"]),
    "softmax_focal": (3, "softmax", LABELS, ["accuracy"]),
    "kl_divergence": (3, "softmax", np.eye(3)[LABELS], []),
    "binary_cross_entropy": (1, "sigmoid", BITS, ["accuracy", "log_loss", "roc_auc"]),
    "binary_focal": (1, "sigmoid", BITS, ["accuracy"]),
    "poisson": (1, "exponential", 3 * BITS, []),
}


def network(layers, params=None, **options):
    """Return a network, with given values for its parameters."""
    net = nnb.Network(layers, dtype="float64", input_shape=4, **options)
    if params is not None:
        net.load_state_dict(dict(zip(net.state_dict(), params.values(), strict=True)))
    return net


@pytest.mark.parametrize("around", SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("as_layer", [False, True])
def test_an_ending_is_seen_wherever_it_is(loss, around, as_layer):
    outputs, activation, y, metrics = LOSSES[loss]
    last = Dense(outputs, activation)
    flat = network([Dense(5, "tanh"), last])
    if as_layer:
        last = Sequential([Dense(outputs), Activation(activation)])
    net = network([Dense(5, "tanh"), *around(last)], flat.state_dict())
    np.testing.assert_array_equal(net.predict(X), flat.predict(X))
    expected = flat.evaluate(X, y, loss=loss, metrics=metrics)
    assert net.evaluate(X, y, loss=loss, metrics=metrics) == pytest.approx(expected, rel=1e-12)
    options = {"loss": loss, "metrics": metrics, "epochs": 2, "batch_size": 8, "verbose": 0}
    expected, history = flat.fit(X, y, **options), net.fit(X, y, **options)
    for name in expected:
        if name != "seconds":
            assert history[name] == pytest.approx(expected[name], rel=1e-9), name
    for value, wanted in zip(net.state_dict().values(), flat.state_dict().values(), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9)


KEPT = {
    "followed by Dropout": lambda last: [last, Dropout(0.5)],
    "followed by AlphaDropout": lambda last: [Sequential([last]), nnb.AlphaDropout(0.5)],
    "followed by GaussianNoise": lambda last: [last, Sequential([nnb.GaussianNoise(0.1)])],
    "followed by DropPath": lambda last: [last, nnb.DropPath(0.5)],
    "followed by Flatten": lambda last: [last, Flatten()],
    "inside Residual": lambda last: [Residual([last])],
    "inside Wrap": lambda last: [Wrap(Sequential([last]))],
    "inside DoubledDense": lambda last: [DoubledDense(3, last.activation)],
    "inside Doubled": lambda last: [Sequential([Doubled([last])])],
    "inside Parallel": lambda last: [nnb.Parallel([last, Dense(3)], mode="add")],
    "inside Parallel ": lambda last: [nnb.Parallel([Dense(2, "tanh"), last])],
    "inside Freeze": lambda last: [nnb.Freeze(nnb.Parallel([last, Dense(3)], mode="average"))],
    "followed by Freeze": lambda last: [last, nnb.Freeze(Dropout(0.5))],
    "followed by Checkpoint": lambda last: [last, nnb.Checkpoint([Dropout(0.5)])],
    "followed by Parallel": lambda last: [
        last,
        nnb.Parallel([Dropout(0.5), Dropout(0.1)], mode="average"),
    ],
    "followed by the node end": lambda last: [
        nnb.Graph("x", {"two": (last, "x"), "end": (nnb.Split((2, 1)), "two")}, "end.0")
    ],
}


@pytest.mark.parametrize("where", KEPT)
@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        ("softmax_cross_entropy", "softmax"),
        ("softmax_cross_entropy", "sigmoid"),
        ("binary_cross_entropy", "sigmoid"),
        ("hinge", "sigmoid"),
    ],
)
def test_an_ending_that_must_stay_is_refused_with_the_reason(where, loss, activation):
    net = network([Dense(3), *KEPT[where](Dense(3, activation))])
    count = net.output_shape[0]
    y = LABELS % count if loss.startswith("softmax") else np.eye(count)[LABELS % count]
    for work in (
        lambda: net.fit(X, y, loss=loss, verbose=0),
        lambda: net.evaluate(X, y, loss=loss),
    ):
        with pytest.raises(ValueError, match=f"{activation} at the end.*is {where.strip()}"):
            work()
    numbers = np.zeros((20, *net.output_shape))
    net.fit(X, numbers, loss="mse", epochs=1, verbose=0)  # takes any outputs


SPREAD = {
    "followed by Flatten": [Flatten()],
    "followed by GlobalAveragePool1D": [nnb.GlobalAveragePool1D()],
    "followed by GlobalMaxPool1D": [nnb.GlobalMaxPool1D()],
    "followed by Flatten ": [nnb.MaxPool1D(2), Flatten()],
    "followed by Flatten  ": [nnb.Crop1D(((0, 1),)), nnb.Upsample1D(1), Flatten()],
}


@pytest.mark.parametrize("where", SPREAD)
def test_the_activation_of_a_convolution_must_not_be_taken_for_logits(where):
    layers = [nnb.Reshape((2, 2)), nnb.Conv1D(3, 1, activation="softmax"), *SPREAD[where]]
    net = network(layers)
    labels = LABELS % net.output_shape[0]
    with pytest.raises(ValueError, match=f"softmax at the end.*is {where.strip()}"):
        net.fit(X, labels, loss="softmax_cross_entropy", verbose=0)


@pytest.mark.parametrize(
    ("activation", "loss", "channels"),
    [
        ("softmax", "softmax_cross_entropy", "last"),
        ("sigmoid", "binary_cross_entropy", "last"),
        ("sigmoid", "binary_cross_entropy", "first"),
    ],
)
def test_a_loss_takes_the_activation_of_a_last_convolution_off(activation, loss, channels):
    """As it does behind it, in a layer of its own."""
    reshape, kernel = nnb.Reshape((2, 2)), nnb.Conv1D(3, 1, channels=channels)
    apart = network([reshape, kernel, Activation(activation)])
    own = nnb.Conv1D(3, 1, activation=activation, channels=channels)
    net = network([reshape, own], apart.state_dict())
    y = LABELS[:, None] * np.array([1, 0])
    y = y if loss.startswith("softmax") else (np.zeros((20, *net.output_shape)) + 1.0)
    options = {"loss": loss, "epochs": 2, "batch_size": 8, "verbose": 0}
    expected, history = apart.fit(X, y, **options), net.fit(X, y, **options)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-12)
    np.testing.assert_allclose(net.predict(X), apart.predict(X), rtol=1e-12)


def test_a_softmax_over_channels_that_come_first_is_no_softmax_of_the_last_axis():
    net = network([nnb.Reshape((2, 2)), nnb.Conv1D(3, 1, activation="softmax", channels="first")])
    np.testing.assert_allclose(np.sum(net.predict(X), axis=1), 1.0)
    with pytest.raises(ValueError, match="not the last axis"):
        net.fit(X, np.zeros((20, 3), int), loss="softmax_cross_entropy", verbose=0)


@pytest.mark.parametrize(
    ("wrap", "where"),
    [
        (lambda split: [split], "followed by Split"),
        (lambda split: [graph_of(split)], "followed by Split"),
        (lambda split: [nnb.Freeze(split)], "followed by Freeze"),
        (lambda split: [nnb.Checkpoint([Activation("softmax"), split])], "inside Checkpoint"),
    ],
    ids=["alone", "in a graph", "in Freeze", "in Checkpoint"],
)
def test_the_parts_of_an_activation_are_no_logits(wrap, where):
    net = network([Dense(5, "softmax"), *wrap(nnb.Split((2, 3)))])
    with pytest.raises(ValueError, match=rf"softmax at the end.*is {where}"):
        net.fit(X, (LABELS % 2, LABELS), loss="softmax_cross_entropy", verbose=0)


@pytest.mark.parametrize("outputs", [("one", "two"), {"one": "one", "two": "two"}], ids=str)
def test_the_outputs_of_a_graph_inside_another_are_looked_at(outputs):
    inside = nnb.Graph("x", {"one": (Dense(3, "softmax"), "x"), "two": (Dense(3), "x")}, outputs)
    one, two = ("g.0", "g.1") if isinstance(outputs, tuple) else ("g.one", "g.two")
    several = network(nnb.Graph("x", {"g": (inside, "x")}, {"a": one, "b": two}))
    merged = nnb.Graph("x", {"g": (inside, "x"), "sum": (nnb.Add(), one, two)}, "sum")
    with pytest.raises(ValueError, match="in a part of the output of the node g"):
        several.fit(X, {"a": LABELS, "b": LABELS}, loss="softmax_cross_entropy", verbose=0)
    with pytest.raises(ValueError, match="followed by the node sum"):
        network(merged).fit(X, LABELS, loss="softmax_cross_entropy", verbose=0)


def graph_of(layer):
    return nnb.Graph("x", {"one": (Activation("softmax"), "x"), "end": (layer, "one")}, "end")


@pytest.mark.parametrize(
    "branches", [[Dense(3), Dense(3, "sigmoid")], [Dense(3, "sigmoid"), Dense(3)]]
)
def test_a_gate_of_logits_gives_logits(branches):
    net = network([nnb.Parallel(branches, mode="multiply")])
    net.fit(X, LABELS, loss="softmax_cross_entropy", epochs=1, verbose=0)


REFUSED = {
    "softmax_cross_entropy": ("sigmoid", "sparsemax", "hardsigmoid", "logsigmoid"),
    "softmax_focal": ("sparsemax",),
    "kl_divergence": ("sparsemax",),
    "binary_cross_entropy": ("softmax", "log_softmax", "sparsemax", "hardsigmoid", "logsigmoid"),
    "binary_focal": ("hardsigmoid",),
    "hinge": ("sigmoid", "log_softmax", "hardsigmoid", "logsigmoid"),
    "squared_hinge": ("sparsemax",),
    "categorical_hinge": ("softmax", "log_softmax", "sparsemax"),
    "poisson": ("relu6", "hardsigmoid", "sparsemax"),
}


@pytest.mark.parametrize(
    ("loss", "ending"), [(loss, ending) for loss, endings in REFUSED.items() for ending in endings]
)
@pytest.mark.parametrize("after", [[], [Dropout(0.5)]], ids=["last", "hidden"])
def test_a_loss_refuses_an_ending_that_gives_something_else(loss, ending, after):
    net = network([Dense(3, ending), *after])
    y = LABELS if loss.startswith(("softmax", "categorical")) else np.eye(3)[LABELS]
    words = f"the loss {loss} .*{ending}"
    with pytest.raises(ValueError, match=words):
        net.fit(X, y, loss=loss, verbose=0)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "softmax_focal", "kl_divergence"])
def test_log_softmax_gives_logits(loss):
    """The softmax of its outputs is that of what it was given, so that nothing differs but predict."""
    plain = network([Dense(5, "tanh"), Dense(3)])
    net = network([Dense(5, "tanh"), Dense(3, "log_softmax")], plain.state_dict())
    watched = ["accuracy", "log_loss", "roc_auc", "average_precision"]
    expected = plain.evaluate(X, LABELS, loss=loss, metrics=watched)
    assert net.evaluate(X, LABELS, loss=loss, metrics=watched) == pytest.approx(expected, rel=1e-9)
    options = {"loss": loss, "metrics": watched, "epochs": 3, "batch_size": 8, "verbose": 0}
    expected, history = plain.fit(X, LABELS, **options), net.fit(X, LABELS, **options)
    for name in {*expected} - {"seconds"}:
        assert history[name] == pytest.approx(expected[name], rel=1e-9), name
    z = plain.predict(X)
    logs = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(net.predict(X), logs, rtol=1e-7)


def likelihood(prediction, target):
    """The negative logarithm of the likelihood, of log-probabilities; a user's loss."""
    if prediction.shape[1] > 1:
        return -(prediction * target).sum() / len(target), -target / len(target)
    p = np.exp(prediction)
    dy = (p - target) / (1.0 - p) / len(target)
    return -(target * prediction + (1 - target) * np.log1p(-p)).mean(), dy


@pytest.mark.parametrize(
    ("ending", "outputs", "y", "usual"),
    [
        ("log_softmax", 3, np.eye(3)[LABELS], ("softmax", "softmax_cross_entropy")),
        ("logsigmoid", 1, BITS, ("sigmoid", "binary_cross_entropy")),
    ],
)
def test_metrics_read_log_probabilities_of_a_users_loss(ending, outputs, y, usual):
    watched = ["accuracy", "f1", "log_loss", "roc_auc"]
    expected_net = network([Dense(outputs, usual[0], initializer="normal")])
    net = network([Dense(outputs, ending)], expected_net.state_dict())
    expected = expected_net.evaluate(X, y, loss=usual[1], metrics=watched)
    assert net.evaluate(X, y, loss=likelihood, metrics=watched) == pytest.approx(expected)
    assert 0.0 < expected["accuracy"] < 1.0


def test_a_composite_may_say_that_its_outputs_are_logits():
    net = network([Scores(Dense(3, "softmax"))])
    z = net.predict(X)
    logits = z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))
    expected = -float(np.mean(logits[np.arange(20), LABELS]))
    found = net.evaluate(X, LABELS, loss="softmax_cross_entropy")["loss"]
    assert found == pytest.approx(expected)


def test_other_endings_of_a_composite_are_of_no_interest():
    net = network([Dense(4), Residual([Dense(4, "relu")])])
    net.fit(X, LABELS, loss="softmax_cross_entropy", epochs=1, verbose=0)


@pytest.mark.parametrize(
    ("layers", "activation"),
    [
        (Sequential([]), Identity()),
        (Sequential([Dense(3)]), Identity()),
        (Dense(3, "relu"), ReLU()),
        (Activation("relu"), ReLU()),
        (Sequential([Sequential([Dense(2, "softmax")]), Sequential([])]), Softmax()),
        (Residual([Dense(3, "softmax")]), Identity()),
        (Sequential([Dense(3, "softmax"), Dropout(0.5)]), Identity()),
    ],
)
def test_splitting_keeps_the_structure(layers, activation):
    body, function = split_output_activation(layers)
    assert function == activation
    if activation == Identity():
        assert body is layers
    else:
        assert output_activation(body) == (Identity(), None)
        assert type(body) is type(layers)
        assert len(getattr(body, "layers", ())) == len(getattr(layers, "layers", ()))


class Half(nnb.Activation):
    """An activation with a forward pass of its own."""

    def forward(self, params, x, ctx):
        y, backward = super().forward(params, x, ctx)
        return y * 0.5, lambda dy, input_grad=True: backward(dy * 0.5, input_grad=input_grad)


class SameSoftmax(type(nnb.activations.get("softmax"))):
    """A subclass that changes nothing."""


def test_an_activation_that_does_more_is_not_taken_off():
    net = nnb.Network([nnb.Dense(3), Half("softmax")], input_shape=2)
    with pytest.raises(ValueError, match="the softmax at the end of the network is inside Half"):
        net.evaluate(np.ones((4, 2)), np.zeros(4, int), loss="softmax_cross_entropy")


def test_an_empty_subclass_of_an_activation_is_that_activation():
    x, labels = np.ones((4, 2)), np.arange(4) % 3
    losses = []
    for activation in ("softmax", SameSoftmax()):
        net = nnb.Network([nnb.Dense(3, activation)], input_shape=2)
        losses.append(net.evaluate(x, labels, loss="softmax_cross_entropy")["loss"])
    assert losses[0] == losses[1]
