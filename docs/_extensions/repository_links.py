"""Links of the guides to files beside ``docs``, which on the site are pages of it.

The guides are read on GitHub, too, where ``../examples/digits.py`` and ``../CONTRIBUTING.md`` are files
of the repository. On the site the one is a page of the gallery, the other a page that includes it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGES = {
    r"\.\./README\.md": "index.md",
    r"\.\./CONTRIBUTING\.md": "contributing.md",
    r"\.\./CHANGELOG\.md": "changelog.md",
    r"\.\./examples/(\w+)\.py": r"gallery/\1.md",
    r"\.\./examples/?(?=\))": "gallery/index.md",
}


def link_to_pages(app: Sphinx, docname: str, content: list[str]) -> None:
    """Let the links of a guide lead to the pages of the site."""
    if "/" in docname:  # only the guides themselves are one folder away from the root
        return
    for file, page in PAGES.items():
        content[0] = re.sub(rf"\]\({file}", rf"]({page}", content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the source of each page go through ``link_to_pages``."""
    app.connect("source-read", link_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
