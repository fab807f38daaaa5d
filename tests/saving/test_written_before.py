"""Files that version 0.1.0 wrote still load, predict the same, and are resumed to the same end.

``fixtures`` holds models, checkpoints, estimators and a model of the command line as that version wrote
them, and in ``expected.npz`` the data they were trained on and what that version made of the files.
Products are rounded differently on other processors: hence the tolerances, which a run that forgot any
of its state would exceed by far.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend import optimizers
from nnbackend.callbacks import EarlyStopping, ReduceOnPlateau
from nnbackend.constraints import MaxNorm
from nnbackend.regularizers import L2, ElasticNet

FOLDER = Path(__file__).parent / "fixtures"
DATA = Path(__file__).resolve().parents[2] / "examples" / "data"
EXPECTED = dict(np.load(FOLDER / "expected.npz"))
PREDICTION = {"rtol": 1e-5, "atol": 1e-6}


def rows(name):
    return EXPECTED[f"{name}/x"], EXPECTED[f"{name}/y"]


def mixed_layers():
    block = [
        nnb.Dense(8, nnb.activations.LeakyReLU(0.2), regularizer=ElasticNet(1e-4, 1e-3)),
        nnb.Dropout(0.1),
        nnb.Residual([nnb.Dense(8, "gelu", bias=False)]),
    ]
    return [
        nnb.GaussianNoise(0.05),
        nnb.Flatten(),
        nnb.Dense(8, "selu", initializer="lecun_normal", regularizer=L2(1e-3)),
        nnb.AlphaDropout(0.1),
        nnb.Residual(block),
        nnb.Sequential([nnb.Dense(6, constraint=MaxNorm(1.0)), nnb.Activation("silu")]),
        nnb.Dense(2),
    ]


MODELS = {
    "model_mixed": ("regression", mixed_layers(), 7, "float32"),
    "model_simple": ("classes", [nnb.Dense(5, "tanh"), nnb.Dense(3, "softmax")], 3, "float64"),
    "model_half": ("classes", [nnb.Dense(5, "relu"), nnb.Dense(3)], 3, "float16"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_predicts_the_same(name, tmp_path):
    data, layers, seed, precision = MODELS[name]
    net, (x, y) = nnb.load(FOLDER / f"{name}.safetensors"), rows(data)
    assert net.layers == nnb.Sequential(layers)
    assert (net.seed, net.input_shape, net.backend.precision) == (seed, (6,), precision)
    half = precision == "float16"
    expected = EXPECTED[f"{name}/predictions"]
    tolerance = {"rtol": 1e-2, "atol": 1e-3} if half else PREDICTION
    np.testing.assert_allclose(net.predict(x[:8]), expected, **tolerance)
    again = nnb.load(net.save(tmp_path / "again.safetensors"))
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    assert (again.metadata, again.frozen) == (net.metadata, net.frozen)
    if name == "model_mixed":
        assert net.frozen == ("2.bias",)
        assert net.metadata["nested"] == {"deep": ["ä", {"x": 1e-300}]}
        assert net.metadata["numbers"] == [1, 2.5, None, True]
    loss = "mse" if data == "regression" else "softmax_cross_entropy"
    assert np.isfinite(net.fit(x, y, loss=loss, verbose=0)["loss"]).all()


def within_an_epoch():
    """A run with dropout, an average of the weights and metrics, left after three steps of an epoch."""
    net = nnb.Network([nnb.Dense(8, "relu"), nnb.Dropout(0.2), nnb.Dense(3)], seed=5)
    task = {
        "loss": "softmax_cross_entropy", "metrics": ["accuracy", "f1"], "validation_split": 0.2,
        "optimizer": optimizers.EMA(nnb.Adam(1e-2), decay=0.95), "batch_size": 16, "epochs": 8,
    }  # fmt: skip
    return net, rows("classes"), task


def in_16_bits():
    """A run in mixed precision, with groups of parameters, a frozen one and clipped gradients."""
    layers = [
        nnb.Dense(8, "relu", regularizer=L2(1e-3)), nnb.Dropout(0.2), nnb.Dense(8, "gelu"), nnb.Dense(2),
    ]  # fmt: skip
    groups = {"*.bias": {"weight_decay": 0.0}, "3.*": {"learning_rate_factor": 0.5}}
    inner = optimizers.Grouped(nnb.AdamW(nnb.schedules.Cosine(1e-2, 64)), groups)
    optimizer = optimizers.Frozen(optimizers.Clipped(inner, norm=0.5), "0.bias")
    net = nnb.Network(layers, seed=6, precision="float16")
    return net, rows("regression"), {"optimizer": optimizer, "batch_size": 16, "epochs": 8}


def with_callbacks():
    """A run that early stopping ends, in parts of batches, with a learning rate that was reduced."""
    net = nnb.Network([nnb.Dense(24, "tanh"), nnb.Dense(2)], seed=6, input_shape=6, dtype="float64")
    task = {
        "optimizer": nnb.Muon(0.02), "batch_size": 16, "epochs": 40, "validation_split": 0.3,
        "accumulate": 2,
        "callbacks": [
            EarlyStopping(patience=6), ReduceOnPlateau("validation_loss", factor=0.5, patience=2)
        ],
    }  # fmt: skip
    return net.freeze("0.bias"), rows("regression"), task


CHECKPOINTS = {
    "checkpoint_mid_epoch": (within_an_epoch, 1e-5),
    "checkpoint_epoch_end": (in_16_bits, 1e-2),
    "checkpoint_callbacks": (with_callbacks, 1e-6),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_is_resumed_to_the_same_end(name, monkeypatch):
    monkeypatch.setattr("nnbackend.callbacks.run.__version__", "0.1.0")
    make, tolerance = CHECKPOINTS[name]
    net, (x, y), task = make()
    path = FOLDER / f"{name}.safetensors"
    expected = EXPECTED[f"{name}/predictions"]
    allowed = max(tolerance, 1e-5)
    np.testing.assert_allclose(nnb.load(path).predict(x[:8]), expected, rtol=allowed, atol=allowed)
    history = net.fit(x, y, verbose=0, resume=path, **task)
    losses = EXPECTED[f"{name}/resumed/history/loss"]
    np.testing.assert_allclose(history["loss"], losses, rtol=tolerance)
    for key, value in net.state_dict().items():
        wanted = EXPECTED[f"{name}/resumed/params/{key}"]
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(value, wanted, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize(
    ("name", "data"), [("estimator_classifier", "classes"), ("estimator_regressor", "regression")]
)
def test_an_estimator_predicts_the_same(name, data):
    pytest.importorskip("sklearn")
    from nnbackend import estimators

    x, _ = rows(data)
    model, expected = (
        estimators.load(FOLDER / f"{name}.safetensors"),
        EXPECTED[f"{name}/predictions"],
    )
    if data == "classes":
        assert isinstance(model, estimators.MLPClassifier)
        assert model.predict(x[:8]).tolist() == expected.tolist()
        found, expected = model.predict_proba(x[:8]), EXPECTED[f"{name}/probabilities"]
    else:
        assert isinstance(model, estimators.NetworkRegressor)
        found = model.predict(x[:8])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    raw = nnb.load(FOLDER / f"{name}.safetensors").predict(x[:8])
    np.testing.assert_allclose(
        raw, EXPECTED[f"{name}/predictions of nnb.load"], rtol=1e-6, atol=1e-9
    )


def test_a_model_of_the_command_line_predicts_the_same():
    pytest.importorskip("polars")
    from nnbackend import tables
    from nnbackend.tables.reading import read_table
    from nnbackend.tables.table import TableWarning

    path = FOLDER / "command_line.safetensors"
    net = nnb.load(path)
    x, expected = EXPECTED["table/x"], EXPECTED["command_line/predictions"]
    np.testing.assert_allclose(net.predict(x), expected, **PREDICTION)
    model = tables.load(path)
    table = read_table(
        DATA / "penguins.csv", model.encoder.feature_kinds, model.encoder.feature_kinds
    )
    with pytest.warns(TableWarning, match="missing numbers filled with the median"):
        x = model.encoder.encode_features(table)
    outputs = model.outputs(x[:8])
    probabilities = EXPECTED["command_line/probabilities"]
    np.testing.assert_allclose(model.probabilities(outputs), probabilities, **PREDICTION)
    assert model.answers(outputs).tolist() == EXPECTED["command_line/species"].tolist()
