"""Training an estimator by SciPy's L-BFGS, called as scikit-learn calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from scipy.optimize import minimize
from sklearn.utils.optimize import _check_optimize_result

from nnbackend.backends.base import Backend
from nnbackend.core.tree import tree_map
from nnbackend.core.types import Params
from nnbackend.data.samples import Samples
from nnbackend.estimators.arrays import HOST, SparseSamples
from nnbackend.training.full_batch import FullBatchFunction
from nnbackend.training.objective import Objective

if TYPE_CHECKING:
    from nnbackend.estimators.base import NeuralEstimator

__all__ = ["fit_by_lbfgs"]

_SCIPY_PRINTS = tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15)


def fit_by_lbfgs(
    estimator: NeuralEstimator,
    objective: Objective,
    backend: Backend,
    params: Params,
    samples: Samples,
) -> None:
    """Minimize the loss of all rows, and set the estimator's attributes.

    SciPy's L-BFGS-B works on the host in float64; loss and gradient are the backend's, in its dtype.

    Raises:
        ValueError: the loss is not the same each time, or layers have state.
    """
    if estimator._layer_state:
        raise ValueError(
            "solver='lbfgs' compares losses of the same network, and layers with state (running "
            "means) change from pass to pass: take solver='adam' or 'sgd'"
        )
    if isinstance(samples, SparseSamples):
        samples = samples.take(np.arange(len(samples)), backend)
    names = [".".join(path) for path in estimator._packing(params)]
    function = FullBatchFunction(objective, backend, params, estimator._seed, samples, names)
    if estimator._has_random_layers():
        function.check_same_each_time()

    def loss_and_gradient(x: Any) -> tuple[float, Any]:
        point = function(x)
        return point.loss, point.gradient

    options = {"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol}
    if _SCIPY_PRINTS:  # later versions have no such option
        options["iprint"] = 1 if estimator.verbose else -1
    start = function.vector(params)
    found = minimize(loss_and_gradient, start, method="L-BFGS-B", jac=True, options=options)
    estimator.n_iter_ = _check_optimize_result("lbfgs", found, estimator.max_iter)
    estimator.loss_ = float(found.fun)
    # SciPy's numbers are float64, also where loss and gradient are not.
    if estimator._home is HOST:
        estimator._dtype = str(found.x.dtype)
    learned = function.arrays(found.x.astype(estimator._dtype))
    estimator._keep_params(tree_map(lambda p: estimator._home.from_host(p.copy()), learned))
