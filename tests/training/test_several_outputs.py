"""Losses, weights, metrics and history of networks with several outputs."""

import dataclasses
import json

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend import losses
from nnbackend.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping, JSONLines
from nnbackend.core.registry import describe, rebuild
from nnbackend.errors import ResumeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(44, 3))
Y = {"price": X[:, :1] * 2.0 + X[:, 1:2], "kind": (X[:, 1] > 0) + 1 * (X[:, 2] > 0)}
LOSS = {"price": "mse", "kind": "softmax_cross_entropy"}
WEIGHTS = {"kind": 0.5}
METRICS = {"price": ["mae"], "kind": ["accuracy", "log_loss"]}
TASK = {"loss": LOSS, "loss_weights": WEIGHTS, "metrics": METRICS, "batch_size": 16, "verbose": 0}
ROWS = RNG.uniform(0.2, 2.0, size=44)


def graph(ending=None, outputs=None):
    nodes = {
        "hidden": (nnb.Dense(6, activation="tanh"), "x"),
        "p": (nnb.Dense(1), "hidden"),
        "k": (nnb.Dense(3, activation=ending), "hidden"),
    }
    return nnb.Graph("x", nodes, outputs or {"price": "p", "kind": "k"})


def make(backend, ending=None, outputs=None, **given):
    given.setdefault("dtype", "float64")
    return nnb.Network([graph(ending, outputs)], backend=backend, seed=3, **given)


def by_hand(outputs, targets, weight=None):
    """The same loss as a user writes it, of all outputs at once."""
    extra = () if weight is None else (weight,)
    p, dp = losses.mse(outputs["price"], targets["price"], *extra)
    k, dk = losses.softmax_cross_entropy(outputs["kind"], targets["kind"], *extra)
    return p + 0.5 * k, {"price": dp, "kind": 0.5 * dk}


def one_hot():
    return {"price": Y["price"], "kind": np.eye(3)[Y["kind"]]}


def same(a, b, tolerance=1e-12):
    for name in a:
        if name not in ("seconds", "waiting"):
            np.testing.assert_allclose(a[name], b[name], rtol=tolerance, atol=tolerance)


def params(net):
    return {name: net.to_numpy(array) for name, array in net.state_dict().items()}


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"sample_weight": ROWS}])
def test_it_is_the_sum_by_hand_and_the_columns_are_means_over_rows(backend64, options):
    given = {"optimizer": nnb.SGD(0.1), "epochs": 3, **options}
    a, b = make(backend64), make(backend64)
    history = a.fit(
        X, Y, validation_data=(X[:9], {n: y[:9] for n, y in Y.items()}), **TASK, **given
    )
    other = b.fit(X, one_hot(), loss=by_hand, batch_size=16, verbose=0, **given)
    np.testing.assert_allclose(history["loss"], other["loss"], rtol=1e-12)
    same(params(a), params(b))
    for prefix in ("", "validation_"):
        total = np.asarray(history[f"{prefix}price_loss"]) + 0.5 * np.asarray(
            history[f"{prefix}kind_loss"]
        )
        np.testing.assert_allclose(history[f"{prefix}loss"], total, rtol=1e-12)
    np.testing.assert_allclose(history["kind_log_loss"], history["kind_loss"], rtol=1e-12)
    found = a.evaluate(X, Y)
    assert list(found) == [
        "loss", "price_loss", "kind_loss", "price_mae", "kind_accuracy", "kind_log_loss",
    ]  # fmt: skip
    outputs = {n: a.to_numpy(array) for n, array in a.predict(X).items()}
    error = outputs["price"] - Y["price"]
    assert found["price_loss"] == pytest.approx((error**2).mean(), rel=1e-12)
    assert found["price_mae"] == pytest.approx(abs(error).mean(), rel=1e-12)
    right = (outputs["kind"].argmax(axis=1) == Y["kind"]).mean()
    assert found["kind_accuracy"] == pytest.approx(right, rel=1e-12)
    weighted = a.evaluate(X, Y, sample_weight=ROWS)
    mean = (error[:, 0] ** 2 * ROWS).sum() / ROWS.sum()
    assert weighted["price_loss"] == pytest.approx(mean, rel=1e-12)


def test_a_softmax_at_the_end_of_one_output_is_contained_in_its_loss(backend64):
    a, b = make(backend64), make(backend64, "softmax")
    histories = [net.fit(X, Y, epochs=3, **TASK) for net in (a, b)]
    same(dict(histories[0]), dict(histories[1]), 1e-10)
    same(params(a), params(b), 1e-10)
    logits, chances = (net.to_numpy(net.predict(X)["kind"]) for net in (a, b))
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-12)
    e = np.exp(logits)
    np.testing.assert_allclose(chances, e / e.sum(axis=1, keepdims=True), rtol=1e-10)
    same(a.evaluate(X, Y), b.evaluate(X, Y), 1e-10)


def test_an_ending_that_the_loss_does_not_go_with_is_refused():
    words = r"the output 'kind'.*hinge goes with no output activation"
    with pytest.raises(ValueError, match=words):
        make("numpy", "softmax").fit(X, Y, loss={"price": "mse", "kind": "categorical_hinge"})


class Ends:
    """A layer with two outputs of which one is, as it says, a softmax."""

    output_activations = {"b": "softmax"}

    def init(self, input_shape, rng):
        return {}, {"a": input_shape, "b": input_shape}

    def forward(self, params, x, ctx):
        return {"a": x, "b": x}, lambda dy, input_grad=True: (dy["a"] + dy["b"], {})


def test_a_layer_says_the_activations_of_its_outputs():
    net = nnb.Network([nnb.Dense(3), Ends()])
    loss = {"a": "mse", "b": "softmax_cross_entropy"}
    with pytest.raises(ValueError, match=r"the output 'b'.* softmax .*inside Ends"):
        net.fit(X, {"a": X, "b": Y["kind"]}, loss=loss)


def test_torch_gives_the_same_gradients():
    torch = pytest.importorskip("torch")
    net = make("numpy")
    net.build(3)
    passages = nnb.observe(net, X, Y, loss=losses.PerOutput(LOSS, WEIGHTS))
    own = {n: torch.tensor(p, requires_grad=True) for n, p in params(net).items()}
    x = torch.tensor(X)
    hidden = torch.tanh(x @ own["0.hidden.weight"] + own["0.hidden.bias"])
    price = hidden @ own["0.p.weight"] + own["0.p.bias"]
    kind = hidden @ own["0.k.weight"] + own["0.k.bias"]
    f = torch.nn.functional
    loss = f.mse_loss(price, torch.tensor(Y["price"])) + 0.5 * f.cross_entropy(
        kind, torch.tensor(Y["kind"])
    )
    loss.backward()
    seen = {p.path: p.grads for p in passages}
    for layer in ("hidden", "p", "k"):
        for name, gradient in seen[f"0.{layer}"].items():
            np.testing.assert_allclose(gradient, own[f"0.{layer}.{name}"].grad, rtol=1e-10)


def test_a_mapping_is_observed_and_checked():
    net = make("numpy")
    net.build(3)
    passages = nnb.observe(net, X, Y, loss=LOSS)
    assert {"price", "kind"} in [set(p.dy) for p in passages if isinstance(p.dy, dict)]
    prediction = {"price": X[:4, :1], "kind": X[:4]}
    target = {"price": X[4:8, :1], "kind": Y["kind"][:4]}
    assert nnb.testing.check_loss(losses.PerOutput(LOSS, WEIGHTS), prediction, target) < 1e-7


def test_tuples_take_losses_weights_and_metrics_in_their_order(backend64):
    named, ordered = make(backend64), make(backend64, outputs=("p", "k"))
    h = named.fit(X, Y, epochs=2, **TASK)
    task = {"loss": ["mse", "softmax_cross_entropy"], "loss_weights": [1.0, 0.5]}
    task |= {"metrics": (["mae"], ["accuracy"]), "batch_size": 16, "verbose": 0}
    other = ordered.fit(X, (Y["price"], Y["kind"]), epochs=2, **task)
    np.testing.assert_allclose(h["loss"], other["loss"], rtol=1e-12)
    np.testing.assert_allclose(h["kind_loss"], other["k_loss"], rtol=1e-12)
    np.testing.assert_allclose(h["kind_accuracy"], other["k_accuracy"], rtol=1e-12)
    by_name = make(backend64, outputs=("p", "k"))
    by_name.fit(
        X, (Y["price"], Y["kind"]), loss={"k": "softmax_cross_entropy", "p": "mse"},
        loss_weights={"k": 0.5}, epochs=2, batch_size=16, verbose=0,
    )  # fmt: skip
    same(params(ordered), params(by_name))


def test_one_loss_is_that_of_each_output():
    outputs = {"a": "p", "b": "k"}
    y = {"a": Y["price"], "b": X}
    nets = make("numpy", outputs=outputs), make("numpy", outputs=outputs)
    nets[0].fit(X, y, loss="mae", epochs=2, verbose=0)
    nets[1].fit(X, y, loss={"b": "mae", "a": "mae"}, epochs=2, verbose=0)
    same(params(nets[0]), params(nets[1]), 0.0)


def test_streams_partial_fits_and_folds_take_them(backend64):
    whole, stream, part = make(backend64), make(backend64), make(backend64)
    h = whole.fit(X, Y, epochs=2, shuffle=False, **TASK)
    task = {k: v for k, v in TASK.items() if k != "batch_size"}

    def batches():
        for i in range(0, 44, 16):
            yield X[i : i + 16], {n: y[i : i + 16] for n, y in Y.items()}

    same(dict(h), dict(stream.fit(batches, epochs=2, **task)), 1e-10)
    for i in range(2):
        value = part.partial_fit(X, Y, loss=LOSS, loss_weights=WEIGHTS, batch_size=16)
        assert value == pytest.approx(h["loss"][i], rel=1e-10)
    same(params(whole), params(part), 1e-10)
    folds = nnb.data.cross_validate(make(backend64), X, Y, folds=2, epochs=1, **TASK)
    assert {"price_loss", "kind_accuracy"} <= folds.mean.keys()


class Stop(Callback):
    def on_batch_end(self, run):
        if run.epoch == 2 and run.step >= 1:
            run.stop("enough", at_once=True)


def test_callbacks_and_files_see_the_columns_and_a_run_is_resumed(backend64, tmp_path):
    rest = {"validation_split": 0.25, **TASK}
    logs = [CSVLog(tmp_path / "a.csv"), JSONLines(tmp_path / "a.jsonl")]
    whole = make(backend64, "softmax")
    history = whole.fit(X, Y, epochs=4, callbacks=logs, **rest)
    assert "validation_price_loss" in (tmp_path / "a.csv").read_text().splitlines()[0]
    line = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[-1])
    assert line["kind_accuracy"] == history["kind_accuracy"][-1]
    first = make(backend64, "softmax")
    first.fit(X, Y, epochs=2, callbacks=[Checkpoint(tmp_path / "run")], **rest)
    again = make(backend64, "softmax")
    resumed = again.fit(X, Y, epochs=4, resume=tmp_path / "run", **rest)
    same(dict(history), dict(resumed), 0.0)
    same(params(whole), params(again), 0.0)
    for change in ({"loss_weights": {"kind": 0.25}}, {"loss": {**LOSS, "price": "mae"}}):
        with pytest.raises(ResumeError, match="is of another run: loss"):
            make(backend64, "softmax").fit(
                X, Y, epochs=4, resume=tmp_path / "run", **(rest | change)
            )
    stopping = EarlyStopping("validation_kind_accuracy", patience=1)
    make(backend64).fit(X, Y, epochs=4, callbacks=[stopping], **rest)
    assert stopping.monitor.mode == "max"


def test_mixed_precision_trains_and_its_probabilities_are_of_float32():
    pytest.importorskip("torch")
    wide, half = (
        make("torch", "softmax", dtype=None),
        make("torch", "softmax", dtype=None, precision="bfloat16"),
    )
    for net in (wide, half):
        net.fit(X, Y, epochs=3, **TASK)
    assert half.evaluate(X, Y)["loss"] == pytest.approx(wide.evaluate(X, Y)["loss"], rel=0.05)
    sums = half.to_numpy(half.predict(X)["kind"]).sum(axis=1)
    np.testing.assert_allclose(sums, 1.0, rtol=1e-6)


def test_users_losses_and_metrics_go_with_the_librarys(backend64):
    def square(prediction, target, weight=None):
        return losses.mse(prediction, target, *(() if weight is None else (weight,)))

    a, b = make(backend64), make(backend64)
    task = TASK | {"loss": LOSS | {"price": square}}
    both = METRICS | {
        "largest": lambda outputs, targets: losses.mae(outputs["price"], targets["price"])[0]
    }
    h = a.fit(X, Y, epochs=2, **(task | {"metrics": both}))
    other = b.fit(X, Y, epochs=2, **TASK)
    assert h["largest"][0] > 0
    np.testing.assert_allclose(h["loss"], other["loss"], rtol=1e-12)
    same(params(a), params(b))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"loss": {"price": "mse"}}, ValueError, "'kind' is an output without a loss"),
        ({"loss": {"price": "mse", "kinds": "mse"}}, ValueError, "loss: unknown output 'kinds'.*'kind'"),
        ({"loss": {"price": "msee", "kind": "mse"}}, ValueError, r"loss.*'price'.*unknown loss 'msee'"),
        ({"loss": {"price": None, "kind": "mse"}}, TypeError, r"'price'.*a loss is a name"),
        ({"loss": ["mse", "mse"]}, ValueError, "loss must be a mapping by the names"),
        ({"loss_weights": {"prise": 1}}, ValueError, "loss_weights: unknown output 'prise'.*'price'"),
        ({"loss_weights": {"price": -1}}, ValueError, r"loss.*weights\['price'\] must be a number, 0"),
        ({"loss_weights": 3}, TypeError, "loss_weights must be a mapping by output"),
        ({"loss": by_hand}, ValueError, "loss_weights is for a loss by output"),
        ({"loss": losses.PerOutput(LOSS)}, ValueError, "PerOutput has its own weights"),
        ({"metrics": {"kinds": ["accuracy"]}}, ValueError, "metrics: unknown output 'kinds'.*'kind'"),
        ({"metrics": {"kind": ["acuracy"]}}, ValueError, "metrics: unknown metric 'acuracy'"),
        ({"metrics": ["mae"]}, ValueError, r"metrics: mae compares one array.*by output"),
        ({"class_weight": {0: 2.0}}, ValueError, "class_weight is for networks with one output"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_the_outputs_is_refused(change, error, words):
    net = make("numpy")
    with pytest.raises(error, match=words):
        net.fit(X, Y, **(TASK | change))


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ({**Y, "kind": Y["kind"] + 1}, r"y\['kind'\] has labels outside 0 ... 2"),
        ({**Y, "kind": Y["kind"] + 0.5}, r"y\['kind'\] must hold whole class numbers"),
        ({**Y, "price": X}, r"y\['price'\] must have shape \(44, 1\), got \(44, 3\)"),
        ({**Y, "price": Y["price"][:5]}, r"X and y\['price'\] must have the same length"),
        ({"price": Y["price"]}, r"takes y as a dictionary of \['price', 'kind'\]"),
        ((Y["price"], Y["kind"]), r"takes y as a dictionary of \['price', 'kind'\]"),
    ],
)
def test_the_targets_of_each_output_are_checked_by_its_loss(y, words):
    with pytest.raises(ValueError, match=words):
        make("numpy").fit(X, y, **TASK)


def test_networks_with_one_output_take_one_loss():
    net = nnb.Network([nnb.Dense(1)])
    for change in ({"loss": {"a": "mse"}}, {"loss_weights": [1.0]}):
        with pytest.raises(ValueError, match=r"(network|one) has one output"):
            net.fit(X, Y["price"], **change)


def test_the_loss_is_a_value_that_describes_itself():
    loss = losses.PerOutput(LOSS, WEIGHTS)
    assert loss == losses.PerOutput(LOSS, {"kind": 0.5, "price": 1.0})
    assert loss != losses.PerOutput(LOSS)
    assert hash(loss) == hash(dataclasses.replace(loss))
    assert rebuild(json.loads(json.dumps(describe(loss)))) == loss
    with pytest.raises(
        ValueError, match="prediction has the outputs 'price', and there are losses"
    ):
        loss({"price": X}, {"price": X})
    with pytest.raises(ValueError, match=r"the loss of the output 'kind'.*labels outside"):
        loss({"price": X, "kind": X}, {"price": X, "kind": Y["kind"] + 5})


@pytest.mark.parametrize("outputs", [("price", "kind"), {"price": "price", "kind": "kind"}])
def test_outputs_of_a_graph_have_targets_losses_and_metrics_by_name(outputs, backend):
    rng = np.random.default_rng(0)
    x = {"image": rng.normal(size=(24, 4, 4, 1)), "table": rng.normal(size=(24, 3))}
    y = {"kind": (x["table"][:, 0] > 0).astype(int), "price": x["table"][:, :1]}
    nodes = {
        "seen": (nnb.Sequential([nnb.Conv2D(2, 3), nnb.Flatten()]), "image"),
        "both": (nnb.Concatenate(), "seen", "table"),
        "price": (nnb.Dense(1), "both"),
        "kind": (nnb.Dense(2, activation="softmax"), "both"),
    }
    graph = nnb.Graph(inputs=("image", "table"), nodes=nodes, outputs=outputs)
    losses = {"price": "mse", "kind": "softmax_cross_entropy"}
    found = []
    for targets in (y, y if isinstance(outputs, dict) else (y["price"], y["kind"])):
        net = nnb.Network(graph, backend=backend, seed=0)
        history = net.fit(
            x, targets, loss=losses, loss_weights={"kind": 0.5}, metrics={"kind": ["accuracy"]},
            optimizer=nnb.Adam(0.05), epochs=8, batch_size=10, validation_data=(x, targets), verbose=0,
        )  # fmt: skip
        found.append(history)
        total = history["price_loss"][-1] + 0.5 * history["kind_loss"][-1]
        assert history["loss"][-1] == pytest.approx(total, rel=1e-5)
        assert history["validation_kind_accuracy"][-1] > 0.8
        assert history["validation_kind_loss"][-1] < history["validation_kind_loss"][0]
    assert found[0]["loss"] == found[1]["loss"]
