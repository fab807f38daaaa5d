"""The guide to drawings: its pictures are those that its examples draw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "drawing.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Run the examples; return the folder with what they save."""
    folder = tmp_path_factory.mktemp("drawn")
    scope: dict = {"__name__": "guide"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
            exec(compile(block, str(PAGE), "exec"), scope)
    return folder


@pytest.mark.parametrize("name", re.findall(r"\]\(drawings/(\w+)\.svg\)", TEXT))
def test_the_pictures_are_what_the_examples_draw(drawn, name):
    picture = (PAGE.parent / "drawings" / f"{name}.svg").read_text(encoding="utf-8")
    now = (drawn / f"{name}.svg").read_text(encoding="utf-8")
    assert picture == now, "run the page's examples in docs/drawings, and look at the pictures"


def test_no_picture_is_left_over(drawn):
    pictures = {path.name for path in (PAGE.parent / "drawings").iterdir()}
    assert pictures == {path.name for path in drawn.iterdir()}
    assert len(pictures) >= 4
