"""CUDA kernels that CuPy compiles: a dropout's random words in one launch, not over a hundred.

Each body is C as well as CUDA, so that the tests compile it for a CPU. None has run on a card.
"""

from __future__ import annotations

import functools
from typing import Any

from nnbackend.core.types import Array

__all__ = ["RANDOM_BITS", "random_bits"]

RANDOM_BITS = """
    unsigned int word = first + (unsigned int)i;
    unsigned int schedule[3] = {key0, key1, key0 ^ key1 ^ 0x1BD11BDAu};
    const int rotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    unsigned int x0 = (word >> 1) + schedule[0];
    unsigned int x1 = step + schedule[1];
    for (int group = 0; group < 5; ++group) {
        for (int turn = 0; turn < 4; ++turn) {
            int by = rotations[4 * (group % 2) + turn];
            x0 += x1;
            x1 = (x1 << by) | (x1 >> (32 - by));
            x1 ^= x0;
        }
        x0 += schedule[(group + 1) % 3];
        x1 += schedule[(group + 2) % 3] + (unsigned int)(group + 1);
    }
    bits = (int)(word & 1u ? x1 : x0);
"""
"""The body of a kernel: one of the two words of Threefry-2x32-20 for the counter (word / 2, step).

``i`` counts the words; ``first``, ``step``, ``key0`` and ``key1`` are unsigned, ``bits`` is the result.
See :func:`nnbackend.core.random.bits` for the source.
"""


@functools.cache
def _random_bits(cupy: Any) -> Any:
    """Return the kernel; CuPy compiles it for each device and keeps it on disk."""
    return cupy.ElementwiseKernel(
        "uint32 first, uint32 step, uint32 key0, uint32 key1",
        "int32 bits",
        RANDOM_BITS,
        "nnbackend_random_bits",
    )


def random_bits(cupy: Any, key: tuple[int, int], step: int, count: int, first: int) -> Array:
    """Return ``count`` int32 words of random bits on the current device, from the word ``first`` on.

    Args:
        cupy: the module.
        key: two words.
        step: the number of the step.
        count: how many words.
        first: the number of the first word.
    """
    words = (int(word) & 0xFFFFFFFF for word in (first, step, *key))
    out = cupy.empty(count, dtype=cupy.int32)
    # All arguments are scalars, so the result says how many there are.
    return _random_bits(cupy)(*map(cupy.uint32, words), out)
