"""Processes are not given the same: all of them raise the error that says what differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from common import data, fit, network

import nnbackend as nnb

parallel = nnb.parallel.MPI(timeout=60.0)
here = parallel.rank == 1
x, y = data()
order = np.random.default_rng(parallel.rank)


def refused(message: str, net: nnb.Network, x: Any = x, y: Any = y, **settings: Any) -> None:
    with pytest.raises((ValueError, RuntimeError), match=message):
        fit(net, x, y, **({"parallel": parallel} | settings))


def batches() -> Iterator[tuple[Any, Any]]:
    for number in range(9 if here else 7):
        yield x[number : number + 5], y[number : number + 5]


def in_any_order() -> Iterator[tuple[Any, Any]]:
    for number in order.permutation(7):
        yield x[number : number + 5], y[number : number + 5]


def change(run: Any) -> None:
    for leaf in run.network.params["0"].values():
        leaf[...] = 0.0


unbuilt = nnb.Network([nnb.Dense(3, "softmax")])
width = "input_shape 0 is 5 in process 0 and 4 in process 1"
refused(width, unbuilt, x[:, : 4 if here else 5])
refused("batch_size is 16 in process 0 and 8 in process 1", network(), batch_size=8 if here else 16)
refused("epochs is 2 in process 0 and 3 in process 1", network(), epochs=3 if here else 2)
refused("seed is 0 in process 0 and 1 in process 1", network(seed=int(here)))
refused(r"rows is 61 in process 0 and 60 in process 1", network(), x[: 61 - here], y[: 61 - here])
refused(r"data \(a checksum\) is ", network(), x + here)
refused(r"validation data \(a checksum\) is ", network(), validation_data=(x + here, y))
missing = "process 0 has no more rows, and process 1 has 5 rows in batches of 5"
refused(missing, network(), batches, None, batch_size=32)
refused("process 0 has no more rows", network(), validation_data=batches)
shuffled = "processes 0 and 1 have other rows, or the same ones in another order"
refused(shuffled, network(), in_any_order, None, batch_size=32)
refused(shuffled, network(), validation_data=in_any_order)
one_row = np.where(np.arange(len(x))[:, None] == 1, x + here, x)
refused(r"^[^;]*: data \(a checksum\) is [^;]*$", network(), one_row)
refused(r"^[^;]*: validation data [^;]*$", network(), validation_data=(one_row, y))
rough = nnb.parallel.MPI(timeout=60.0, compress="float16" if here else None)
refused('compress is null in process 0 and "float16" in process 1', network(), parallel=rough)
changed = "after epoch 1 the parameters of process 1 are not those of process 0"
refused(changed, network(), callbacks=[change])
own = nnb.callbacks.run.__version__
nnb.callbacks.run.__version__ = "0.0.1" if here else own
refused('in process 0 and "0.0.1" in process 1', network())
nnb.callbacks.run.__version__ = own
with pytest.raises(ValueError, match="compiled steps cannot wait"):
    parallel.connect(type("Compiled", (), {"name": "jax", "static_shapes": True})())
card = type("Card", (), {"id": 0})()
cards = type("Cards", (), {"name": "cupy", "static_shapes": False, "device": card})()
one_card = "processes 0 and 1 both compute on cuda:0"
with pytest.raises(nnb.errors.BackendUnavailableError, match=one_card):
    parallel.connect(cards)
fit(network(), parallel=parallel)
print(parallel.rank)
