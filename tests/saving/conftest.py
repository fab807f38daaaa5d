"""A folder of checkpoints, written once for each file of tests."""

from __future__ import annotations

import pytest
from saving.runs import X, Y, network

from nnbackend.callbacks import Checkpoint


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved")
    network().fit(X, Y, epochs=2, batch_size=5, callbacks=[Checkpoint(directory)])
    return directory
