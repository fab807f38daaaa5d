"""The commands of the guide to tables, one after the other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from cli.commands import done

ROOT = Path(__file__).parents[2]


def test_from_a_raw_file_to_a_prediction(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    section = text.partition("## From a raw file to a deployed prediction")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(commands) == 7
    for program, command, *arguments in commands:
        assert program == "nnbackend"
        brief = ["--epochs", "2"] if command == "train" else []
        result = done(command, *arguments, *brief)
        if command == "evaluate":
            assert "balanced_accuracy" in result.stdout
    lines = Path("predicted.csv").read_text().splitlines()
    assert lines[0].startswith("island,species,probability_Adelie")
    assert len(lines) == 345
