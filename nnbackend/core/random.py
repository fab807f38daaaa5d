"""Random numbers that are the same on every backend.

The generator is Threefry-2x32 with 20 rounds: a keyed, counter-based function that turns two 32-bit
words into two others. It has no state. The ``i``-th pair of words that a layer draws at training
step ``t`` is ``threefry(key of the layer, counter (i, t))``, so the same seed gives the same numbers
on any array library, in any order of evaluation, compiled or not. It is written with 32-bit
additions, shifts and exclusive ors, which every array library has.

Source: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias
from zlib import crc32

import numpy as np

from nnbackend.errors import given

if TYPE_CHECKING:
    from nnbackend.backends.base import Backend
    from nnbackend.backends.primitives import Primitives
    from nnbackend.core.types import Array, Namespace, Shape

__all__ = [
    "Generator",
    "ShapeGenerator",
    "bernoulli_mask",
    "bits",
    "fold_in",
    "forward_key",
    "forward_key_array",
    "normal",
    "permutation",
    "rates",
    "scheduled_mask",
    "seed_key",
    "threefry",
    "uniform_bits24",
]

Key: TypeAlias = Any
"""Two words: ints, or int32 arrays of shape (1,), which are data of a compiled program."""

_ROTATION_BITS = ((13, 15, 26, 6), (17, 29, 16, 24))
_SHIFTS = [  # the same, to the left and to the right, as NumPy takes them without conversion
    [(np.asarray(r, dtype=np.uint32), np.asarray(32 - r, dtype=np.uint32)) for r in rotations]
    for rotations in _ROTATION_BITS
]
_PARITY_WORD = 0x1BD11BDA
_WORD_MASK = 0xFFFFFFFF
STEP_PERIOD = 1 << 30
"""After so many training steps random numbers repeat: a counter is a word of 32 bits."""
_MOST_RATES = 1024  # in the table of a schedule
WORD_BITS = 24
"""Number of random bits in a word of :func:`uniform_bits24`: what float32 holds exactly."""


def seed_key(seed: int) -> Key:
    """Return the key of a seed.

    Raises:
        ValueError: ``seed`` is not a whole number from 0 to 2**64 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be a whole number from 0 to 2**64 - 1, got {given(seed)}")
    return int(seed) & _WORD_MASK, int(seed) >> 32


def fold_in(key: Key, name: str | int) -> Key:
    """Return the key of the part called ``name``; its words have the type of those in ``key``."""
    if isinstance(key[0], int):
        return _fold_in(key, name)
    zero = key[0] ^ key[0]
    return threefry(key, *(zero + _signed(word) for word in _counter(name)))


@lru_cache(maxsize=4096)
def _fold_in(key: Key, name: str | int) -> Key:
    """Return the key of a part on the host, in ints."""
    return _threefry_of_ints(key, *_counter(name))


def _counter(name: str | int) -> tuple[int, int]:
    """Return the counter that stands for a name."""
    number = name & _WORD_MASK if isinstance(name, int) else crc32(name.encode())
    return number, int(isinstance(name, int))


def forward_key(seed: int) -> Key:
    """Return the key for what layers draw in forward passes, apart from that of initial weights."""
    return fold_in(seed_key(seed), "forward")


@lru_cache(maxsize=256)
def forward_key_array(seed: int) -> np.ndarray[Any, Any]:
    """Return the same key as data for a program: int32 words of shape (2, 1), not to be changed."""
    words = np.asarray([[_signed(word)] for word in forward_key(seed)], dtype=np.int32)
    words.flags.writeable = False
    return words


def threefry(key: Key, x0: Array, x1: Array) -> tuple[Array, Array]:
    """Return the Threefry-2x32-20 image of the counters ``(x0, x1)`` under ``key``: two int32 arrays.

    The words of the key are ints from 0 to 2**32 - 1 or int32 arrays. ``x0`` and ``x1``, int32 arrays of
    the first and the second words of the counters, are consumed.
    """
    schedule = (*key, key[0] ^ key[1] ^ _PARITY_WORD)
    x0 += _signed(schedule[0])
    x1 += _signed(schedule[1])
    for group in range(5):
        for rotation in _ROTATION_BITS[group % 2]:
            x0 += x1
            # Rotate left. The right shift of a signed word drags its sign along: mask that off.
            low = x1 >> (32 - rotation)
            low &= (1 << rotation) - 1
            x1 <<= rotation
            x1 |= low
            x1 ^= x0
        x0 += _signed(schedule[(group + 1) % 3])
        x1 += _signed(schedule[(group + 2) % 3] + group + 1)
    return x0, x1


def _threefry_of_ints(key: Key, x0: int, x1: int) -> tuple[int, int]:
    """Return the image of one counter: the same function, in a fiftieth of an array's time."""
    schedule = (*key, key[0] ^ key[1] ^ _PARITY_WORD)
    x0, x1 = x0 + schedule[0] & _WORD_MASK, x1 + schedule[1] & _WORD_MASK
    for group in range(5):
        for rotation in _ROTATION_BITS[group % 2]:
            x0 = x0 + x1 & _WORD_MASK
            x1 = (x1 << rotation | x1 >> 32 - rotation) & _WORD_MASK ^ x0
        x0 = x0 + schedule[(group + 1) % 3] & _WORD_MASK
        x1 = x1 + schedule[(group + 2) % 3] + group + 1 & _WORD_MASK
    return x0, x1


def _threefry_on_host(key: Key, pairs: np.ndarray[Any, Any]) -> None:
    """Put the images of counters in their place: the same function, in half of the time.

    ``pairs`` has the shape (2, count) and NumPy's dtype uint32, which the other libraries lack or which
    cannot be shifted there; ``key`` is of ints.
    """
    x0, x1 = pairs
    low = np.empty_like(x1)
    schedule = (*key, key[0] ^ key[1] ^ _PARITY_WORD)
    np.add(x0, np.uint32(schedule[0]), x0)
    np.add(x1, np.uint32(schedule[1]), x1)
    for group in range(5):
        for left, right in _SHIFTS[group % 2]:
            np.add(x0, x1, x0)
            np.right_shift(x1, right, low)
            np.left_shift(x1, left, x1)
            np.bitwise_or(x1, low, x1)
            np.bitwise_xor(x1, x0, x1)
        np.add(x0, np.uint32(schedule[(group + 1) % 3]), x0)
        np.add(x1, np.uint32(schedule[(group + 2) % 3] + group + 1 & _WORD_MASK), x1)


def bits(
    key: Key, step: Any, count: int, xp: Namespace, device: Any = None, first: Any = 0
) -> Array:
    """Return ``count`` int32 words of uniform bits, from the word ``first`` of a step's words on.

    Words ``2i`` and ``2i + 1`` are the image of the counter ``(i, step)``, so a word is the same
    whatever the count: a batch that is padded, or of which several processes compute a part each,
    gets the same dropout mask. ``step`` and ``first`` are ints or arrays of no axes.
    """
    half = _pairs(count, first)
    x0 = xp.arange(half, dtype=xp.int32, device=device)
    if not isinstance(first, int) or first > 0:
        x0 += first >> 1
    x1 = xp.zeros(half, dtype=xp.int32, device=device)
    x1 += step
    pairs = xp.stack(threefry(key, x0, x1), axis=1)
    return _without_rest(xp.reshape(pairs, (2 * half,)), count, first, xp)


def uniform_bits24(key: Key, step: Any, count: int, backend: Primitives, first: Any = 0) -> Array:
    """Return ``count`` int32 words, uniform over 0 ... 2**24 - 1; arguments as for :func:`bits`."""
    words = backend.random_bits(key, step, count, first)
    words = words >> (32 - WORD_BITS)
    words &= (1 << WORD_BITS) - 1
    return words


def bernoulli_mask(
    key: Key, step: Any, like: Array, rate: float, backend: Backend, first_row: Any = 0
) -> Array:
    """Return zeros and ones as ``like``, a zero with probability ``rate``: the mask of a dropout.

    The rate is rounded to a multiple of 2**-24; ``first_row`` is the number of the first row of
    ``like`` in the whole batch.
    """
    first = first_row * math.prod(like.shape[1:])
    return backend.random_mask(key, step, like, round(rate * (1 << WORD_BITS)), first)


def scheduled_mask(
    key: Key,
    step: Any,
    like: Array,
    schedule: Callable[[int], float],
    last_step: int,
    backend: Backend,
    first_row: Any = 0,
) -> tuple[Array, Array]:
    """Return a mask as :func:`bernoulli_mask` does, of a rate by schedule, and ``1 / (1 - rate)``.

    The step may be data of a recorded or compiled program. So the rate is looked up in a table, in whole
    numbers: it is the same on every backend. Of a long schedule the table has every second or third
    value, or fewer, so that there are at most 1024; from ``last_step`` on the rate is that of its end.
    """
    xp = backend.xp
    table, every = _rate_table(schedule, last_step)
    place = (
        xp.asarray(step, dtype=xp.int32, device=backend.device) if isinstance(step, int) else step
    )
    place = xp.minimum(place, last_step)
    if every > 1:
        place = (place + (every - 1)) // every
    units = xp.asarray(table, dtype=xp.int32, device=backend.device)
    places = xp.arange(len(table), dtype=xp.int32, device=backend.device)
    # Found by comparison: a recording would not see a place in a table that is constant.
    found = xp.astype(places == place, xp.int32) * units
    threshold = xp.sum(found, keepdims=True, dtype=xp.int32)
    first = first_row * math.prod(like.shape[1:])
    words = uniform_bits24(key, step, math.prod(like.shape), backend, first)
    mask = xp.reshape(xp.astype(words >= threshold, like.dtype), like.shape)
    whole = float(1 << WORD_BITS)
    scale = whole / (whole - xp.astype(threshold, backend.dtype))
    return mask, xp.astype(scale, like.dtype, copy=False)


@lru_cache(maxsize=64)
def _rate_table(schedule: Callable[[int], float], last_step: int) -> tuple[list[int], int]:
    """Return the rates of a schedule in units of 2**-24, and how many steps each stands for."""
    every = _steps_per_rate(last_step)
    return [round(rate * (1 << WORD_BITS)) for rate in rates(schedule, last_step)], every


def rates(schedule: Callable[[int], float], last_step: int) -> list[float]:
    """Return the values of a schedule that are used for a rate, at most 1024."""
    every = _steps_per_rate(last_step)
    return [schedule(min(step, last_step)) for step in range(0, last_step + every, every)]


def _steps_per_rate(last_step: int) -> int:
    return max(1, -(-last_step // (_MOST_RATES - 1)))


def normal(key: Key, step: Any, like: Array, backend: Backend, first_row: Any = 0) -> Array:
    """Return normal numbers of mean 0 and deviation 1, as ``like``.

    Numbers ``2i`` and ``2i + 1`` are ``sqrt(-2 log u) * (cos(2 pi v), sin(2 pi v))`` of two uniform
    words (Box and Muller, 1958), so a number is the same whatever the count. The words are the same on
    every backend to the last bit, the numbers to the rounding of its logarithm and cosine; they are
    computed in the backend's dtype. With 24 bits in a word none is further out than 5.77, where eight
    of a billion numbers would be. ``first_row`` is the number of the first row of ``like`` in the whole
    batch.
    """
    xp, count, first = backend.xp, math.prod(like.shape), first_row * math.prod(like.shape[1:])
    half, even = _pairs(count, first), first - (first & 1)
    words = xp.astype(uniform_bits24(key, step, 2 * half, backend, even), backend.dtype)
    pairs = xp.reshape(words, (half, 2))
    scale = 0.5**WORD_BITS
    radius = xp.sqrt(-2.0 * xp.log((pairs[:, 0] + 1.0) * scale))  # of numbers above 0, up to 1
    angle = pairs[:, 1] * (2.0 * math.pi * scale)
    numbers = xp.stack([radius * xp.cos(angle), radius * xp.sin(angle)], axis=1)
    numbers = _without_rest(xp.reshape(numbers, (2 * half,)), count, first, xp)
    return xp.reshape(xp.astype(numbers, like.dtype, copy=False), like.shape)


def _pairs(count: int, first: Any) -> int:
    """Return the number of pairs that the ``count`` words from the word ``first`` on are in."""
    before = first & 1 if isinstance(first, int) else 1  # of an array it is not known which
    return (count + before + 1) // 2


def _without_rest(words: Array, count: int, first: Any, xp: Namespace) -> Array:
    """Return ``count`` words of pairs that begin with the word ``first``, or the one before it."""
    if isinstance(first, int):
        return words[first & 1 : (first & 1) + count]
    return xp.where((first & 1) == 1, words[1 : count + 1], words[:count])


def permutation(seed: int, n: int, *stream: int | str) -> np.ndarray[Any, Any]:
    """Return a permutation of ``0 ... n-1``, fixed by ``seed`` and the names in ``stream``."""
    return Generator.of(seed, *stream).permutation(n)


class Generator:
    """Random numbers on the host, in float64, for initial weights and the order of batches.

    Successive calls return new numbers. ``child(name)`` is an independent generator that depends
    only on the key and the name, not on earlier draws.
    """

    def __init__(self, key: Key) -> None:
        self.key = key
        self._calls = 0

    @classmethod
    def of(cls, seed: int, *stream: int | str) -> Generator:
        """Return the generator of ``seed`` and a path of names."""
        generator = cls(seed_key(seed))
        for name in stream:
            generator = generator.child(name)
        return generator

    def child(self, name: int | str) -> Generator:
        """Return the generator of the part called ``name``."""
        return Generator(fold_in(self.key, name))

    def draw(
        self, initializer: Callable[[Shape, Generator], Any], shape: Shape, name: str
    ) -> np.ndarray[Any, Any]:
        """Return the initial value of the parameter called ``name``, which fixes its random numbers.

        Raises:
            ValueError: the initializer returned another shape.
        """
        values = np.asarray(initializer(shape, self.child(name)), dtype=np.float64)
        if values.shape != shape:
            raise ValueError(
                f"the initializer of {name} returned shape {values.shape} instead of {shape}"
            )
        return values

    def _doubles(self, count: int) -> np.ndarray[Any, Any]:
        """Return ``count`` numbers uniform over [0, 1), multiples of 2**-53."""
        # As of `bits`: words 2i and 2i + 1 are the image of the counter (i, number of the call).
        counters = np.empty((2, count), dtype=np.uint32)
        counters[0], counters[1] = np.arange(count, dtype=np.uint32), self._calls
        _threefry_on_host(self.key, counters)
        words = counters.T.reshape(2 * count).astype(np.uint64)
        self._calls += 1
        joined: np.ndarray[Any, Any] = words[:count] << np.uint64(21)
        joined ^= words[count:] >> np.uint64(11)
        return joined * 2.0**-53

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> np.ndarray[Any, Any]:
        """Return numbers uniform over [low, high), 0 and 1 by default."""
        return (low + (high - low) * self._doubles(math.prod(shape))).reshape(shape)

    def normal(self, shape: Shape, mean: float = 0.0, std: float = 1.0) -> np.ndarray[Any, Any]:
        """Return normal numbers, of mean 0 and deviation 1 by default, by Box and Muller (1958)."""
        count = math.prod(shape)
        half = (count + 1) // 2
        u = self._doubles(2 * half)
        radius = np.sqrt(-2.0 * np.log1p(-u[:half]))  # 1 - u is never 0
        angle = 2.0 * np.pi * u[half:]
        z = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
        return (mean + std * z).reshape(shape)

    def exponential(self, shape: Shape) -> np.ndarray[Any, Any]:
        """Return exponential numbers of mean 1."""
        numbers: np.ndarray[Any, Any] = -np.log1p(-self.uniform(shape))  # 1 - u is never 0
        return numbers

    def integers(self, shape: Shape, count: int) -> np.ndarray[Any, Any]:
        """Return whole numbers from 0 to ``count - 1``, ``count`` below 2**40."""
        return (count * self.uniform(shape)).astype(np.int64)

    def permutation(self, n: int) -> np.ndarray[Any, Any]:
        """Return ``0 ... n-1`` in random order."""
        keys = self._doubles(n)
        order: np.ndarray[Any, Any] = np.argsort(keys)
        ordered = keys[order]
        # Only a stable sort orders equal keys in the same way everywhere.
        if np.any(ordered[1:] == ordered[:-1]):
            order = np.argsort(keys, kind="stable")
        return order


class ShapeGenerator(Generator):
    """A generator for finding out shapes: it draws nothing and takes no memory."""

    def child(self, name: int | str) -> ShapeGenerator:
        """Return the generator itself, which draws nothing."""
        return self

    def draw(
        self, initializer: Callable[[Shape, Generator], Any], shape: Shape, name: str
    ) -> np.ndarray[Any, Any]:
        """Return zeros of that shape that share one number."""
        return np.broadcast_to(0.0, shape)

    def _doubles(self, count: int) -> np.ndarray[Any, Any]:
        return np.broadcast_to(0.0, (count,))


def _signed(word: Any) -> Any:
    """Return the word as the int32 with the same bits; an array of int32 is that."""
    if not isinstance(word, int):
        return word
    word &= _WORD_MASK
    return word - (1 << 32) if word >> 31 else word
