"""The network in scikit-learn's diagrams."""

from __future__ import annotations

from typing import Any

from nnbackend.inspection.layer_text import describe_layer

try:
    from sklearn.utils._repr_html.estimator import _VisualBlock
except ImportError:  # scikit-learn before 1.8
    from sklearn.utils._estimator_html_repr import _VisualBlock

__all__ = ["block"]


def block(estimator: Any) -> Any:
    """Return a block for each layer, one below the other; the output layer once it is known."""
    if estimator.__sklearn_is_fitted__() and hasattr(estimator, "_layers"):
        network = estimator.network_
        layers = [describe_layer(layer) for layer in network.layers.layers]
        details = [
            f"{row.output_shape}, {row.parameters:,} parameters"
            for row in network.summary_rows()
            if not row.is_inside
        ]
    else:
        layers = [*(describe_layer(layer) for layer in estimator._hidden_layers()), "output"]
        details = ["not fitted yet"] * len(layers)
    blocks = [
        _VisualBlock("single", None, names=layer, name_details=detail)
        for layer, detail in zip(layers, details, strict=True)
    ]
    return _VisualBlock("serial", blocks, names=layers, name_details=details, dash_wrapped=False)
