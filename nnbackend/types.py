"""The words the whole library is written in: arrays, parameters, layers and their passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from nnbackend.random import fold_in

if TYPE_CHECKING:
    from nnbackend.backend import Backend
    from nnbackend.random import Generator

__all__ = ["Array", "Backward", "Context", "Layer", "Namespace", "Params", "Shape"]

Array: TypeAlias = Any
"""An array of any library that follows the array API standard (there is no common base class)."""

Namespace: TypeAlias = Any
"""A module with the functions of the array API standard, called ``xp`` throughout."""

Shape: TypeAlias = tuple[int, ...]
"""A shape without the batch axis: ``(784,)`` for rows of 784 features."""

Params: TypeAlias = dict[str, Any]
"""Named arrays, nested: ``{"0": {"weight": ..., "bias": ...}, "1": {}}``."""

Backward: TypeAlias = Callable[..., tuple[Array | None, Params]]
"""``backward(dy, input_grad=True) -> (dx, grads)``: the function that undoes one forward pass.

``dy`` is the gradient of the loss with respect to the layer's output, ``dx`` with respect to its
input, and ``grads`` is nested as the layer's parameters are. With ``input_grad=False`` ``dx`` is
not computed and None comes back: the first layer of a network in training has no use for it.
"""


class Context:
    """What a forward pass needs beside the parameters and the data.

    Attributes:
        backend: the backend on which the pass runs.
        xp: its array namespace.
        training: whether layers behave as in training (dropout drops).
        key: the random key of the layer that is running; see :mod:`nnbackend.random`.
        step: the number of the training step; with ``key`` it fixes every random number drawn.
            Under a compiler both are traced arrays.
    """

    __slots__ = (
        "_children",
        "_key",
        "_name",
        "_parent",
        "_root",
        "_step",
        "backend",
        "training",
        "xp",
    )

    def __init__(
        self,
        backend: Backend,
        training: bool = False,
        key: Any = (0, 0),
        step: Any = 0,
    ) -> None:
        self.backend = backend
        self.xp = backend.xp
        self.training = training
        self._key = key
        self._parent: Context | None = None
        self._name = ""
        self._root = self
        self._step = step
        self._children: dict[str, Context] = {}

    @property
    def key(self) -> Any:
        """The random key; of a layer it is made when that asks for it, for most do not."""
        return self._key if self._parent is None else fold_in(self._parent.key, self._name)

    @property
    def step(self) -> Any:
        """The number of the training step, one for all layers of a network."""
        return self._root._step

    @step.setter
    def step(self, number: Any) -> None:
        self._root._step = number

    def child(self, name: str) -> Context:
        """Return the context of the layer ``name`` inside this one, with a key of its own."""
        if not self.training:
            return self  # nothing random happens outside training, so no key is needed
        child = self._children.get(name)
        if child is None:
            child = Context(self.backend, True)
            child._parent, child._name, child._root = self, name, self._root
            self._children[name] = child
        return child


@runtime_checkable
class Layer(Protocol):
    """A layer: an immutable description with two methods.

    A layer holds no arrays. Its parameters are made by ``init`` and handed back to it by
    ``forward``; what ``backward`` needs lives in the closure that ``forward`` returns.
    """

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the initial parameters and the shape of the output, both without the batch axis.

        The parameters are NumPy arrays in float64: values are drawn on the host, so that they are
        the same on every backend, and brought to the network's backend and dtype afterwards.
        """

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the output for ``x`` of shape ``(batch, *input_shape)`` and its backward pass."""
