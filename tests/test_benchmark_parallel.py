"""Several processes: the model of a step on a cluster, and the page that is written from results."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.parallel import report
from benchmarks.parallel.model import COUNTS, Link, Work

ROOT = Path(__file__).parents[1]
WORK = Work(rows=256, fixed=1e-3, by_rows=9e-3, handling=0.5e-3, size=2_500_000)
LINK = Link(bits=1e9, latency=20e-6)


def test_a_step_of_the_model_is_the_sum_of_its_parts():
    carried = 2 * 3 / 4 * 8 * 2_500_000 / 1e9  # 30 ms: much more than a step computes
    assert WORK.computing(4) == pytest.approx(1e-3 + 9e-3 / 4)
    assert WORK.communicating(4, LINK) == pytest.approx(0.5e-3 + carried + 4 * 20e-6)
    direct = Link(1e9, 20e-6, direct=True)
    assert WORK.communicating(4, direct) == pytest.approx(0.5e-3 + carried + 6 * 20e-6)
    assert WORK.communicating(1, LINK) == 0.0
    assert WORK.speedup(1, LINK) == 1.0
    assert WORK.speedup(4, LINK) < 1.0


def test_it_says_where_processes_stop_paying():
    free = Link(math.inf, 0.0)
    assert WORK.counts == [n for n in COUNTS if n <= 256]
    assert WORK.best_count(LINK) == WORK.last_efficient_count(LINK) == 1
    assert WORK.best_count(free) == 256
    assert WORK.last_efficient_count(free) == 4  # of 10 ms one is not divided, and half is for sums
    rows = WORK.rows_for(1024, LINK, 0.2)
    larger = Work(rows * 1024, 1e-3, 9e-3 * rows * 1024 / 256, 0.5e-3, WORK.size)
    share = larger.communicating(1024, LINK)
    assert share / (share + larger.computing(1024)) == pytest.approx(0.2, rel=0.01)
    steps = WORK.steps_for(1024, LINK, 0.2)
    sent, own = WORK.communicating(1024, LINK), WORK.computing(256)
    assert sent / (sent + steps * own) <= 0.2 < sent / (sent + (steps - 1) * own)


def test_the_page_has_the_tables_of_the_newest_results(tmp_path):
    newest = sorted((ROOT / "benchmarks" / "results").glob("*-parallel.json"))[-1]
    page = tmp_path / "cluster.md"
    text = report.PAGE.read_text(encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    report.write(json.loads(newest.read_text(encoding="utf-8")), page)
    assert page.read_text(encoding="utf-8") == text
    assert text.count("<!-- begin: parallel") == 6
