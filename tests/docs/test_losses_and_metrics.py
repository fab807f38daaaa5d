"""The guide: its examples run, and its tables leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nnbackend import losses, metrics

PAGE = Path(__file__).parents[2] / "docs" / "losses-and-metrics.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    scope: dict = {"__name__": "guide"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), scope)
    assert len(blocks) > 8
    below = scope["y"] < scope["ninth"].predict(scope["x"])[:, 0]
    assert 0.85 < below.mean() < 0.95
    assert scope["history"].last["validation_f1"] > 0.9


@pytest.mark.parametrize("registry", [losses.LOSSES, metrics.METRICS], ids=["losses", "metrics"])
def test_every_name_has_its_row(registry):
    own = [n for n in registry if registry[n].__module__.startswith("nnbackend")]
    for name in own:
        assert re.search(rf"^\| `{name}` \| `{registry[name].__name__}\(", TEXT, flags=re.MULTILINE)
