"""Train in WebAssembly, in Pyodide under Node, and here: the numbers must agree. Run guides there, too.

``python tests/webassembly/compare.py FOLDER``: the folder gets what is fetched from npm's registry.
Pyodide's own NumPy lies on a server of its own; the registry has one that was built by the same compiler
for the same Python.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

PYODIDE = "pyodide@0.27.7"  # the version that pages of the site run: docs/_static/run-worker.js
NUMPY = "@emscripten-forge/numpy@2.0.1-py312h4e66579-0"
TOLERANCE = 1e-9  # exp and tanh round otherwise, 600 steps long
HERE = Path(__file__).resolve().parent


def fetch_packages(folder: Path) -> tuple[Path, Path]:
    """Return the folders of Pyodide and of NumPy's package, which npm installs."""
    packages = folder / "node_modules"
    subprocess.run(
        ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", PYODIDE, NUMPY],
        check=True, capture_output=True,
    )  # fmt: skip
    numpy = folder / "numpy"
    if not numpy.exists():
        (archive,) = (packages / "@emscripten-forge" / "numpy" / "pkg").glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(numpy, filter="data")
    (site,) = numpy.glob("lib/python3*/site-packages")
    return packages / "pyodide", site


def run_in_webassembly(script: Path, folder: Path) -> str:
    """Return what a script prints in Pyodide, which imports the package from this checkout."""
    pyodide, numpy = fetch_packages(folder)
    compat = folder / "compat"  # without its neighbors here, which are not for WebAssembly
    source = Path(find_spec("array_api_compat").origin).parent
    shutil.copytree(source, compat / source.name, dirs_exist_ok=True)
    done = subprocess.run(
        ["node", HERE / "run.mjs", pyodide, script, HERE.parents[1], numpy, compat],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"Pyodide failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def largest_difference(a: list[float], b: list[float]) -> float:
    """Return the largest difference of two lists of numbers, relative to numbers over 1."""
    return max(abs(x - y) / max(1.0, abs(y)) for x, y in zip(a, b, strict=True))


def main(folder: Path) -> None:
    """Compare all parts, and run the guides; end with 1 if one differs or fails."""
    script = HERE / "training.py"
    there = json.loads(run_in_webassembly(script, folder).splitlines()[-1])
    here = json.loads(subprocess.check_output([sys.executable, script], text=True))
    assert there.keys() == here.keys()
    for name, numbers in here.items():
        difference = largest_difference(there[name], numbers)
        print(f"{name}: {len(numbers)} numbers, largest difference {difference:.1e}")
        if not difference < TOLERANCE:
            sys.exit(f"{name} differs: {there[name]} in WebAssembly, {numbers} here")
    printed = run_in_webassembly(HERE / "pages.py", folder).splitlines()
    ran = [line for line in printed if line.startswith("ran ")]
    assert ran, "no guide was run"
    print(*ran, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
