"""Each command runs in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import nnbackend as nnb


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def importable(monkeypatch):
    """Let programs started from another folder find the package when it is not installed."""
    monkeypatch.setenv("PYTHONPATH", str(Path(nnb.__file__).parent.parent))
