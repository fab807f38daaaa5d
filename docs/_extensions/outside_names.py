"""Links to the documentation of Python and NumPy, without a network while the site is built.

``_inventories/PROJECT.txt`` has a line for each name that our docstrings use: ``NAME ROLE PLACE``, as
the project's own ``objects.inv`` has it. They become inventories for intersphinx. With the environment
variable ``NNBACKEND_INTERSPHINX=1`` the projects' own are fetched instead, to check those lines.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

SITES = {"python": "https://docs.python.org/3/", "numpy": "https://numpy.org/doc/stable/"}
HEAD = (
    "# Sphinx inventory version 2\n# Project: {}\n# Version: \n# The rest is compressed by zlib.\n"
)


def write_inventory(names: Path, inventory: Path) -> None:
    """Write the names of a text file as an inventory of Sphinx."""
    lines = [line.split() for line in names.read_text(encoding="utf-8").splitlines()]
    body = "".join(f"{name} {role} 1 {place} -\n" for name, role, place in lines)
    inventory.parent.mkdir(parents=True, exist_ok=True)
    inventory.write_bytes(HEAD.format(names.stem).encode() + zlib.compress(body.encode()))


def set_mapping(app: Sphinx, config: Config) -> None:
    """Set ``intersphinx_mapping``: to the local inventories, or to the projects' sites."""
    fetch = os.environ.get("NNBACKEND_INTERSPHINX") == "1"
    mapping = {}
    for project, site in SITES.items():
        inventory = Path(app.outdir).parent / "inventories" / f"{project}.inv"
        write_inventory(Path(app.srcdir) / "_inventories" / f"{project}.txt", inventory)
        mapping[project] = (site, None if fetch else str(inventory))
    config.intersphinx_mapping = mapping


def setup(app: Sphinx) -> dict[str, bool]:
    """Set the mapping before intersphinx checks it."""
    app.connect("config-inited", set_mapping, priority=100)
    app.setup_extension("sphinx.ext.intersphinx")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
