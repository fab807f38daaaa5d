"""The gallery: a page for each program of ``examples/``, with its code and what it prints.

The programs are run while the site is built, two at a time, and a program that fails is an error. What
they print is kept in the build folder until a program or the package changes. ``-D run_examples=0``
builds pages without it, for those who write at another part of the site.

sphinx-gallery would have a figure for each page and its own markup in each docstring; these programs
are scripts with arguments that print.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.errors import ExtensionError
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LOG = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r" *python examples/.*")


@dataclass(frozen=True)
class Example:
    """A program: its file, and what its docstring says."""

    path: Path

    @property
    def docstring(self) -> str:
        """The module's docstring."""
        return ast.get_docstring(ast.parse(self.path.read_text(encoding="utf-8"))) or ""

    @property
    def title(self) -> str:
        """Its first line up to the first colon or the period."""
        return re.split(r"[:.]( |$)", self.docstring.partition("\n")[0])[0]

    @property
    def summary(self) -> str:
        """Its first paragraph."""
        return " ".join(self.docstring.partition("\n\n")[0].split())

    @property
    def text(self) -> str:
        """The docstring as MyST, with its commands as code."""
        lines: list[str] = []
        for line in self.docstring.split("\n"):
            is_command, in_commands = bool(COMMAND.match(line)), lines[-1:] == ["```"]
            if is_command and in_commands:
                lines[-1:] = [line.strip(), "```"]
            elif is_command:
                lines += ["", "```sh", line.strip(), "```"]
            else:
                lines.append(line)
        return "\n".join(lines)


def run(example: Example, folder: Path, state: str) -> str:
    """Return what an example prints: as it did before if nothing has changed, else by running it."""
    code = example.path.read_bytes()
    key = hashlib.sha256(state.encode() + code).hexdigest()
    kept = folder / f"{example.path.stem}.json"
    if kept.exists() and (known := json.loads(kept.read_text(encoding="utf-8")))["key"] == key:
        return str(known["output"])
    LOG.info("running %s", example.path.name)
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(example.path)],
            capture_output=True, text=True, check=False, cwd=empty,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
    if done.returncode:
        raise ExtensionError(f"{example.path} failed:\n{done.stderr}")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"key": key, "output": done.stdout}), encoding="utf-8")
    return done.stdout


def package_state() -> str:
    """Return a digest of the package's source."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "nnbackend").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def page(example: Example, output: str | None) -> str:
    """Return the page of an example."""
    name = example.path.name
    first = ast.parse(example.path.read_text(encoding="utf-8")).body[0].end_lineno or 0
    parts = [
        f"# {example.title}",
        example.text,
        f"{{download}}`{name} <../../examples/{name}>`",
        f"```{{literalinclude}} ../../examples/{name}\n:language: python\n:lines: {first + 2}-\n```",
    ]
    if output is not None:
        parts.append(f"## What it prints\n\n```text\n{output.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def index(examples: list[Example]) -> str:
    """Return the first page: a card for each example."""
    cards = [
        f":::{{grid-item-card}} {example.title}\n:link: {example.path.stem}\n:link-type: doc\n\n"
        f"{example.summary}\n:::"
        for example in examples
    ]
    names = "\n".join(example.path.stem for example in examples)
    return (
        "# Examples\n\nPrograms to run and to change, from the folder `examples`. What they print was "
        "printed when this site was built.\n\n"
        "::::{grid} 1 1 2 2\n:gutter: 3\n\n" + "\n\n".join(cards) + "\n\n::::\n\n"
        f"```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{names}\n```\n"
    )


def write(path: Path, text: str) -> None:
    """Write a page, unless it is there already: Sphinx reads again what is newer."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def write_pages(app: Sphinx) -> None:
    """Run the examples and write the pages of the gallery."""
    examples = [Example(path) for path in sorted((ROOT / "examples").glob("*.py"))]
    kept, pages = Path(app.outdir).parent / "examples", Path(app.srcdir) / "gallery"
    pages.mkdir(exist_ok=True)
    outputs: list[str | None] = [None] * len(examples)
    if app.config.run_examples:
        state = package_state()
        with ThreadPoolExecutor(2) as pool:
            outputs = list(pool.map(lambda example: run(example, kept, state), examples))
    for example, output in zip(examples, outputs, strict=True):
        write(pages / f"{example.path.stem}.md", page(example, output))
    write(pages / "index.md", index(examples))
    for old in set(pages.glob("*.md")) - {pages / f"{e.path.stem}.md" for e in examples}:
        if old.name != "index.md":
            old.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for sources."""
    app.add_config_value("run_examples", True, "env", bool)
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
