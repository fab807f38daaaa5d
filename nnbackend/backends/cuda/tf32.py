"""The switches of libraries that decide how precisely products of float32 are computed on a GPU.

Both are of the whole process, so they are set only while a backend computes, and put back. Networks of
different precision that compute in several threads at the same time share them: such networks belong in
separate processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["cupy_products", "torch_products"]

# Values of COMPUTE_TYPE_... in cupy/_core/_routines_linalg.pxd: 0 is "not known yet".
_DEFAULT, _LESS, _TF32 = 1, (3, 6, 7), 7  # less than the dtype: FP16, BF16, TF32


@contextmanager
def cupy_products(core: Any, tf32: bool) -> Iterator[None]:
    """Let CuPy compute products of float32 in float32, or in tf32.

    By itself CuPy computes them in float32, unless the environment has ``CUPY_TF32=1``. The switch is
    in ``cupy._core``.
    """
    before = core.get_compute_type("f")
    wanted = _TF32 if tf32 else _DEFAULT if before in _LESS else before
    if wanted == before:
        yield
        return
    core.set_compute_type("f", wanted)
    try:
        yield
    finally:
        core.set_compute_type("f", before)


@contextmanager
def torch_products(torch: Any, tf32: bool) -> Iterator[None]:
    """Let PyTorch compute products of float32 in float32, or in tf32."""
    wanted = "high" if tf32 else "highest"
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # it disagrees with the switches for each kind of device, see below
        before = None
    if before == wanted:
        yield
        return
    # Since 2.9 there are switches for each kind of device, too, and they disagree with the one that is
    # meant for all as soon as somebody sets one of them.
    mkldnn = getattr(torch.backends, "mkldnn", None)
    places = [torch.backends.cuda.matmul, getattr(mkldnn, "matmul", None)]
    each = [(m, m.fp32_precision) for m in places if hasattr(m, "fp32_precision")]
    torch.set_float32_matmul_precision(wanted)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before or "highest")
        for matmul, precision in each:
            if matmul.fp32_precision != precision:
                matmul.fp32_precision = precision
