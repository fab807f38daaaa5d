"""Axes to draw in, without pyplot; no test runs where there is no matplotlib."""

from __future__ import annotations

import io

import pytest


@pytest.fixture(autouse=True)
def _matplotlib():
    pytest.importorskip("matplotlib")


@pytest.fixture
def ax(_matplotlib):
    from matplotlib.figure import Figure

    figure = Figure()
    yield figure.subplots()
    figure.savefig(io.BytesIO(), dpi=20)  # everything that was asked for can be drawn
