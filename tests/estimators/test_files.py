"""Estimators in files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
from estimators.pairs import SCORE, TARGETS, X
from sklearn.exceptions import NotFittedError

import nnbackend as nnb
from nnbackend import estimators as ours
from nnbackend.errors import ModelFileError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted_estimators() -> dict[str, Any]:
    y = TARGETS["multiclass"]
    return {
        "classes": ours.MLPClassifier(max_iter=3).fit(X, np.array(list("wxyz"))[y]),
        "objects": ours.MLPClassifier(max_iter=3, class_weight={"w": 2.0, "x": 1.0, "y": 1.0,
                                                                "z": 1.0}).fit(
            X, np.array(list("wxyz"), dtype=object)[y]),
        "binary": ours.MLPClassifier(max_iter=3, early_stopping=True).fit(X, TARGETS["binary"]),
        "multilabel": ours.MLPClassifier(max_iter=3).fit(X, TARGETS["multilabel"]),
        "float32": ours.MLPClassifier((5, 4), activation=["tanh", nnb.activations.ELU(0.5)],
                                      dropout=[0.1, 0.2], solver=nnb.AdamW(0.01),
                                      max_iter=3).fit(X.astype(np.float32), y),
        "regressor": ours.MLPRegressor(max_iter=3, loss="poisson").fit(X, np.abs(SCORE)),
        "network": ours.NetworkClassifier([nnb.Dense(4, activation="gelu"), nnb.Dropout(0.5)],
                                          max_iter=3).fit(X, y),
        "shaped": ours.NetworkRegressor([nnb.Flatten(), nnb.Dense(4)], input_shape=[3, 2],
                                        max_iter=3, solver="lbfgs").fit(X, SCORE[:, 0]),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["classes", "objects", "binary", "multilabel", "float32",
                                  "regressor", "network", "shaped"])  # fmt: skip
def test_saved_estimators_come_back(name, tmp_path):
    estimator = fitted_estimators()[name]
    x = X.astype(np.float32) if name == "float32" else X
    path = estimator.save(tmp_path / "model.safetensors")
    back = ours.load(path)
    assert type(back) is type(estimator)
    assert repr(back) == repr(estimator)
    np.testing.assert_array_equal(back.predict(x), estimator.predict(x))
    assert back.predict(x).dtype == estimator.predict(x).dtype
    for attribute in ("loss_curve_", "best_loss_", "n_iter_", "t_", "loss_", "n_layers_"):
        assert getattr(back, attribute, None) == getattr(estimator, attribute, None)
    if name == "classes":
        back.partial_fit(x, np.array(list("wxyz"))[TARGETS["multiclass"]])
        network = nnb.load(path)
        np.testing.assert_allclose(network.predict(x), estimator.predict_proba(x))
    joblib.dump(estimator, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(again.predict(x), estimator.predict(x))


def test_files_that_are_no_estimator_s_are_refused(tmp_path):
    with pytest.raises(NotFittedError):
        ours.MLPClassifier().save(tmp_path / "none")
    net = nnb.Network([nnb.Dense(2)], input_shape=3)
    net.save(tmp_path / "net")
    with pytest.raises(ModelFileError, match=r"holds a network and no estimator; nnbackend\.load"):
        ours.load(tmp_path / "net")
    mlp = ours.MLPClassifier((3,), max_iter=1).fit(X, TARGETS["multiclass"])
    path = mlp.save(tmp_path / "mlp")
    good = nnb.load(path)
    learned = good.metadata["estimator"]["learned"]
    for change in (
        {"class": "os.system"},
        {"parameters": {"hidden_layer_sizes": {"tuple": [4]}}},
        {"parameters": {"hidden_layer_sizes": -3}},
        {"parameters": {"unheard_of": 1}},
        {"learned": {"_home": 3}},
        {"learned": learned | {"_home": 3}},
        {"learned": learned | {"n_features_in_": 6.0}},
        {"learned": learned | {"loss_curve_": 3}},
        {"learned": learned | {"loss_curve_": ["x"]}},
        {"learned": learned | {"_dtype": "int8"}},
        {"learned": {}},
        {"feature_names": ["a"]},
        {"feature_names": 3},
        {"parameters": {"callbacks": [3]}},
        {"classes": {"kind": "multiclass", "sparse": 3, "dtype": "O8", "values": [1]}},
        {
            "classes": {
                "kind": "multiclass",
                "sparse": False,
                "dtype": "U500000000",
                "values": ["x"],
            }
        },
        {
            "classes": {
                "kind": "multiclass",
                "sparse": False,
                "dtype": "u1",
                "values": [300, 1, 2, 3],
            }
        },
        {"classes": {"kind": "multiclass", "sparse": False, "dtype": "O8", "values": []}},
        {"classes": {"kind": "binary", "sparse": False, "dtype": "O8", "values": [1]}},
        {"classes": {"kind": "multiclass", "sparse": False, "dtype": "V8", "values": [1]}},
    ):
        good.metadata["estimator"].update(change)
        good.save(tmp_path / "bad")
        with pytest.raises(ModelFileError):
            ours.load(tmp_path / "bad")
        good = nnb.load(path)
    with pytest.raises(TypeError, match="loss"):
        ours.MLPRegressor(loss=_own_loss, max_iter=1).fit(X, SCORE[:, 0]).save(tmp_path / "own")


def _own_loss(prediction: Any, target: Any, sample_weight: Any = None) -> Any:
    return nnb.losses.mse(prediction, target, sample_weight)
