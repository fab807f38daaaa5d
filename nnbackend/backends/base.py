"""Backends: which array library a network computes with, on which device, in which dtype.

A backend is an object, not a setting: networks on different backends live side by side. What the
array API standard leaves out is a method of :class:`Backend` with an implementation in standard
functions; the files in ``nnbackend/backends/`` override the few that their library does better. What
layers compute with (windows, loops, sums by row) is in :mod:`nnbackend.backends.primitives`.

"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from nnbackend.backends.device import DeviceInfo
from nnbackend.backends.host import finite_on_host, host_numbers, is_on_device, to_host
from nnbackend.backends.primitives import Primitives
from nnbackend.core.tree import arrays_in, map_arrays, tree_map
from nnbackend.core.types import (
    STATELESS,
    Array,
    Arrays,
    Batch,
    Layer,
    Namespace,
    Params,
    State,
    Step,
)
from nnbackend.errors import PrecisionError, given

__all__ = ["Backend", "Forward", "namespace"]

_namespaces: dict[type, Namespace] = {}
_kernels: dict[tuple[type, str], Callable[..., Any]] = {}


class Forward:
    """A forward pass outside training.

    Args:
        function: ``function(params, x, state) -> y``.
    """

    def __init__(self, function: Callable[[Any, Array, State], Array]) -> None:
        self._function = function

    def __call__(self, params: Any, x: Array, state: State = STATELESS) -> Array:
        """Return the output for rows on the backend."""
        return self._function(params, x, state)

    def predict_like_last(self, params: Any, x: Any) -> Array | None:
        """Return the output for rows like the last ones, without what surrounds a pass, or None.

        Args:
            params: the parameters.
            x: anything. None comes back unless it is real, finite numbers in the shape of the last rows,
                and the pass was recorded for these parameters.
        """
        return None


class Backend(DeviceInfo, Primitives):
    """An array library, a device, a floating-point dtype and a precision.

    Subclasses set ``name``, ``distribution`` and ``install``, and override ``_namespace`` and
    whatever of the rest their library does better. An instance of this class itself serves any
    other namespace that follows the standard.

    Args:
        device: a device of the library, or a string or number that names one; None: its default.
        dtype: ``"float32"`` or ``"float64"``: what parameters are kept in; None: that of the precision,
            or float32.
        xp: the namespace, for a library that has no backend class.
        precision: the number format, a name in :data:`nnbackend.core.precision.PRECISIONS`; None: that
            of the dtype.

    Attributes:
        dtype: the library's dtype of parameters, losses and gradients.
        product_dtype: the library's dtype of matrix products and activations.

    Raises:
        BackendUnavailableError: the library or the device cannot be used here.
        ValueError: ``dtype`` or ``precision`` is not known, or they contradict each other.
        PrecisionError: this library or device does not have the precision; the message says why.
    """

    static_shapes: ClassVar[bool] = False
    """Whether a new batch shape costs a compilation; then the last, smaller batch is padded."""
    block_bytes: ClassVar[int] = 1 << 26
    """How much data is gathered at a time for batches in random order."""
    forward_bytes: ClassVar[int | None] = None
    """How large a layer's input may be outside training, to stay in the cache; None: any size."""
    chunk: ClassVar[int | None] = None
    """How many numbers the optimizer updates at a time, so that they stay in the cache."""

    def __init__(
        self,
        device: Any = None,
        dtype: str | None = None,
        xp: Namespace | None = None,
        precision: str | None = None,
    ) -> None:
        super().__init__(xp, dtype, precision)
        self.xp: Namespace = self._namespace() if xp is None else xp
        self.dtype = getattr(self.xp, self.dtype_name)
        self.device = self._device(device)
        half, reason = self._precision.half, self.unsupported_reason(self._precision)
        if reason:
            raise PrecisionError(
                f"precision={self.precision!r} is not possible on {self.name}: {reason}"
            )
        self.product_dtype = self.dtype if half is None else self._half(half)

    # What a library may do in its own way.

    def _namespace(self) -> Namespace:
        """Import the library and return its namespace."""
        raise TypeError("a Backend that is not of a library's class needs the argument xp")

    def _device(self, device: Any) -> Any:
        """Return the library's device for what the user named."""
        return device

    def owns(self, x: Any) -> bool:
        """Return whether ``x`` is an array of this library."""
        return hasattr(x, "__array_namespace__") and array_namespace(x) is self.xp

    def _from_host(self, x: np.ndarray[Any, Any]) -> Array:
        """Return a NumPy array as one of this library; the result may share its memory."""
        return self.xp.asarray(x, device=self.device)

    def uploader(self) -> Callable[[Sequence[np.ndarray[Any, Any] | None]], list[Array | None]]:
        """Return a function that brings NumPy arrays (or None) here from a thread that reads ahead.

        It returns when this thread may use the arrays in work for the device.
        """

        def stage(arrays: Sequence[np.ndarray[Any, Any] | None]) -> list[Array | None]:
            with self.scope():
                return [
                    None if a is None else self.xp.asarray(self._from_host(a), device=self.device)
                    for a in arrays
                ]

        return stage

    def to_numpy(self, x: Array) -> np.ndarray[Any, Any]:
        """Return ``x`` as a NumPy array, without a copy where that is possible."""
        return to_host(x)

    @property
    def in_host_memory(self) -> bool:
        """Whether arrays are in the host's memory, where NumPy sees them."""
        return False

    def host_view(self, x: Any) -> np.ndarray[Any, Any] | None:
        """Return numbers as a NumPy array if they are in the host's memory, else None.

        What is looked at before it is used (is it finite, in range?) is looked at there, for NumPy
        begins at once and nothing waits for a device. Nobody may write to the result.

        Args:
            x: an array of this library or another, lists, or a frame; not changed in dtype.

        Raises:
            TypeError: ``x`` does not hold real numbers.
        """
        return None if self.owns(x) or is_on_device(x) else host_numbers(x)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which all work of this backend is done."""
        return contextlib.nullcontext()

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, compiled where the library can."""
        return function

    def fuse_rule(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Return an optimizer's rule, which treats each number by itself, as one kernel if possible."""
        return rule

    def copy_tree(self, tree: Params) -> Params:
        """Return nested dictionaries with a copy of each array."""
        return tree_map(lambda leaf: self.xp.asarray(leaf, copy=True), tree)

    def compile_forward(self, forward: Callable[..., Arrays], layers: Layer) -> Forward:
        """Return a pass outside training, compiled or recorded where that is faster.

        Args:
            forward: ``forward(params, x, state) -> y``.
            layers: the layers that it runs; they say whether it may be recorded.
        """
        return Forward(self.compile(forward))

    def scan(
        self,
        step: Step,
        map_carry: Callable[..., Any] | None = None,
        step_on: Callable[[Backend], Step] | None = None,
        parts: tuple[Any, ...] = (),
    ) -> Callable[..., tuple[Any, Any, Any, Arrays | None]]:
        """Return a function that runs a training step on one batch of rows after the other.

        ``run(carry, rows, size, scalars, numbers) -> (carry, losses, weights, outputs)``:
        ``rows`` is a :class:`~nnbackend.core.types.Batch`, cut into batches of ``size``; one batch
        alone is taken by all steps. ``scalars`` and ``numbers`` have an entry for each step, and so have
        ``losses`` and ``weights`` (None without weights), which are for :meth:`fetch`. The outputs of
        all rows are concatenated.

        Args:
            step: the step. Here it runs in a loop; a compiler can make one program of all steps.
            map_carry: ``map_carry(carry, function)`` returns the carry with a function applied to each
                array. It is given for steps that change the carry's arrays in place: such a step may be
                recorded and played.
            step_on: ``step_on(backend)`` returns the same step on another backend, for one that is
                recorded there.
            parts: what the step is made of, which says whether it may be recorded, and is tried then.
        """

        def run(
            carry: Any,
            rows: Batch,
            size: int,
            scalars: Sequence[tuple[float, ...]],
            numbers: Sequence[int],
        ) -> tuple[Any, Any, Any, Array | None]:
            if isinstance(scalars, np.ndarray):
                scalars = scalars.tolist()  # Python's floats leave the dtype of arrays as it is
            results = []
            batches = _batches(rows, size, len(numbers))
            for batch, own, number in zip(batches, scalars, numbers, strict=True):
                carry, result = step(carry, batch, own, number)
                results.append(result)
            losses, weights, outputs = zip(*results, strict=True)
            return (
                carry,
                losses,
                None if weights[0] is None else weights,
                map_arrays(lambda *parts: self.concat_rows(parts), *outputs),
            )

        return run

    def take_rows(self, x: Array, rows: Array, out: Array | None = None) -> Array:
        """Return rows of an array by number, in that order.

        Args:
            x: the array, of any dtype.
            rows: integers from 0 to ``len(x) - 1``; others give any row.
            out: an array that is no longer needed, of the result's dtype and row shape and with at least
                as many rows: the result may be its first rows. None: the result is in new memory.
        """
        return self.xp.take(x, rows, axis=0)

    def concat_rows(self, parts: Iterable[Array], rows: int | None = None) -> Array:
        """Return arrays of successive rows as one.

        Args:
            parts: the arrays; an iterator may compute them one by one.
            rows: the number of rows in all; then each part may be put in its place and forgotten.
        """
        arrays = list(parts)
        return arrays[0] if len(arrays) == 1 else self.xp.concat(arrays)

    def fetch(self, numbers: Any) -> np.ndarray[Any, Any]:
        """Return numbers that ``scan`` gave, on the host in float64. The one place that waits."""
        return np.asarray(self.to_numpy(self.xp.stack(list(numbers))), dtype=np.float64)

    def barrier(self, arrays: Arrays) -> Arrays:
        """Return the same arrays, so that a compiler does not know them to be the same."""
        return arrays

    def all_finite(self, x: Array) -> bool:
        """Return whether no number is NaN or infinite."""
        host = self.host_view(x)
        if host is not None:
            return finite_on_host(host)
        return bool(self.xp.all(self.xp.isfinite(x)))

    def one_hot(self, labels: Array, classes: int) -> Array:
        """Return a row of 0 and a 1 for each of the labels, integers of shape (rows,) from anywhere."""
        # Rows of the identity matrix are faster to take than to compare.
        rows = self.xp.eye(classes, dtype=self.dtype, device=self.device)
        return self.xp.take(rows, self.asarray(labels, dtype=self.xp.int32), axis=0)

    def synchronize(self) -> None:
        """Wait until the device has done all its work."""

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Bring numbers from anywhere to this backend.

        Args:
            x: lists, numbers, arrays of any library, columns and frames of pandas or polars. An
                array that can be shared by DLPack is not copied.
            dtype: the dtype of the result; None: the backend's floating-point dtype.

        Raises:
            TypeError: ``x`` does not hold real numbers.
        """
        if not self.owns(x):
            x = self._import(x, self.dtype_name if dtype is None else None)
        return self.xp.asarray(x, dtype=self.dtype if dtype is None else dtype, device=self.device)

    def _import(self, x: Any, dtype: str | None) -> Array:
        """Return ``x`` as an array of this library; numbers from the host get the ``dtype``."""
        if hasattr(x, "__dlpack__") and hasattr(x, "shape") and not isinstance(x, np.ndarray):
            if hasattr(x, "detach"):
                x = x.detach()  # a tensor on torch's tape does not give its memory away
            # Other libraries refuse with errors of many classes; then it goes through the host.
            with contextlib.suppress(Exception):
                return self.xp.from_dlpack(x)
        return self._from_host(host_numbers(x, dtype))


def namespace(x: Array) -> Namespace:
    """Return the array namespace of ``x``."""
    kind = type(x)
    if kind not in _namespaces:
        try:
            _namespaces[kind] = array_namespace(x)
        except TypeError:
            raise TypeError(
                f"expected an array, got {given(x)}; np.asarray makes one of a list"
            ) from None
    return _namespaces[kind]


def register_namespace(kind: type, xp: Namespace) -> None:
    """Make ``xp`` the namespace of arrays of type ``kind``."""
    _namespaces[kind] = xp


def kernel_for(x: Array, name: str) -> Callable[..., Any] | None:
    """Return the kernel of that name in the library of ``x``, if it has one of its own."""
    return _kernels.get((type(x), name))


def register_kernel(kind: type, name: str, kernel: Callable[..., Any]) -> None:
    """Make a kernel the one of that name for arrays of type ``kind``."""
    _kernels[kind, name] = kernel


def _batches(rows: Batch, size: int, steps: int) -> Iterable[Batch]:
    """Return the batches of each step; a single batch again and again."""
    total = arrays_in(rows.x)[0].shape[0]
    if size >= total:
        return [rows] * steps
    places = [(slice(a, min(a + size, total)), ...) for a in range(0, total, size)]
    x, y, weight = rows
    if y is None or isinstance(x, (tuple, dict)) or isinstance(y, (tuple, dict)):
        return (map_arrays(operator.itemgetter(place), rows) for place in places)
    # The same in a fifth of the time, which shows in steps of small networks.
    return (Batch(x[p], y[p], None if weight is None else weight[p]) for p in places)
