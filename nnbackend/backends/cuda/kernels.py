"""CUDA kernels that CuPy compiles: one launch for what standard functions need a dozen or a hundred for.

Each body is C as well as CUDA, so that the tests compile it for a CPU. None has run on a card.
"""

from __future__ import annotations

import functools
from typing import Any

from nnbackend.core.types import Array

__all__ = [
    "MAX_CLASSES",
    "RANDOM_BITS",
    "RANDOM_MASK",
    "SOFTMAX_LOSS",
    "random_bits",
    "random_mask",
    "softmax_loss",
]

MAX_CLASSES = 128
"""How long a row of logits may be for one thread."""

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
"""One of the two words of Threefry-2x32-20 for the counter (word / 2, step).

``i`` counts the words; ``first``, ``step``, ``key0`` and ``key1`` are unsigned, ``bits`` is the result.
See :func:`nnbackend.core.random.bits` for the source.
"""

RANDOM_MASK = f"""
    int bits;
    {RANDOM_BITS}
    mask = ((unsigned int)bits >> 8) >= threshold ? 1.0f : 0.0f;
"""
"""One where the upper 24 of the random bits are at least ``threshold``, else zero."""

SOFTMAX_LOSS = """
    const long long start = (long long)i * classes;
    T largest = z[start];
    for (int c = 1; c < classes; ++c) {
        if (z[start + c] > largest) largest = z[start + c];
    }
    T total = 0, product = 0;
    for (int c = 0; c < classes; ++c) {
        const T shifted = z[start + c] - largest;
        const T power = exp(shifted);
        product += target[start + c] * shifted;
        total += power;
        dy[start + c] = power;
    }
    loss = log(total) - product;
    for (int c = 0; c < classes; ++c) {
        dy[start + c] = dy[start + c] / total - target[start + c];
    }
"""
"""For row ``i`` of ``z``: ``loss = logsumexp(z) - sum(target z)`` and ``dy = softmax(z) - target``.

A NaN needs no care: whichever number is the largest, it gets into ``total``, and so into all results.
"""

_WORDS = "uint32 first, uint32 step, uint32 key0, uint32 key1"


@functools.cache
def _kernel(cupy: Any, inputs: str, outputs: str, body: str, name: str) -> Any:
    """Return a kernel; CuPy compiles it for each device and keeps it on disk."""
    return cupy.ElementwiseKernel(inputs, outputs, body, name)


def random_bits(cupy: Any, key: tuple[int, int], step: int, count: int, first: int) -> Array:
    """Return ``count`` int32 words of random bits on the current device, from the word ``first`` on."""
    kernel = _kernel(cupy, _WORDS, "int32 bits", RANDOM_BITS, "nnbackend_random_bits")
    # All arguments are scalars, so the result says how many words there are.
    return kernel(*_words(cupy, first, step, *key), cupy.empty(count, dtype=cupy.int32))


def random_mask(
    cupy: Any, key: tuple[int, int], step: int, like: Array, threshold: int, first: int
) -> Array:
    """Return zeros and ones as ``like`` on the current device; see ``Backend.random_mask``."""
    inputs, name = f"{_WORDS}, uint32 threshold", "nnbackend_random_mask"
    kernel = _kernel(cupy, inputs, "T mask", RANDOM_MASK, name)
    out = cupy.empty(like.shape, dtype=like.dtype)
    return kernel(*_words(cupy, first, step, *key, threshold), out)


def softmax_loss(cupy: Any, logits: Array, target: Array) -> tuple[Array, Array] | None:
    """Return the cross-entropy of each row, and its gradient, or None where the kernel does not suit.

    Logits and targets are of shape (..., classes). It computes in their dtype, so half precision is none
    of its business, and a thread goes through a row, so long rows are not either.
    """
    classes = logits.shape[-1]
    wide = str(logits.dtype) in ("float32", "float64") and target.dtype == logits.dtype
    if not wide or not 0 < classes <= MAX_CLASSES:
        return None
    kernel = _kernel(
        cupy,
        "raw T z, raw T target, int32 classes",
        "T loss, raw T dy",
        SOFTMAX_LOSS,
        "nnbackend_softmax_loss",
    )
    loss = cupy.empty(logits.shape[:-1], dtype=logits.dtype)
    dy = cupy.empty(logits.shape, dtype=logits.dtype)
    kernel(logits, target, cupy.int32(classes), loss, dy)
    return loss, dy


def _words(cupy: Any, *numbers: int) -> list[Any]:
    """Return integers as words without a sign."""
    return [cupy.uint32(int(number) & 0xFFFFFFFF) for number in numbers]
