"""The bodies of kernels, compiled for a CPU: nothing here runs on a card."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from nnbackend.backends.cuda import kernels
from nnbackend.core import random

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Any:
    """Return the body of the kernel in a loop over all words, as a C function."""
    if COMPILER is None:
        pytest.skip("there is no C compiler here")
    folder = tmp_path_factory.mktemp("kernels")
    text = f"""
void run(unsigned int first, unsigned int step, unsigned int key0, unsigned int key1,
         int *out, long n) {{
    for (long i = 0; i < n; ++i) {{
        int bits;
        {{ {kernels.RANDOM_BITS} }}
        out[i] = bits;
    }}
}}
"""
    (folder / "kernels.c").write_text(text)
    library = folder / "kernels.so"
    subprocess.run(
        [COMPILER, "-std=c99", "-Wall", "-Werror", "-O1", "-shared", "-fPIC",
         str(folder / "kernels.c"), "-o", str(library)],
        check=True,
    )  # fmt: skip
    return ctypes.CDLL(str(library)).run


class HostCuPy:
    """CuPy's kernels, of which there is one, by the compiled body."""

    uint32, int32, empty = np.uint32, np.int32, staticmethod(np.empty)

    def __init__(self, run: Any) -> None:
        self.run = run

    def ElementwiseKernel(  # CuPy's name
        self, inputs: str, outputs: str, body: str, name: str
    ) -> Any:
        assert inputs == "uint32 first, uint32 step, uint32 key0, uint32 key1"
        assert (outputs, body) == ("int32 bits", kernels.RANDOM_BITS)

        def kernel(first: Any, step: Any, key0: Any, key1: Any, out: Any) -> Any:
            words = [ctypes.c_uint32(int(word)) for word in (first, step, key0, key1)]
            self.run(*words, out.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(out.size))
            return out

        return kernel


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("key", "step", "first"),
    [
        ((1, 2), 0, 0),
        ((0xFFFFFFFF, 0x80000000), 2**31 - 1, 3),
        ((7, 0), 5, 2**30 + 1),
        ((0, 0), 1, 10),
    ],
)
def test_random_bits_are_those_of_every_backend(key, step, first, count, compiled):
    found = kernels.random_bits(HostCuPy(compiled), key, step, count, first)
    np.testing.assert_array_equal(found, random.bits(key, step, count, np, first=first))
    assert found.dtype == np.int32
