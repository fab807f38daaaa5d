"""A make-believe machine with cards, for tests of CuPy's border."""

from __future__ import annotations

import pytest
from fake_cupy import Machine, packages

from nnbackend.backends import choose
from nnbackend.backends.cuda import installation


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    made.install(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    packages(monkeypatch, "cupy-cuda12x")
    yield made
    choose._status.cache_clear()
    installation.installed.cache_clear()
