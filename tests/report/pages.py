"""Look at pages as a browser would: parsed, and if there is one, opened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

_VOID = {"meta", "link", "br", "img", "hr", "input"}
_BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome", "chrome", "chromium-browser")


@dataclass
class Page(HTMLParser):
    """The elements of a page, each with its attributes and the text right in it.

    An element that is closed out of order, or not at all, is an error.
    """

    elements: list[tuple[str, dict[str, str | None], list[str]]] = field(default_factory=list)
    comments: int = 0

    def __post_init__(self):
        super().__init__()
        self._open = []

    @classmethod
    def of(cls, path):
        page = cls()
        page.feed(Path(path).read_text(encoding="utf-8"))
        page.close()
        assert not page._open, page._open
        return page

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs), []))
        if tag not in _VOID:
            self._open.append((tag, self.elements[-1]))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        opened, _ = self._open.pop()
        assert opened == tag, (opened, tag)

    def handle_data(self, data):
        if self._open:
            self._open[-1][1][2].append(data)

    def handle_comment(self, data):
        self.comments += 1

    def all(self, tag):
        return [(attrs, "".join(texts)) for t, attrs, texts in self.elements if t == tag]

    def texts(self, *tags):
        return [text.strip() for tag in tags for _, text in self.all(tag)]

    @property
    def text(self):
        return "\n".join("".join(texts) for _, _, texts in self.elements)


def check_safe(page):
    """Make sure that a page runs and loads nothing."""
    tags = {tag for tag, _, _ in page.elements}
    assert not tags & {
        "script",
        "iframe",
        "object",
        "embed",
        "link",
        "img",
        "image",
        "base",
        "form",
    }
    assert page.comments == 0
    for tag, attributes, texts in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "src"
            if name == "href":
                assert value.startswith("#"), value
            if name == "style" or tag == "style":
                assert "url(" not in (value or "").replace("url(#", ""), value
        if tag == "style":
            assert "url(" not in "".join(texts)
            assert "@import" not in "".join(texts)
    policy = [a for a, _ in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0]["content"].startswith("default-src 'none'")


def check_accessible(page):
    """Make sure that a page has what a screen reader needs."""
    (html, _), = page.all("html")  # fmt: skip
    assert html["lang"] == "en"
    assert page.texts("title")[0]
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for tag, attributes, _ in page.elements:
        named = attributes.get("aria-labelledby", "").split()
        assert set(named) <= set(ids), (tag, named)
        if tag == "a" and attributes["href"] != "#":
            assert attributes["href"][1:] in ids
        if tag == "use":
            assert attributes["href"][1:] in ids
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
    for attributes, _ in page.all("svg"):
        assert attributes["role"] == "img"
        assert attributes["aria-labelledby"]
    assert len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table"))


def open_in_browser(path, width, script, folder):
    """Return what a function of JavaScript says of the document of a page, opened so wide."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser is installed: none of {', '.join(_BROWSERS)}")
    frame = folder / "frame.html"
    frame.write_text(
        f"""<!doctype html><body><iframe width="{width}" height="900" style="border:0"></iframe>
<pre></pre><script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  if (!frame.contentDocument.title) return;
  document.querySelector("pre").textContent = JSON.stringify(({script})(frame.contentDocument));
}};
frame.src = {json.dumps(Path(path).resolve().as_uri())};
</script></body>"""
    )
    done = subprocess.run(
        [browser, "--headless", "--disable-gpu", "--allow-file-access-from-files",
         *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
         f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
         frame.as_uri()],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    page = Page()
    page.feed(done.stdout)
    found = page.texts("pre")
    assert found, done.stderr
    assert found[0], done.stdout
    return json.loads(found[0])
