"""Baselines: what is reached without the network, on the same rows and from the same columns."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.analysis.answers import TableRows, sample_rows
from nnbackend.analysis.scores import score_answers
from nnbackend.core.checks import check_size
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.features import Encoded
from nnbackend.tables.table import Table, row_count, warn

__all__ = ["score_baselines"]

_MAX_BINS = 255  # of scikit-learn's boosting; a column of more categories goes in as numbers


def score_baselines(
    encoder: TableEncoder,
    training: TableRows,
    holdout: TableRows,
    *,
    max_rows: int = 50_000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return the scores of baselines on rows that they did not learn from, by name.

    ``mean`` or ``commonest class`` (with the shares of the classes as probabilities), and where
    scikit-learn is installed ``linear model`` (ridge or logistic regression behind a standard scaler,
    categories one-hot) and ``gradient boosting`` (histogram gradient boosting with its defaults). They
    get the columns as the encoder gives them to the network, and numbers in the units of the target.

    Args:
        encoder: of the model that they are compared with.
        training: the rows to learn from, of :func:`nnbackend.analysis.read_rows`.
        holdout: the rows to compare on.
        max_rows: of more training rows, so many are drawn at random, and that is said.
        seed: of the random numbers.

    Returns:
        for each baseline the scores of :func:`nnbackend.analysis.score_model`. Without scikit-learn it
        is the first alone, and a :class:`~nnbackend.tables.TableWarning` says so.
    """
    most = check_size("max_rows", max_rows)
    table = sample_rows(training.table, most, seed, "baselines")
    if row_count(table) < row_count(training.table):
        warn(f"baselines learn from {most:,} of {row_count(training.table):,} training rows")
    y, truth = _targets(encoder, table), _targets(encoder, holdout.table)
    classes, rows = len(encoder.classes), row_count(holdout.table)
    if classes:
        shares = np.bincount(y, minlength=classes) / len(y)
        scores = {"commonest class": _score(np.tile(shares, (rows, 1)), truth, classes)}
    else:
        scores = {"mean": _score(np.full(rows, y.mean()), truth, classes)}
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError:
        warn(
            "linear model and gradient boosting are left out of the baselines: they need "
            "scikit-learn, pip install 'nnbackend[sklearn]'"
        )
        return scores
    with warnings.catch_warnings():  # gaps and unseen categories, and fits that end early
        warnings.simplefilter("ignore")
        inputs, others = encoder.encode(table), encoder.encode(holdout.table)
        for name, model in _models(inputs, bool(classes), seed).items():
            model.fit(_stacked(inputs), y)
            answers = _answers(model, _stacked(others), classes)
            scores[name] = _score(answers, truth, classes)
    return scores


def _targets(encoder: TableEncoder, table: Table) -> NDArray[Any]:
    """Return class numbers, or numbers in the units of the target."""
    y = encoder.encode_target(table)
    return y if encoder.classes else encoder.target.decode(y)


def _score(answers: NDArray[Any], truth: NDArray[Any], classes: int) -> dict[str, float]:
    return score_answers(answers, truth, bool(classes))


def _stacked(inputs: Encoded) -> NDArray[np.float64]:
    """Return the numbers, and the indices of columns with many categories after them."""
    return np.concatenate([inputs.numbers, inputs.indices.astype(np.float64)], axis=1)


def _models(inputs: Encoded, classifies: bool, seed: int) -> dict[str, Any]:
    """Return the models of scikit-learn by name."""
    from sklearn import compose, ensemble, linear_model, pipeline, preprocessing

    width = inputs.numbers.shape[1]
    indices = list(range(width, width + len(inputs.cardinalities)))
    one_hot = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = compose.ColumnTransformer(
        [
            ("numbers", preprocessing.StandardScaler(), list(range(width))),
            ("texts", one_hot, indices),
        ]
    )
    few = [width + i for i, count in enumerate(inputs.cardinalities) if count <= _MAX_BINS] or None
    if classifies:
        linear: Any = linear_model.LogisticRegression(max_iter=1000)
        boosting: Any = ensemble.HistGradientBoostingClassifier
    else:
        linear, boosting = linear_model.Ridge(), ensemble.HistGradientBoostingRegressor
    return {
        "linear model": pipeline.make_pipeline(prepare, linear),
        "gradient boosting": boosting(random_state=seed, categorical_features=few),
    }


def _answers(model: Any, x: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Return probabilities for all classes, of which the model may not have seen each, or numbers."""
    if not classes:
        numbers: NDArray[np.float64] = np.asarray(model.predict(x), np.float64)
        return numbers
    answers = np.zeros((len(x), classes))
    answers[:, model.classes_] = model.predict_proba(x)
    return answers
