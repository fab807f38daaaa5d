"""When memory runs out: a message that helps, and the memory given back."""

from __future__ import annotations

import functools
import gc
import inspect
import math
import re
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from nnbackend.backends.memory import Memory, in_words
from nnbackend.errors import OutOfMemoryError

if TYPE_CHECKING:
    from nnbackend.inspection.memory_estimate import Footprint
    from nnbackend.network import Network

__all__ = ["explained", "guarded"]

F = TypeVar("F", bound=Callable[..., Any])

_SHARE = 0.9  # of the free memory that a batch is thought to fit in: pools waste some


def guarded(doing: str) -> Callable[[F], F]:
    """Return a decorator for methods of a network, under which a lack of memory is explained.

    It stands outside the method: when it is reached the method's own variables can be let go of, and
    with them the memory that the batch and the optimizer took.

    Args:
        doing: what the method does, for the message.
    """

    def decorate(method: F) -> F:
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(method).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }

        @functools.wraps(method)
        def run(network: Network, *args: Any, **kwargs: Any) -> Any:
            try:
                return method(network, *args, **kwargs)
            except Exception as error:
                given = {**defaults, **kwargs, "arrays": args[:2]}
                problem = explained(error, network, doing, given)
                if problem is None:
                    raise
                raise problem from error

        return run  # type: ignore[return-value]

    return decorate


def explained(
    error: Exception, network: Network, doing: str, given: dict[str, Any] | None = None
) -> OutOfMemoryError | None:
    """Return the error to raise if memory ran out, which is given back; None to raise what there is.

    Args:
        error: what was raised.
        network: what ran.
        doing: what it did.
        given: the arguments by name, for the estimate of a batch that fits.
    """
    backend = network.backend
    if not isinstance(error, OutOfMemoryError) and not backend.is_out_of_memory(error):
        return None
    before = _figures(network)
    _let_go(error)
    network._let_go()
    gc.collect()
    backend.free_memory()
    if isinstance(error, OutOfMemoryError):  # explained by what was called in between
        return None
    batch, advice = _advice(network, doing, given or {}, _figures(network))
    where = backend.device_name()
    batch_size = (given or {}).get("batch_size")
    call = doing if batch_size is None else f"{doing} with batch_size={batch_size}"
    text = [f"{where} has too little memory for {call}{_asked(error)}{_state(before)}.", *advice]
    return OutOfMemoryError(" ".join(text), batch)


def _figures(network: Network) -> Memory | None:
    try:
        return network.backend.memory()
    except (
        Exception
    ):  # a device in trouble does not answer; the message is worth having all the same
        return None


def _let_go(error: BaseException | None) -> None:
    """Let go of the calls that an error came through: as long as it is at hand they keep their arrays.

    Their variables are cleared, and the traceback goes, for a call keeps its function, and a backward
    pass is one that holds arrays.
    """
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _asked(error: Exception) -> str:
    """Return how much was asked for, as the library's message says it."""
    found = re.search(r"alloc\w*:?\s+(?:you tried to allocate\s+)?([\d.,]+)\s*(bytes|[KMGT]i?B)?",
                      str(error), re.IGNORECASE)  # fmt: skip
    if found is None:
        return ""
    if found[2] in (None, "bytes"):
        return f": {in_words(int(re.sub(r'[.,]', '', found[1])))} more was asked for"
    return f": {found[1].rstrip('.')} {found[2]} more was asked for"


def _state(memory: Memory | None) -> str:
    if memory is None:
        return ""
    return (
        f", and {in_words(memory.free)} of {in_words(memory.total)} was free (this process held "
        f"{in_words(memory.held)}, {in_words(memory.used)} of it in arrays)"
    )


def _advice(
    network: Network, doing: str, given: dict[str, Any], memory: Memory | None
) -> tuple[int | None, list[str]]:
    """Return a batch size that would fit, if one can be found, and what to say."""
    if network._params is None or doing not in ("fit", "partial_fit", "predict"):
        return None, []
    from nnbackend.inspection import memory_estimate

    whole = _taken(network, doing, given)
    accumulate = given.get("accumulate", 1)
    rows = [array.shape[0] for array in given["arrays"] if getattr(array, "shape", ())]
    batch = given["batch_size"] or max(rows, default=0)
    best, lines = None, list[str]()
    if whole is not None and memory is not None and batch:
        free = int(_SHARE * memory.free)
        parted = whole.in_parts(
            memory_estimate.parameter_bytes(network.params, network.backend.dtype_name)
        )
        taken = whole if accumulate == 1 else parted
        fixed = f"{in_words(taken.fixed)} and " if taken.fixed else ""
        estimate = f"By estimate {fixed}{in_words(taken.row)} for each row are taken"
        # An estimate that says it should have fitted is wrong: then less is tried all the same.
        most = -(-batch // accumulate) // 2
        best = _power_of_two(min(taken.rows(free), most))
        part = None if doing == "predict" else _power_of_two(min(parted.rows(free), most))
        if best is None:
            lines.append(f"{estimate}: not even one row fits.")
        else:
            parts = "" if part is None else f", or accumulate={-(-batch // part)}"
            lines.append(f"{estimate}: batch_size={best} would fit{parts}.")
    elif batch > 1:
        lines.append("Try a smaller batch_size.")
    if doing == "fit":
        lines.append("With data_on='host' the data do not lie on the device.")
    kept = "the weights of the last whole epoch" if doing == "fit" else "its weights"
    return best, [*lines, f"The network keeps {kept}."]


def _power_of_two(rows: int) -> int | None:
    """Return the largest power of two up to a number of rows, if there is one."""
    return 1 << (rows.bit_length() - 1) if rows >= 1 else None


def _taken(network: Network, doing: str, given: dict[str, Any]) -> Footprint | None:
    """Return what work takes beside the parameters, if that can be found out."""
    from nnbackend import losses, optimizers
    from nnbackend.inspection import memory_estimate

    layers, shapes, backend = network.layers, network._shapes(), network.backend
    if doing == "predict":
        return memory_estimate.predicting(layers, *shapes, backend)
    optimizer, loss = optimizers.get(given["optimizer"]), losses.get(given["loss"])
    taken = memory_estimate.training(layers, *shapes, backend, loss, network._rule(optimizer))
    if taken is None or given.get("data_on") == "host":
        return taken
    numbers = sum(math.prod(getattr(array, "shape", (0,))) for array in given["arrays"])
    size = numbers * (8 if backend.dtype_name == "float64" else 4)
    # Beside the data lie the rows of a block, gathered in the order of the epoch.
    return taken.beside(size + min(size, backend.block_bytes))
