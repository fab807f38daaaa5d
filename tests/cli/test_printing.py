"""What the commands print for people."""

from __future__ import annotations

import pytest
from cli.commands import done, table  # skips without typer

from nnbackend.cli.printing import in_figures


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (12345.6, "12346"), (-1234567.8, "-1234568"), (1e20, "1e+20"),
     (1e-7, "1e-07"), (0, "0"), (float("nan"), "nan"), (float("inf"), "inf")],
)  # fmt: skip
def test_figures(value, text):
    assert in_figures(value) == text
    assert in_figures(0.98765, "accuracy") == "98.8%"


def test_large_errors_have_their_figures():
    rows = "".join(f"{x},{1e6 * x + 1e8}\n" for x in range(40))
    shown = done("train", table("x,y\n" + rows), "--target", "y", "--epochs", "1").stdout
    assert "e+" not in shown
