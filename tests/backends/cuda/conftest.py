"""cuBLAS on the host, for the tests of what a GPU does."""

from __future__ import annotations

from typing import Any

import pytest
from host_cublas import CudaDataType, HostCublas, HostCuda

from nnbackend.backends.cuda import cublas


@pytest.fixture
def blas(monkeypatch) -> Any:
    """cuBLAS on the host in the place of nvmath's."""
    blas = HostCublas(HostCuda())
    monkeypatch.setattr(cublas, "_bindings", lambda: (blas, CudaDataType))
    cublas._handle.cache_clear()
    yield blas
    cublas._handle.cache_clear()
