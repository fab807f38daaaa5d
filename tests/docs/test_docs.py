"""What README and the guides show, runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    if "```python" in page.read_text(encoding="utf-8")
)  # fmt: skip
# What stands in an example and is not there on every machine.
NEEDS = {
    "sklearn": "sklearn",
    "import torch": "torch",
    "pyarrow": "pyarrow",
    "import polars": "polars",
    "LBFGS": "scipy",
    "search_arguments": "optuna",
    "parallel.MPI": "mpi4py",
    "matplotlib": "matplotlib",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_run(page, tmp_path):
    """All of a page is one script, in a process of its own."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    code = "\n".join(block for block in blocks if ": ..." not in block)  # signatures only
    code = code.replace('"cupy"', '"numpy"')  # the one word to change, the other way
    for text, module in NEEDS.items():
        if text in code:
            pytest.importorskip(module)
    # scikit-learn warns, as it is meant to, of fits that end before they converge; older versions of
    # matplotlib do with a newer pyparsing.
    strictly = [] if "sklearn" in code or "matplotlib" in code else ["-W", "error"]
    done = subprocess.run(
        [sys.executable, *strictly, "-c", code], capture_output=True, text=True, check=False,
        timeout=300, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
