"""The names of parameters and state in one dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows

import nnbackend as nnb
from nnbackend.core.state_names import known_name, state_name


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [("1.mean", {"0.weight": 0}, "1.mean"), ("1.mean", {"1.mean": 0}, "state.1.mean")],
)
def test_state_has_a_prefix_where_a_parameter_is_called_alike(name, params, expected):
    assert state_name(name, params) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("state.1.mean", "1.mean"), ("1.mean", "1.mean"), ("state.2.mean", "state.2.mean")],
)
def test_names_of_earlier_versions_are_known(name, expected):
    assert known_name(name, {"1.mean": 0, "0.weight": 0}) == expected


def test_a_network_takes_what_earlier_versions_wrote():
    net = nnb.Network([nnb.Dense(3), nnb.BatchNorm(), nnb.Dense(1)], input_shape=2, seed=0)
    net.fit(rows((8, 2)), rows((8, 1)), epochs=2, batch_size=4, verbose=0)
    found = net.state_dict()
    assert {"1.weight", "1.running_mean", "1.running_var"} <= found.keys()
    old = {f"state.{n}" if "running" in n else n: a for n, a in found.items()}
    other = nnb.Network([nnb.Dense(3), nnb.BatchNorm(), nnb.Dense(1)], input_shape=2, seed=1)
    other.load_state_dict(old)
    assert all(np.array_equal(a, found[n]) for n, a in other.state_dict().items())
