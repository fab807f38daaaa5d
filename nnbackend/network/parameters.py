"""What a network holds: its layers, their parameters and state, and a backend."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from nnbackend import data, optimizers
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import get_backend
from nnbackend.core import random
from nnbackend.core.checks import check_arrays
from nnbackend.core.layer_tree import frozen_names, init_state
from nnbackend.core.shapes import Shapes, check_shapes, map_shapes
from nnbackend.core.state_names import known_name, state_name
from nnbackend.core.tree import flatten, tree_map, unflatten
from nnbackend.core.types import Array, Layer, Params, State
from nnbackend.data.input_spec import InputSpec, check_takes_several
from nnbackend.errors import given, listed, nearest
from nnbackend.inference.predictor import Predictor
from nnbackend.inspection.out_of_memory import guarded
from nnbackend.layers import Sequential

if TYPE_CHECKING:
    from nnbackend.training.objective import Objective
    from nnbackend.training.trainer import Trainer

__all__ = ["NetworkParameters"]

# Made again when they are needed: no copy takes them.
_TRANSIENT_ATTRIBUTES = (
    "_trainer",
    "_body",
    "_input_spec",
    "_plain_objective",
    "_predictor",
    "_evaluator",
)


class NetworkParameters:
    """Layers with their parameters and state on a backend: built, set, copied, closed.

    See :class:`nnbackend.network.Network`, which runs and trains them.
    """

    def __init__(
        self,
        layers: Sequence[Layer] | Layer,
        *,
        backend: str | Backend | ModuleType = "numpy",
        device: Any = None,
        dtype: str | None = None,
        precision: str | None = None,
        seed: int = 0,
        input_shape: int | Sequence[Any] | Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(layers, Sequential):
            layers = Sequential(layers if isinstance(layers, Sequence) else [layers])
        self.layers = layers
        random.seed_key(seed)  # refuses a seed that is not one
        self.seed = int(seed)
        self.backend = get_backend(backend, device, dtype, precision)
        self.metadata: dict[str, Any] = {}
        self.input_shape: Shapes | None = None
        self.output_shape: Shapes | None = None
        self._params: Params | None = None
        self._raw: Params | None = None
        self._state: State = {}
        self._frozen: tuple[str, ...] = ()
        self.trained = (0, 0)
        self._trainer: Trainer | None = None
        self._last: Objective | None = None
        self._plain_objective: tuple[Layer, Objective] | None = None  # the last one without metrics
        self._input_spec: tuple[Layer, InputSpec] | None = None
        self._body: tuple[Sequential, Layer, Any] | None = None  # without the last activation
        self._predictor: Predictor | None = None
        self._repeats = False  # whether small arrays are predicted by the shortest way
        self._evaluator: Predictor | None = None  # of the outputs that a loss takes
        self._closed = False
        if input_shape is not None:
            self.build(input_shape)

    @guarded("the parameters")
    def build(self, input_shape: int | Sequence[Any] | Mapping[str, Any]) -> Self:
        """Make the initial parameters for rows of a shape; return the network.

        Raises:
            ValueError: the shape does not fit the layers, or the network is built for another one.
        """
        self._check_open()
        shape = check_shapes("input_shape", input_shape)
        if self._params is not None:
            if shape != self.input_shape:
                raise ValueError(f"the network is built for rows of shape {self.input_shape}")
            return self
        check_takes_several(self.layers, shape)
        params, output_shape = self.layers.init(shape, random.Generator.of(self.seed))
        self.input_shape, self.output_shape = shape, map_shapes(tuple, output_shape)
        with self.backend.scope():
            state = self._brought(init_state(self.layers, shape), "the state ")
            self._params, self._state = self._brought(params, "the parameter "), state
        return self

    def _brought(self, tree: Params, kind: str) -> Params:
        """Return nested arrays on the backend; what is no array is named."""
        arrays = flatten(tree).items()
        return unflatten(
            {name: data.to_backend(a, self.backend, f"{kind}{name}") for name, a in arrays}, tree
        )

    @property
    def params(self) -> Params:
        """The parameters by layer and name. Assigning replaces them, with no copy.

        They are the network's own arrays: training changes them in place or, on a library without
        mutable arrays, may consume them. ``state_dict`` returns copies.
        """
        if self._params is None:
            self._check_open()
            raise ValueError(
                "the network has no parameters yet: give input_shape=, call build(input_shape), "
                "or pass data through it"
            )
        return self._params

    @params.setter
    def params(self, params: Params) -> None:
        self._check_open()
        own = self._params
        if own is not None and own is not params:  # which an optimizer that works in place returns
            _check_alike("params", params, own)
        self._params, self._raw = params, None
        self._trainer = None

    @property
    def state(self) -> State:
        """The state of the layers, which no optimizer trains; ``{}`` if none of them has one.

        Nested dictionaries by layer and name, as ``params``. A training pass replaces it, or changes
        its arrays in place. Assigning replaces it, with no copy.
        """
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._check_open()
        _check_alike("state", state, self._state)
        self._state = state

    @property
    def raw_params(self) -> Params:
        """The parameters that the optimizer last made; ``params`` are their average if it keeps one."""
        return self.params if self._raw is None else self._raw

    @property
    def frozen(self) -> tuple[str, ...]:
        """The dotted names of the parameters that training does not change, those in a Freeze too."""
        inside = [] if self._params is None else frozen_names(self.layers, self._params)
        return tuple(dict.fromkeys([*self._frozen, *inside])) if inside else self._frozen

    def freeze(self, *patterns: str) -> Self:
        """Keep parameters unchanged in training, to the last bit; return the network.

        Args:
            patterns: patterns of dotted names: ``"0.*"`` for the first layer, ``"*.bias"`` for all
                biases. ``*`` stands for any text, dots included.

        Raises:
            ValueError: a pattern matches no parameter, of which the message lists the names; or the
                network is not built.
        """
        if not patterns:
            raise ValueError("freeze what? Give patterns of names: freeze('0.*'), or freeze('*')")
        return self._freeze(patterns, True)

    def unfreeze(self, *patterns: str) -> Self:
        """Let frozen parameters learn again, all or those that a pattern matches; return the network.

        Raises:
            ValueError: a pattern matches no parameter; the message lists the names.
        """
        return self._freeze(patterns or ("*",), False)

    def _freeze(self, patterns: Iterable[str], frozen: bool) -> Self:
        names = list(flatten(self.params))
        meant = {name for pattern in patterns for name in optimizers.matching(pattern, names)}
        old = set(self._frozen)
        new = old | meant if frozen else old - meant
        self._frozen = tuple(name for name in names if name in new)
        return self

    def close(self) -> None:
        """Release the network's arrays and give the memory back to the device.

        A closed network cannot be used any more; ``layers``, ``metadata`` and the shapes can be read.
        Arrays that came from it, such as outputs and ``state_dict()``, stay as they are, and so do
        other networks. A second call does nothing.
        """
        self._params = self._raw = self._last = self._predictor = self._evaluator = None
        self._state = {}
        self._release()
        self._closed = True
        gc.collect()  # objects that refer to each other would keep their arrays for now
        self.backend.free_memory()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _release(self) -> None:
        """Drop the arrays that the network keeps beside its parameters."""
        self._trainer = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a pickle or a copy, with the parameters on the host."""
        state = self.__dict__ | dict.fromkeys(_TRANSIENT_ATTRIBUTES)
        with self.backend.scope():
            return state | self._parameters_through(self.backend.to_numpy)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickles of older versions have no state, and count steps and epochs by themselves.
        trained = state.pop("_steps", 0), state.pop("_epochs", 0)
        self.__dict__.update({"_state": {}, "trained": trained} | state)
        with self.backend.scope():
            self.__dict__.update(self._parameters_through(self.backend.asarray))

    def _parameters_through(self, function: Callable[[Any], Any]) -> dict[str, Params | None]:
        """Return the attributes of parameters and state with a function applied to each array."""
        held = {"_params": self._params, "_raw": self._raw, "_state": self._state}
        return {name: p if p is None else tree_map(function, p) for name, p in held.items()}

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(
                "the network is closed: its arrays were released. Save it, or take state_dict(), "
                "before it is closed"
            )

    @guarded("a copy of the parameters")
    def state_dict(self) -> dict[str, Array]:
        """Return a copy of parameters and state by dotted name: ``{"0.weight": ..., "0.bias": ...}``.

        The state of layers is among them, ``"1.running_mean"``; where a parameter has the same name,
        with ``state.`` before it.
        """
        xp = self.backend.xp
        with self.backend.scope():
            return {name: xp.asarray(a, copy=True) for name, a in self._variables().items()}

    def _variables(self) -> dict[str, Array]:
        """Return parameters and state as ``state_dict`` names them."""
        params = flatten(self.params)
        return params | {state_name(n, params): a for n, a in flatten(self._state).items()}

    @guarded("the parameters")
    def load_state_dict(self, state: Mapping[str, Any]) -> Self:
        """Set parameters and state to copies of ``state``, as from ``state_dict``; return the network.

        Args:
            state: array-likes of any library by dotted name, one for each parameter and for each array
                of the layers' state, whose names may have ``state.`` before them.

        Raises:
            ValueError: names are missing or unknown, a shape is wrong, or a number is not finite;
                nothing has changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a dictionary of arrays by name, got {given(state)}")
        own = self._variables()
        state = {known_name(str(name), own): state[name] for name in state}
        unknown, missing = sorted(state.keys() - own.keys()), sorted(own.keys() - state.keys())
        if unknown or missing:
            raise ValueError(_names_differ(unknown, missing))
        with self.backend.scope():
            values = {name: self._owned(value, name) for name, value in state.items()}
            for name, value in values.items():
                shape = tuple(own[name].shape)
                if tuple(value.shape) != shape:
                    raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
                if not self.backend.all_finite(value):
                    raise ValueError(
                        f"{name} holds NaN or infinite numbers, which nothing can start from"
                    )
        self.params = unflatten(values, self.params)
        params = flatten(self.params)
        of_state = {name: values[state_name(name, params)] for name in flatten(self._state)}
        self.state = unflatten(of_state, self._state)
        return self

    @guarded("the parameters")
    def restore(
        self,
        input_shape: Shapes,
        params: Params,
        metadata: Mapping[str, Any],
        state: State | None = None,
    ) -> Self:
        """Set shape, parameters (copied), metadata and state of a network without them; return it.

        ``input_shape`` is the shape of one row, or a tree of shapes; ``state`` None: the initial one.
        """
        _, output_shape = self.layers.init(input_shape, random.ShapeGenerator((0, 0)))
        self.input_shape, self.output_shape = input_shape, map_shapes(tuple, output_shape)
        self.metadata = copy.deepcopy(dict(metadata))
        with self.backend.scope():
            state = init_state(self.layers, input_shape) if state is None else state
            self._state = tree_map(self._owned, state)
            self._params = tree_map(self._owned, params)
        return self

    def _owned(self, values: Any, name: str = "the parameter") -> Array:
        """Return a copy of an array on this network's backend."""
        return self.backend.xp.asarray(data.to_backend(values, self.backend, name), copy=True)


def _check_alike(name: str, tree: Any, own: Params) -> None:
    """Refuse arrays of other names or shapes than those of a network; ``name`` is an attribute's."""
    check_arrays(name, tree)
    given, wanted = (
        {n: tuple(getattr(a, "shape", ())) for n, a in flatten(t).items()} for t in (tree, own)
    )
    if given != wanted:
        shapes = (listed(f"{n} {s}" for n, s in each.items()) or "none" for each in (wanted, given))
        raise ValueError("{} must have the arrays {}; got {}".format(name, *shapes))


def _names_differ(unknown: list[str], missing: list[str]) -> str:
    parts = []
    if missing:
        parts.append(f"missing: {listed(missing)}")
    for name in unknown[:10]:
        close = nearest(name, missing)
        parts.append(f"unknown: {name}" + (f" (did you mean {close[0]}?)" if close else ""))
    return "the names do not match this network's parameters; " + "; ".join(parts)
