"""What ``nnbackend train`` says where the network is worse than what takes no network."""

from __future__ import annotations

import warnings
from typing import Any

from nnbackend.analysis.answers import TableRows
from nnbackend.analysis.baselines import score_baselines, score_baselines_by_fold
from nnbackend.analysis.scores import score_rows
from nnbackend.cli.outcome import Outcome
from nnbackend.cli.printing import in_figures
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.model import TableModel
from nnbackend.tables.table import TableWarning, row_count, warn

__all__ = ["warn_if_worse"]

_MAX_ROWS = 10_000
_MAX_CELLS = 2_000_000  # of numbers that a linear model learns from
_FEWEST_ROWS = 20  # that train: what less says is chance
_MARGIN = {"log_loss": 0.02, "rmse": 0.02}  # of the log loss, and of the baseline's error
_WORDS = {"mean": "always answering with the mean", "linear model": "a linear model"}
_WORDS["commonest class"] = "always answering with the shares of the classes"


def warn_if_worse(outcome: Outcome) -> None:
    """Warn where a network predicts the held-out rows worse than the mean or a linear model.

    For quantiles, weights of classes, and losses that give no probabilities nothing is compared, and
    nor is a network whose training was interrupted.
    """
    model, (training, holdout) = outcome.model, outcome.parts
    if (outcome.stopped or "").startswith("interrupted"):
        return
    if not isinstance(model, TableModel) or training is None or holdout is None:
        return
    if not outcome.counts[1] or model.quantiles or outcome.settings["class_weight"]:
        return
    outputs = model.outputs(outcome.x) if outcome.outputs is None else outcome.outputs
    own = score_rows(model, outputs, outcome.y)
    score = next(iter(own))
    if score not in _MARGIN:
        return
    found = {name: scores[score] for name, scores in _baselines(outcome, training, holdout).items()}
    margin = {
        n: _MARGIN[score] * (1.0 if score == "log_loss" else abs(v)) for n, v in found.items()
    }
    better = [name for name, value in found.items() if own[score] > value + margin[name]]
    if better:
        what = " and ".join(_WORDS[name] for name in better)
        figures = ", ".join(in_figures(found[name]) for name in better)
        advice = "" if outcome.divisions else ": try --folds 5 or --preset best"
        if outcome.settings["model"] == "mlp":  # which has neither
            advice = ": try more --epochs or --model realmlp"
        warn(
            f"the network predicts the held-out rows worse than {what}: {score.replace('_', ' ')} "
            f"{in_figures(own[score])} instead of {figures}. Little can be learned from these columns, "
            f"there are too few rows, or the training was too short{advice}"
        )


def _baselines(
    outcome: Outcome, training: TableRows, holdout: TableRows
) -> dict[str, dict[str, float]]:
    """Return the scores of the baselines that take little time."""
    encoder, seed = outcome.model.encoder, outcome.settings["seed"]
    assert isinstance(encoder, TableEncoder)
    width = encoder.width + sum(encoder.inputs.cardinalities)
    most = min(_MAX_ROWS, _MAX_CELLS // width)
    if row_count(training.table) < _FEWEST_ROWS or most < _FEWEST_ROWS:
        return {}
    with warnings.catch_warnings():  # they need not be there, nor learn from all rows
        warnings.simplefilter("ignore", TableWarning)
        more: dict[str, Any] = {"max_rows": most, "boosting": False, "seed": seed}
        try:
            if outcome.divisions:
                return score_baselines_by_fold(encoder, training, outcome.divisions, **more)
            return score_baselines(encoder, training, holdout, **more)
        except (
            ValueError
        ):  # scikit-learn cannot learn from these rows; it is no part of the training
            return {}
