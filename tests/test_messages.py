"""Wrong arguments: the error is one of ours, and names the argument."""

from __future__ import annotations

import inspect
import io
import re
from typing import Any

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend import (
    activations,
    callbacks,
    constraints,
    data,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
    testing,
    transforms,
)


class Thing:
    """An object that is nothing we know."""

    def __repr__(self) -> str:
        return "<a thing>"


NOTHINGS = [None, [], {}, Thing(), nnb.Dense, "", b"x", ("a",)]
HUGE = 10**400
WRONG = {  # by what an argument is: values that are something else
    "size": [*NOTHINGS, 0, -1, 1.5, True, "3", HUGE, float("nan")],
    "count": [*NOTHINGS, -1, 1.5, True, "3", HUGE],
    "number": [*NOTHINGS, True, "3", HUGE, float("nan"), float("inf")],
    "flag": [*NOTHINGS, 0, 1, "yes", 1e300, HUGE],
    "name": [3, -1, [], {}, Thing(), nnb.Dense, "", "nonsense", True, HUGE, b"relu"],
    "path": [None, 3, -1, 1.5, [], {}, Thing(), nnb.Dense, "", "a\0b", b"x", True, HUGE],
    "text": [None, 3, [], {}, Thing(), nnb.Dense, "", b"x", True, HUGE],
    "choice": [3, [], {}, Thing(), nnb.Dense, "", "nonsense", True, HUGE],
    "items": [3, -1, 1.5, Thing(), nnb.Dense, "nonsense", True, HUGE, b"x", [3], [nnb.Dense]],
    "rows": [3, "x", {}, Thing(), nnb.Dense, HUGE, [HUGE], ["a"], [[1.0], [1.0, 2.0]]],
    "network": [None, 3, "x", [], {}, Thing(), nnb.Network, HUGE],
    "mapping": [None, 3, "x", [1], Thing(), nnb.Dense, HUGE],
    "integer": [*NOTHINGS, 1.5, True, "3", HUGE, float("nan")],
    "several": [None, 3, Thing(), nnb.Dense, HUGE],
}
KINDS = {  # names of arguments by what they are
    "size": """out_channels kernel_size stride dilation
        every keep every_steps patience k iterations history line_search epochs batch_size
        accumulate out_features times pieces size rows count features folds shuffle_buffer
        members frequencies
        cycles""",
    "count": "padding cropping output_padding padding_index pixels step seed prefetch cooldown",
    "flag": """bias amsgrad nesterov bias_correction best_only restore_best log_input shuffle stratify
        stratified profile on_host training pure shared weighted count_padding
        horizontal vertical align_corners data_driven""",
    "number": """gate_bias rate std learning_rate
        beta1 beta2 epsilon weight_decay momentum smoothing decay
        tolerance loss_tolerance momentum_decay initial factor final value power peak warmup delta gamma
        quantile label_smoothing min_delta minimum seconds strength l1 l2 norm mean gain low high alpha
        slope max_norm fraction validation_split threshold p probability""",
    "name": """activation initializer bias_initializer input_initializer output_initializer
        regularizer constraint function optimizer loss
        backend""",
    "path": "path directory resume",
    "text": "monitor",
    "choice": """padding_mode
        mode on_error unit adjust shape outputs approximate average dtype precision data_on
        channels per""",
    "items": "layers branches callbacks metrics augment",
    "integer": "axis",
    "rows": "x y sample_weight prediction target validation_data",
    "network": "network",
    "mapping": "state nodes",
    "several": "patterns groups inputs",
}
OTHER_KINDS = {("PeriodicEmbedding", "outputs"): "size"}  # where a name means something else
OPTIONAL = {  # arguments that may be None, and so may not be, in the list above
    "activation", "initializer", "regularizer", "constraint", "keep", "every_steps", "mode", "average",
    "alpha", "threshold", "outputs", "batch_size", "resume", "validation_split", "sample_weight", "y",
    "validation_data", "metrics", "callbacks", "loss", "dtype", "precision", "step", "norm", "value",
    "multiplier", "final", "initial", "max_norm", "padding_index", "groups", "seed",
}  # fmt: skip
X = np.linspace(-1.0, 1.0, 24, dtype=np.float32).reshape(12, 2)
Y = X[:, :1].copy()
BASE: dict[str, Any] = {  # right values of arguments without a default
    "out_channels": 2, "kernel_size": 2, "size": 2, "padding": 1, "cropping": 1,
    "optimizer": "adam", "out_features": 3, "rate": 0.5, "std": 0.1, "function": "relu", "initial": 0.1,
    "steps": 10, "factor": 0.5, "value": 0.1, "peak": 0.1, "every": 2, "schedule": 0.1, "seconds": 1.0,
    "strength": 0.1, "path": "log.csv", "directory": "runs", "patterns": "*", "x": X, "y": Y,
    "layers": [nnb.Dense(1)], "layer": nnb.Dense(1), "branches": [nnb.Dense(1)], "times": 2,
    "parts": 2, "axes": (0,), "mean": 0.5, "network": nnb.Network([nnb.Dense(1)], input_shape=2),
    "rows": 10, "fraction": 0.5, "batches": [(X, Y)], "prediction": Y, "target": Y, "loss": "mse",
    "features": 3, "count": 5, "inputs": "x", "outputs": "y", "nodes": {"y": (nnb.Dense(1), "x")},
    "members": 2,
}  # fmt: skip


def method(name: str) -> Any:
    def call(**arguments: Any) -> Any:
        return getattr(nnb.Network([nnb.Dense(1)], input_shape=2), name)(**arguments)

    call.__signature__ = inspect.signature(getattr(nnb.Network, name))
    return call


def load(
    path: Any = "net.safetensors", backend: Any = "numpy", dtype: Any = None, precision: Any = None
) -> Any:
    nnb.Network([nnb.Dense(1)], input_shape=2).save("net.safetensors")
    return nnb.load(path, backend=backend, dtype=dtype, precision=precision)


def constructors() -> dict[str, Any]:
    modules = (
        layers, optimizers, losses, metrics, schedules, callbacks, regularizers, constraints,
        initializers, activations, transforms,
    )  # fmt: skip
    found = {name: getattr(module, name) for module in modules for name in module.__all__}
    apart = {"Registry", "Run", "Callback", "Schedule", "Parameterless", "PerRowL2", "Optimizer",
             "ActivationFunction", "Wrapper", "Constrained", "Clipped", "Grouped",
             "Reshape", "Transform", "ImageTransform", "Augmentation"}  # fmt: skip
    return {n: cls for n, cls in found.items() if inspect.isclass(cls) and n not in apart}


ENTRIES = constructors() | {
    "Clipped": lambda norm: optimizers.Clipped("adam", norm=norm),
    "Grouped": lambda groups: optimizers.Grouped("adam", groups),
    "GroupNorm": lambda count, epsilon=1e-5, affine=True, channels="last": nnb.GroupNorm(
        count, epsilon, affine, channels
    ),
    "PixelShuffle": lambda factor=2, channels="last": nnb.PixelShuffle(factor, channels),
    "PixelUnshuffle": lambda factor=2, channels="last": nnb.PixelUnshuffle(factor, channels),
    "Network": nnb.Network,
    "load": load,
    "observe": nnb.observe,
    "register_layer": lambda pure: nnb.register_layer(pure=pure),
    "check_gradients": testing.check_gradients,
    "check_loss": testing.check_loss,
    "compare_backends": lambda network, x, tolerance=None: testing.compare_backends(
        network, x, "array-api-strict", tolerance=tolerance
    ),
    "data.split": data.split,
    "data.folds": data.folds,
    "data.cross_validate": data.cross_validate,
    "data.Batches": data.Batches,
    "data.MemoryMap": data.MemoryMap,
    "checkpoints.load": nnb.checkpoints.load,
    "checkpoints.find": nnb.checkpoints.find,
    "checkpoints.newest": nnb.checkpoints.newest,
    "checkpoints.files": nnb.checkpoints.files,
    **{
        f"Network.{name}": method(name)
        for name in [
            "fit",
            "partial_fit",
            "evaluate",
            "predict",
            "forward",
            "save",
            "to",
            "load_state_dict",
        ]
    },
}
ALIASES = {
    "count": "(?:fold|count|group)",
    "x": "X",
    "patterns": "pattern",
    "prediction": "prediction",
}


def arguments_of(entry: Any) -> dict[str, Any]:
    """Return right values of all arguments of an entry point."""
    found = {}
    for name, parameter in inspect.signature(entry).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        empty = parameter.default is parameter.empty
        found[name] = BASE.get(name) if empty or name in ("y", "loss") else parameter.default
    return found


def cases() -> list[Any]:
    kinds = {name: kind for kind, names in KINDS.items() for name in names.split()}
    found = []
    for entry, function in ENTRIES.items():
        for argument, right in arguments_of(function).items():
            if argument in kinds:
                kind = OTHER_KINDS.get((entry, argument), kinds[argument])
                optional = right is None or (argument in OPTIONAL and kind == kinds[argument])
                wrong = [v for v in WRONG[kind] if not (optional and v is None)]
                found.append(pytest.param(function, argument, wrong, id=f"{entry}-{argument}"))
    return found


def fault_of(function: Any, argument: str, wrong: Any) -> str | None:
    """Return what is wrong with the error for an argument, or None."""
    try:
        function(**{**arguments_of(function), argument: wrong})
    except Exception as error:
        own = type(error).__module__.startswith("nnbackend")
        name, message = ALIASES.get(argument, argument), str(error)
        right = own or isinstance(error, (TypeError, ValueError))
        if right and re.search(rf"\b{name}s?\b", message) and len(message) < 600:
            return None
        return repr(error)
    return "it was taken"


@pytest.mark.parametrize(("function", "argument", "wrong"), cases())
def test_a_wrong_argument_is_named(function, argument, wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = ["a huge number" if value == HUGE else repr(value)[:40] for value in wrong]
    faults = {v: fault_of(function, argument, w) for v, w in zip(values, wrong, strict=True)}
    assert not {value: fault for value, fault in faults.items() if fault is not None}


def fitted(layers: Any = None, y: Any = Y, **arguments: Any) -> Any:
    net = nnb.Network([nnb.Dense(1), *(layers or [])], input_shape=2)
    return net.fit(X, y, verbose=0, **arguments)


class Own:
    """A layer that returns its input, with parameters and state as they are given."""

    def __init__(self, params: Any = None, state: Any = None) -> None:
        self.made = {} if params is None else params
        if state is not None:
            self.init_state = lambda input_shape: state

    def init(self, input_shape, rng):
        return self.made, input_shape

    def forward(self, params, x, ctx):
        return x, lambda dy, input_grad=True: (dy, {})


class Indices(Own):
    takes = "indices"


class Two(Own):
    """A layer with two outputs."""

    def init(self, input_shape, rng):
        return {}, {"a": input_shape, "b": input_shape}

    def forward(self, params, x, ctx):
        return {"a": x, "b": x}, lambda dy, input_grad=True: (dy["a"] + dy["b"], {})


def of_two(outputs, targets):
    return ((outputs["a"] - targets["b"]) ** 2).mean(), {
        n: outputs[n] - targets[n] for n in outputs
    }


class Keras(callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise AssertionError("it is never called")


def second_fit_whose_stream_fails() -> None:
    net = nnb.Network([nnb.Dense(1)], input_shape=2)
    net.fit(X, Y, epochs=5, verbose=0)
    net.fit(lambda epoch: [(X[:, epoch - 6 :], Y)], epochs=3, verbose=0)


def gives_back(value: Any) -> Any:
    return lambda prediction, target: value


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fitted([Two()], {"a": Y}, loss=of_two), ValueError, r"^y is nested as .*'b'"),
        (lambda: fitted([Two()], (Y, Y), loss=of_two), ValueError, r"^y is nested as "),
        (lambda: fitted([Two()], {"a": Y, "b": Y}, loss=of_two, metrics=["mae"]), ValueError,
         "metrics: mae compares one array"),
        (lambda: fitted([Own(state=[1.0])]), TypeError, r"Own.init_state returns must be a dict.*\[1"),
        (lambda: fitted([Own(state={"a": None})]), TypeError, r"init_state returns\['a'\] must be an"),
        (lambda: fitted([Own(params=[1.0])]), TypeError, r"layer 1 \(Own\): params of init must be a"),
        (lambda: fitted([Own(params={"a": "x"})]), TypeError, r"layer 1 \(Own\): params of init\['a'\]"),
        (lambda: fitted([Indices()]), ValueError, r"layer 1 \(Indices\) takes indices.*put it first"),
        (lambda: fitted([nnb.Sequential([Indices()])]), ValueError, "takes indices"),
        (lambda: fitted(callbacks=[Keras()]), TypeError, r"on_epoch_end.*epoch_end\(run\)"),
        (lambda: fitted(callbacks=[callbacks.EarlyStopping]), TypeError, r"write EarlyStopping\("),
        (lambda: fitted(callbacks=[lambda: 0]), TypeError, r"callbacks: .*<lambda>\(run\)"),
        (lambda: fitted(metrics=[metrics.TopKAccuracy]), TypeError, r"metrics: .*TopKAccuracy\("),
        (lambda: fitted(metrics={"m": gives_back(Y)}), TypeError, r"metrics: m must .*\(12, 1\)"),
        (lambda: fitted(metrics={"m": gives_back(None)}), TypeError, "metrics: m must .*None"),
        (lambda: fitted(metrics={"m": lambda a: 0.0}), TypeError, r"metrics: m is called as"),
        (lambda: fitted(metrics={"m": gives_back(HUGE)}), TypeError, "metrics: m must .*401 digits"),
        (lambda: metrics.get("accuracy")(np.float64(1.0), Y), ValueError, "prediction must hold a row"),
        (lambda: losses.get("mse")(np.float32, Y), TypeError, "a loss takes arrays"),
        (lambda: BASE["network"].fit(np.float32, Y), TypeError, r"X must be.*write float32\(\.\.\.\)"),
        (lambda: BASE["network"].fit(X, np.float32), TypeError, r"y: .*write float32\(\.\.\.\)"),
        (lambda: BASE["network"].predict(np.float32), TypeError, r"X: .*write float32\(\.\.\.\)"),
        (lambda: BASE["network"].predict(io.TextIOWrapper(io.BytesIO())), TypeError, "X: .*TextIO"),
        (lambda: fitted(metrics={3: "mae"}), TypeError, "a name in metrics"),
        (lambda: fitted(loss=lambda a: 0.0), TypeError, r"loss is called as <lambda>\(prediction, "),
        (lambda: fitted(loss=gives_back((Y, Y))), TypeError, r"a loss is a number.*\(12, 1\)"),
        (second_fit_whose_stream_fails, ValueError, "batch 1 of epoch 2: X"),
        (lambda: nnb.register_layer("Dense"), TypeError, "cls must be a layer's class, got 'Dense'"),
        (lambda: losses.LOSSES.register(Own), TypeError, r"name must be a text.*write Own\(\.\.\.\)"),
        (lambda: nnb.Network([]).fit(X, X), ValueError, "no parameters"),
        (lambda: setattr(BASE["network"], "params", {}), ValueError, "params must have the arrays 0.w"),
        (lambda: setattr(BASE["network"], "params", [1]), TypeError, r"params must be a dict.*\[1\]"),
        (lambda: setattr(BASE["network"], "state", 3), TypeError, "state must be a dictionary"),
        (lambda: BASE["network"].fit("data.csv"), TypeError, "X must be arrays.*'data.csv'.*Dataset"),
        (lambda: BASE["network"].predict(np.array([[HUGE, 1]])), TypeError, "X: .*401 digits"),
        (lambda: BASE["network"].load_state_dict({1: 2}), ValueError, "unk"),
        (lambda: BASE["network"].load_state_dict({f"x{i}": 0 for i in range(10**4)}), ValueError, "unk"),
    ],
)  # fmt: skip
def test_what_is_wrong_inside_an_argument_is_told(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("weight", [1e300, HUGE, -1.0, "3", None])
def test_the_class_of_a_wrong_weight_is_named(weight):
    net = nnb.Network([nnb.Dense(2)], input_shape=2)
    labels = np.arange(12) % 2
    with pytest.raises(ValueError, match=r"class_weight\[1\]"):
        net.fit(X, labels, loss="softmax_cross_entropy", class_weight={1: weight}, verbose=0)


@pytest.mark.parametrize("wrong", [Thing(), b"x", nnb.Dense], ids=repr)
@pytest.mark.parametrize(
    "name", ["MLPClassifier", "MLPRegressor", "NetworkClassifier", "NetworkRegressor"]
)
def test_a_wrong_argument_of_an_estimator_is_named(name, wrong):
    pytest.importorskip("sklearn")
    estimators = pytest.importorskip("nnbackend.estimators")
    cls, labels = getattr(estimators, name), np.arange(12) % 2
    faults = {}
    for argument in cls().get_params():
        try:
            cls(**{"max_iter": 1, argument: wrong}).fit(X, labels)
        except (TypeError, ValueError, nnb.errors.BackendUnavailableError) as error:
            if not re.search(rf"\b{argument}s?\b|\blayers\[", str(error)) or len(str(error)) > 600:
                faults[argument] = repr(error)
        else:
            faults[argument] = "it was taken"
    assert not faults


def passing(forward: Any) -> Any:
    """Return a layer whose passes are one function."""
    layer = Own()
    layer.forward = lambda params, x, ctx: forward(x)
    return layer


def sized(shape: Any) -> Any:
    layer = Own()
    layer.init = lambda input_shape, rng: ({}, shape)
    return layer


def backward_of(dy: Any) -> Any:
    return BASE["network"].forward(X)[1](dy)


def with_part(**parts: Any) -> Any:
    return nnb.Network([nnb.Dense(1, **parts)], input_shape=2).fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fitted([passing(lambda x: (x, None))]), r"layer 1 \(Own\): its backward pass"),
        (lambda: fitted([passing(lambda x: (x, lambda dy: (dy, {})))]), r"backward.*input_grad=True"),
        (lambda: fitted([sized("x")]), r"layer 1 \(Own\): output_shape of init must be.*'x'"),
        (lambda: fitted([sized((0,))]), r"layer 1 \(Own\): output_shape of init must be.*got 0"),
        (lambda: backward_of(None), "dy must be an array"),
        (lambda: backward_of("x"), "dy: expected real numbers"),
        (lambda: with_part(constraint=lambda w: w[:1]), r"constraint of 0\.weight.*\(2, 1\).*\(1, 1\)"),
        (lambda: with_part(constraint=lambda w: None), r"constraint of 0\.weight.*None"),
        (lambda: with_part(regularizer=lambda w: 0.0), r"regularizer of 0\.weight .*got 0\.0"),
        (lambda: fitted(optimizer=nnb.SGD(lambda step: HUGE)), "the schedule .*too large"),
        (lambda: nnb.SGD(lambda: 0.1), r"learning_rate is called as <lambda>\(step\)"),
        (lambda: data.Batches([(X, Y)]).map(3), "function must be called with x and y, got 3"),
        (lambda: metrics.R2()(X, None), "target must be an array, got None"),
        (lambda: metrics.R2()([1.0], X), r"prediction must be an array, got \[1\.0\]"),
        (lambda: metrics.R2()(X, X, np.ones(3)), r"sample_weight .* 12 rows, got an array"),
        (lambda: metrics.Accuracy()(X, np.arange(12) % 2, np.ones(3)), "sample_weight .* 12 rows"),
        (lambda: losses.mse(X, X, np.ones(3)), r"sample_weight .* 12 rows, got shape \(3,"),
    ],
)  # fmt: skip
def test_what_functions_of_users_may_not_do_is_told(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()
