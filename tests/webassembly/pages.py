"""Run the guides whose blocks visitors of the site may run, as their browsers do: in Pyodide.

The chapters of the book need matplotlib, which is not to be had from npm's registry, and are left out.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def runnable_guides() -> list[Path]:
    """Return the guides in ``runnable_pages`` of the site's configuration."""
    text = (DOCS / "conf.py").read_text(encoding="utf-8")
    (names,) = re.findall(r"^runnable_pages = (\[.*?\])", text, re.DOTALL | re.MULTILINE)
    return [DOCS / f"{name}.md" for name in ast.literal_eval(names) if "*" not in name]


def run_guide(page: Path) -> int:
    """Run the blocks of a guide one after the other; return how many there are."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, f"{page.name}, block {blocks.index(block) + 1}", "exec"), names)
    return len(blocks)


if __name__ == "__main__":
    os.chdir("/tmp")
    for guide in runnable_guides():
        count = run_guide(guide)
        print(f"ran {guide.name}: {count} blocks", flush=True)
