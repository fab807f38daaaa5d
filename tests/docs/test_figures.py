"""The guide to figures: its pictures are those that its examples draw."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pyplot = pytest.importorskip("matplotlib.pyplot")

PAGE = Path(__file__).parents[2] / "docs" / "figures.md"
TEXT = PAGE.read_text(encoding="utf-8")
NAMES = re.findall(r"\]\(figures/(\w+)\.png\)", TEXT)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Run the examples; return the folder with what they save."""
    folder = tmp_path_factory.mktemp("drawn")
    scope: dict = {"__name__": "guide"}
    with pytest.MonkeyPatch.context() as patch, pyplot.rc_context():
        pyplot.switch_backend("agg")
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
            exec(compile(block, str(PAGE), "exec"), scope)
        pyplot.close("all")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_pictures_are_what_the_examples_draw(drawn, name):
    """Another version of matplotlib may move a text a little."""
    picture = pyplot.imread(PAGE.parent / "figures" / f"{name}.png")
    now = pyplot.imread(drawn / f"{name}.png")
    assert picture.shape == now.shape
    difference = float(np.abs(picture - now).mean())
    assert difference < 0.03, "run the page's examples in docs/figures, and look at the pictures"


def test_no_picture_is_left_over(drawn):
    pictures = {path.name for path in (PAGE.parent / "figures").iterdir()}
    assert pictures == {path.name for path in drawn.iterdir()}
    assert pictures == {f"{name}.png" for name in NAMES}
