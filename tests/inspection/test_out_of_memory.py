"""What is said when memory runs out; tests/backends/test_memory.py lets it run out in fits."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend.backends.device import Memory
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.errors import OutOfMemoryError
from nnbackend.inspection.out_of_memory import explain_out_of_memory, guarded


class Card(NumPyBackend):
    """NumPy that says how much memory a card has."""

    given_back = 0

    def memory(self):
        return Memory(used=1_000, held=3_000, free=2_000, total=5_000, peak=4_000)

    def free_memory(self):
        self.given_back += 1

    def device_name(self):
        return "Card"


def explain(doing, error="out of memory", **given):
    return explain_out_of_memory(MemoryError(error), Card(), doing, **given)


PARTS = "which computes each batch in parts to the same result"
STATE = ", and 2 kB of 5 kB was free (this process held 3 kB, 1 kB of it in arrays)."


@pytest.mark.parametrize(
    ("doing", "given", "batch_size", "advice"),
    [
        ("fit", {"batch_size": 100, "rows": 1000}, 50,
         " with batch_size=100{state} Try batch_size=50, or accumulate=2, {parts}. "
         "The network keeps the weights of the last whole epoch."),
        ("fit", {"batch_size": 100, "rows": 30, "accumulate": 3, "data_on": "auto"}, 15,
         " with batch_size=100{state} Try batch_size=15, or accumulate=6, {parts}. "
         "With data_on='host' the data stay in the host's memory. "
         "The network keeps the weights of the last whole epoch."),
        ("partial_fit", {}, None,
         "{state} Try smaller batches, or accumulate=2, {parts}. "
         "The network keeps its weights."),
        ("fit", {"batch_size": 8, "rows": 1}, None,
         " with batch_size=8{state} The network keeps the weights of the last whole epoch."),
        ("predict", {"batch_size": 4096, "rows": 1001}, 500,
         " with batch_size=4096{state} Try batch_size=500. The network keeps its weights."),
        ("evaluate", {"rows": 10}, None,
         "{state} Give it fewer rows at a time. The network keeps its weights."),
        ("forward", {"rows": 10}, None,
         "{state} Give it fewer rows at a time; predict does so by itself. "
         "The network keeps its weights."),
        ("the parameters", {}, None, "{state}"),
    ],
)  # fmt: skip
def test_the_message_says_what_to_try(doing, given, batch_size, advice):
    error = explain(doing, **given)
    expected = f"Card has too little memory for {doing}{advice.format(state=STATE, parts=PARTS)}"
    assert " ".join(str(error).split()) == " ".join(expected.split())
    assert error.batch_size == batch_size


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Out of memory allocating 1,024 bytes (allocated so far: 512 bytes).", "1.02 kB"),
        ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ...", "2.50 GiB"),
        ("Unable to allocate 1.42 PiB for an array with shape (4, 99999999999999)", "1.42 PiB"),
        ("RESOURCE_EXHAUSTED: Out of memory allocating 4294967296 bytes.", "4.29 GB"),
        ("Unable to allocate 64.0 TiB for an array with shape ...", "64.0 TiB"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 281474976710656 bytes.",
         "281 TB"),
    ],
)  # fmt: skip
def test_how_much_was_asked_for_is_read_from_every_librarys_message(text, words):
    assert f"for fit: {words} more was asked for, and 2 kB" in str(explain("fit", text))


def test_a_device_that_no_longer_answers_is_no_other_error():
    class Broken(Card):
        def memory(self):
            raise RuntimeError("the device is lost")

    error = explain_out_of_memory(MemoryError(), Broken(), "the parameters")
    assert str(error) == "Card has too little memory for the parameters."


def test_arrays_of_the_attempt_are_given_back_before_the_memory():
    backend, kept, released = Card(), [], []

    def attempt():
        array = np.ones(3)
        kept.append(weakref.ref(array))
        raise MemoryError

    try:
        attempt()
    except MemoryError as error:
        explained = explain_out_of_memory(
            error, backend, "fit", release=lambda: released.append(kept[0]())
        )
    assert isinstance(explained, OutOfMemoryError)
    assert released == [None]
    assert backend.given_back == 1


def test_other_errors_are_left_alone_and_no_error_is_explained_twice():
    backend = Card()
    assert explain_out_of_memory(ValueError("memory"), backend, "fit") is None
    assert backend.given_back == 0
    assert explain_out_of_memory(OutOfMemoryError("said", 3), backend, "fit") is None
    assert backend.given_back == 1


def test_a_method_reads_its_own_arguments():
    class Net:
        backend = Card()
        released = 0

        @guarded("partial_fit")
        def partial_fit(self, x, y, *, batch_size=None, accumulate=1):
            raise MemoryError

        def _release(self):
            self.released += 1

        _let_go = _release

    net = Net()
    with pytest.raises(OutOfMemoryError, match=r"Try batch_size=20, or accumulate=8") as caught:
        net.partial_fit(np.ones((40, 2)), None, accumulate=4)
    assert caught.value.batch_size == 20
    assert isinstance(caught.value.__cause__, MemoryError)
    assert net.released == 1
    with pytest.raises(OutOfMemoryError, match="partial_fit with batch_size=7"):
        net.partial_fit(np.ones((40, 2)), y=None, batch_size=7)


def test_a_network_explains_the_library_s_error(monkeypatch):
    net = nnb.Network([nnb.Dense(2)], input_shape=3)

    def greedy(*_):
        return np.ones((1 << 46,))

    monkeypatch.setattr(nnb.Dense, "forward", greedy)
    with pytest.raises(OutOfMemoryError, match="has too little memory for predict"):
        net.predict(np.ones((4, 3)))
