"""Calls from Python with anything in any argument: they work, or say which argument was wrong."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import rows
from fuzz.judge import attempt, folder, part_of_examples
from hypothesis import given

import nnbackend as nnb
from nnbackend.core.registry import _REGISTRIES
from nnbackend.data import Batches, MemoryMap, folds, split

X, Y, CLASSES = rows((12, 3)), rows((12, 1), 1), np.arange(12) % 3
ODD: dict[str, Callable[[], Any]] = {
    "None": lambda: None, "True": lambda: True, "0": lambda: 0, "1": lambda: 1, "-1": lambda: -1,
    "3": lambda: 3, "2.5": lambda: 2.5, "nan": lambda: float("nan"), "inf": lambda: float("inf"),
    "1e300": lambda: 1e300, "10**400": lambda: 10**400, "2**63": lambda: 2**63, "1j": lambda: 1j,
    "''": lambda: "", "'x'": lambda: "x", "bytes": lambda: b"x", "[]": lambda: [], "()": lambda: (),
    "{}": lambda: {}, "[1]": lambda: [1], "['a']": lambda: ["a"], "{'a': 1}": lambda: {"a": 1},
    "[None]": lambda: [None], "ragged": lambda: [[1.0], [2.0, 3.0]], "object": object,
    "class": lambda: nnb.Dense, "generator": lambda: iter([]), "set": lambda: {1, 2},
    "slice": lambda: slice(2),
    "path": lambda: Path("there/is/none"), "layer": lambda: nnb.Dense(2),
    "no rows": lambda: np.zeros((0, 3)), "scalar": lambda: np.float32(1), "vector": lambda: np.ones(3),
    "cube": lambda: np.ones((2, 3, 4)), "integers": lambda: np.arange(12),
    "texts": lambda: np.array(["a"] * 12),
    "objects": lambda: np.array([1, None, "x"], object), "huge": lambda: np.array([10**400, 1], object),
    "complex": lambda: np.ones((12, 3), complex), "dates": lambda: np.zeros(12, "M8[D]"),
    "nans": lambda: np.full((12, 3), np.nan), "large": lambda: np.full((12, 3), 1e300),
    "booleans": lambda: np.arange(12) % 2 == 0, "negative": lambda: -np.ones(12),
    "x": lambda: X, "y": lambda: Y, "classes": lambda: CLASSES, "(x, y)": lambda: (X, Y),
    "{x}": lambda: {"x": X}, "structured": lambda: np.zeros(12, [("a", "f4")]),
}  # fmt: skip


def network() -> nnb.Network:
    return nnb.Network([nnb.Dense(3, "tanh"), nnb.Dense(1)], input_shape=3)


def classifier() -> nnb.Network:
    return nnb.Network([nnb.Dense(3)], input_shape=3)


FIT = {"epochs": 1, "verbose": 0, "batch_size": 5}
RUN = ("epochs",)  # a large value of which is a long run, and no mistake


def method(name: str, make: Callable[[], nnb.Network] = network) -> Callable[..., Any]:
    """Return a method of a new network, with its signature."""

    def call(**given: Any) -> Any:
        return getattr(make(), name)(**given)

    call.__signature__ = inspect.signature(getattr(nnb.Network, name))  # type: ignore[attr-defined]
    return call


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Network": (nnb.Network, {"layers": [nnb.Dense(1)]}),
    "fit": (method("fit"), {"x": X, "y": Y, **FIT}),
    "fit on classes": (method("fit", classifier),
                       {"x": X, "y": CLASSES, "loss": "softmax_cross_entropy", **FIT}),
    "partial_fit": (method("partial_fit"), {"x": X, "y": Y}),
    "predict": (method("predict"), {"x": X}),
    "evaluate": (method("evaluate"), {"x": X, "y": Y, "loss": "mse"}),
    "state_dict": (method("load_state_dict"), {}),
    "to": (method("to"), {}),
    "build": (method("build", lambda: nnb.Network([nnb.Dense(1)])), {}),
    "freeze": (lambda names: network().freeze(names), {}),
    "save": (method("save"), {"path": "model.safetensors"}),
    "load": (nnb.load, {"path": "none.safetensors"}),
    "checkpoints.load": (nnb.checkpoints.load, {}),
    "checkpoints.newest": (nnb.checkpoints.newest, {}),
    "observe": (lambda x, y=None, loss=None, step=0: nnb.observe(network(), x, y, loss, step=step),
                {"x": X, "y": Y, "loss": "mse"}),
    "get_backend": (nnb.get_backend, {}),
    "register_layer": (lambda cls: nnb.register_layer(cls), {}),
    "split": (split, {"rows": 12, "fraction": 0.25}),
    "folds": (folds, {"rows": 12}),
    "Batches": (Batches, {"batches": [(X, Y)]}),
    "batches": (lambda batches: network().fit(Batches(batches), **FIT), {}),
    "MemoryMap": (MemoryMap, {"x": X, "y": Y}),
    "check_gradients": (lambda network, x, seed=0: nnb.testing.check_gradients(network, x, seed=seed),
                        {"network": nnb.Dense(2), "x": X}),
    "compare_backends": (lambda network, x, other="numpy", tolerance=None, seed=0:
                         nnb.testing.compare_backends(network, x, other, tolerance=tolerance, seed=seed),
                         {"network": network(), "x": X}),
    "cross_validate": (lambda network, x, y, folds=3, stratified=False, groups=None, seed=0:
                       nnb.data.cross_validate(network, x, y, folds=folds, stratified=stratified,
                                               groups=groups, seed=seed, **FIT),
                       {"network": network(), "x": X, "y": Y}),
    "losses.get": (nnb.losses.get, {}),
    "metrics.get": (nnb.metrics.get, {}),
    "optimizers.get": (lambda spec, learning_rate=0.1:
                       nnb.optimizers.get(spec, learning_rate=learning_rate), {"spec": "adam"}),
}  # fmt: skip


def arguments_of(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


FOUND = {
    "fit": ["x=10**400", "x=huge", "metrics=vector", "data_on=texts", "resume=cube", "shuffle=no rows",
            "accumulate=10**400", "validation_split=10**400", "callbacks=slice"],
    "Network": ["backend=vector", "device=texts", "input_shape=10**400"],
    "predict": ["on_host=vector"],
    "split": ["rows=nan", "rows={}", "classes=ragged"],
    "folds": ["rows=2**63", "groups=ragged"],
    "Batches": ["prefetch=structured"],
    "MemoryMap": ["x=None", "x=ragged", "y={}", "sample_weight=(x, y)", "sample_weight={}"],
    "register_layer": ["cls='x'", "cls=layer"],
    "state_dict": ["state=None", "state=()"],
    "checkpoints.load": ["path=''"],
}  # fmt: skip
"""Arguments of which Python's own message, or NumPy's, once reached the user."""


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_before(name):
    function, usual = CALLS[name]
    for case in FOUND[name]:
        argument, _, kind = case.partition("=")
        with folder():
            worked, error = attempt(function, **{**usual, argument: ODD[kind]()})
        assert not worked, case
        assert len(str(error)) > 10


@pytest.mark.parametrize("name", CALLS)
@given(data=st.data())
def test_arguments(name, data):
    function, usual = CALLS[name]
    names = [argument for argument in arguments_of(function) if argument not in RUN]
    argument, kind = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(sorted(ODD)))
    with folder():
        attempt(function, **{**usual, argument: ODD[kind]()})


def use_of(kind: str, made: Any) -> None:
    """Put an object of a registered class to use."""
    layers = [nnb.Dense(3, "tanh"), nnb.Dense(1)]
    given: dict[str, Any] = {"x": X, "y": Y, **FIT}
    if kind == "layer":
        layers = [made, nnb.Flatten(), nnb.Dense(1)]
    elif kind in ("activation", "initializer", "regularizer", "constraint"):
        attempt(nnb.Dense, 3, **{kind: made})
        layers = [nnb.Dense(3, **{kind: made}), nnb.Dense(1)]
    elif kind == "schedule":
        given["optimizer"] = nnb.SGD(made)
    elif kind == "metric":
        given["metrics"] = [made]
    elif kind == "optimizer wrapper":
        given["optimizer"] = made
    elif kind in ("loss", "optimizer"):
        given[kind] = made
    made_it, net = attempt(nnb.Network, layers, input_shape=3)
    if made_it:
        attempt(net.fit, **given)
        attempt(net.save, "model.safetensors")
        if Path("model.safetensors").exists():
            attempt(nnb.load, "model.safetensors")


NEEDED = {"out_features": 2, "function": "tanh", "layers": [nnb.Dense(3)], "rate": 0.5, "std": 0.1,
          "value": 0.1, "optimizer": "sgd", "initial": 0.1, "peak": 0.1, "steps": 10, "factor": 0.5,
          "every": 2, "schedule": nnb.schedules.Constant(0.1), "size": 1, "out_channels": 2,
          "kernel_size": 1, "cropping": 0, "padding": 1, "count": 4, "features": 2,
          "layer": nnb.Dense(3), "inputs": "x", "nodes": {"y": (nnb.Dense(3), "x")}, "outputs": "y",
          "groups": 1, "mean": 0.5, "branches": [nnb.Dense(2)], "axes": (1,), "times": 2,
          "shape": (3,), "parts": 3, "members": 2}  # fmt: skip
"""Arguments that classes must be given."""
ESTIMATORS = ("MLPClassifier", "MLPRegressor")


@pytest.mark.parametrize("name", ESTIMATORS)
@part_of_examples(2)
@given(data=st.data())
def test_estimators(name, data):
    pytest.importorskip("sklearn")
    from nnbackend import estimators

    cls = getattr(estimators, name)
    given = {"X": X, "y": CLASSES if name == "MLPClassifier" else Y[:, 0]}
    options: dict[str, Any] = {}
    names = [argument for argument in arguments_of(cls) if argument != "max_iter"]
    argument = data.draw(st.sampled_from([*given, *names]))
    # Numbers beyond any float end in scikit-learn's own checks of X and y, with an OverflowError.
    kinds = st.sampled_from(sorted(ODD.keys() - {"10**400", "huge"} if argument in given else ODD))
    (given if argument in given else options)[argument] = ODD[data.draw(kinds)]()
    with folder():
        fitted, estimator = attempt(lambda: cls(max_iter=2, **options).fit(**given))
        if fitted:
            attempt(estimator.predict, X)


KINDS = ("layer", "activation", "initializer", "regularizer", "constraint", "loss", "metric", "schedule",
         "optimizer wrapper", "optimizer")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_fields(kind, data):
    registry = _REGISTRIES[kind]
    own = [n for n in sorted(registry) if registry[n].__module__.startswith("nnbackend")]
    cls = registry[data.draw(st.sampled_from(own))]
    fields = arguments_of(cls)
    given = {}
    if fields:
        field, value = data.draw(st.sampled_from(fields)), data.draw(st.sampled_from(sorted(ODD)))
        given[field] = ODD[value]()
    needed = [
        f.name for f in dataclasses.fields(cls) if f.init and f.default is dataclasses.MISSING
    ]
    usual = {name: NEEDED[name] for name in needed}
    with folder():
        made_it, made = attempt(cls, **{**usual, **given})
        if made_it:
            use_of(kind, made)


CALLBACKS = [nnb.callbacks.EarlyStopping, nnb.callbacks.ReduceOnPlateau, nnb.callbacks.Checkpoint,
             nnb.callbacks.CSVLog, nnb.callbacks.JSONLines, nnb.callbacks.TimeBudget]  # fmt: skip


@pytest.mark.parametrize("cls", CALLBACKS)
@given(data=st.data())
def test_callbacks(cls, data):
    needed = {"directory": "here", "path": "log.csv", "seconds": 5.0}
    names = arguments_of(cls)
    usual = {name: needed[name] for name in names if name in needed}
    argument, kind = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(sorted(ODD)))
    with folder():
        made_it, callback = attempt(cls, **{**usual, argument: ODD[kind]()})
        if made_it:
            attempt(network().fit, X, Y, validation_split=0.25, callbacks=[callback], **FIT)
