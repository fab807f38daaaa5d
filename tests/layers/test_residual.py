"""Skip connections."""

from __future__ import annotations

import pytest
from cases import rows
from tools import assert_close, host

import nnbackend as nnb


def test_a_residual_names_the_shapes_that_do_not_match():
    with pytest.raises(ValueError, match=r"layer 1 \(Residual\).*\(3,\).*\(2,\)"):
        nnb.Network([nnb.Dense(3), nnb.Residual([nnb.Dense(2)])], input_shape=(4,))


def test_its_output_is_the_input_plus_that_of_its_layers(backend):
    net = nnb.Network(nnb.Residual([nnb.Dense(4, "tanh")]), backend=backend, input_shape=4)
    x = backend.asarray(rows((3, 4)))
    inner = nnb.Network(nnb.Dense(4, "tanh"), backend=backend, input_shape=4)
    inner.params = {"0": net.params["0"]["0"]}
    assert_close(host(backend, net.predict(x)), host(backend, x + inner.predict(x)), 1e-6)
