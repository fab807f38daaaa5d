"""When a device's memory runs out: an error that says what to do, and the memory given back."""

from __future__ import annotations

import functools
import gc
import re
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from nnbackend.backends.base import Backend
from nnbackend.backends.device import in_words
from nnbackend.errors import OutOfMemoryError

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["explain_out_of_memory", "guarded"]

F = TypeVar("F", bound=Callable[..., Any])

_PARTS = "accumulate={parts}, which computes each batch in parts to the same result"
_ADVICE = {  # by method; of others there is none: there is no room for the parameters
    "fit": f"Try {{size}}, or {_PARTS}.",
    "partial_fit": f"Try {{size}}, or {_PARTS}.",
    "predict": "Try {size}.",
    "evaluate": "Give it fewer rows at a time.",
    "forward": "Give it fewer rows at a time; predict does so by itself.",
}


def explain_out_of_memory(
    error: Exception,
    backend: Backend,
    doing: str,
    *,
    rows: int | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    data_on: str = "host",
    release: Callable[[], None] | None = None,
) -> OutOfMemoryError | None:
    """Return the error to raise if memory ran out, and give the memory back; None for other errors.

    Call it where the caller's own variables hold none of the arrays of the attempt.

    Args:
        error: the error that was raised.
        backend: the backend that computed.
        doing: the name of the method that was called, or of the data to store.
        rows: the number of rows; None: unknown.
        batch_size: the batch size of the call; None: all rows, or batches as they come.
        accumulate: the number of parts in which a batch was computed.
        data_on: the place of the data of a fit, see ``Network.fit``.
        release: called before the memory is given back, to drop what else holds arrays.
    """
    if not isinstance(error, OutOfMemoryError) and not backend.is_out_of_memory(error):
        return None
    memory = _describe_memory(backend)
    _release_frames(error)
    if release is not None:
        release()
    gc.collect()
    backend.free_memory()
    if isinstance(error, OutOfMemoryError):  # explained already, by a call in between
        return None
    call = doing if batch_size is None else f"{doing} with batch_size={batch_size}"
    text = f"{backend.device_name()} has too little memory for {call}{_requested(error)}{memory}."
    if doing not in _ADVICE:
        return OutOfMemoryError(text)
    sizes = [size for size in (rows, batch_size) if size is not None]
    smaller = min(sizes) // 2 if sizes else None
    if smaller != 0:  # else a batch is one row already
        size = f"batch_size={smaller}" if smaller else "smaller batches"
        text += " " + _ADVICE[doing].format(size=size, parts=2 * accumulate)
    if doing == "fit" and data_on != "host":
        text += " With data_on='host' the data stay in the host's memory."
    kept = "the weights of the last whole epoch" if doing == "fit" else "its weights"
    in_batches = "{size}" in _ADVICE[doing]
    return OutOfMemoryError(
        f"{text} The network keeps {kept}.", smaller or None if in_batches else None
    )


def guarded(doing: str) -> Callable[[F], F]:
    """Return a decorator for a method of a network: its errors are explained if memory ran out."""

    def decorate(method: F) -> F:
        @functools.wraps(method)
        def run(network: Network, *args: Any, **kwargs: Any) -> Any:
            try:
                return method(network, *args, **kwargs)
            except Exception as error:
                given = {n: kwargs[n] for n in ("batch_size", "accumulate") if n in kwargs}
                shape = getattr(args[0] if args else kwargs.get("x"), "shape", ())
                problem = explain_out_of_memory(
                    error,
                    network.backend,
                    doing,
                    rows=shape[0] if shape and isinstance(shape, tuple) else None,
                    release=network._release,
                    **given,
                )
                if problem is None:
                    raise
                raise problem from error

        return run  # type: ignore[return-value]

    return decorate


def _describe_memory(backend: Backend) -> str:
    """Return how much memory is free; "" from a device that does not count, or no longer answers."""
    try:
        memory = backend.memory()
    except Exception:  # the message is worth having all the same
        return ""
    if memory is None:
        return ""
    return (
        f", and {in_words(memory.free)} of {in_words(memory.total)} was free (this process held "
        f"{in_words(memory.held)}, {in_words(memory.used)} of it in arrays)"
    )


def _release_frames(error: BaseException | None) -> None:
    """Clear the variables of the calls that an error came through, which hold their arrays.

    The tracebacks go as well: a frame keeps its function, and a backward pass is one with arrays in it.
    """
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _requested(error: Exception) -> str:
    """Return the size of the request, as far as the library's message says."""
    found = re.search(r"alloc\w*:?\s+(?:you tried to allocate\s+)?([\d.,]+)\s*(bytes|[KMGTPE]i?B)?",
                      str(error), re.IGNORECASE)  # fmt: skip
    if found is None:
        return ""
    if found[2] in (None, "bytes"):
        return f": {in_words(int(re.sub(r'[.,]', '', found[1])))} more was asked for"
    return f": {found[1].rstrip('.')} {found[2]} more was asked for"
