"""CuPy's installation: what it is, and in words why it does not work.

A wheel of CuPy is built for one major version of CUDA. It needs a driver of that version or later, and
CUDA's libraries of that version beside it, which the extras ``cuda12`` and ``cuda13`` bring along.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from nnbackend.errors import BackendUnavailableError

__all__ = [
    "check_devices",
    "check_libraries",
    "cuda_version",
    "explained",
    "hiding",
    "no_banner",
    "warn_of_two",
]

# Of a CuPy for CUDA: its extra here, and the driver that came with that CUDA.
_CUPY_WHEELS = {"cupy-cuda12x": ("cuda12", 12, "525"), "cupy-cuda13x": ("cuda13", 13, "580")}
# Names under which CuPy is distributed. They all install the same files: one takes those of another.
_CUPY_DISTRIBUTIONS = (*_CUPY_WHEELS, "cupy", "cupy-cuda11x", "cupy-rocm-7-0", "amd-cupy")
_LIBRARY_PATTERN = re.compile(r"\blib\w+\.so(?:\.\d+)*|\b\w+\.dll\b")


@cache
def installed() -> list[str]:
    """Return the distributions of CuPy that are installed."""
    found = []
    for name in _CUPY_DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.distribution(name)
            found.append(name)
    return found


def cuda_version(number: int) -> str:
    """Return a version as people write it: 12040 is ``12.4``."""
    return f"{number // 1000}.{number % 1000 // 10}"


@contextlib.contextmanager
def no_banner() -> Iterator[None]:
    """Import CuPy without its own message of several lines about what :func:`warn_of_two` says."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*multiple CuPy packages")
        yield


def warn_of_two() -> None:
    """Warn if CuPy is installed more than once and works all the same."""
    names = installed()
    if len(names) > 1:
        warnings.warn(_two(names), stacklevel=2)


def explained(error: BaseException) -> BackendUnavailableError:
    """Return the error for a CuPy that is installed and cannot be imported."""
    names, text = installed(), str(error)
    missing = _missing(text)
    if missing:
        reason = (
            f"CuPy is installed, but the library {missing} is not found; {_with_libraries(names)}"
        )
    else:
        # CuPy wraps the error in a banner of '=' and general advice.
        _, _, original = text.partition("Original error:")
        lines = [line.strip() for line in (original or text).splitlines() if line.strip(" =")]
        reason = f"CuPy is installed but cannot be imported: {' '.join(lines)}"
    if len(names) > 1:
        reason = f"{_two(names)} ({reason})"
    return BackendUnavailableError(reason)


def check_devices(cupy: Any) -> None:
    """Raise a BackendUnavailableError that says why there is no device, if there is none.

    Without a driver or a device `import cupy` succeeds, and the first array would fail.
    """
    runtime, failure = cupy.cuda.runtime, ""
    try:
        if runtime.getDeviceCount() > 0:
            return
    except Exception as error:  # CUDARuntimeError, or a missing library
        failure = str(error)
    names = installed()
    reason = _driver(runtime, names) or _no_device(failure)
    if len(names) > 1:
        reason = f"{_two(names)} ({reason})"
    raise BackendUnavailableError(reason)


def check_libraries(cupy: Any) -> None:
    """Raise a BackendUnavailableError that names a library of CUDA that is not there.

    CuPy looks for them when they are first needed: for the first kernel, the first matrix product.
    """
    try:
        cupy.cuda.nvrtc.getVersion()
        cupy.cuda.cublas  # noqa: B018  # loaded when it is first named
    except (ImportError, OSError, RuntimeError) as error:
        raise explained(error) from error


def _driver(runtime: Any, names: list[str]) -> str:
    """Return the fault of the driver in words; "" if it has none."""
    driver, built = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        return (
            "there is no NVIDIA driver here: install it (https://www.nvidia.com/drivers); in a "
            "container, start it with the GPU (docker run --gpus all)"
        )
    if driver // 1000 >= built // 1000:
        return ""
    here, needed = cuda_version(driver), built // 1000
    name = next(
        (n for n in names if _CUPY_WHEELS.get(n, ("", 0, ""))[1] == needed), "the CuPy here"
    )
    for other, (extra, major, _) in _CUPY_WHEELS.items():
        if major == driver // 1000:
            return (
                f"{name} is for CUDA {needed}, and the driver here supports CUDA {here}: "
                f"pip uninstall -y {name if name in _CUPY_WHEELS else 'cupy'}, then install {other} by "
                f"pip install 'nnbackend[{extra}]'; or update the driver{_at_least(needed)}"
            )
    return (
        f"the NVIDIA driver here is too old: it supports CUDA {here}, and CuPy needs CUDA "
        f"{needed}.0 or later; update the driver{_at_least(needed)}"
    )


def _at_least(major: int) -> str:
    """Return the version of a driver for a CUDA, in words."""
    return next((f" to {d} or later" for _, m, d in _CUPY_WHEELS.values() if m == major), "")


def _no_device(failure: str) -> str:
    if failure and "NoDevice" not in failure:
        return f"no CUDA device is usable: {failure}"
    return f"the driver reports no CUDA device; {hiding() or 'does nvidia-smi list one?'}"


def hiding() -> str:
    """Return that a variable may hide devices, if it is set; "" otherwise."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if value is None else f"CUDA_VISIBLE_DEVICES={value} may hide some"


def _two(names: list[str]) -> str:
    return (
        f"CuPy is installed more than once, as {' and '.join(names)}, and their files are mixed: "
        f"pip uninstall -y {' '.join(names)}, then install one of them again"
    )


def _missing(text: str) -> str:
    """Return the name of the shared library that a message misses; "" if it misses none."""
    if not re.search(r"cannot open|not found|No such file|Failure finding|could not be", text):
        return ""
    return " or ".join(dict.fromkeys(_LIBRARY_PATTERN.findall(text)))


def _with_libraries(names: list[str]) -> str:
    """Return the command that brings CUDA's libraries."""
    extra = next((_CUPY_WHEELS[name][0] for name in names if name in _CUPY_WHEELS), None)
    if extra is None:
        return (
            "pip install 'nnbackend[cuda12]' (or cuda13, for the CUDA version of your driver) "
            "brings CuPy with CUDA's libraries"
        )
    return f"pip install 'nnbackend[{extra}]' brings it"
