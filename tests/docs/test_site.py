"""The built site: it leaves no public name out, and loads nothing from elsewhere when it is read.

``nox -s docs`` builds it and names its folder in ``NNBACKEND_SITE``; without that the tests are skipped.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import nnbackend as nnb

if "NNBACKEND_SITE" not in os.environ:
    pytest.skip("there is no site: nox -s docs builds it and runs this", allow_module_level=True)
inventory = pytest.importorskip("sphinx.util.inventory")

SITE = Path(os.environ["NNBACKEND_SITE"])
PAGES = [page for page in SITE.rglob("*.html") if page.relative_to(SITE).parts[0] != "_static"]
# What a browser fetches by itself; links that a reader follows may lead anywhere.
LOADING = {
    **dict.fromkeys(["script", "img", "iframe", "source", "video", "audio", "embed"], "src"),
    **{"link": "href", "object": "data", "image": "href", "use": "href"},
}
OUTSIDE = re.compile(r"^\s*(https?:)?//")


def packages() -> list[str]:
    """Return the public modules: those of the package's ``__all__``, and its public subpackages."""
    own = [n for n in nnb.__all__ if inspect.ismodule(getattr(nnb, n))]
    found = [m.name for m in pkgutil.iter_modules(nnb.__path__) if m.ispkg]
    with_names = [n for n in found if hasattr(importlib.import_module(f"nnbackend.{n}"), "__all__")]
    return sorted({*own, *with_names} - {"cli"})  # its page is what its commands say of themselves


@pytest.fixture(scope="module")
def documented() -> set[str]:
    """Return the names in the site's inventory."""
    content = (SITE / "objects.inv").read_bytes()
    loaded = inventory.InventoryFile.loads(content, uri="").data
    return {name for kind in loaded if kind.startswith("py:") for name in loaded[kind]}


def test_each_name_of_the_package_is_in_the_reference(documented):
    names = [n for n in nnb.__all__ if not inspect.ismodule(getattr(nnb, n))]
    missing = {n for n in names if f"nnbackend.{n}" not in documented} - {"__version__"}
    assert len(names) > 100
    assert not missing


@pytest.mark.parametrize("package", packages())
def test_each_name_of_a_subpackage_is_in_the_reference(package, documented):
    module = getattr(nnb, package, None) or importlib.import_module(f"nnbackend.{package}")
    own = [n for n in module.__all__ if not inspect.ismodule(getattr(module, n))]
    assert own
    assert not {n for n in own if f"nnbackend.{package}.{n}" not in documented}


class Loaded(HTMLParser):
    """What a page loads when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "link" and (given.get("rel") or "") in ("canonical", "next", "prev", "search"):
            return
        self.in_style = tag == "style"
        address = given.get(LOADING.get(tag, ""))
        if address:
            self.addresses.append(address)
        self.addresses += styled(given.get("style") or "")

    def handle_data(self, data):
        if self.in_style:
            self.addresses += styled(data)


def styled(css: str) -> list[str]:
    """Return what a style sheet loads."""
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", css)
    return [first or second for first, second in found]


def test_pages_load_nothing_from_elsewhere():
    assert len(PAGES) > 60
    for page in PAGES:
        parser = Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        assert parser.addresses
        assert not [a for a in parser.addresses if OUTSIDE.match(a)], page


def test_style_sheets_load_nothing_from_elsewhere():
    sheets = [*SITE.rglob("*.css")]
    assert sheets
    for sheet in sheets:
        addresses = styled(sheet.read_text(encoding="utf-8"))
        assert not [a for a in addresses if OUTSIDE.match(a)], sheet


def test_what_pages_load_is_there():
    for page in PAGES:
        parser = Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        files = [re.split("[?#]", a)[0] for a in parser.addresses if not a.startswith("data:")]
        missing = [f for f in files if f and not (page.parent / f).exists()]
        assert not missing, page


def test_blocks_of_the_book_have_buttons_to_run_them():
    for page in (SITE / "book" / "01-neuron.html", SITE / "layers.html"):
        assert "_static/run/run.js" in page.read_text(encoding="utf-8"), page
    assert "_static/run/run.js" not in (SITE / "gpu.html").read_text(encoding="utf-8")
    assert (SITE / "_static" / "run" / "nnbackend.zip").stat().st_size > 100_000


def test_formulas_are_drawn_by_the_browser():
    pages = [page.read_text(encoding="utf-8") for page in (SITE / "book").glob("*.html")]
    assert any("<math" in page for page in pages)
    assert not any(re.search(r"<script[^>]+mathjax", page, re.IGNORECASE) for page in pages)


def test_the_citation_is_of_this_version():
    yaml = pytest.importorskip("yaml")
    root = Path(__file__).parents[2]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == nnb.__version__
    assert f"version = {{{nnb.__version__}}}" in (root / "docs/cite.md").read_text(encoding="utf-8")
