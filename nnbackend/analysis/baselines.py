"""Baselines: what is reached without the network, on the same rows and from the same columns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.analysis.answers import TableRows, sample_rows
from nnbackend.analysis.scores import score_answers
from nnbackend.core.checks import check_size
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.features import Encoded
from nnbackend.tables.table import Table, row_count, take_rows, warn

__all__ = ["score_baselines", "score_baselines_by_fold"]

_MAX_BINS = 255  # of scikit-learn's boosting; a column of more categories goes in as numbers


def score_baselines(
    encoder: TableEncoder,
    training: TableRows,
    holdout: TableRows,
    *,
    max_rows: int = 50_000,
    boosting: bool = True,
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
        boosting: whether gradient boosting is among them, which takes the longest.
        seed: of the random numbers.

    Returns:
        for each baseline the scores of :func:`nnbackend.analysis.score_model`. Without scikit-learn it
        is the first alone, and a :class:`~nnbackend.tables.TableWarning` says so.
    """
    rows = _answer_rows(encoder, training.table, holdout.table, max_rows, boosting, seed)
    truth, classes = _targets(encoder, holdout.table), len(encoder.classes)
    return {name: _score(answers, truth, classes) for name, answers in rows.items()}


def score_baselines_by_fold(
    encoder: TableEncoder,
    rows: TableRows,
    divisions: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    *,
    max_rows: int = 50_000,
    boosting: bool = True,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return the scores of baselines on rows, each predicted by one that did not learn from it.

    It is to networks with folds what :func:`score_baselines` is to one.

    Args:
        encoder: of the model that they are compared with.
        rows: all rows, of :func:`nnbackend.analysis.read_rows`.
        divisions: for each fold the numbers of the rows to learn from, and of those to predict.
        max_rows: see :func:`score_baselines`.
        boosting: see :func:`score_baselines`.
        seed: see :func:`score_baselines`.
    """
    found: dict[str, list[NDArray[np.float64]]] = {}
    for training, others in divisions:
        parts = take_rows(rows.table, training), take_rows(rows.table, others)
        for name, answers in _answer_rows(encoder, *parts, max_rows, boosting, seed).items():
            found.setdefault(name, []).append(answers)
    tested = np.concatenate([others for _, others in divisions])
    truth, classes = _targets(encoder, take_rows(rows.table, tested)), len(encoder.classes)
    return {name: _score(np.concatenate(parts), truth, classes) for name, parts in found.items()}


def _answer_rows(
    encoder: TableEncoder, training: Table, others: Table, max_rows: int, boosting: bool, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Return what each baseline, learned from training rows, answers for others."""
    most = check_size("max_rows", max_rows)
    table = sample_rows(training, most, seed, "baselines")
    if row_count(table) < row_count(training):
        warn(f"baselines learn from {most:,} of {row_count(training):,} training rows")
    y, classes, rows = _targets(encoder, table), len(encoder.classes), row_count(others)
    if classes:
        shares = np.bincount(y, minlength=classes) / len(y)
        found = {"commonest class": np.tile(shares, (rows, 1))}
    else:
        found = {"mean": np.full(rows, y.mean())}
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError:
        warn(
            "linear model and gradient boosting are left out of the baselines: they need "
            "scikit-learn, pip install 'nnbackend[sklearn]'"
        )
        return found
    with warnings.catch_warnings():  # gaps and unseen categories, and fits that end early
        warnings.simplefilter("ignore")
        inputs, asked = encoder.encode(table), encoder.encode(others)
        for name, model in _models(inputs, bool(classes), seed).items():
            if name == "gradient boosting" and not boosting:
                continue
            model.fit(_stacked(inputs), y)
            found[name] = _answers(model, _stacked(asked), classes)
    return found


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
