"""Calibration, curves of two classes and residuals, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from nnbackend.analysis import (
    calibration_curve,
    precision_recall_curve,
    roc_curve,
    summarize_residuals,
    top_label,
)


def scored(rows=500):
    random = np.random.default_rng(0)
    score = np.round(random.random(rows), 2)  # with ties
    return score, random.random(rows) < score**2


def test_calibration_by_hand():
    found = calibration_curve([0.0, 0.1, 0.1, 0.95, 1.0], [0, 0, 1, 1, 0], bins=10)
    assert found.counts == (1, 2, 2)
    assert found.predicted == pytest.approx((0.0, 0.1, 0.975))
    assert found.observed == (0.0, 0.5, 0.5)
    assert found.error == pytest.approx((2 * 0.4 + 2 * 0.475) / 5)


def test_calibration_agrees_with_scikit_learn():
    calibration = pytest.importorskip("sklearn.calibration")
    score, happened = scored()
    score = score * 0.998 + 0.0007  # no score on the edge of a bin
    found = calibration_curve(score, happened, bins=8)
    observed, predicted = calibration.calibration_curve(happened, score, n_bins=8)
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.predicted, predicted)
    assert sum(found.counts) == 500


def test_the_top_label():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.2, 0.2, 0.6]])
    confidence, right = top_label(p, np.array([0, 2, 2]))
    assert confidence.tolist() == [0.7, 0.5, 0.6]
    assert right.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("probability", "happened", "message"),
    [
        ([], [], "for each of some rows"),
        ([0.5], [1, 0], "shapes"),
        ([1.5], [1], "from 0 to 1"),
        ([np.nan], [1], "from 0 to 1"),
        ([0.5], [2], "True or False"),
    ],
)
def test_what_is_no_calibration(probability, happened, message):
    with pytest.raises(ValueError, match=message):
        calibration_curve(probability, happened)


def test_curves_agree_with_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    score, positive = scored()
    found = roc_curve(score, positive)
    false, true, thresholds = sk.roc_curve(positive, score, drop_intermediate=False)
    np.testing.assert_allclose(found.false_positive_rate, false)
    np.testing.assert_allclose(found.true_positive_rate, true)
    np.testing.assert_array_equal(found.thresholds, thresholds)
    assert found.area == pytest.approx(sk.roc_auc_score(positive, score))
    curve = precision_recall_curve(score, positive)
    precision, recall, thresholds = sk.precision_recall_curve(positive, score)
    np.testing.assert_allclose(curve.precision, precision[-2::-1])
    np.testing.assert_allclose(curve.recall, recall[-2::-1])
    np.testing.assert_array_equal(curve.thresholds, thresholds[::-1])
    assert curve.average == pytest.approx(sk.average_precision_score(positive, score))


def test_curves_need_both_classes():
    for curve in (roc_curve, precision_recall_curve):
        with pytest.raises(ValueError, match="both classes"):
            curve([0.1, 0.2], [False, False])
        with pytest.raises(ValueError, match="NaN"):
            curve([0.1, np.nan], [True, False])
        with pytest.raises(ValueError, match="shapes"):
            curve([0.1], [True, False])
    with pytest.raises(ValueError, match="both classes"):
        roc_curve([0.1, 0.2], [True, True])


def test_residuals_by_hand():
    found = summarize_residuals([1.0, 1.0, 1.0], [0.0, 1.0, 5.0], levels=(0.0, 0.5, 1.0))
    assert found.quantiles == {0.0: -1.0, 0.5: 0.0, 1.0: 4.0}
    assert (found.rows, found.mean) == (3, 1.0)
    assert found.std == pytest.approx(np.std([-1, 0, 4], ddof=1))
    assert summarize_residuals([1.0], [2.0]).std == 0.0
    for wrong in (([], []), ([1.0], [1.0, 2.0]), ([np.nan], [1.0])):
        with pytest.raises(ValueError, match=r"each of some rows|not finite"):
            summarize_residuals(*wrong)
