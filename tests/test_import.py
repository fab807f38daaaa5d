"""What an import costs in modules, and what it can do without."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "jax", "cupy", "nvmath", "scipy", "sklearn", "pandas", "polars", "pyarrow", "typer",
         "rich", "ipywidgets", "IPython", "tensorboardX", "matplotlib",
         "cairosvg", "mpi4py", "array_api_strict", "hypothesis", "pytest"]  # fmt: skip


def run(code: str, *flags: str) -> str:
    """Run Python in a process of its own, with warnings as errors; return what it printed."""
    done = subprocess.run([sys.executable, "-W", "error", *flags, "-c", code],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_import_loads_no_other_array_library_and_no_command_line():
    code = "import nnbackend, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.split(".")[0] for name in json.loads(run(code))}
    assert not loaded & {*HEAVY, "tempfile", "difflib", "xml"}


def test_training_saving_and_loading_on_numpy_load_nothing_either(tmp_path):
    code = f"""
import sys
import nnbackend as nnb
net = nnb.Network([nnb.Dense(3, "gelu"), nnb.Dropout(0.1), nnb.Dense(1)])
net.fit([[1.0, 2.0]] * 4, [1.0] * 4, epochs=2, validation_split=0.5, metrics=["r2"], verbose=0)
nnb.load(net.save({str(tmp_path / "net")!r})).predict([[1.0, 2.0]])
nnb.testing.check_gradients(net, [[1.0, 2.0]])
print({{name.split(".")[0] for name in sys.modules}} & {set(HEAVY)!r})
"""
    assert run(code) == "set()\n"


@pytest.mark.parametrize("missing", [*HEAVY, "all"])
def test_every_optional_library_can_be_missing(missing):
    names = HEAVY if missing == "all" else [missing]
    asked = [
        "numpy",
        *({n.replace("_", "-") for n in names} & {"torch", "jax", "cupy", "array-api-strict"}),
    ]
    code = f"""
import sys
for name in {names!r}:
    sys.modules[name] = None
import nnbackend as nnb
nnb.Network([nnb.Dense(1)]).fit([[1.0]], [1.0], verbose=0)
for name in {asked!r}:
    status = nnb.backends.choose._status(name)
    assert status.usable == (name == "numpy"), status
    assert status.usable or "not installed; run: pip install" in status.reason, status
print("done")
"""
    assert run(code) == "done\n"


@pytest.mark.parametrize("missing", ["scipy", "sklearn"])
def test_the_estimators_say_what_they_need(missing):
    code = f"""
import sys
sys.modules[{missing!r}] = None
try:
    import nnbackend.estimators
except ModuleNotFoundError as error:
    print(error)
"""
    assert "pip install 'nnbackend[sklearn]'" in run(code)


def test_all_public_names_exist():
    code = """
import importlib, pkgutil, nnbackend
for module in pkgutil.iter_modules(nnbackend.__path__):
    if module.name in ("cli", "__main__", "tables", "estimators"):
        continue
    found = importlib.import_module(f"nnbackend.{module.name}")
    for name in getattr(found, "__all__", ()):
        assert hasattr(found, name), (module.name, name)
for name in nnbackend.__all__:
    assert hasattr(nnbackend, name), name
print(len(nnbackend.__all__) > 20)
"""
    assert run(code) == "True\n"


def test_the_version_is_that_of_the_installed_package():
    from importlib.metadata import PackageNotFoundError, version

    import nnbackend

    try:
        installed = version("nnbackend")
    except PackageNotFoundError:
        pytest.skip("nnbackend is not installed, it is run from its sources")
    assert nnbackend.__version__ == installed
