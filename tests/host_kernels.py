"""CuPy's elementwise kernels on NumPy's arrays: the body in a loop, compiled by a C compiler."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

_TYPES = {"float32": "float", "float64": "double", "int32": "int", "uint32": "unsigned int"}


class ElementwiseKernel:
    """A kernel as CuPy's class makes one, with all its outputs given.

    As there, a placeholder ``T`` is the dtype of the arrays that have it, ``i`` counts the elements of
    the outputs that are not raw, and raw arrays are indexed by the body.
    """

    def __init__(self, inputs: str, outputs: str, body: str, name: str) -> None:
        assert name.isidentifier()
        self.name, self.body = name, body
        self.inputs, self.outputs = (_parameters(text) for text in (inputs, outputs))

    def __call__(self, *args: Any) -> Any:
        if any(str(arg.dtype) == "float16" for arg in args):  # a C compiler need not know it
            wide = [a.astype(np.float32) if a.dtype == np.float16 else a for a in args]
            self(*wide)
            for arg, result in zip(args, wide, strict=True):
                if isinstance(arg, np.ndarray):
                    arg[...] = result
            return args[-1]
        parameters = [*self.inputs, *self.outputs]
        assert len(args) == len(parameters)
        given = {
            str(a.dtype) for a, (_, kind, _) in zip(args, parameters, strict=True) if kind == "T"
        }
        assert len(given) <= 1
        placeholder = next(iter(given), "float32")
        values: list[Any] = []
        sizes = set()
        for arg, (raw, kind, _) in zip(args, parameters, strict=True):
            kind = placeholder if kind == "T" else kind
            assert str(arg.dtype) == kind
            if isinstance(arg, np.ndarray):
                assert arg.flags.c_contiguous
                values.append(ctypes.c_void_p(arg.ctypes.data))
                sizes |= set() if raw else {arg.size}
            else:
                values.append(np.ctypeslib.as_ctypes_type(arg.dtype)(arg.item()))
        (size,) = sizes
        _compiled(self._text(placeholder))(*values, ctypes.c_long(size))
        results = args[len(self.inputs) :]
        return results[0] if len(results) == 1 else results

    def _text(self, placeholder: str) -> str:
        """Return a C function that is the kernel in a loop."""
        declared, before, after = [], [], []
        for k, (raw, kind, name) in enumerate([*self.inputs, *self.outputs]):
            kind = "T" if kind == "T" else _TYPES[kind]
            is_output = k >= len(self.inputs)
            if raw:
                declared.append(f"{'' if is_output else 'const '}{kind} *{name}")
            elif is_output:
                declared.append(f"{kind} *out{k}")
                before.append(f"{kind} {name};")
                after.append(f"out{k}[i] = {name};")
            else:
                declared.append(f"{kind} {name}")
        return f"""
#include <tgmath.h>
typedef {_TYPES[placeholder]} T;
void run({", ".join(declared)}, long size) {{
    for (long i = 0; i < size; ++i) {{
        {" ".join(before)}
        {{ {self.body} }}
        {" ".join(after)}
    }}
}}
"""


def _parameters(text: str) -> list[tuple[bool, str, str]]:
    """Return whether each parameter is raw, its type and its name."""
    found = []
    for one in text.split(","):
        *raw, kind, name = one.split()
        assert raw in ([], ["raw"])
        assert name not in ("i", "n")
        assert not name.startswith("_")
        found.append((bool(raw), kind, name))
    return found


@functools.cache
def _compiled(text: str) -> Any:
    """Return the function ``run`` of a C program."""
    assert COMPILER is not None
    folder = Path(tempfile.mkdtemp())
    (folder / "kernel.c").write_text(text)
    subprocess.run(
        [COMPILER, "-std=c99", "-Wall", "-Werror", "-O1", "-shared", "-fPIC",
         str(folder / "kernel.c"), "-o", str(folder / "kernel.so"), "-lm"],
        check=True,
    )  # fmt: skip
    run = ctypes.CDLL(str(folder / "kernel.so")).run
    shutil.rmtree(folder)
    return run
