"""Names and descriptions; and that the tables of cases leave nothing out."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import cases
import pytest

import nnbackend as nnb
from nnbackend import (
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
)
from nnbackend.core.registry import Registry, describe, rebuild
from nnbackend.errors import ModelFileError, UnknownNameError

TABLES = [
    (
        layers.LAYERS,
        [*(case.thing for case in cases.LAYERS + cases.STATEFUL_LAYERS), *cases.SEVERAL_OUTPUTS],
    ),
    (activations.ACTIVATIONS, [case.thing for case in cases.ACTIVATIONS]),
    (
        losses.LOSSES,
        [case.thing for case in cases.LOSSES]
        + [losses.PerOutput({"a": "mse"}), losses.EachMember("mse")],
    ),
    (optimizers.OPTIMIZERS, [case.thing for case in cases.OPTIMIZERS + cases.SOLVERS]),
    (schedules.SCHEDULES, [case.thing for case in cases.SCHEDULES]),
    (initializers.INITIALIZERS, [moments.thing for moments in cases.INITIALIZERS.values()]),
    (
        optimizers.WRAPPERS,
        [case.thing for case in cases.WRAPPERS] + [optimizers.Lazy("adam", "*")],
    ),
    (regularizers.REGULARIZERS, [case.thing for case in cases.REGULARIZERS]),
    (constraints.CONSTRAINTS, [case.thing for case in cases.CONSTRAINTS]),
    (metrics.METRICS, [case.thing for case in cases.METRICS.values()]),
]


def own(registry: Registry) -> set[type]:
    """Return the classes of this library in a registry (tests register some of their own)."""
    return {
        registry[name] for name in registry if registry[name].__module__.startswith("nnbackend")
    }


@pytest.mark.parametrize(("registry", "listed"), TABLES, ids=lambda v: getattr(v, "kind", ""))
def test_all_that_is_registered_is_in_the_tables_of_cases(registry, listed):
    kinds = {type(thing) for thing in listed}  # some are of the tests
    assert own(registry) == {kind for kind in kinds if kind.__module__.startswith("nnbackend")}


@pytest.mark.parametrize(("registry", "listed"), TABLES, ids=lambda v: getattr(v, "kind", ""))
def test_every_description_survives_json(registry, listed):
    for thing in listed:
        assert rebuild(json.loads(json.dumps(describe(thing)))) == thing


@pytest.mark.parametrize(("registry", "listed"), TABLES, ids=lambda v: getattr(v, "kind", ""))
def test_every_field_of_a_description_is_plain_data_or_a_description(registry, listed):
    for thing in listed:
        assert dataclasses.is_dataclass(thing)
        describe(thing)


@pytest.mark.parametrize(
    ("get", "name", "nearest"),
    [
        (activations.get, "rellu", "relu"),
        (activations.get, "Sigmoid", "sigmoid"),
        (losses.get, "softmax_crossentropy", "softmax_cross_entropy"),
        (losses.get, "MSE", "mse"),
        (optimizers.get, "adamm", "adam"),
        (initializers.get, "he_norml", "he_normal"),
        (metrics.get, "acuracy", "accuracy"),
        (regularizers.get, "elasticnet", "elastic_net"),
        (constraints.get, "maxnorm", "max_norm"),
        (nnb.get_backend, "nmupy", "numpy"),
        (nnb.get_backend, "pytorch", "torch"),
    ],
)
def test_an_unknown_name_offers_the_nearest(get, name, nearest):
    with pytest.raises(UnknownNameError, match=f"'{name}'; did you mean .*'{nearest}'"):
        get(name)


def test_a_name_like_no_other_lists_them_all():
    with pytest.raises(
        UnknownNameError, match="known: binary_cross_entropy, binary_focal, categorical_hinge"
    ):
        losses.get("xyzzy")


@pytest.mark.parametrize("get", [activations.get, constraints.get, losses.get, metrics.get,
                                 optimizers.get, regularizers.get])  # fmt: skip
@pytest.mark.parametrize("spec", [3, 1.5, ["mse"], losses.MeanSquaredError])
def test_what_is_neither_name_nor_object_is_a_type_error(get, spec):
    with pytest.raises(TypeError, match="a name or a"):
        get(spec)


def test_an_unknown_argument_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="'out_feature'; did you mean 'out_features'"):
        layers.LAYERS.create("Dense", out_feature=3)


def test_a_name_taken_is_refused_and_the_same_class_again_is_not():
    registry = Registry("thing under test")

    @dataclass(frozen=True)
    class Thing:
        pass

    registry.register("thing")(Thing)
    registry.register("thing")(Thing)
    with pytest.raises(ValueError, match="called 'thing' already"):
        registry.register("thing")(dict)


@pytest.mark.parametrize("value", [object(), {1, 2}, print, {1: 2}, b"x"])
def test_what_is_not_plain_data_cannot_be_described(value):
    with pytest.raises(TypeError, match="cannot be written"):
        describe(value)


@pytest.mark.parametrize(
    "data",
    [
        {"nothing": 1},
        {},
        {"layer": "Nonsense"},
        {"layer": 3},
        {"layer": ["Dense"]},
        {"layer": {"layer": "Dense"}},
        {"layer": "Dense"},
        {"layer": "Dense", "fields": [3]},
        {"layer": "Dense", "fields": {"out_features": 3}, "more": 1},
        {"layer": "Dense", "fields": {"out_features": -1}},
        {"layer": "Dense", "fields": {"out_features": "many"}},
        {"layer": "Dense", "fields": {"out_features": 2, "bias": "maybe"}},
        {"layer": "Dense", "fields": {"out_features": 2, "self": 1}},
        {"layer": "Dense", "fields": {"out_features": 2, "activation": {"layer": "Flatten"}}},
        {"layer": "Dropout", "fields": {"rate": None}},
        {"layer": "Sequential", "fields": {"layers": 3}},
        {"layer": "Sequential", "fields": {"layers": None}},
        {"layer": "Sequential", "fields": {"layers": [{"activation": "relu"}]}},
        {"activation": "leaky_relu", "fields": {"slope": "steep"}},
        {"activation": "gelu", "fields": {"approximate": []}},
        {"__class__": "os.system", "command": "true"},
    ],
)
def test_a_description_that_cannot_be_built_is_a_model_file_error(data):
    with pytest.raises(ModelFileError):
        rebuild(data)


def test_a_description_nested_too_deep_is_refused():
    data: Any = {"layer": "Flatten"}
    for _ in range(2000):
        data = {"layer": "Sequential", "fields": {"layers": [data]}}
    with pytest.raises(ModelFileError, match="deep"):
        rebuild(data)


@nnb.register_layer
@dataclass(frozen=True)
class Wrapping:
    """A layer whose field has the name of its own kind."""

    layer: Any
    kind: str = "x"

    def init(self, input_shape, rng):
        return self.layer.init(input_shape, rng)

    def forward(self, params, x, ctx):
        return self.layer.forward(params, x, ctx)


def test_a_field_may_be_called_layer():
    wrapping = Wrapping(nnb.Dense(3, activation="relu"))
    assert rebuild(json.loads(json.dumps(describe(wrapping)))) == wrapping


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (type("Plain", (), {}), "frozen dataclass"),
        (dataclass(type("Thawed", (), {})), "frozen dataclass"),
        (dataclass(frozen=True)(type("Empty", (), {})), "method init"),
    ],
)
def test_what_is_not_a_layer_cannot_be_registered(cls, words):
    with pytest.raises(TypeError, match=words):
        nnb.register_layer(cls)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    def nested(depth):
        layer = nnb.Dense(2)
        for _ in range(depth):
            layer = nnb.Sequential([layer])
        return nnb.Network([layer], input_shape=2)

    path = nested(30).save(tmp_path / "deep.safetensors")
    assert nnb.load(path).input_shape == (2,)
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        nested(40).save(tmp_path / "deeper.safetensors")
    assert not (tmp_path / "deeper.safetensors").exists()


@pytest.mark.parametrize(
    ("registry", "usual", "own"),
    [
        (nnb.losses.LOSSES, "mean_squared_error", "mse"),
        (nnb.losses.LOSSES, "MSELoss", "mse"),
        (nnb.losses.LOSSES, "L1Loss", "mae"),
        (nnb.losses.LOSSES, "sparse_categorical_crossentropy", "softmax_cross_entropy"),
        (nnb.losses.LOSSES, "CrossEntropyLoss", "softmax_cross_entropy' or 'binary_cross_entropy"),
        (nnb.losses.LOSSES, "BCEWithLogitsLoss", "binary_cross_entropy"),
        (nnb.losses.LOSSES, "smooth_l1", "huber"),
        (nnb.losses.LOSSES, "kl_div", "kl_divergence"),
        (nnb.optimizers.OPTIMIZERS, "momentum", "sgd"),
        (nnb.optimizers.OPTIMIZERS, "L-BFGS", "lbfgs"),
        (nnb.optimizers.OPTIMIZERS, "AMSGrad", "adam"),
        (nnb.activations.ACTIVATIONS, "linear", "identity"),
        (nnb.activations.ACTIVATIONS, "swish", "silu"),
        (nnb.activations.ACTIVATIONS, "logistic", "sigmoid"),
        (nnb.activations.ACTIVATIONS, "LeakyReLU", "leaky_relu"),
        (nnb.initializers.INITIALIZERS, "xavier_uniform", "glorot_uniform"),
        (nnb.initializers.INITIALIZERS, "kaiming", "he_uniform' or 'he_normal"),
        (nnb.metrics.METRICS, "auc", "roc_auc"),
        (nnb.metrics.METRICS, "mean_squared_error", "mse"),
        (nnb.metrics.METRICS, "crossentropy", "log_loss"),
    ],
)
def test_the_usual_name_of_something_offers_its_own(registry, usual, own):
    with pytest.raises(nnb.errors.UnknownNameError, match=f"did you mean '{own}'"):
        registry.create(usual)


def test_every_usual_name_is_of_something():
    from nnbackend.errors import _USUAL_NAMES

    registries = (
        nnb.losses.LOSSES, nnb.optimizers.OPTIMIZERS, nnb.activations.ACTIVATIONS,
        nnb.initializers.INITIALIZERS, nnb.metrics.METRICS,
    )  # fmt: skip
    known = {name for registry in registries for name in registry}
    assert {name for names in _USUAL_NAMES.values() for name in names} <= known
