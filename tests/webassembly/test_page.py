"""The blocks of a page run in a browser, by Pyodide; what it loads comes from npm's packages.

``nox -s wasm`` says in NNBACKEND_WASM in which folder they are. Without it, or without a browser, the
tests are skipped.
"""

from __future__ import annotations

import functools
import hashlib
import html
import http.server
import importlib.util
import json
import os
import shutil
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = os.environ.get("NNBACKEND_WASM", "")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}
SECONDS = 120_000  # in milliseconds

pytestmark = [
    pytest.mark.skipif(not FOLDER, reason="nox -s wasm runs it"),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here"),
]

BLOCKS = [
    "import numpy as np\nimport nnbackend as nnb\n"
    "net = nnb.Network([nnb.Dense(1)], input_shape=(2,), seed=0)",
    "for i in range(2):\n    print('line', i, '<b>')\nnet.predict(np.ones((1, 2))).shape",
    "open('../../examples/data/exam_scores.csv').readline()",
    "net",
    "1 / 0",
    "while True:\n    pass",
]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with one page, as Sphinx and the extension of the documentation write it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs" / "_static" / "run", folder / "_static" / "run")
    extension = load(ROOT / "docs" / "_extensions" / "runnable.py")
    builder = SimpleNamespace(format="html")
    extension.write_library(SimpleNamespace(outdir=folder, builder=builder), None)
    blocks = "".join(
        f'<div class="highlight-python"><pre>{html.escape(block)}</pre></div>' for block in BLOCKS
    )
    (folder / "docs" / "book").mkdir(parents=True)
    (folder / "book").mkdir()
    (folder / "book" / "page.html").write_text(
        f'<!DOCTYPE html><html data-content_root="../"><article>{blocks}</article>'
        '<script src="../_static/run/run.js" defer></script></html>',
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/book/page.html"
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def distribution(tmp_path_factory):
    """What Pyodide's server would give: the content of each file, by name."""
    compare = load(Path(__file__).with_name("compare.py"))
    pyodide, numpy = compare.fetch_packages(Path(FOLDER))
    assert compare.PYODIDE.partition("@")[2] in (ROOT / "docs/_static/run/worker.js").read_text()
    wheel = tmp_path_factory.mktemp("wheel") / "numpy.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in numpy.rglob("*"):
            if file.is_file() and "tests" not in file.parts:
                archive.write(file, file.relative_to(numpy))
    files = {file.name: file.read_bytes() for file in pyodide.iterdir() if file.is_file()}
    lock = json.loads(files["pyodide-lock.json"])
    package = lock["packages"]["numpy"]
    package["sha256"] = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return files | {
        "pyodide-lock.json": json.dumps(lock).encode(),
        package["file_name"]: wheel.read_bytes(),
    }


@pytest.fixture
def page(address, distribution):
    playwright = pytest.importorskip("playwright.sync_api")

    def answer(route):
        name = route.request.url.rpartition("/")[2]
        asked.append(name)
        route.fulfill(
            body=distribution[name],
            content_type=TYPES.get(Path(name).suffix, "application/octet-stream"),
            headers={"Access-Control-Allow-Origin": "*"},
        )

    asked = []
    with playwright.sync_playwright() as p:
        quiet = ["no-sandbox", "disable-gpu", "disable-quic", "disable-background-networking",
                 "disable-component-update", "disable-sync", "no-first-run"]  # fmt: skip
        browser = p.chromium.launch(executable_path=BROWSER, args=[f"--{flag}" for flag in quiet])
        context = browser.new_context()
        context.route("https://cdn.jsdelivr.net/**", answer)
        page = context.new_page()
        page.goto(address)
        page.set_default_timeout(SECONDS)
        page.asked = asked
        yield page
        browser.close()


def run(page, number):
    """Run a block and return what it shows."""
    button = page.locator(".run-button").nth(number)
    button.click()
    idle = "[...document.querySelectorAll('.run-button')].every(b => b.textContent === 'Run')"
    page.wait_for_function(idle, timeout=SECONDS)
    return page.locator(".run-output").nth(number)


def test_blocks_run_and_nothing_is_loaded_before(page):
    page.wait_for_timeout(300)
    assert page.asked == []
    assert page.locator(".run-button").count() == len(BLOCKS)
    shown = run(page, 1)  # and the first one, before it
    assert shown.inner_text().split("\n")[:3] == ["line 0 <b>", "line 1 <b>", "(1, 1)"]
    assert "pyodide.js" in page.asked
    assert "hours" in run(page, 2).inner_text()
    frame = run(page, 3).locator("iframe")
    assert frame.get_attribute("sandbox") == "allow-scripts"
    assert frame.content_frame.locator("svg").count() > 0
    assert "ZeroDivisionError" in run(page, 4).locator(".run-error").inner_text()
    # The block that failed is changed, and what stands above it is still there.
    page.locator("article pre[contenteditable]").nth(4).evaluate(
        "e => e.textContent = 'net.seed + 7'"
    )
    assert run(page, 4).inner_text().strip() == "7"
    # A block that never ends can be stopped; the next one starts anew.
    buttons = page.locator(".run-button")
    buttons.nth(5).click()
    page.wait_for_timeout(1000)
    assert buttons.nth(5).inner_text() == "Stop"
    assert buttons.nth(0).is_disabled()
    buttons.nth(5).click()
    assert "Stopped" in page.locator(".run-output").nth(5).inner_text()
    assert run(page, 4).inner_text().strip() == "7"


def test_without_a_connection_it_says_so(page, distribution):
    page.context.unroute_all()
    page.context.route("https://cdn.jsdelivr.net/**", lambda route: route.abort())
    assert "could not be run here" in run(page, 0).inner_text()
