"""The pages that show other libraries beside ours: what they show, runs."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "coming-from"
NEEDS = {
    "pytorch": ["torch"],
    "keras": ["keras"],
    "scikit-learn": ["sklearn", "pandas"],
    "thinc": ["thinc"],
    "jax": ["jax", "optax"],
}
CODE = re.compile(r"^\*\*(.+?)\*\*\n\n```python\n(.*?)```", re.DOTALL | re.MULTILINE)


def run(page: str, *sides: str) -> int:
    """Run the code of some sides of a page, in its order; return the number of pieces."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    assert text.count("```python") == len(CODE.findall(text))
    scopes: dict = {}
    count = 0
    for side, code in CODE.findall(text):
        if side in sides:
            scope = scopes.setdefault(side, {"__name__": side})
            if side == "Both":
                scope |= {k: v for other in sides[:-1] for k, v in scopes[other].items()}
            exec(compile(code, f"{page}: {side}", "exec"), scope)
            count += 1
    return count


@pytest.mark.filterwarnings("ignore:.*converge")  # scikit-learn's, of fits that are brief
@pytest.mark.parametrize("page", list(NEEDS))
def test_our_side_runs(page, tmp_path, monkeypatch):
    if page == "scikit-learn":
        pytest.importorskip("pandas")
        pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    assert run(page, "nnbackend") > 0


@pytest.mark.parametrize("page", list(NEEDS))
def test_their_side_runs_and_agrees(page, tmp_path, monkeypatch):
    with warnings.catch_warnings():  # theirs are not ours to mend
        warnings.simplefilter("ignore")
        for module in NEEDS[page]:
            pytest.importorskip(module)
        monkeypatch.chdir(tmp_path)
        text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
        theirs = next(side for side, _ in CODE.findall(text) if side != "nnbackend")
        assert run(page, theirs, "nnbackend", "Both") == text.count("```python")


def test_there_is_no_other_page():
    assert {path.stem for path in PAGES.glob("*.md")} == {*NEEDS, "index"}
