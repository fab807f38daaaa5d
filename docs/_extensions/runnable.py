"""Pages whose blocks of Python a visitor can change and run, in the browser: see ``_static/run``.

The site gets one file with the library, the packages beside NumPy that it needs, and what the blocks
read. It is fetched when a visitor runs the first block. ``runnable_pages`` in ``conf.py`` has the names
of the pages, or patterns of them.
"""

from __future__ import annotations

import zipfile
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("array_api_compat", "array_api_strict")
FILES = ("nnbackend/**/*", "docs/book/*.html", "examples/data/*")


def add_scripts(app: Sphinx, page: str, template: str, context: Any, doctree: Any) -> None:
    """Let a page that is in ``runnable_pages`` load the script that makes the buttons."""
    if doctree is not None and any(fnmatch(page, name) for name in app.config.runnable_pages):
        app.add_js_file("run/run.js", loading_method="defer")
        app.add_css_file("run/run.css")


def write_library(app: Sphinx, exception: Exception | None) -> None:
    """Write the file with all that the blocks import and read."""
    if exception is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "run" / "nnbackend.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for root, pattern in [(REPOSITORY, pattern) for pattern in FILES] + [
            (Path(find_spec(name).origin).parents[1], f"{name}/**/*")  # type: ignore[union-attr, arg-type]
            for name in PACKAGES
        ]:
            for file in sorted(root.glob(pattern)):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(root))


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the option, the scripts and the file."""
    app.add_config_value("runnable_pages", [], "html", [list])
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_library)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
