"""The scores by which models and baselines are compared on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend import metrics
from nnbackend.analysis.answers import encode_rows, outputs_of, read_rows
from nnbackend.errors import unknown_name
from nnbackend.tables.model import TableModel

__all__ = [
    "LARGER_IS_BETTER",
    "choose_score",
    "score_answers",
    "score_model",
    "score_outputs",
    "score_rows",
]

LARGER_IS_BETTER = {"log_loss": False, "accuracy": True, "rmse": False, "r2": True}
"""The scores by name, and whether a larger one is better."""


def score_model(model: TableModel, frame: Any) -> dict[str, float]:
    """Return the scores of a model for the rows of a table that have a target.

    Args:
        model: the model.
        frame: a frame with the columns and the target, or rows of :func:`read_rows`.

    Returns:
        for classes ``log_loss`` (where the loss gives probabilities) and ``accuracy``, for numbers
        ``rmse`` in the units of the target and ``r2``.
    """
    table = read_rows(model, frame, with_target=True).table
    outputs = outputs_of(model, encode_rows(model, table))
    return score_rows(model, outputs, model.encoder.encode_target(table))


def score_rows(model: TableModel, outputs: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    """Return the scores of the network's outputs for encoded targets; see :func:`score_model`."""
    return {name: score_outputs(model, outputs, y, name) for name in names_of_scores(model)}


def names_of_scores(model: TableModel) -> tuple[str, ...]:
    """Return the names of the scores that a model has, the one to go by first."""
    if not model.classes:
        return "rmse", "r2"
    return ("log_loss", "accuracy") if _has_probabilities(model) else ("accuracy",)


def choose_score(model: TableModel, score: str | None) -> str:
    """Return a score that the model has; None: the one to go by.

    Raises:
        UnknownNameError: it has no such score.
    """
    names = names_of_scores(model)
    if score is None:
        return names[0]
    if score not in names:
        raise unknown_name("score of this model", score, names)
    return score


def score_outputs(model: TableModel, outputs: NDArray[Any], y: NDArray[Any], score: str) -> float:
    """Return a score of the network's outputs for encoded targets."""
    if score == "log_loss":
        return float(metrics.get("log_loss")(model.probabilities(outputs), y))
    answers, truth = model.answers(outputs), model.encoder.target.decode(y)
    if score == "accuracy":
        return float(np.mean(answers == truth))
    return float(metrics.get(score)(answers, truth))


def score_answers(
    answers: NDArray[np.float64], truth: NDArray[Any], classes: bool
) -> dict[str, float]:
    """Return the scores of probabilities for class numbers, or of numbers for numbers."""
    if classes:
        right: Callable[..., float] = metrics.get("log_loss")
        accuracy = float(np.mean(answers.argmax(axis=1) == truth))
        return {"log_loss": float(right(answers, truth)), "accuracy": accuracy}
    return {name: float(metrics.get(name)(answers, truth)) for name in ("rmse", "r2")}


def _has_probabilities(model: TableModel) -> bool:
    try:
        model.check_probabilities()
    except ValueError:
        return False
    return True
