"""Reports as HTML files: what is in them, that they run nothing, and how a browser shows them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from analysis.models import linear_model, mixed_model
from report.pages import Page, check_accessible, check_safe, open_in_browser

import nnbackend as nnb
from nnbackend.analysis import TableRows
from nnbackend.core.text import in_short
from nnbackend.report import write_report
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.model import TableModel

pytest.importorskip("polars")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></svg><script>x</script>",
    "$\\frac{$ {{ 7*7 }} {% raw %}",
    "]]> <!-- &lt;b&gt; http://example.com/a.css",
    "a\u202eb\x07c\x00",
    "日本語 " + "very_long_" * 20,
]


def encoded(model, rows):
    table = rows.table
    return model.encoder.encode_features(table), model.encoder.encode_target(table)


def page_of(model, table_rows, path, **more):
    x, y = encoded(model, table_rows)
    written = write_report(path, model, x, y, holdout=table_rows, **more)
    page = Page.of(written)
    check_safe(page)
    check_accessible(page)
    return page


def hostile_model(rows=80):
    """A network for three classes, whose columns, categories and classes have hostile names."""
    random = np.random.default_rng(0)
    texts = np.array(HOSTILE, object)
    table = {name: random.normal(size=rows) for name in HOSTILE}
    table["category"] = random.choice(texts, rows)
    table["<b>target</b>"] = random.choice(texts[[0, 1, 5]], rows)
    encoder = TableEncoder.learn(table, "<b>target</b>", [*HOSTILE, "category"])
    net = nnb.Network([nnb.Dense(3)], seed=0, input_shape=(encoder.width,))
    return TableModel(net, encoder, "softmax_cross_entropy"), TableRows(table)


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_names_from_the_data_stay_texts(tmp_path):
    model, rows = hostile_model()
    notes = [f"column {HOSTILE[0]} left out"]
    page = page_of(
        model, rows, tmp_path / "<i>.html", training=rows, notes=notes,
        facts={HOSTILE[0]: HOSTILE[1]}, model_path="a'b <u>.safetensors", rows=HOSTILE[1],
        histories=[{"epoch": [1, 2], "loss": [1.0, 0.5], "validation_loss": [1.1, 0.7]}],
    )  # fmt: skip
    assert page.texts("title")[0] == "Report: <b>target</b>"
    headers = page.texts("th")
    for name in HOSTILE[:5]:
        assert headers.count(name) >= 2  # among the columns, and in the importance
    assert "a\\u202eb\\x07c\\x00" in headers
    assert not {"i", "b", "u"} & {tag for tag, _, _ in page.elements}
    assert "49" not in [text.strip() for text in page.texts("th", "td")]
    assert any(text == notes[0] for text in page.texts("li"))
    # In the figures, too; a dollar there begins no formula.
    labels = page.texts("text")
    assert in_short(HOSTILE[0]) in labels
    assert any(label.startswith("$\\frac{$") for label in labels)
    content = next(tmp_path.glob("*.html")).read_text(encoding="utf-8")
    assert "\u202e" not in content
    assert "\x00" not in content
    assert "<script" not in content.lower()


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_a_report_on_two_classes(tmp_path):
    pytest.importorskip("sklearn")
    model, rows = mixed_model()
    history = {"epoch": [1, 2, 3], "loss": [1.0, 0.5, 0.25], "accuracy": [0.5, 0.6, 0.7]}
    page = page_of(model, rows, tmp_path / "r.html", training=rows, histories=[history])
    assert page.texts("h2") == [
        "Scores", "Data, and what was done to it", "Learning curves", "Classes", "Calibration",
        "Importance of columns", "Partial dependence", "Network", "How to predict",
    ]  # fmt: skip
    titles = page.texts("figcaption")
    for title in (
        "Learning curves: loss by epoch", "Learning curves: accuracy by epoch", "ROC curve",
        "Precision by recall", "Calibration curve", "Importance of columns",
        "Partial dependence on size", "Partial dependence on color", "Partial dependence on day",
    ):  # fmt: skip
        assert title in titles
    # What stands in the page is what is measured.
    from nnbackend.analysis import permutation_importance, score_baselines, score_model
    from nnbackend.core.text import number

    scores = {"this network": score_model(model, rows)}
    scores |= score_baselines(model.encoder, rows, rows)
    cells = page.texts("td")
    for values in scores.values():
        place = cells.index(number(values["log_loss"]))
        assert cells[place + 1] == number(values["accuracy"])
    for column in permutation_importance(model, rows).columns:
        assert cells[cells.index(number(column.mean)) + 1] == number(column.std)
    described = page.texts("desc")
    assert any("0: Dense(8" in text for text in described), described  # the network drawn
    assert any("loss after 3 epochs: on training rows from 1 to 0.25." in t for t in described)
    assert any("color" in text for text in page.texts("text"))
    for row in model.encoder.describe():
        assert row.done in cells


def test_the_curves_of_several_networks(tmp_path):
    model, rows = linear_model([2.0, 0.0], noise=0.5)
    histories = [
        {"epoch": [1, 2], "loss": [1.0, 0.25], "validation_loss": [1.0, 0.5]},
        {"epoch": [1, 2, 3], "loss": [1.0, 0.5, 0.25], "validation_loss": [2.0, 0.5, 0.7]},
    ]
    page = page_of(model, rows, tmp_path / "r.html", histories=histories)
    assert page.texts("desc")[0] == (
        "loss of 2 networks, on average after 3 epochs: on training rows from 1 to 0.25; "
        "on validation rows from 1.5 to 0.6."
    )


def test_outputs_of_networks_that_did_not_see_the_rows(tmp_path):
    """The metrics are those of the outputs; the model itself, which saw the rows, has none here."""
    model, rows = linear_model([2.0, 0.0])
    truth = model.encoder.encode_target(rows.table)
    page = page_of(model, rows, tmp_path / "r.html", outputs=truth + 3.0)
    cells = page.texts("td")
    assert cells[0] == "3"  # RMSE, the first score
    assert any("Baselines: they learn from the training rows" in text for text in page.texts("li"))
    assert any("a column may be of less use" in text for text in page.texts("p"))


def test_a_report_on_numbers(tmp_path):
    model, rows = linear_model([2.0, 0.0], noise=0.5)
    page = page_of(model, rows, tmp_path / "r.html")
    assert "Residuals" in page.texts("h2")
    assert "True numbers by predicted ones" in page.texts("figcaption")
    assert "Classes" not in page.texts("h2")
    assert any("Baselines: they learn from the training rows" in t for t in page.texts("li"))
    residuals = rows.table["y"] - 2.0 * rows.table["a"]
    cells = page.texts("td")
    assert f"{np.quantile(residuals, 0.05):.4g}" in cells
    assert f"{np.sqrt(np.mean(residuals**2)):.4g}" in cells


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_what_cannot_be_shown_is_said(tmp_path):
    model, rows = mixed_model()
    scores = TableModel(model.network, model.encoder, "categorical_hinge")
    page = page_of(scores, rows, tmp_path / "r.html")
    said = page.texts("li")
    assert any(text.startswith("Calibration and curves: ") for text in said)
    assert any(text.startswith("Partial dependence on ") for text in said)
    assert "Calibration" not in page.texts("h2")
    one_class = {n: c[rows.table["y"] == "yes"] for n, c in rows.table.items()}
    page = page_of(model, TableRows(one_class), tmp_path / "r.html")
    assert any(text.startswith("ROC curve: ") for text in page.texts("li"))


def test_without_its_libraries_it_says_which_extra_to_install(tmp_path, monkeypatch):
    import importlib.util

    model, rows = linear_model([1.0])
    find = importlib.util.find_spec
    for name in ("matplotlib", "jinja2"):
        monkeypatch.setattr(
            "nnbackend.report.write.find_spec",
            lambda wanted, name=name: None if wanted == name else find(wanted),
        )
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'nnbackend\[report\]'"):
            write_report(tmp_path / "r.html", model, *encoded(model, rows))
    assert not list(tmp_path.iterdir())


def test_the_users_settings_of_matplotlib_do_not_matter_and_stay(tmp_path):
    import matplotlib

    model, rows = linear_model([1.0, 2.0])
    plain = write_report(tmp_path / "a.html", model, *encoded(model, rows), holdout=rows)
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True, "axes.facecolor": "red"}):
        other = write_report(tmp_path / "b.html", model, *encoded(model, rows), holdout=rows)
        assert matplotlib.rcParams["font.size"] == 30
    assert plain.read_bytes() == other.read_bytes()
    assert "matplotlib.pyplot" not in sys.modules or matplotlib.rcParams["font.size"] != 30


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path):
    model, rows = linear_model([1.0])
    with pytest.raises(OSError, match="cannot write"):
        write_report(tmp_path / "no" / "r.html", model, *encoded(model, rows))
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
@pytest.mark.parametrize("width", [360, 1200])
def test_in_a_browser(tmp_path, width):
    """Nothing is wider than the window, texts in figures are readable, figures have a size."""
    model, rows = hostile_model()
    path = write_report(
        tmp_path / "r.html", model, *encoded(model, rows), holdout=rows, training=rows,
        histories=[{"epoch": [1, 2], "loss": [1.0, 0.5], "validation_loss": [1.1, 0.7]}],
    )  # fmt: skip
    script = """page => ({
        title: page.title,
        wide: page.documentElement.scrollWidth,
        scripts: page.scripts.length,
        errors: page.querySelectorAll("parsererror").length,
        figures: [...page.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().width),
        heights: [...page.querySelectorAll("svg text")].map(t => t.getBoundingClientRect().height),
        lines: [...page.querySelectorAll("svg path")].filter(p => p.getTotalLength() > 0).length,
        ink: getComputedStyle(page.querySelector("svg text")).fill,
        body: getComputedStyle(page.body).color,
        width: page.documentElement.clientWidth,
    })"""
    found = open_in_browser(path, width, script, tmp_path)
    assert found["title"] == "Report: <b>target</b>"
    assert found["wide"] <= found["width"] <= width
    assert found["scripts"] == found["errors"] == 0
    assert len(found["figures"]) == Path(path).read_text(encoding="utf-8").count("<svg")
    assert min(found["figures"]) > (250 if width == 360 else 280)
    assert min(found["heights"]) > 9
    assert found["lines"] > 50
    assert found["ink"] == found["body"]
