"""The network in scikit-learn's diagrams."""

from __future__ import annotations

from typing import Any

from nnbackend.inspection.summary import line

try:
    from sklearn.utils._repr_html.estimator import _VisualBlock
except ImportError:  # scikit-learn before 1.8
    from sklearn.utils._estimator_html_repr import _VisualBlock

__all__ = ["block"]


def block(estimator: Any) -> Any:
    """Return a block for each layer, one below the other; the output layer once it is known."""
    if estimator.__sklearn_is_fitted__() and hasattr(estimator, "_layers"):
        network = estimator.network_
        layers = [line(layer) for layer in network.layers.layers]
        details = [
            f"{shape}, {count:,} parameters" for _, _, shape, count in network.summary_rows()
        ]
    else:
        layers = [*(line(layer) for layer in estimator._hidden_layers()), "output"]
        details = ["not fitted yet"] * len(layers)
    blocks = [
        _VisualBlock("single", None, names=layer, name_details=detail)
        for layer, detail in zip(layers, details, strict=True)
    ]
    return _VisualBlock("serial", blocks, names=layers, name_details=details, dash_wrapped=False)
