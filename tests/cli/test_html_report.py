"""``--html`` of ``nnbackend train`` and ``evaluate``: a report in one file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.commands import PENGUINS, done, fails, table, train_json
from report.pages import Page, check_accessible, check_safe

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")


def page_of(path):
    page = Page.of(path)
    check_safe(page)
    check_accessible(page)
    return page


def test_a_training_and_an_evaluation_are_reported():
    pytest.importorskip("sklearn")
    result = train_json(PENGUINS, "--target", "species", "--epochs", "5", "--html", "r.html")
    assert result["html"] == "r.html"
    page = page_of("r.html")
    rows = page.texts("th")
    for name in ("this network", "commonest class", "linear model", "gradient boosting"):
        assert name in rows
    assert f"{result['validation']['accuracy']:.4g}" in page.texts("td")
    assert "Learning curves" in page.texts("h2")
    assert "69 validation rows" in page.text
    assert any("filled with the median" in note for note in page.texts("li"))
    assert "nnbackend predict model.safetensors DATA --probabilities" in page.text
    result = done("evaluate", "model.safetensors", PENGUINS, "--html", "e.html", "--report")
    assert "Report written to e.html" in result.stdout
    page = page_of("e.html")
    assert "344 rows of penguins.csv" in page.text
    assert "Learning curves" not in page.texts("h2")
    assert "Importance of columns" in page.texts("h2")


def test_a_report_without_validation_rows_says_so():
    rows = "".join(f"{i},{i % 7},{100 * i + 1000}\n" for i in range(60))
    done("train", table("a,<b>,y\n" + rows), "--target", "y", "--epochs", "2",
         "--validation", "0", "--html", "r.html")  # fmt: skip
    page = page_of("r.html")
    assert "60 training rows, since none was held out" in page.text
    assert "<b>" in page.texts("th")


def test_a_report_on_folds():
    result = train_json(PENGUINS, "--target", "body_mass_g", "--folds", "2", "--epochs", "4",
                        "--html", "r.html")  # fmt: skip
    page = page_of("r.html")
    assert "342 rows, each by the networks that it was held out of" in page.text
    assert f"{result['validation']['rmse']:.4g}" in page.texts("td")
    assert any("loss of 2 networks, on average after 4 epochs" in t for t in page.texts("desc"))
    assert {"mean", "gradient boosting"} <= {text.lower() for text in page.texts("th", "td")}


def test_a_report_on_arrays_has_what_does_not_need_columns():
    x = np.random.default_rng(0).normal(size=(60, 4, 4)).astype(np.float32)
    np.savez("a.npz", x=x, y=(x.mean(axis=(1, 2)) > 0).astype(int))
    done("train", "a.npz", "--target", "y", "--epochs", "2", "--html", "r.html", "--quiet")
    page = page_of("r.html")
    assert "Calibration" in page.texts("h2")
    assert "Importance of columns" not in page.texts("h2")
    assert done("evaluate", "model.safetensors", "a.npz", "--html", "e.html", "--json").stdout
    page_of("e.html")


def test_a_report_on_streamed_rows():
    done("train", PENGUINS, "--target", "species", "--stream", "--epochs", "1", "--html", "r.html")
    assert "Partial dependence" in page_of("r.html").texts("h2")


def test_calls_that_cannot_write_a_report():
    train = ("train", PENGUINS, "--target", "species", "--epochs", "1")
    assert "--html writes a page: say report.html" in fails(2, *train, "--html", "r.csv")
    assert "cannot be written" in fails(2, *train, "--html", "no/r.html")
    message = fails(2, *train, "--html", "m.html", "--output", "m.html")
    assert "another file of this call" in message
    Path("x.html").mkdir()
    assert "is not a regular file" in fails(2, *train, "--html", "x.html")


def test_a_missing_extra_is_said_before_any_work(monkeypatch):
    monkeypatch.setattr("nnbackend.report.write.find_spec", lambda name: None)
    message = fails(1, "train", PENGUINS, "--target", "species", "--html", "r.html")
    assert "needs matplotlib: pip install 'nnbackend[report]'" in message
    result = json.loads(done("train", PENGUINS, "--target", "species", "--epochs", "1",
                             "--json").stdout)  # fmt: skip
    assert "html" not in result
