"""A device for programs that is the host: kernels compiled by a C++ compiler, products by NumPy.

The text of a kernel is compiled as it is. What CUDA gives it (``threadIdx``, ``__shared__``,
``__syncthreads``) is here a few lines of C++: the threads of a block are threads, the blocks of a grid
come one after the other. Fewer of both than on a card; kernels must not care.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np

COMPILER = shutil.which("g++") or shutil.which("clang++")

_BLOCKS, _THREADS = 3, 8

_CUDA = """
#include <math.h>
#include <cmath>
using namespace std;
struct nnb_Place { int x, y, z; };
extern thread_local nnb_Place threadIdx;
extern nnb_Place blockIdx, blockDim, gridDim;
void nnb_wait();
void nnb_launch(int blocks, int width, int height, bool together, void (*run)(void**), void** args);
#define __global__ static
#define __device__
#define __shared__ static
#define __syncthreads() nnb_wait()
"""

_HALF = """
typedef _Float16 __half;
inline float __half2float(__half x) { return x; }
"""

_LAUNCHER = """
#include <barrier>
#include <thread>
#include <vector>
struct nnb_Place { int x, y, z; };
thread_local nnb_Place threadIdx;
nnb_Place blockIdx, blockDim, gridDim;
static std::barrier<>* waiting;
void nnb_wait() { waiting->arrive_and_wait(); }
void nnb_launch(int blocks, int width, int height, bool together, void (*run)(void**), void** args) {
    gridDim.x = blocks, blockDim.x = width, blockDim.y = height;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
        std::barrier<> all(width * height);
        waiting = &all;
        std::vector<std::thread> threads;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                auto one = [=] { threadIdx.x = x, threadIdx.y = y; run(args); };
                if (together) threads.emplace_back(one); else one();
            }
        for (auto& t : threads) t.join();
    }
}
"""


class HostDevice:
    """Runs programs on NumPy arrays.

    ``epilogues``: what it tells programs that products can do after adding a bias.

    Attributes:
        sources: what was compiled.
        launched: how many launches there were.
    """

    epilogues = (None, "relu")
    current = 0  # the stream

    def __init__(self):
        self.sources = []
        self.launched = 0

    def empty(self, shape, dtype):
        # What is read before it is written shows.
        array = np.empty(shape, dtype)
        array.view(np.uint8).fill(0xC1) if array.ndim else None
        return array

    def stream(self):
        return self.current

    def put(self, target, values):
        target[...] = values

    def kernels(self, source, names):
        self.sources.append(source)
        library = ctypes.CDLL(str(compiled(source, tuple(names))))
        return [partial(self._kernel, library[f"host_{name}"]) for name in names]

    def _kernel(self, function, blocks, threads, arrays):
        self.launched += 1
        width, height = threads
        pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        height = min(height, 4)
        function(min(blocks, _BLOCKS), min(width, _THREADS // height), height, pointers)

    def product(self, a, b, out, bias, activation):
        def launch():
            self.launched += 1
            np.matmul(a, b, out=out)
            if bias is not None:
                out[...] += bias
            if activation == "relu":
                np.maximum(out, 0.0, out=out)

        return launch

    def captured(self, launches):
        def all_of_them():
            for launch in launches:
                launch()

        return all_of_them


def compiled(source, names):
    """Return the shared library of a program."""
    wrappers = []
    for name in names:
        found = re.search(rf"void {name}\(([^)]*)\) {{\n(.*?)\n}}\n", source, re.S)
        kinds = [part.rsplit(" ", 1)[0] for part in found[1].split(", ")]
        arguments = ", ".join(f"({kind})args[{i}]" for i, kind in enumerate(kinds))
        together = "true" if "nnb_over_" in found[2] else "false"
        wrappers.append(
            f"static void run_{name}(void** args) {{ {name}({arguments}); }}\n"
            f'extern "C" void host_{name}(int blocks, int width, int height, void** args) {{\n'
            f"    nnb_launch(blocks, width, height, {together}, run_{name}, args);\n}}\n"
        )
    ctypes.CDLL(str(_built(_LAUNCHER)), mode=ctypes.RTLD_GLOBAL)
    return _built(_CUDA + source.replace('extern "C" __global__', "__global__") + "".join(wrappers))


def _built(text):
    """Return the shared library of a text in C++, built once."""
    folder = Path(__file__).parent.parent / ".pytest_cache" / "host-kernels"
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.so"
    if not library.exists():
        header = folder / f"{os.getpid()}.h"
        header.write_text(_HALF)
        header.replace(folder / "cuda_fp16.h")  # whole, for another process may be reading it
        cpp = folder / f"{library.stem}.{os.getpid()}.cpp"
        cpp.write_text(text)
        options = ["-std=c++20", "-O0", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-pthread"]
        made = cpp.with_suffix(".so")
        done = subprocess.run(
            [COMPILER, *options, "-I", folder, "-o", made, cpp],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{done.stderr[:3000]}\n{text}")
        made.replace(library)
        cpp.unlink()
    return library
