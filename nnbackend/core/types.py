"""The types of the whole library: arrays, parameters, batches, steps, layers and their passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from nnbackend.core.random import fold_in

if TYPE_CHECKING:
    from nnbackend.backends.base import Backend
    from nnbackend.core.random import Generator

__all__ = [
    "STATELESS",
    "Array",
    "Arrays",
    "Backward",
    "Batch",
    "Carry",
    "Context",
    "Layer",
    "Namespace",
    "Params",
    "RunData",
    "Shape",
    "State",
    "Step",
    "StepResult",
]

Array: TypeAlias = Any
"""An array of any library that follows the array API standard (there is no common base class)."""

Arrays: TypeAlias = Any
"""Inputs or outputs of a network: an array, or tuples and dictionaries of arrays with equal rows.

Walk them with :func:`nnbackend.core.tree.map_arrays` and :func:`nnbackend.core.tree.arrays_in`.
"""

Namespace: TypeAlias = Any
"""A module with the functions of the array API standard, called ``xp`` throughout."""

Shape: TypeAlias = tuple[int, ...]
"""A shape without the batch axis: ``(784,)`` for rows of 784 features."""

Params: TypeAlias = dict[str, Any]
"""Named arrays, nested: ``{"0": {"weight": ..., "bias": ...}, "1": {}}``."""

Backward: TypeAlias = Callable[..., tuple[Arrays | None, Params]]
"""``backward(dy, input_grad=True) -> (dx, grads)``: the function that undoes one forward pass.

``dy`` is the gradient of the loss with respect to the layer's output, ``dx`` with respect to its
input, and ``grads`` is nested as the layer's parameters are. With ``input_grad=False`` ``dx`` is
not computed and None comes back: the first layer of a network in training has no use for it.
"""


State: TypeAlias = dict[str, Any]
"""Arrays of layers that no optimizer trains (running means), nested by layer as parameters are.

A layer without state has no entry, so the state of a network of such layers is ``{}``.
"""


STATELESS: State = {}
"""The state of layers that have none."""


class Batch(NamedTuple):
    """The rows of a training step, or of a block of steps.

    Attributes:
        x: the inputs, of shape ``(rows, *input_shape)``; or a tree of such arrays.
        y: the targets, of shape ``(rows, *output_shape)``, or (rows,) for class labels; or a tree.
        weight: how much each row counts, of shape (rows,); None: all rows count 1.
    """

    x: Arrays
    y: Arrays
    weight: Array | None = None


class RunData(NamedTuple):
    """The data that all steps of a run share, given to a compiled step so that other runs can use it.

    Attributes:
        key: the random key of forward passes; two ints, or an array for a compiler.
        strength: the strength of the penalty on the loss of a batch.
    """

    key: Any
    strength: Any


class Carry(NamedTuple):
    """The data that one training step hands to the next.

    Attributes:
        storage: the parameters and the optimizer's arrays, as their layout keeps them.
        state: the state of the layers.
        data: the data that all steps of the run share.
    """

    storage: Any
    state: State
    data: RunData


class StepResult(NamedTuple):
    """The result of a training step beside its new carry.

    Attributes:
        loss: the mean loss of the batch, an array of no axes.
        weight: the sum of the rows' weights, an array of no axes; None without weights.
        output: the outputs of the batch's rows; None unless metrics are computed from them.
    """

    loss: Array
    weight: Array | None
    output: Array | None


Step: TypeAlias = Callable[..., tuple[Carry, StepResult]]
"""``step(carry, batch, scalars, number) -> (carry, result)``: one step of training.

``carry`` is the :class:`Carry`, ``batch`` a :class:`Batch`, ``scalars`` the optimizer's
numbers for this step, and ``number`` counts all steps that the network was trained for.
"""


Path: TypeAlias = tuple[str, ...]
"""The names of layers inside layers, from the outside in; or of a leaf in nested dictionaries."""

Observer: TypeAlias = Callable[[Path, str, Array], None]
"""``observer(path, name, value)``: is handed what the layer at ``path`` notes."""


class Context:
    """The surroundings of a forward pass, beside its parameters and data.

    One context serves many passes: :meth:`start_pass` begins the next one.

    Attributes:
        backend: the backend on which the pass runs.
        xp: its array namespace.
        training: whether layers behave as in training (dropout drops).
        key: the random key of the layer that is running; see :mod:`nnbackend.core.random`.
        step: the number of the training step; with ``key`` it fixes every random number drawn.
            Under a compiler both are traced arrays.
        state: the layer's own state by name, as :meth:`set_state` left it in this pass; ``{}`` for a
            layer without state.
        row_weight: how much each row of the batch counts, of shape (batch,); None: all count 1. Rows of
            weight 0 may be padding: statistics over a batch must leave them out. All may be 0; the
            state stays as it was then, but the output must be finite.
        first_row: the number of the batch's first row within the step's whole batch, which is not 0
            where several processes share a batch.
        communicator: adds up arrays over the processes that share a batch; None: there is one process.
        process_weight: the weight of this process's rows of the batch, by which its loss and its
            gradients count in those of the whole; 1 without other processes.
        path: the names of the layers from the network down to the one that is running.
    """

    def __init__(
        self,
        backend: Backend,
        training: bool = False,
        key: Any = (0, 0),
        step: Any = 0,
        state: State | None = None,
    ) -> None:
        self.backend = backend
        self.xp = backend.xp
        self.training = training
        self._parent: Context | None = None
        self._root = self
        self.path: Path = ()
        self._use = 0
        self._children: dict[Any, Context] = {}
        self._observer: Observer | None = None
        self._processes: tuple[Any, Any] = (None, 1.0)
        self._by_rows: frozenset[str] = frozenset()
        self.start_pass(step, state, key=key)

    def start_pass(
        self,
        step: Any,
        state: State | None = None,
        row_weight: Array | None = None,
        first_row: Any = 0,
        key: Any = None,
    ) -> None:
        """Begin a forward pass through the context's network.

        The arguments are the attributes of this class, ``state`` being that of all layers. Without a
        key the pass has that of the last one.
        """
        if key is not None:
            self._key = key
        self._step = step
        self._state: State = {} if state is None else state
        self._updates: dict[Path, State] = {}
        self._row_weight = row_weight
        self._first_row = first_row

    @property
    def key(self) -> Any:
        """The random key. That of a layer is computed when it is first used: most layers need none."""
        if self._parent is None:
            return self._key
        key = fold_in(self._parent.key, self.path[-1])
        return fold_in(key, self._use) if self._use else key

    @property
    def step(self) -> Any:
        """The number of the training step, one for all layers of a network."""
        return self._root._step

    @property
    def row_weight(self) -> Array | None:
        """How much each row of the batch counts, one for all layers; None: all count 1."""
        return self._root._row_weight

    @property
    def first_row(self) -> Any:
        """The number of the batch's first row within the step's whole batch."""
        return self._root._first_row

    @property
    def communicator(self) -> Any:
        """What adds up arrays over processes, one for all layers; None: there is one process."""
        return self._root._processes[0]

    @property
    def process_weight(self) -> Any:
        """The weight of this process's rows of the batch."""
        return self._root._processes[1]

    def share_batch(self, communicator: Any, process_weight: Any) -> None:
        """Say that this process has a part of the batch, of that weight; for the next pass."""
        self._root._processes = (communicator, process_weight)

    def ask_for_rows(self, names: Iterable[str]) -> None:
        """Ask layers for the gradients of looked-up rows of the parameters of these dotted names."""
        self._root._by_rows = frozenset(names)

    def wants_rows(self, name: str) -> bool:
        """Return whether a table's gradient may be that of the rows that the layer looks up.

        That is a :class:`~nnbackend.core.row_gradient.RowGradient`; ``name`` is that of the layer's
        parameter.
        """
        by_rows = self._root._by_rows
        return bool(by_rows) and ".".join((*self.path, name)) in by_rows

    @property
    def state(self) -> State:
        """The state of the layer that is running, as the last pass or this one left it."""
        root = self._root
        own = root._state
        for name in self.path:
            own = own.get(name, {})
        return {**own, **root._updates.get(self.path, {})}

    @property
    def whole_state(self) -> State:
        """The state of all layers as it was before the pass."""
        return self._root._state

    def set_state(self, **arrays: Array) -> None:
        """Set arrays of the layer's state by name: ``ctx.set_state(mean=new_mean)``.

        They are kept in the dtype of the state, which is wide in mixed precision.

        Raises:
            KeyError: the layer's ``init_state`` has no array of that name.
            ValueError: an array has another shape than that of ``init_state``.
        """
        known = self.state
        updates = self._root._updates.setdefault(self.path, {})
        for name, array in arrays.items():
            if name not in known:
                raise KeyError(f"set_state: init_state of this layer makes no {name!r}: {[*known]}")
            old = known[name]
            if tuple(array.shape) != tuple(old.shape):
                raise ValueError(
                    f"set_state: {name!r} has the shape {tuple(old.shape)}, got {tuple(array.shape)}"
                )
            updates[name] = array if array.dtype == old.dtype else self.xp.astype(array, old.dtype)

    def restart(self) -> None:
        """Begin the pass again, with the state that it began with."""
        self._root._updates = {}

    def new_state(self) -> State:
        """Return the state of all layers after the pass, with the arrays that were set."""
        root = self._root
        return _with_updates(root._state, (), root._updates) if root._updates else root._state

    def note(self, name: str, value: Array) -> Array:
        """Return ``value``, and show it to :func:`nnbackend.observe`: ``z = ctx.note("z", z)``."""
        observer = self._root._observer
        if observer is not None:
            observer(self.path, name, value)
        return value

    def set_observer(self, observer: Observer | None) -> Observer | None:
        """Hand what layers note to ``observer(path, name, value)``; return the observer before."""
        root = self._root
        before, root._observer = root._observer, observer
        return before

    def again(self) -> Context:
        """Return a context in which this layer can run a second time, as it does from now on.

        It has the same random numbers, and the state as it is now; the state that it sets goes nowhere.
        """
        root, own = self._root, self._root._state
        for name in self.path:
            own = own.get(name, {})
        inside = {
            path[len(self.path) :]: update
            for path, update in root._updates.items()
            if path[: len(self.path)] == self.path
        }
        state = _with_updates(own, (), inside) if inside else own
        second = Context(self.backend, self.training, self.key)
        second.start_pass(self.step, state, self.row_weight, self.first_row)
        return second

    def child(self, name: str, use: int = 0, training: bool | None = None) -> Context:
        """Return the context of the layer ``name`` inside this one, with the key of that name.

        Args:
            name: the layer's name.
            use: of a layer that runs several times in a pass, which time this is: each has its own
                random numbers, and all have one state; default 0.
            training: whether it behaves as in training; None (the default): as this layer does.
        """
        place = name if use == 0 and training is None else (name, use, training)
        child = self._children.get(place)
        if child is None:
            child = object.__new__(Context)
            child.backend, child.xp = self.backend, self.xp
            child.training = self.training if training is None else training
            child._parent, child._root, child._use = self, self._root, use
            child.path, child._children = (*self.path, name), {}
            self._children[place] = child
        return child


def _with_updates(state: State, path: Path, updates: dict[Path, State]) -> State:
    """Return nested state with the arrays that a pass set."""
    own = {
        name: _with_updates(value, (*path, name), updates) if isinstance(value, dict) else value
        for name, value in state.items()
    }
    return own | updates.get(path, {})


@runtime_checkable
class Layer(Protocol):
    """A layer: an immutable description with two methods.

    A layer holds no arrays. Its parameters are made by ``init`` and come back to it in ``forward``;
    the closure that ``forward`` returns holds the arrays that ``backward`` needs.

    A layer may also have:

    - **State**, arrays that no optimizer trains, such as running means: a method
      ``init_state(input_shape) -> State`` returns the initial ones by name (NumPy, float64). A forward
      pass reads ``ctx.state["mean"]`` and, in training, replaces it by ``ctx.set_state(mean=new)``.
      Statistics over a batch take ``ctx.row_weight`` into account: rows of weight 0 are padding.
    - **Several inputs or outputs**: ``x``, ``y``, ``dy`` and ``dx`` are then tuples or dictionaries
      of arrays, and shapes are nested in the same way. The next layer gets the output unchanged.
    - **Indices as inputs**: an attribute ``takes = "indices"`` of a network's first layer keeps whole
      numbers whole; ``takes = ("numbers", "indices")`` says so for each of several inputs. Their entry
      in ``dx`` is None. ``index_limit`` says how many indices there are.
    - **Random numbers**: ``ctx.key`` and ``ctx.step`` fix them, see :mod:`nnbackend.core.random`; those
      of a row depend on its number in the whole batch, which begins at ``ctx.first_row``.
    - **Layers inside**: see :func:`nnbackend.layers.children` for where they are kept and the names
      of their parameters, contexts and random numbers.
    - **Notes**: ``z = ctx.note("z", z)`` shows an array to :func:`nnbackend.observe`,
      and costs nothing otherwise.
    - **An output activation**: an attribute ``output_activation``, a name or None, where a composite
      does not end in the activation of its last layer. Losses that take logits need to know it. Of
      several outputs: ``output_activations``, a mapping (or a tuple, as the outputs are) of these.
    - **A penalty or a constraint** on its parameter ``weight``: attributes ``regularizer`` and
      ``constraint``.
    """

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the initial parameters and the shape of the output, without the batch axis.

        The parameters are NumPy arrays in float64: values are drawn on the host, so that they are
        the same on every backend, and brought to the network's backend and dtype afterwards.

        Args:
            input_shape: the shape of a row of the input; of several inputs a tree of shapes.
            rng: draws the initial values: ``rng.draw(initializer, shape, name)``.
        """

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Arrays, Backward]:
        """Return the output for ``x`` and its backward pass, see :data:`nnbackend.core.types.Backward`.

        Args:
            params: the parameters, as ``init`` made them or an optimizer has changed them.
            x: the input, of shape ``(batch, *input_shape)``, or a tree of such arrays.
            ctx: the context of the pass: array namespace ``ctx.xp``, ``ctx.training``, ``ctx.state``.
        """
