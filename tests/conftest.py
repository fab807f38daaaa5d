"""The backends under test: one fixture, with every variant that a portable library must bear."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX is imported
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Programs of tests run for a moment, and are compiled for longer.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# The same programs, translated in the older way and in one piece: in little more than half the time. A
# version of XLA that does not know a flag ends the process, so only those that were tried get them.
with contextlib.suppress(metadata.PackageNotFoundError):
    if metadata.version("jaxlib").startswith("0.10."):
        os.environ.setdefault(
            "XLA_FLAGS",
            "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
        )
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # for scikit-learn's checks of array libraries

import hypothesis
import pytest

from nnbackend import Backend, available_backends, get_backend
from nnbackend.backends.jax import JAXBackend
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.inference import predictor
from nnbackend.training import full_batch, step

hypothesis.settings.register_profile(
    "suite",
    max_examples=25,
    deadline=None,
    derandomize=True,  # the same examples in every run: a failure on one backend is no accident
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("suite")
# For minutes: nox -s fuzz, or pytest tests/fuzz --hypothesis-profile fuzz.
hypothesis.settings.register_profile(
    "fuzz",
    max_examples=1000,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)


class ReadOnlyNumPy(NumPyBackend):
    """Whatever is brought to it cannot be changed: inputs, gradients at the output, parameters."""

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        array = super().asarray(x, dtype).view()
        array.flags.writeable = False
        return array


class LeavesNumPy(NumPyBackend):
    """NumPy that treats parameters and batches as JAX does: separate leaves, padded batches."""

    slices_are_views = False
    static_shapes = True


class ChunkedNumPy(NumPyBackend):
    """NumPy whose optimizer works on pieces that fall into the middle of a parameter."""

    chunk = 5


class EagerJAX(JAXBackend):
    """JAX without its compiler."""

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def scan(self, body: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        return Backend.scan(self, body)


@contextlib.contextmanager
def strictest() -> Iterator[None]:
    from array_api_strict import ArrayAPIStrictFlags

    with ArrayAPIStrictFlags(boolean_indexing=False, data_dependent_shapes=False):
        yield


@dataclass(frozen=True)
class Variant:
    """A way to run a library.

    Attributes:
        name: of the variant.
        library: the backend's name.
        make: makes the backend in a dtype.
        float64: whether it has float64.
        only: the test files and folders it runs in; none: all.
        context: in which the tests run.
    """

    name: str
    library: str
    make: Callable[[str], Backend]
    float64: bool = True
    only: tuple[str, ...] = ()
    context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext


def _named(library: str, device: Any = None) -> Callable[[str], Backend]:
    return lambda dtype: get_backend(library, device, dtype)


VARIANTS = [
    Variant("numpy", "numpy", _named("numpy")),
    Variant("numpy-readonly", "numpy", lambda dtype: ReadOnlyNumPy(None, dtype)),
    Variant("numpy-leaves", "numpy", lambda dtype: LeavesNumPy(None, dtype)),
    Variant("numpy-chunked", "numpy", lambda dtype: ChunkedNumPy(None, dtype)),
    Variant("strict-device1", "array-api-strict", _named("array-api-strict", "device1")),
    Variant("strict-no_float64", "array-api-strict", _named("array-api-strict", "no_float64"),
            float64=False),
    Variant("strict-strictest", "array-api-strict", _named("array-api-strict"), context=strictest),
    Variant("torch", "torch", _named("torch")),
    Variant("jax", "jax", _named("jax")),
    # What calls layers, losses and optimizers directly runs without the compiler anyway.
    Variant("jax-eager", "jax", lambda dtype: EagerJAX(None, dtype),
            only=("backends/test_base.py", "test_exam_scores.py", "layers/test_residual.py",
                  "training/test_trainer.py")),
    Variant("cupy", "cupy", _named("cupy")),
]  # fmt: skip
LIBRARIES = tuple(dict.fromkeys(variant.library for variant in VARIANTS))
SHORT = {"strict": "array-api-strict"}
# Their files name libraries, but need none.
ONCE = ("backends/cuda", "backends/replay", "backends/test_device.py", "backends/test_memory.py", "cli",
        "docs", "estimators", "fuzz", "saving/test_written_before.py", "tables",
        "webassembly")  # fmt: skip
# JAX compiles each operation for each shape; there its own differentiation checks the gradients of all
# layers (test_crosscheck_jax.py), in a part of the time.
SLOW_ON_JAX = ("test_gradients_agree_with_central_differences",)
# JAX keeps what it compiled: five megabytes a test, on average.
TESTS_BETWEEN_CLEARING = 250
REQUIRE_GPU = os.environ.get("NNBACKEND_REQUIRE_GPU") == "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=sorted([*LIBRARIES, *SHORT]),
        help="run the tests of this backend only (may be given again); default: all usable ones",
    )


def chosen(config: pytest.Config) -> list[str]:
    """Return the libraries asked for."""
    names = config.getoption("--backend") or LIBRARIES
    return [SHORT.get(name, name) for name in names]


def unusable(library: str) -> str:
    """Return why a library cannot be used here, or an empty text."""
    status = next(s for s in available_backends() if s.name == library)
    return "" if status.usable else f"{library}: {status.reason}"


@cache
def is_in(path: Path, places: tuple[str, ...]) -> bool:
    """Return whether a test file is one of some files, or in one of some folders."""
    return any(path.is_relative_to(Path(__file__).parent / place) for place in places)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "library" in metafunc.fixturenames:
        metafunc.parametrize("library", chosen(metafunc.config))
    if "variant" in metafunc.fixturenames:
        asked = [v for v in VARIANTS if v.library in chosen(metafunc.config)]
        # What cannot be used here is skipped once, by test_choose.py, not in a thousand tests;
        # unless nothing else is left to run.
        usable = [v for v in asked if not unusable(v.library)] or asked[:1]
        path = metafunc.definition.path
        usable = [v for v in usable if not v.only or is_in(path, v.only)]
        if "backend64" in metafunc.fixturenames:
            usable = [v for v in usable if v.float64]  # test_choose.py says which have none
        metafunc.parametrize("variant", usable, ids=lambda v: v.name, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among twenty thousand tests, now and later: they all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@cache
def names(path: Path, library: str) -> bool:
    """Return whether a test file has the name of a library in it."""
    return library in path.read_text(encoding="utf-8").lower()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run in the session of NumPy alone what is the same on all backends.

    A test that takes no backend runs in another session if its file names the library of that session,
    as one that compares with torch: it may be skipped where the library is missing.
    """
    libraries = chosen(config)
    if "numpy" in libraries:
        return
    kept, dropped = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        per_backend = {"variant", "library"} & set(getattr(item, "fixturenames", ()))
        named = not is_in(item.path, ONCE) and any(names(item.path, name) for name in libraries)
        slow = "jax" in libraries and getattr(item, "originalname", "") in SLOW_ON_JAX
        (kept if (per_backend or named) and not slow else dropped).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


def require(library: str) -> None:
    """Skip a test, or fail it where a GPU is required, if the library cannot be used."""
    reason = unusable(library)
    if reason and library == "cupy" and REQUIRE_GPU:
        pytest.fail(f"NNBACKEND_REQUIRE_GPU is set, but {reason}")
    if reason:
        pytest.skip(reason)


_tests_of_jax = itertools.count(1)


@pytest.fixture(autouse=True)
def clear_programs() -> Iterator[None]:
    """Let JAX forget its programs every few hundred tests: all of them would take tens of gigabytes."""
    yield
    jax = sys.modules.get("jax")
    if jax is not None and next(_tests_of_jax) % TESTS_BETWEEN_CLEARING == 0:
        for program in (full_batch._program, step._compiled_steps, predictor._forward_pass):
            program.forget()
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> Iterator[Variant]:
    """A way to run a library, in force during the test."""
    require(request.param.library)
    with request.param.context():
        yield request.param


@pytest.fixture
def backend(variant: Variant) -> Backend:
    """The backend in float32."""
    return variant.make("float32")


@pytest.fixture
def backend64(variant: Variant) -> Backend:
    """The backend in float64."""
    return variant.make("float64")
