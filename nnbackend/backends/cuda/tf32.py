"""The switches of libraries that decide how precisely products of float32 are computed on a GPU.

Both are of the whole process, so they are set only while a backend computes, and put back. Networks of
different precision that compute in several threads at the same time share them: such networks belong in
separate processes.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Both", "CuPyProducts", "TorchProducts"]

# Values of COMPUTE_TYPE_... in cupy/_core/_routines_linalg.pxd: 0 is "not known yet".
_DEFAULT, _LESS, _TF32 = 1, (3, 6, 7), 7  # less than the dtype: FP16, BF16, TF32


class Both:
    """Two contexts as one."""

    def __init__(self, outer: Any, inner: Any) -> None:
        self._outer, self._inner = outer, inner

    def __enter__(self) -> None:
        self._outer.__enter__()
        try:
            self._inner.__enter__()
        except BaseException as error:
            self._outer.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, *raised: Any) -> None:
        try:
            self._inner.__exit__(*raised)
        finally:
            self._outer.__exit__(*raised)


class CuPyProducts:
    """The context in which CuPy computes products of float32 in float32, or in tf32.

    By itself CuPy computes them in float32, unless the environment has ``CUPY_TF32=1``.

    Args:
        core: ``cupy._core``.
        tf32: whether tf32 is wanted.
    """

    def __init__(self, core: Any, tf32: bool) -> None:
        self._core, self._tf32 = core, tf32
        self._before: list[int | None] = []  # an entry for each time that it was entered

    def __enter__(self) -> None:
        now = self._core.get_compute_type("f")
        wanted = _TF32 if self._tf32 else _DEFAULT if now in _LESS else now
        self._before.append(None if wanted == now else now)
        if wanted != now:
            self._core.set_compute_type("f", wanted)

    def __exit__(self, *_: object) -> None:
        before = self._before.pop()
        if before is not None:
            self._core.set_compute_type("f", before)


class TorchProducts:
    """The context in which PyTorch computes products of float32 in float32, or in tf32.

    Args:
        torch: the module.
        tf32: whether tf32 is wanted.
    """

    def __init__(self, torch: Any, tf32: bool) -> None:
        self._torch, self._wanted = torch, "high" if tf32 else "highest"
        self._before: list[Any] = []

    def __enter__(self) -> None:
        now = self._now()
        if now == self._wanted:
            self._before.append(None)
            return
        # Since 2.9 there are switches for each kind of device, too, and they disagree with the one
        # that is meant for all as soon as somebody sets one of them.
        each = [(m, m.fp32_precision) for m in self._kinds()]
        self._before.append((now, each))
        self._torch.set_float32_matmul_precision(self._wanted)

    def __exit__(self, *_: object) -> None:
        before = self._before.pop()
        if before is None:
            return
        now, each = before
        self._torch.set_float32_matmul_precision(now or "highest")
        for matmul, precision in each:
            if matmul.fp32_precision != precision:
                matmul.fp32_precision = precision

    def _now(self) -> str | None:
        """Return the switch for all, or None where it disagrees with the others."""
        try:
            return str(self._torch.get_float32_matmul_precision())
        except RuntimeError:
            return None

    def _kinds(self) -> list[Any]:
        """Return the places of the switches for each kind of device, if there are such."""
        backends = self._torch.backends
        places = [backends.cuda.matmul, getattr(getattr(backends, "mkldnn", None), "matmul", None)]
        return [place for place in places if hasattr(place, "fp32_precision")]
