"""scikit-learn's multilayer perceptrons, with every option of theirs and more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Unpack

from sklearn.utils._param_validation import StrOptions

from nnbackend import activations
from nnbackend.activations import ACTIVATIONS
from nnbackend.core.checks import check_size, named
from nnbackend.core.types import Array, Layer, Params
from nnbackend.estimators.arguments import COUNT, FRACTION, TrainingArguments, keep_arguments
from nnbackend.estimators.base import NeuralEstimator
from nnbackend.estimators.files import saves
from nnbackend.estimators.heads import ClassifierHead, RegressorHead
from nnbackend.layers import Dense, Dropout, Sequential
from nnbackend.losses import Loss

__all__ = ["MLPClassifier", "MLPRegressor"]

_ACTIVATION_NAMES = {"logistic", *ACTIVATIONS}


class MultilayerPerceptron(NeuralEstimator):
    """Hidden layers of given sizes, as scikit-learn initializes them."""

    _array_attributes = ("coefs_", "intercepts_", "classes_")
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", COUNT],
        "activation": [StrOptions(_ACTIVATION_NAMES), callable, "array-like"],
        "dropout": [FRACTION, "array-like"],
    }

    def _hidden_layers(self) -> list[Layer]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if any(isinstance(size, Real) and size <= 0 for size in sizes):  # Dense refuses the rest
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        functions = _for_each(self.activation, len(sizes), "activation")
        rates = _for_each(self.dropout, len(sizes), "dropout")
        layers: list[Layer] = []
        for size, function, rate in zip(sizes, functions, rates, strict=True):
            name = "sigmoid" if function == "logistic" else function
            with named("hidden_layer_sizes"):
                size = check_size("each", size)
            layers.append(Dense(size, activation=activations.get(name)))
            with named("dropout"):
                if rate:
                    layers.append(Dropout(rate))
        return layers

    def _initial_params(self, layers: Sequential, shape: tuple[int, ...], dtype: str) -> Params:
        """Draw weights and biases, both uniform: Glorot, Bengio (2010), and a third for logistic."""
        count = sum(isinstance(layer, Dense) for layer in layers.layers)
        functions = _for_each(self.activation, count - 1, "activation")
        functions.append(functions[-1] if functions else self.activation)
        params: Params = {}
        (fan_in,) = shape
        for i, layer in enumerate(layers.layers):
            params[str(i)] = {}
            if not isinstance(layer, Dense):
                continue
            factor = 2.0 if functions.pop(0) == "logistic" else 6.0
            fan_out = layer.out_features
            bound = math.sqrt(factor / (fan_in + fan_out))
            weight = self._random_state.uniform(-bound, bound, (fan_in, fan_out))
            bias = self._random_state.uniform(-bound, bound, fan_out)
            params[str(i)] = {"weight": weight.astype(dtype), "bias": bias.astype(dtype)}
            fan_in = fan_out
        self.n_layers_ = count + 1
        return params

    def _keep_params(self, params: Params) -> None:
        layers = [layer for layer in params.values() if layer]
        self.coefs_ = [layer["weight"] for layer in layers]
        self.intercepts_ = [layer["bias"] for layer in layers]

    def _kept_params(self) -> Params:
        pairs = iter(zip(self.coefs_, self.intercepts_, strict=True))
        params: Params = {}
        for i, layer in enumerate(self._layers.layers):
            params[str(i)] = {}
            if isinstance(layer, Dense):
                params[str(i)] = dict(zip(("weight", "bias"), next(pairs), strict=True))
        return params

    def _kept_arrays(self) -> list[Array]:
        return [*self.coefs_, *self.intercepts_]

    def _packing(self, params: Params) -> list[tuple[str, ...]]:
        """Return weights first, then biases, as scikit-learn gives them to SciPy."""
        layers = [name for name, layer in params.items() if layer]
        return [(name, kind) for kind in ("weight", "bias") for name in layers]


@saves
class MLPClassifier(ClassifierHead, MultilayerPerceptron):
    """A multilayer perceptron for classes: scikit-learn's ``MLPClassifier``, and more.

    Arguments up to ``max_fun`` are scikit-learn's: the same names, defaults and meaning, and with the
    same ``random_state`` the same numbers are drawn for weights, splits and batches. What is new has
    defaults that change nothing. docs/scikit-learn.md has all of them in a table.

    Args:
        hidden_layer_sizes: the units of each hidden layer; default ``(100,)``.
        activation: the activation of the hidden layers: a name, an object, or a list with one for
            each layer; default ``"relu"``.
        solver: ``"adam"`` (the default), ``"sgd"``, ``"lbfgs"``, or an optimizer of this library, by
            name or as an object, which has its own learning rate.
        alpha: the strength of the penalty ``alpha / 2 * sum(w**2)``, which is divided by the rows of
            a batch; default 0.0001.
        batch_size: the rows of a step; ``"auto"`` (the default): 200, or all rows if they are fewer.
        learning_rate: the schedule of sgd's rate: ``"constant"`` (the default), ``"invscaling"`` or
            ``"adaptive"``; or, for all solvers but lbfgs, a schedule: a function of the step's number,
            which counts from 0.
        learning_rate_init: the learning rate of the first epoch; default 0.001.
        power_t: the exponent of inverse scaling; default 0.5.
        max_iter: the largest number of epochs, or of lbfgs' iterations; default 200.
        shuffle: whether each epoch takes the rows in another order; default True.
        random_state: the random seed, or a generator of NumPy's legacy kind; None (the default): new
            numbers in each fit.
        tol: the improvement of the loss or the score that counts; default 1e-4.
        verbose: whether to print the progress; default False.
        warm_start: whether ``fit`` continues from the last fit; default False.
        momentum: the momentum of sgd; default 0.9.
        nesterovs_momentum: whether that is Nesterov's; default True.
        early_stopping: whether to hold out rows, stop when their score no longer improves, and return
            to the parameters of the best epoch; default False.
        validation_fraction: the fraction of rows to hold out; default 0.1.
        beta_1: adam's decay rate of the mean gradient; default 0.9.
        beta_2: adam's decay rate of the mean squared gradient; default 0.999.
        epsilon: the number that adam adds to the denominator; default 1e-8.
        n_iter_no_change: after how many epochs without improvement training ends; default 10.
        max_fun: the largest number of evaluations of lbfgs; default 15,000.
        loss: ``"log_loss"`` (the default), or a loss of this library by name or as an object.
        dropout: the fraction dropped after each hidden layer, or a list with one for each; default 0.
        class_weight: ``"balanced"``, or weights by class, which multiply sample weights in the loss of
            training, not in scores and metrics; None (the default): all classes count 1.
        validation_data: ``(X, y)`` or ``(X, y, sample_weight)`` to score after each epoch, with
            ``early_stopping`` in place of held-out rows; None (the default): nothing.
        metrics: names or functions of :mod:`nnbackend.metrics` to compute in the training of each
            epoch; None (the default): none.
        callbacks: callbacks, see :mod:`nnbackend.callbacks`; None (the default): none. Parameters that
            they give the network, also at the end, are the estimator's.
        max_time: the seconds after which training ends with its epoch; None (the default): no limit.
        backend: the backend: a name, ``"auto"`` or a :class:`~nnbackend.Backend`; None (the
            default): NumPy, or the library of X where scikit-learn dispatches to array libraries.
        device: the device of the backend; None (the default): the backend's own choice, or that of X.
        precision: ``"float32"``, ``"float64"``, ``"tf32"``, or for mixed precision ``"float16"`` or
            ``"bfloat16"``, see :mod:`nnbackend.core.precision`; None (the default): that of X, and
            float64 for whole numbers.
        data_on: the place of training data: ``"device"``, ``"host"``, or ``"auto"`` (the default):
            the device, unless they are on the host and larger than half of the device's free memory.
            From the host they are read a block at a time, with the same result. A sparse X stays on
            the host; lbfgs, and a batch of all rows, need all data on the device.

    Attributes:
        coefs_: the weights of each layer, of shape (in, out).
        intercepts_: the biases of each layer, of shape (out,).
        classes_: the classes, in the order of probabilities.
        loss_: the loss of the last epoch.
        best_loss_: the smallest loss of an epoch; None with early stopping.
        loss_curve_: the loss of each epoch.
        validation_scores_: the validation score of each epoch, if there was something to score.
        best_validation_score_: the best of them, with early stopping.
        n_iter_: the number of epochs of the last fit, or of lbfgs' iterations.
        t_: the number of rows seen in training.
        n_layers_: the number of layers, the input included.
        n_outputs_: the number of outputs of the network.
        out_activation_: the name of the output activation.
        n_features_in_: the number of columns of X.
        feature_names_in_: the names of the columns, if X had names.
        history_: the record of each epoch; see :class:`~nnbackend.History`.
        network_: the fitted network, as a :class:`~nnbackend.Network`.
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: Any = "relu",
        *,
        alpha: float = 0.0001,
        loss: str | Loss = "log_loss",
        dropout: float | Sequence[float] = 0.0,
        class_weight: Any = None,
        **training: Unpack[TrainingArguments],
    ) -> None:
        keep_arguments(self, locals())


@saves
class MLPRegressor(RegressorHead, MultilayerPerceptron):
    """A multilayer perceptron for numbers: scikit-learn's ``MLPRegressor``, and more.

    Arguments and attributes are those of :class:`MLPClassifier`, without ``classes_`` and
    ``class_weight``; scores are coefficients of determination.

    Args:
        loss: ``"squared_error"``, ``"poisson"`` (the output is an exponential), or a loss of this
            library by name or as an object.
        hidden_layer_sizes: units of each hidden layer; the rest as in :class:`MLPClassifier`.
    """

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: Any = "relu",
        *,
        alpha: float = 0.0001,
        dropout: float | Sequence[float] = 0.0,
        **training: Unpack[TrainingArguments],
    ) -> None:
        keep_arguments(self, locals())


def _for_each(value: Any, count: int, name: str) -> list[Any]:
    """Return one value for each hidden layer."""
    if isinstance(value, str | Real) or callable(value):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise ValueError(
            f"{name} has {len(values)} entries, but there are {count} hidden layers; give one value, "
            "or one for each hidden layer"
        )
    return values
