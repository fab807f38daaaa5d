"""What a trained model of a table has learned, and how good its answers are.

Importance of columns, partial dependence, the contributions of columns to one prediction, calibration,
curves of two classes, residuals, and baselines on the same rows. Everything is asked of the model's
predictions alone, whatever the network is.
"""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily

if TYPE_CHECKING:
    from nnbackend.analysis.answers import TableRows, read_rows
    from nnbackend.analysis.baselines import score_baselines, score_baselines_by_fold
    from nnbackend.analysis.calibration import Calibration, calibration_curve, top_label
    from nnbackend.analysis.contributions import (
        Contribution,
        RowContributions,
        row_contributions,
    )
    from nnbackend.analysis.curves import (
        PrecisionRecallCurve,
        ROCCurve,
        precision_recall_curve,
        roc_curve,
    )
    from nnbackend.analysis.dependence import PartialDependence, partial_dependence
    from nnbackend.analysis.importance import (
        ColumnImportance,
        Importance,
        permutation_importance,
    )
    from nnbackend.analysis.residuals import Residuals, summarize_residuals
    from nnbackend.analysis.scores import score_model

_MODULES = {
    "Calibration": "calibration",
    "ColumnImportance": "importance",
    "Contribution": "contributions",
    "Importance": "importance",
    "PartialDependence": "dependence",
    "PrecisionRecallCurve": "curves",
    "ROCCurve": "curves",
    "Residuals": "residuals",
    "RowContributions": "contributions",
    "TableRows": "answers",
    "calibration_curve": "calibration",
    "partial_dependence": "dependence",
    "permutation_importance": "importance",
    "precision_recall_curve": "curves",
    "read_rows": "answers",
    "roc_curve": "curves",
    "row_contributions": "contributions",
    "score_baselines": "baselines",
    "score_baselines_by_fold": "baselines",
    "score_model": "scores",
    "summarize_residuals": "residuals",
    "top_label": "calibration",
}

__all__ = [
    "Calibration",
    "ColumnImportance",
    "Contribution",
    "Importance",
    "PartialDependence",
    "PrecisionRecallCurve",
    "ROCCurve",
    "Residuals",
    "RowContributions",
    "TableRows",
    "calibration_curve",
    "partial_dependence",
    "permutation_importance",
    "precision_recall_curve",
    "read_rows",
    "roc_curve",
    "row_contributions",
    "score_baselines",
    "score_baselines_by_fold",
    "score_model",
    "summarize_residuals",
    "top_label",
]

__getattr__, __dir__ = lazily(__name__, _MODULES)
