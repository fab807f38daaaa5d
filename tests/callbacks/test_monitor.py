"""Which values of a metric are better, and the best of them."""

from __future__ import annotations

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend import metrics
from nnbackend.callbacks import Checkpoint, EarlyStopping, ReduceOnPlateau, Run
from nnbackend.callbacks.monitor import Monitor
from nnbackend.errors import UnknownNameError

X, Y = np.arange(8.0).reshape(4, 2), np.array([[0.0], [1], [1], [0]])


def mode_of(name, **known):
    """Return the mode of a monitor once a run with these metrics has started."""

    class KnowingRun(Run):
        metrics = known

    monitor = Monitor(name)
    monitor.start(KnowingRun(nnb.Network([nnb.Dense(1)]), 1))
    return monitor.mode


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("min", "loss validation_loss log_loss total_loss mse my_rmse squared_error error_rate loss_2"),
        ("max", "accuracy validation_top_5_accuracy roc_auc f1 f1_macro f1_score r2 a_precision score"),
    ],
)  # fmt: skip
def test_a_name_that_leaves_no_doubt_decides(mode, names):
    assert [mode_of(name) for name in names.split()] == [mode] * len(names.split())


@pytest.mark.parametrize("name", [
    "validation_neg_log_loss", "neg_rmse", "d2_log_loss_score", "neg_mean_squared_error", "brier_score",
    "accuracy_loss", "loss_reduction", "minus_accuracy", "1-accuracy", "-loss", "negloss", "inaccuracy",
    "accuracy_gap", "gap_accuracy", "information_gain_loss", "delta_loss", "complement_accuracy",
    "d2_absolute_error_score", "odd", "seconds", "validation_", "saved_loss",
])  # fmt: skip
def test_a_name_that_leaves_a_doubt_is_refused(name):
    with pytest.raises(ValueError, match="Say mode='min' or mode='max'"):
        mode_of(name)


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_a_metric_knows(name):
    found = mode_of("validation_quality", quality=metrics.get(name))
    assert found == ("min" if name in ("log_loss", "mse", "rmse", "mae", "mape") else "max")


def neg_log_loss(prediction, target, sample_weight=None):
    return 0.0


CALLBACKS = {
    "stopping": lambda tmp_path, name, **mode: EarlyStopping(name, **mode),
    "plateau": lambda tmp_path, name, **mode: ReduceOnPlateau(name, **mode),
    "checkpoint": lambda tmp_path, name, **mode: Checkpoint(
        tmp_path, best_only=True, monitor=name, **mode),
}  # fmt: skip


@pytest.mark.parametrize("make", CALLBACKS.values(), ids=CALLBACKS)
def test_callbacks_ask_before_any_training_and_take_the_metric_s_word(make, tmp_path):
    def fit(metric, **mode):
        network = nnb.Network([nnb.Dense(1)], input_shape=2)
        before = network.state_dict()["0.weight"]
        callback = make(tmp_path, "validation_neg_log_loss", **mode)
        given = {"metrics": {"neg_log_loss": metric}, "validation_data": (X, Y)}
        try:
            network.fit(X, Y, callbacks=[callback], **given)
        except ValueError:
            np.testing.assert_array_equal(network.state_dict()["0.weight"], before)
            raise
        return callback.monitor.mode

    with pytest.raises(ValueError, match="is a small or a large 'validation_neg_log_loss' better"):
        fit(neg_log_loss)
    assert fit(neg_log_loss, mode="max") == "max"
    assert fit(metrics.R2()) == "max"
    assert fit(metrics.LogLoss(outputs="sigmoid_logits")) == "min"
    neg_log_loss.larger_is_better = True
    try:
        assert fit(neg_log_loss) == "max"
    finally:
        del neg_log_loss.larger_is_better


def test_a_callback_that_is_used_again_asks_the_metric_again():
    stopping = EarlyStopping("quality")
    for metric, mode in ((metrics.R2(), "max"), (metrics.MeanAbsoluteError(), "min")):
        network = nnb.Network([nnb.Dense(1)])
        network.fit(X, Y, metrics={"quality": metric}, callbacks=[stopping])
        assert stopping.monitor.mode == mode


@pytest.mark.parametrize("make", CALLBACKS.values(), ids=CALLBACKS)
def test_a_misspelled_metric_is_named_before_any_training(make, tmp_path):
    network = nnb.Network([nnb.Dense(1)], input_shape=2)
    before = network.state_dict()["0.weight"]
    for name, meant in (
        ("validation_r3", "'validation_r2'"),
        ("validation_los", "'validation_loss'"),
    ):
        with pytest.raises(UnknownNameError, match=f"{name}.*{meant}.*Say mode="):
            network.fit(
                X, Y, metrics=["r2"], callbacks=[make(tmp_path, name)], validation_data=(X, Y)
            )
    np.testing.assert_array_equal(network.state_dict()["0.weight"], before)
