"""The portable generator: known answers, statistics, and sameness on all backends."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from tools import assert_equal, host

from nnbackend import get_backend
from nnbackend.core import random
from nnbackend.core.random import Generator

KNOWN = [  # Random123: kat_vectors, threefry2x32 with 20 rounds
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]
KEYS = st.tuples(*[st.integers(0, 2**32 - 1)] * 2)


def word(value: int) -> int:
    """Return the int32 with the bits of an unsigned word."""
    return value - (1 << 32) if value >> 31 else value


@pytest.mark.parametrize(("key", "counter", "answer"), KNOWN)
def test_threefry_gives_the_known_answers(key, counter, answer, backend):
    x0, x1 = (backend.asarray([word(c)], backend.xp.int32) for c in counter)
    x0, x1 = (backend.xp.asarray(x, copy=True) for x in (x0, x1))  # they are consumed
    found = [
        host(backend, x).astype(np.int64)[0] & 0xFFFFFFFF for x in random.threefry(key, x0, x1)
    ]
    assert tuple(found) == answer


@pytest.mark.parametrize(("key", "counter", "answer"), KNOWN)
def test_both_forms_for_the_host_give_the_known_answers(key, counter, answer):
    assert random._threefry_of_ints(key, *counter) == tuple(answer)
    pairs = np.array(counter, dtype=np.uint32)[:, None]
    random._threefry_on_host(key, pairs)
    assert tuple(pairs[:, 0].tolist()) == tuple(answer)


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
@pytest.mark.parametrize("step", [0, 1, 2**31 - 1])
def test_bits_are_the_same_on_every_backend(count, step, backend):
    key = (123456789, 0xFEDCBA98)
    found = host(backend, backend.random_bits(key, step, count))
    assert found.dtype == np.int32
    assert_equal(found, random.bits(key, step, count, np))


@given(key=KEYS, step=st.integers(0, 2**31 - 1), count=st.integers(1, 40), more=st.integers(1, 40))
def test_the_first_words_are_the_same_whatever_the_count(key, step, count, more):
    assert_equal(
        random.bits(key, step, count + more, np)[:count], random.bits(key, step, count, np)
    )


@given(key=KEYS, step=st.integers(0, 2**20), first=st.integers(0, 40), count=st.integers(1, 40))
def test_words_may_begin_anywhere(key, step, first, count):
    expected = random.bits(key, step, first + count, np)[first:]
    assert_equal(random.bits(key, step, count, np, first=first), expected)
    assert_equal(random.bits(key, step, count, np, first=np.asarray(first, np.int32)), expected)


@given(key=KEYS, step=st.integers(0, 2**20))
def test_other_keys_and_steps_give_other_words(key, step):
    words = random.bits(key, step, 8, np)
    others = [random.bits((key[0] ^ 1, key[1]), step, 8, np), random.bits(key, step + 1, 8, np),
              random.bits((key[0], key[1] ^ 1), step, 8, np)]  # fmt: skip
    for other in others:
        assert (words != other).sum() >= 7  # each word is equal by chance once in 4e9


def chi_squared(values: np.ndarray, cells: int) -> float:
    """Return how far counts of 0 ... cells-1 are from equal, in standard deviations."""
    counts = np.bincount(values, minlength=cells)
    statistic = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    return (statistic - (cells - 1)) / np.sqrt(2 * (cells - 1))


def test_words_are_uniform_over_all_their_bits(backend):
    words = host(backend, random.uniform_bits24((3, 4), 5, 200_000, backend))
    assert words.min() >= 0
    assert words.max() < 1 << 24
    for shift in (0, 8, 16):
        assert abs(chi_squared((words >> shift) & 0xFF, 256)) < 4
    assert abs(words.mean() / 2**24 - 0.5) < 4 * np.sqrt(1 / 12 / words.size)


def test_neighbors_steps_and_keys_are_uncorrelated():
    def uniform(key, step):
        return random.bits(key, step, 100_000, np) / 2**31

    x = uniform((1, 0), 0)
    pairs = [(x[:-1], x[1:]), (x[:-2], x[2:]), (x, uniform((1, 0), 1)), (x, uniform((2, 0), 0))]
    for a, b in pairs:
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


def test_uniform_doubles_fill_their_interval():
    x = Generator.of(1).uniform((100_000,), -2.0, 3.0)
    assert -2 <= x.min() < -1.999
    assert 2.999 < x.max() < 3
    assert abs(x.mean() - 0.5) < 4 * 5 / np.sqrt(12 * x.size)
    assert abs(chi_squared(((x + 2) * 20).astype(int), 100)) < 4
    assert len(np.unique(x)) == x.size  # 53 bits: no two alike


def test_normal_numbers_have_the_normal_moments():
    special = pytest.importorskip("scipy.special")
    z = Generator.of(2).normal((400, 500))
    n = z.size
    for power, expected, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((z**power).mean() - expected) < 4 * np.sqrt(variance / n)
    cells = (special.ndtr(z.ravel()) * 64).astype(int)
    assert abs(chi_squared(cells, 64)) < 4


@given(seed=st.integers(0, 2**64 - 1), n=st.integers(1, 200))
def test_a_permutation_has_every_number_once(seed, n):
    assert_equal(np.sort(random.permutation(seed, n, "order", 3)), np.arange(n))


def test_equal_keys_keep_their_order(monkeypatch):
    keys = np.random.default_rng(0).integers(4, size=1000) / 4
    monkeypatch.setattr(random.Generator, "_doubles", lambda self, count: keys)
    assert_equal(random.permutation(0, 1000), np.argsort(keys, kind="stable"))


def test_permutations_put_every_number_everywhere():
    found = np.stack([random.permutation(seed, 6, "order", 0) for seed in range(3000)])
    for column in found.T:
        assert abs(chi_squared(column, 6)) < 4


def test_streams_differ_by_seed_name_number_and_call():
    generator = Generator.of(0)
    draws = [
        generator.uniform((4,)),
        generator.uniform((4,)),  # the next call
        *(Generator.of(seed).uniform((4,)) for seed in (1, 2**32, 2**64 - 1)),
        *(Generator.of(0).child(name).uniform((4,)) for name in ("0", "1", 0, 1, -1, "weight", "")),
        Generator.of(0, "0", "1").uniform((4,)),
        Generator.of(0, "1", "0").uniform((4,)),
    ]
    assert len({tuple(draw) for draw in draws}) == len(draws)


def test_a_child_does_not_depend_on_what_was_drawn_before():
    generator = Generator.of(5)
    first = generator.child("a").normal((3,))
    generator.normal((10,))
    assert_equal(generator.child("a").normal((3,)), first)


def test_numbers_stay_what_they_are_for_good():
    """A change of these is a change of every seeded result that anyone has published."""
    assert random.bits((1, 2), 3, 3, np).tolist() == [2052595727, 1880214352, -1102761090]
    words = random.uniform_bits24((1, 2), 3, 3, get_backend("numpy"))
    assert words.tolist() == [8017952, 7344587, 12469555]
    assert random.permutation(0, 5, "order", 0).tolist() == [1, 0, 3, 2, 4]
    np.testing.assert_allclose(
        Generator.of(0).normal((2,)), [-0.8404421087325662, -0.6146528873946782], rtol=1e-14
    )


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "0", None, True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        random.seed_key(seed)


def test_a_seed_may_be_numpys_integer():
    assert random.seed_key(np.uint64(2**63)) == random.seed_key(2**63)
