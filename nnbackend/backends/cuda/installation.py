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

# Of a CUDA that CuPy has a wheel for, the driver that came with it. The extra is called cuda12.
_DRIVERS = {12: "525", 13: "580"}
_CUPY_WHEELS = {f"cupy-cuda{major}x": major for major in _DRIVERS}
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
    if len(installed()) > 1:
        warnings.warn(_two(), stacklevel=2)


def explained(error: BaseException) -> BackendUnavailableError:
    """Return the error for a CuPy that is installed and cannot be imported."""
    text = str(error)
    missing = _missing(text)
    if missing:
        return _unavailable(
            f"CuPy is installed, but the library {missing} is not found; {_with_libraries()}"
        )
    # CuPy wraps the error in a banner of '=' and general advice.
    _, _, original = text.partition("Original error:")
    lines = [line.strip() for line in (original or text).splitlines() if line.strip(" =")]
    return _unavailable(f"CuPy is installed but cannot be imported: {' '.join(lines)}")


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
    raise _unavailable(_driver(runtime) or _no_device(failure))


def check_libraries(cupy: Any) -> None:
    """Raise a BackendUnavailableError that names a library of CUDA that is not there.

    CuPy looks for them when they are first needed: for the first kernel, the first matrix product.
    """
    try:
        cupy.cuda.nvrtc.getVersion()
        cupy.cuda.cublas  # noqa: B018  # loaded when it is first named
    except (ImportError, OSError, RuntimeError) as error:
        raise explained(error) from error


def _unavailable(reason: str) -> BackendUnavailableError:
    """Return the error for a reason, which may be that there are two installations."""
    return BackendUnavailableError(f"{_two()} ({reason})" if len(installed()) > 1 else reason)


def _driver(runtime: Any) -> str:
    """Return the fault of the driver in words; "" if it has none."""
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion() // 1000
    if driver == 0:
        return (
            "there is no NVIDIA driver here: install it (https://www.nvidia.com/drivers); in a "
            "container, start it with the GPU (docker run --gpus all)"
        )
    major, here = driver // 1000, cuda_version(driver)
    if major >= needed:
        return ""
    update = f"update the driver{f' to {_DRIVERS[needed]} or later' if needed in _DRIVERS else ''}"
    if major not in _DRIVERS:
        return (
            f"the NVIDIA driver here is too old: it supports CUDA {here}, and CuPy needs CUDA "
            f"{needed}.0 or later; {update}"
        )
    wheel = next((name for name in installed() if _CUPY_WHEELS.get(name) == needed), None)
    return (
        f"{wheel or 'the CuPy here'} is for CUDA {needed}, and the driver here supports CUDA {here}: "
        f"pip uninstall -y {wheel or 'cupy'}, then install cupy-cuda{major}x by "
        f"pip install 'nnbackend[cuda{major}]'; or {update}"
    )


def _no_device(failure: str) -> str:
    if failure and "NoDevice" not in failure:
        return f"no CUDA device is usable: {failure}"
    return f"the driver reports no CUDA device; {hiding() or 'does nvidia-smi list one?'}"


def hiding() -> str:
    """Return that a variable may hide devices, if it is set; "" otherwise."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if value is None else f"CUDA_VISIBLE_DEVICES={value} may hide some"


def _two() -> str:
    names = installed()
    return (
        f"CuPy is installed more than once, as {' and '.join(names)}, and their files are mixed: "
        f"pip uninstall -y {' '.join(names)}, then install one of them again"
    )


def _missing(text: str) -> str:
    """Return the name of the shared library that a message misses; "" if it misses none."""
    if not re.search(r"cannot open|not found|No such file|Failure finding|could not be", text):
        return ""
    return " or ".join(dict.fromkeys(_LIBRARY_PATTERN.findall(text)))


def _with_libraries() -> str:
    """Return the command that brings CUDA's libraries."""
    major = next((_CUPY_WHEELS[name] for name in installed() if name in _CUPY_WHEELS), None)
    if major is None:
        return (
            "pip install 'nnbackend[cuda12]' (or cuda13, for the CUDA version of your driver) "
            "brings CuPy with CUDA's libraries"
        )
    return f"pip install 'nnbackend[cuda{major}]' brings it"
