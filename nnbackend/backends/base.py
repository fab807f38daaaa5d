"""Backends: which array library a network computes with, on which device, in which dtype.

A backend is an object, not a setting: networks on different backends live side by side. What the
array API standard leaves out is a method of :class:`Backend` with an implementation in standard
functions; the files in ``nnbackend/backends/`` override the few that their library does better.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from nnbackend.backends.memory import Device, Memory
from nnbackend.core import functional, random
from nnbackend.core.precision import PRECISIONS, Precision, resolve
from nnbackend.core.tree import tree_map
from nnbackend.core.types import STATELESS, Array, Batch, Namespace, Params, State
from nnbackend.errors import BackendUnavailableError, PrecisionError, unknown_name

__all__ = ["BACKENDS", "Backend", "BackendStatus", "available_backends", "get_backend", "namespace"]

_CLASSES = {
    "numpy": "nnbackend.backends.numpy:NumPyBackend",
    "cupy": "nnbackend.backends.cupy:CuPyBackend",
    "torch": "nnbackend.backends.torch:TorchBackend",
    "jax": "nnbackend.backends.jax:JAXBackend",
    "array-api-strict": "nnbackend.backends.strict:StrictBackend",
}
BACKENDS = tuple(_CLASSES)
"""The names of the backends."""

_namespaces: dict[type, Namespace] = {}


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can be used here.

    Attributes:
        name: as given to ``Network(backend=...)``.
        usable: whether it works on this machine.
        reason: when it does not, why, and what to do about it.
        version: of the array library, when it is installed.
        device: the default device, when it is usable.
    """

    name: str
    usable: bool
    reason: str = ""
    version: str = ""
    device: str = ""


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

    def with_state(self, state: State) -> Forward:
        """Return the pass of layers in a state, as they have it without a third argument."""
        return _InState(self, state) if state else self

    def again(self, params: Any, x: Any) -> Array | None:
        """Return the output for rows like the last ones, without what surrounds a pass, or None.

        Args:
            params: the parameters.
            x: anything. None comes back unless it is real, finite numbers in the shape of the last rows,
                and the pass was recorded for these parameters.
        """
        return None


class _InState(Forward):
    """A forward pass of layers in a state."""

    def __init__(self, forward: Forward, state: State) -> None:
        self._forward, self._state = forward, state

    def __call__(self, params: Any, x: Array, state: State = STATELESS) -> Array:
        """Return the output for rows on the backend."""
        return self._forward(params, x, self._state)


class Backend:
    """An array library, a device, a floating-point dtype and a precision.

    Subclasses set ``name``, ``distribution`` and ``install``, and override ``_namespace`` and
    whatever of the rest their library does better. An instance of this class itself serves any
    other namespace that follows the standard.

    Args:
        device: a device of the library, or a string or number that names one; None: its default.
        dtype: ``"float32"`` or ``"float64"``: what parameters are kept in; None: that of the precision,
            or float32.
        xp: the namespace, for a library without a file of its own.
        precision: what is computed in, a name in :data:`nnbackend.core.precision.PRECISIONS`; None: that
            of the dtype.

    Attributes:
        dtype: of parameters, losses and gradients, the library's.
        product_dtype: of matrix products and activations, the library's.

    Raises:
        BackendUnavailableError: the library or the device cannot be used here.
        ValueError: ``dtype`` or ``precision`` is not known, or they contradict each other.
        PrecisionError: this library or device does not have the precision; the message says why.
    """

    name: ClassVar[str] = "array-api"
    distribution: ClassVar[str] = ""
    """The package that holds the library, for its version."""
    install: ClassVar[str] = ""
    """The command that installs it."""
    slices_are_views: ClassVar[bool] = False
    """Whether ``x[a:b]`` shares memory with ``x``; then parameters live in one vector."""
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
        self._precision = chosen = resolve(dtype, precision)
        self.dtype_name = chosen.dtype
        self.xp: Namespace = self._namespace() if xp is None else xp
        self.dtype = getattr(self.xp, self.dtype_name)
        self.device = self._device(device)
        reason = self.lacks(chosen)
        if reason:
            raise PrecisionError(
                f"precision={chosen.name!r} is not possible on {self.name}: {reason}"
            )
        self.product_dtype = self.dtype if chosen.half is None else self._half(chosen.half)

    # What a library may do in its own way.

    def _namespace(self) -> Namespace:
        """Import the library and return its namespace."""
        raise TypeError("a backend without a library of its own needs the argument xp")

    def _device(self, device: Any) -> Any:
        """Return the library's device for what the user named."""
        return device

    def lacks(self, precision: Precision) -> str:
        """Return why this library or device does not have a precision, or an empty text if it does."""
        if precision.tf32:
            return (
                "tf32 is a mode of NVIDIA GPUs, for cupy, and for torch and jax on such a device; "
                "precision='float32' is more exact"
            )
        if precision.half is not None and self._half(precision.half) is None:
            return f"it has no {precision.half}"
        return ""

    def _half(self, name: str) -> Any:
        """Return the library's dtype of 16 bits of that name, or None."""
        return getattr(self.xp, name, None)

    def _owns(self, x: Any) -> bool:
        """Return whether ``x`` is an array of this library."""
        return hasattr(x, "__array_namespace__") and array_namespace(x) is self.xp

    def _from_host(self, x: np.ndarray[Any, Any]) -> Array:
        """Return a NumPy array as one of this library; the result may share its memory."""
        return self.xp.asarray(x, device=self.device)

    def stager(self) -> Callable[[Sequence[np.ndarray[Any, Any] | None]], list[Array | None]]:
        """Return a function that brings NumPy arrays (or None) here from a thread that reads ahead.

        It returns when the arrays may be used by whatever this thread asks the device to do.
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
        return _to_host(x)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which all work of this backend is done."""
        return contextlib.nullcontext()

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, compiled where the library can."""
        return function

    def copied(self, tree: Params) -> Params:
        """Return nested dictionaries with a copy of each array."""
        return tree_map(lambda leaf: self.xp.asarray(leaf, copy=True), tree)

    def recorded(
        self, forward_on: Callable[[Any], Callable[[Any, Array, State], Array]]
    ) -> Forward:
        """Return a forward pass that does nothing but compute, with less around it.

        ``forward_on(backend)`` is ``forward(params, x, state) -> y`` on this backend, or on one that
        traces.
        """
        return Forward(self.compile(forward_on(self)))

    def joined(self, parts: Iterable[Array], rows: int) -> Array:
        """Return arrays of successive rows, ``rows`` in all, as one."""
        return self.xp.concat(list(parts))

    def scan(
        self, step_on: Callable[[Any], Callable[..., Any]], see: Callable[..., Any] | None = None
    ) -> Callable[..., Any]:
        """Return a function that runs a training step on one batch of rows after the other.

        ``step_on(backend)`` is the step on a backend: this one, or one that traces what a step does.
        It is a :data:`~nnbackend.core.types.Step`. The function is
        ``run(carry, rows, size, scalars, numbers) -> (carry, losses, masses, outputs)``: ``rows``
        is a :class:`~nnbackend.core.types.Batch` that is cut into batches of ``size``; ``scalars`` and
        ``numbers`` have an entry for each step. If there is one batch only, all steps take it.
        ``losses`` and ``masses`` (None without weights) have an entry for each step and are for
        ``read``; the outputs of all rows are joined. Here that is a loop; a compiler can make one
        program of it.

        ``see(carry, function)`` is the carry with every array in it seen through a function. It is given
        for steps that change the carry's arrays in place and do nothing but compute: such a step may be
        recorded or traced, and run from that.
        """
        step = step_on(self)

        def run(
            carry: Any,
            rows: Batch,
            size: int,
            scalars: Sequence[tuple[float, ...]],
            numbers: Sequence[int],
        ) -> tuple[Any, Any, Any, Array | None]:
            results = []
            for i, batch in enumerate(_batches(rows, size, len(numbers))):
                carry, result = step(carry, batch, scalars[i], numbers[i])
                results.append(result)
            losses, masses, outputs = zip(*results, strict=True)
            return (
                carry,
                losses,
                None if masses[0] is None else masses,
                None if outputs[0] is None else _joined(outputs, self.xp),
            )

        return run

    def packed(self, x: Array) -> Array:
        """Return ``x`` as it lies best where rows are gathered from it again and again."""
        return x

    def gatherer(self) -> Callable[[Array, Array], Array]:
        """Return ``gather(x, rows)``: rows of an array, which are good until it is called again."""
        return lambda x, rows: self.xp.take(x, rows, axis=0)

    def loop(
        self, body: Callable[[Any, Any], tuple[Any, Array | None]], carry: Any, count: int
    ) -> tuple[Any, Array | None]:
        """Run ``carry, output = body(carry, i)`` for ``i`` from 0 to ``count - 1``, inside a step.

        Returns:
            the last carry, and the outputs stacked (None if they are None).
        """
        outputs = []
        for i in range(count):
            carry, output = body(carry, i)
            outputs.append(output)
        return carry, None if outputs[0] is None else self.xp.stack(outputs)

    def read(self, numbers: Any) -> np.ndarray[Any, Any]:
        """Return numbers that ``scan`` gave, on the host in float64. The one place that waits."""
        return np.asarray(self.to_numpy(self.xp.stack(list(numbers))), dtype=np.float64)

    def all_finite(self, x: Array) -> bool:
        """Return whether no number is NaN or infinite."""
        return bool(self.xp.all(self.xp.isfinite(x)))

    def owns(self, x: Any) -> bool:
        """Return whether ``x`` is an array of this library."""
        return self._owns(x)

    @property
    def examiner(self) -> Backend:
        """The backend to examine data with before they are used: this one, or NumPy's.

        What is examined is read back at once. Where that is in the host's memory anyway, NumPy looks
        at it there, and its functions may start sooner than the library's.
        """
        return self

    def examined(self, x: Any) -> Array:
        """Return numbers from anywhere as the examiner's array.

        Raises:
            TypeError: ``x`` does not hold real numbers.
        """
        return self.asarray(x)

    def one_hot(self, labels: Array, classes: int) -> Array:
        """Return a row of 0 and a 1 for each of the examiner's labels, of shape (rows,)."""
        # Rows of the identity matrix are sooner taken than compared.
        rows = self.xp.eye(classes, dtype=self.dtype, device=self.device)
        return self.xp.take(rows, labels, axis=0)

    def erf(self, x: Array) -> Array:
        """Return the error function of each element."""
        return functional.erf(x, self.xp)

    def random_bits(self, key: tuple[int, int], step: Any, count: int) -> Array:
        """Return words of random bits; see :func:`nnbackend.core.random.bits`."""
        return random.bits(key, step, count, self.xp, self.device)

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""

    def device_name(self) -> str:
        """Return the device in words."""
        return str(self.device)

    def devices(self) -> list[Device]:
        """Return the devices that this library can compute on, with their memory."""
        return [Device(self.device_name(), self.device_name())]

    def versions(self) -> dict[str, str]:
        """Return the versions of what lies below the library: of the driver, of CUDA."""
        return {}

    def memory(self) -> Memory | None:
        """Return how much of the device's memory is used and free; None where nobody counts it."""
        return None

    def free_memory(self) -> None:
        """Give memory that no array uses back to the device; other programs can have it then."""

    def ran_out(self, error: BaseException) -> bool:
        """Return whether an error says that there is too little memory."""
        return isinstance(error, MemoryError)

    # The same for every library.

    def described(self) -> str:
        """Return library, version and device in words."""
        return f"{self.name} {_version(type(self))} on {self.device_name()}"

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Bring numbers from anywhere to this backend.

        Args:
            x: lists, numbers, arrays of any library, columns and frames of pandas or polars. An
                array that can be shared by DLPack is not copied.
            dtype: of the result; None: the backend's floating-point dtype.

        Raises:
            TypeError: ``x`` does not hold real numbers.
        """
        if not self._owns(x):
            x = self._import(x, self.dtype_name if dtype is None else None)
        return self.xp.asarray(x, dtype=self.dtype if dtype is None else dtype, device=self.device)

    def _import(self, x: Any, dtype: str | None) -> Array:
        """Return ``x`` as an array of this library; what comes from the host, in ``dtype``."""
        if hasattr(x, "__dlpack__") and hasattr(x, "shape") and not isinstance(x, np.ndarray):
            if hasattr(x, "detach"):
                x = x.detach()  # a tensor on torch's tape does not give its memory away
            # Other libraries refuse with errors of many classes; then it goes through the host.
            with contextlib.suppress(Exception):
                return self.xp.from_dlpack(x)
        return self._from_host(host_numbers(x, dtype))

    @property
    def precision(self) -> str:
        """What is computed in, by name."""
        return self._precision.name

    @property
    def mixed(self) -> bool:
        """Whether products and activations are of a type with 16 bits, and parameters are not."""
        return self._precision.half is not None

    @property
    def scales_loss(self) -> bool:
        """Whether gradients need a factor on the loss, so as not to vanish."""
        return self._precision.scales_loss

    @property
    def tf32(self) -> bool:
        """Whether products of float32 numbers may be rounded to ten bits."""
        return self._precision.tf32

    def numbers(self) -> str:
        """Return in words what is computed in: ``float32``, ``mixed float16`` ..."""
        return str(self._precision)

    def like(
        self, device: Any = None, dtype: str | None = None, precision: str | None = None
    ) -> Backend:
        """Return the same backend on another device, or in another dtype or precision.

        With a dtype and no precision, the precision is that of the dtype.
        """
        device = self.device if device is None else device
        if dtype is None and precision is None:
            precision = self.precision
        xp = self.xp if type(self) is Backend else None
        return _made(type(self), device, dtype, xp, precision)

    def preferring(self, precision: str) -> Backend:
        """Return the backend in a precision if it has that, else as it is.

        For what was saved elsewhere: where the precision does not exist, numbers are more exact.
        """
        chosen = PRECISIONS[precision]
        if precision == self.precision or self.lacks(chosen):
            return self
        return self.like(precision=precision)

    def __repr__(self) -> str:
        plain = self.precision == self.dtype_name
        precision = "" if plain else f", precision={self.precision!r}"
        return (
            f"Backend({self.name!r}, device={str(self.device)!r}, dtype={self.dtype_name!r}"
            f"{precision})"
        )

    def __copy__(self) -> Backend:
        return self  # nothing of it ever changes

    def __deepcopy__(self, memo: dict[int, Any]) -> Backend:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        name = self.xp.__name__ if type(self) is Backend else None
        device = self._portable_device()
        return _unpickled, (type(self), device, self.dtype_name, name, self.precision)

    def _portable_device(self) -> Any:
        """Return the device as it can be pickled and named again."""
        return self.device

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Backend) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return type(self), self.xp.__name__, str(self.device), self._precision


def get_backend(
    spec: str | Backend | ModuleType = "auto",
    device: Any = None,
    dtype: str | None = None,
    precision: str | None = None,
) -> Backend:
    """Return the backend that ``spec`` asks for.

    Args:
        spec: a name, ``"auto"`` (CuPy where a CUDA device is usable, NumPy otherwise), a backend,
            or an array namespace such as ``numpy`` or ``jax.numpy``.
        device: see :class:`Backend`; None keeps the device of a backend that was given.
        dtype: ``"float32"`` or ``"float64"``; None: that of a backend that was given, or of the
            precision, or float32.
        precision: ``"float64"``, ``"float32"``, ``"tf32"``, ``"float16"`` or ``"bfloat16"``; None: that
            of the dtype, or of a backend that was given without another dtype.

    Raises:
        UnknownNameError: no backend has that name.
        BackendUnavailableError: it cannot be used here; the message says why and which ones can.
        PrecisionError: the backend does not have the precision; the message says why.
        ValueError: a name is not known, or dtype and precision contradict each other.
    """
    if isinstance(spec, Backend):
        wanted = None if dtype is None and precision is None else resolve(dtype, precision).name
        same = device is None and wanted in (None, spec.precision)
        return spec if same else spec.like(device, dtype, precision)
    resolve(dtype, precision)  # a contradiction is found before a library is imported
    if spec == "auto":
        spec = "cupy" if _status("cupy").usable else "numpy"
    if isinstance(spec, str):
        return _create(spec, device, dtype, precision)
    if isinstance(spec, ModuleType) and hasattr(spec, "asarray"):
        name = _library(spec)
        if name in _CLASSES:
            return _create(name, device, dtype, precision)
        return Backend(device, dtype, spec, precision)
    raise TypeError(f"backend must be a name, a Backend or an array namespace; got {spec!r}")


def available_backends() -> list[BackendStatus]:
    """Return for each backend whether it is usable here and, if not, why not.

    Each library that is installed is imported to find out; that can take seconds the first time.
    """
    return [_status(name) for name in _CLASSES]


def namespace(x: Array) -> Namespace:
    """Return the array namespace of ``x``."""
    kind = type(x)
    if kind not in _namespaces:
        _namespaces[kind] = array_namespace(x)
    return _namespaces[kind]


def register_namespace(kind: type, xp: Namespace) -> None:
    """Make ``xp`` the namespace of arrays of type ``kind``."""
    _namespaces[kind] = xp


def _unpickled(
    cls: type[Backend],
    device: Any,
    dtype: str,
    namespace: str | None,
    precision: str | None = None,
) -> Backend:
    """Return a backend that was pickled, with its library imported again."""
    xp = None if namespace is None else importlib.import_module(namespace)
    return _made(cls, device, dtype, xp, precision)


def _made(
    cls: type[Backend],
    device: Any,
    dtype: str | None,
    xp: Namespace | None,
    precision: str | None,
) -> Backend:
    """Return a backend of a class, or of :class:`Backend` itself for a namespace."""
    if xp is None:
        return cls(device, dtype, precision=precision)
    return cls(device, dtype, xp, precision)


def _batches(rows: Batch, size: int, steps: int) -> Iterable[Batch]:
    """Return the batches of each step; a single batch again and again."""
    total = rows.x.shape[0]
    if size >= total:
        return [rows] * steps
    bounds = [slice(a, min(a + size, total)) for a in range(0, total, size)]
    return (Batch(*(None if r is None else r[part, ...] for r in rows)) for part in bounds)


def _joined(outputs: Sequence[Array], xp: Namespace) -> Array:
    return outputs[0] if len(outputs) == 1 else xp.concat(list(outputs))


def _class(name: str) -> type[Backend]:
    if name not in _CLASSES:
        raise unknown_name("backend", name, [*_CLASSES, "auto"])
    module, _, attribute = _CLASSES[name].partition(":")
    cls: type[Backend] = getattr(importlib.import_module(module), attribute)
    return cls


def _create(name: str, device: Any, dtype: str | None, precision: str | None = None) -> Backend:
    cls = _class(name)
    try:
        return _made(cls, device, dtype, None, precision)
    except PrecisionError:
        raise
    except BackendUnavailableError as error:
        usable = ", ".join(s.name for s in available_backends() if s.usable)
        raise BackendUnavailableError(
            f"backend {name!r} cannot be used: {error}. Usable here: {usable}."
        ) from error


@cache
def _status(name: str) -> BackendStatus:
    cls = _class(name)
    try:
        backend = cls()
    except BackendUnavailableError as error:
        return BackendStatus(name, False, str(error), _version(cls))
    return BackendStatus(name, True, "", _version(cls), backend.device_name())


def _version(cls: type[Backend]) -> str:
    import importlib.metadata  # takes as long as a tenth of this library

    for distribution in cls.distribution.split():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(distribution)
    return ""


def _library(xp: ModuleType) -> str:
    """Return the backend name for a namespace: ``array_api_compat.torch`` is ``torch``."""
    parts = xp.__name__.removeprefix("array_api_compat.").split(".")
    return parts[0].replace("_", "-")


def not_a_device(device: Any, wanted: str) -> TypeError:
    """Return the error for a ``device`` that is nothing a device could be called."""
    return TypeError(f"device must be {wanted}; got {device!r}, of type {type(device).__name__}")


def import_library(cls: type[Backend], module: str) -> Any:
    """Import the library of a backend; when it cannot be, say so with the command that helps."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, module.partition(".")[0]):
            raise BackendUnavailableError(f"{module} is broken: {error}") from error
        raise BackendUnavailableError(f"it is not installed; run: {cls.install}") from error
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(
            f"{module} is installed but cannot be imported: {error}"
        ) from error


def host_numbers(x: Any, dtype: str | None = None) -> np.ndarray[Any, Any]:
    """Return ``x`` as a NumPy array of real numbers, of ``dtype`` if one is given."""
    try:
        array = _to_host(x)
    except ValueError as error:
        raise TypeError(f"the rows have different lengths, or are not numbers: {error}") from error
    if array.dtype.kind == "O":
        if hasattr(x, "toarray"):
            raise TypeError(
                "expected an array, got a sparse one: x.toarray() makes it dense, and the "
                "scikit-learn estimators take it as it is"
            )
        array = _from_objects(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"expected real numbers, got an array of dtype {array.dtype}")
    # Converted here, before it travels: fewer bytes, and some devices have no float64.
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused later
        return array if dtype is None else array.astype(dtype, copy=False)


def finite_on_host(x: np.ndarray[Any, Any]) -> bool:
    """Return whether no number of a NumPy array is NaN or infinite."""
    # A finite sum of squares proves it in one fast pass; an infinite one may be an overflow.
    return math.isfinite(np.vdot(x, x)) or bool(np.isfinite(x).all())


def _from_objects(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the numbers of an object array (a pandas frame of mixed columns), None as NaN."""
    for position, value in np.ndenumerate(array):
        if isinstance(value, str):
            raise TypeError(f"expected numbers, got the text {value!r} at {position}")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"expected numbers, got {_no_number(array)}") from error


def _no_number(array: np.ndarray[Any, Any]) -> str:
    """Return the first object that is no number, and where it is."""
    for position, value in np.ndenumerate(array):
        try:
            np.asarray(value, dtype=object).astype(np.float64)
        except (TypeError, ValueError):
            return f"{value!r:.80}" + (f" at {position}" if position else "")
    return "an array of objects"


def _to_host(x: Any) -> np.ndarray[Any, Any]:
    """Return ``x`` as a NumPy array, whatever library it is from."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "detach"):  # torch
        return np.asarray(x.detach().cpu())
    if hasattr(x, "__cuda_array_interface__") and hasattr(x, "get"):  # CuPy
        return np.asarray(x.get())
    if hasattr(x, "to_numpy"):  # pandas, polars
        return np.asarray(x.to_numpy())
    return np.asarray(x)
