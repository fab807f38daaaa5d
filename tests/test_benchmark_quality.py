"""The comparison on tables: which recipe is run once, and what is made of the results."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from benchmarks.quality import report
from benchmarks.quality.contestants import _ours, contestants, recipe_of
from benchmarks.quality.data import Dataset, split


def rows_of(table, contestant, errors, rows=50, task="regression"):
    """Return results of one contestant, one for each split."""
    return [
        {"table": table, "contestant": contestant, "split": i, "error": error, "rows": rows,
         "task": task, "seconds": 2.0, "cpu_seconds": 1.0}
        for i, error in enumerate(errors)
    ]  # fmt: skip


RESULTS = [
    *rows_of("few", "nnbackend", [0.1, 0.2, 0.3]),
    *rows_of("few", "scikit-learn's MLP", [0.2, 0.31, 0.4]),
    *rows_of("few", "other", [0.1, 0.2]),
    *rows_of("many", "nnbackend", [0.5, 0.4], rows=2_000),
    *rows_of("many", "scikit-learn's MLP", [0.4, 0.5], rows=2_000),
]


def test_means_are_of_the_splits_that_all_have():
    means = report._means(report._scores(RESULTS, "error"), ["nnbackend", "other"])
    assert means["few", "nnbackend"] == means["few", "other"] == pytest.approx(0.15)
    assert ("many", "other") not in means


def test_equal_errors_share_ranks_and_the_median_scores_nothing():
    errors = {("t", "a"): 0.1, ("t", "b"): 0.1, ("t", "c"): 0.3}
    assert [report._rank(errors, "t", name, ["a", "b", "c"]) for name in "abc"] == [1.5, 1.5, 3]
    errors = {("t", "a"): 0.1, ("t", "b"): 0.2, ("t", "c"): 0.5}
    assert [report._normalized(errors, "t", n, ["a", "b", "c"]) for n in "abc"] == [1, 0, 0]


def test_our_estimators_do_not_take_places_from_each_other():
    names = ["nnbackend", "nnbackend, fast", "nnbackend, plain network", "other"]
    assert report._rivals("other", names) == ["nnbackend", "nnbackend, plain network", "other"]
    assert report._rivals("nnbackend, fast", names) == names[1:]


def test_only_contestants_of_all_tables_are_ranked_on_all():
    first, overall, second, some = report._summaries(
        RESULTS, ["nnbackend", "scikit-learn's MLP", "other"]
    )
    assert first.startswith("Over all 2 tables")
    assert "| nnbackend | 1.25 | 1.50 |" in overall
    assert "other" not in overall
    assert second == "The same over few, which all of these predicted:"
    assert "| other | 1.50 | - |" in some


def test_a_difference_within_the_spread_is_no_verdict():
    (said,) = report._verdicts(RESULTS)
    assert "on 1 of 2 tables: smaller on few; larger on none." in said


def test_a_cell_says_how_many_splits_it_is_of_where_there_are_fewer():
    table = report._table(RESULTS, ["nnbackend", "other"], "error")
    assert "| few (50; 3) | **0.200 ± 0.082** | 0.150 ± 0.050 (2) |" in table
    assert "| many (2,000; 2) | **0.450 ± 0.050** | - |" in table


def test_contestants_of_the_same_recipe_are_known():
    pytest.importorskip("sklearn")
    pd = pytest.importorskip("pandas")
    y = np.arange(40.0)
    part = split(Dataset("few", "regression", pd.DataFrame({"x": y}), y), 0)
    known = contestants()
    recipes = {name: recipe_of(one, part) for name, one in known.items()}
    assert recipes["nnbackend"] == recipes["nnbackend, RealMLP"] != recipes["nnbackend, fast"]
    assert recipes["gradient boosting"] is recipes["nnbackend, plain network"] is None
    assert recipe_of(partial(_ours, model="tabm"), part).model == "tabm"
