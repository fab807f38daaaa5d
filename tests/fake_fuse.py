"""``cupy.fuse`` on the make-believe CuPy, with the limits of CuPy's own.

A function is called once for each kind of arguments, with stand-ins that have neither values nor shapes.
What they write down is then run, so that whatever the function does in Python happens once. It takes
universal functions, ``where``, and copies into whole arrays; results go into the arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_OPERATORS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power, "lshift": np.left_shift,
    "rshift": np.right_shift, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip
_COMPARISONS = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip


class Variable:
    """A stand-in for an argument or a result."""

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, calls: list[Any], place: int, is_array: bool) -> None:
        self.calls, self.place, self.is_array = calls, place, is_array

    def __bool__(self) -> bool:
        raise TypeError("Can't cast to bool")

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is not Ellipsis and key != slice(None):
            raise ValueError("The fusion supports `[...]` or `[:]`.")
        _write(self.calls, np.positive, (value,), self)

    def __neg__(self) -> Variable:
        return record(np.negative, (self,))


def _write(calls: list[Any], function: Any, args: Any, out: Variable | None) -> Variable:
    for arg in args:
        if not isinstance(arg, Variable | int | float | np.generic):
            raise TypeError(f"Unsupported type {type(arg)}")
    is_new = out is None
    if out is None:
        is_array = any(isinstance(arg, Variable) and arg.is_array for arg in args)
        out = Variable(calls, 1000 + len(calls), is_array)
    calls.append((function, args, out, is_new))
    return out


def record(function: Any, args: Any, kwargs: Any = ()) -> Variable:
    """Write down a call of NumPy's function in the place of CuPy's."""
    if not isinstance(function, np.ufunc) and function is not np.where:
        raise TypeError(f"{function.__name__} cannot be fused")
    if kwargs:
        raise TypeError(f"Wrong arguments {kwargs}")
    calls = next(arg.calls for arg in args if isinstance(arg, Variable))
    return _write(calls, function, args, None)


def _add_operators() -> None:
    def method(function: Any, swapped: bool = False) -> Any:
        return lambda a, b: record(function, (b, a) if swapped else (a, b))

    def in_place(function: Any) -> Any:
        def run(self: Variable, other: Any) -> Variable:
            return _write(self.calls, function, (self, other), self if self.is_array else None)

        return run

    for name, function in _OPERATORS.items():
        setattr(Variable, f"__{name}__", method(function))
        setattr(Variable, f"__r{name}__", method(function, swapped=True))
        setattr(Variable, f"__i{name}__", in_place(function))
    for name, function in _COMPARISONS.items():
        setattr(Variable, f"__{name}__", method(function))


_add_operators()


class Fused:
    """A function as one kernel.

    Attributes:
        traces: how often the function was called with stand-ins.
        launches: how often the kernel was run.
    """

    def __init__(self, machine: Any, function: Any) -> None:
        assert function.__name__.isidentifier()  # the kernel's name
        self.machine, self.function = machine, function
        self.traces = self.launches = 0
        self._programs: dict[Any, list[Any]] = {}
        machine.fused.append(self)

    def __call__(self, *args: Any) -> None:
        kind = self.machine.cupy.ndarray
        for arg in args:
            if not isinstance(arg, kind | np.generic | int | float):
                raise TypeError(
                    f"Invalid argument type for {self.function.__name__!r}: {type(arg)}"
                )
        self.machine.check(args)
        key = tuple((a.dtype, a.ndim) if isinstance(a, kind) else type(a) for a in args)
        if key not in self._programs:
            self._programs[key] = self._traced(args, kind)
        values = {i: a._host if isinstance(a, kind) else a for i, a in enumerate(args)}
        with np.errstate(all="ignore"):
            for function, inputs, out, is_new in self._programs[key]:
                found = [values[a.place] if isinstance(a, Variable) else a for a in inputs]
                if is_new:
                    values[out.place] = function(*found)
                else:
                    np.copyto(values[out.place], function(*found), casting="same_kind")
        self.launches += 1

    def _traced(self, args: Any, kind: Any) -> list[Any]:
        calls: list[Any] = []
        result = self.function(
            *(Variable(calls, i, isinstance(a, kind)) for i, a in enumerate(args))
        )
        assert result is None
        self.traces += 1
        return calls
