"""The network in scikit-learn's diagrams."""

from __future__ import annotations

from typing import Any

from nnbackend.network import _short

try:
    from sklearn.utils._repr_html.estimator import _VisualBlock
except ImportError:  # scikit-learn before 1.8
    from sklearn.utils._estimator_html_repr import _VisualBlock

__all__ = ["block"]


def block(estimator: Any) -> Any:
    """Return a block for each layer, one below the other; the output layer once it is known."""
    fitted = estimator._is_built() and hasattr(estimator, "_layers")
    if fitted:
        network = estimator.network_
        names = [_short(layer) for layer in network.layers.layers]
        shapes = [f"{shape}, {count:,} parameters" for _, _, shape, count in network.summary_rows()]
    else:
        names = [*(_short(layer) for layer in estimator._hidden_layers()), "output"]
        shapes = ["not fitted yet"] * len(names)
    return _VisualBlock("serial", names, names=names, name_details=shapes, dash_wrapped=False)
