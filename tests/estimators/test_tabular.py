"""The estimators of tables: frames of every library, labels, weights, folds, files."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nnbackend as nnb
from nnbackend import tables
from nnbackend.errors import ModelFileError, UnknownNameError
from nnbackend.estimators import TabularClassifier, TabularRegressor, load
from nnbackend.tables import TableWarning

pytestmark = pytest.mark.filterwarnings("ignore::nnbackend.tables.TableWarning")

N = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = X[:, 0] - X[:, 1]
CLASSES = np.where(Y > 0, "yes", "no")
SMALL: dict[str, Any] = {"hidden": (8,), "epochs": 2, "random_state": 0}
DATES = np.datetime64("2020-01-01") + np.arange(N)


def columns() -> dict[str, Any]:
    return {
        "a": X[:, 0].tolist(),
        "c": ["u", "v", "w", None] * 10,
        "d": DATES.astype(object).tolist(),
        "b": (X[:, 1] > 0).tolist(),
        "i": (np.arange(N) % 7).tolist(),
        "m": [None if x > 1 else float(x) for x in X[:, 2]],
        "o": [f"level {i % 3}" for i in range(N)],
    }


def frame(kind: str) -> Any:
    if kind == "dict":
        return columns()
    if kind == "rows":
        return [list(row) for row in zip(*columns().values(), strict=True)]
    if kind == "objects":
        return np.array(frame("rows"), dtype=object)
    module = pytest.importorskip({"arrow": "pyarrow"}.get(kind, kind))
    return module.table(columns()) if kind == "arrow" else module.DataFrame(columns())


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "dict", "rows", "objects"])
def test_frames_of_every_library_say_the_same(kind):
    expected = TabularClassifier(**SMALL).fit(frame("dict"), CLASSES).predict_proba(frame("dict"))
    model = TabularClassifier(**SMALL).fit(frame(kind), CLASSES)
    np.testing.assert_allclose(model.predict_proba(frame(kind)), expected, atol=1e-6)
    assert model.n_features_in_ == 7
    if kind not in ("rows", "objects"):
        assert list(model.feature_names_in_) == list(columns())


def test_lazy_frames_and_sparse_matrices_are_refused():
    polars, sparse = pytest.importorskip("polars"), pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"lazy frame.*give X\.collect\(\)"):
        TabularRegressor(**SMALL).fit(polars.LazyFrame(columns()), Y)
    with pytest.raises(TypeError, match=r"give X\.toarray\(\)"):
        TabularRegressor(**SMALL).fit(sparse.csr_matrix(X), Y)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_columns_that_are_not_those_of_training(kind):
    """scikit-learn's rule for frames; a dictionary has no order."""
    pytest.importorskip({"arrow": "pyarrow"}.get(kind, kind))
    model = TabularRegressor(**SMALL).fit(frame(kind), Y)
    names = list(columns())

    def pick(names: list[str]) -> Any:
        return frame(kind).select(names) if kind != "pandas" else frame(kind)[names]

    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(pick(names[::-1]))
    with pytest.raises(ValueError, match="now missing:\n- c"):
        model.predict(pick([name for name in names if name != "c"]))


def test_columns_of_a_dictionary_are_found_by_name():
    model = TabularRegressor(**SMALL).fit(columns(), Y)
    expected = model.predict(columns())
    turned = dict([*columns().items()][::-1]) | {"more": ["?"] * N}
    np.testing.assert_array_equal(model.predict(turned), expected)
    with pytest.raises(UnknownNameError, match=r"lacks 2 columns: 'a', 'c'"):
        model.predict({n: c for n, c in columns().items() if n not in "ac"})
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TabularRegressor(**SMALL).fit(columns(), Y[:7])  # as many as there are columns


def test_dictionaries_of_anything_but_columns_are_refused():
    model = TabularRegressor(**SMALL).fit({"a": X[:, 0], "b": X[:, 1]}, Y)
    with pytest.raises(ValueError, match=r"'a' is no column of values: 1\.0; each is a list"):
        model.predict({"a": 1.0, "b": 2.0})
    with pytest.raises(ValueError, match=r"'b' is a dictionary.*to_dict\("):
        model.predict({"a": [1.0, 2.0], "b": {0: 2.0, 1: 3.0}})


def test_columns_of_an_array_are_those_of_the_frame_by_place():
    model = TabularRegressor(**SMALL).fit({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}, Y)
    expected = model.predict({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(model.predict(X), expected)
    with pytest.raises(UnknownNameError, match="lacks 3"), pytest.warns(UserWarning, match="X has"):
        TabularRegressor(**SMALL).fit(X, Y).predict(pandas_frame())


def pandas_frame() -> Any:
    return pytest.importorskip("pandas").DataFrame(X, columns=["a", "b", "c"])


def test_targets_of_dates_are_refused():
    for dates in (DATES, DATES - DATES[0]):
        with pytest.raises(TypeError, match="y holds dates or durations"):
            TabularRegressor(**SMALL).fit(X, dates)


def test_columns_that_give_the_target_away_are_said():
    given = {**columns(), "double": 2 * Y, "drawn": 3 * Y}
    model = TabularRegressor(**SMALL, columns={"drawn": "drop"})
    with pytest.warns(TableWarning, match="give the target away.*one-to-one with it: double;"):
        model.fit(given, Y)
    with pytest.warns(TableWarning, match="give the target away.*one-to-one with it: class;"):
        TabularClassifier(**SMALL).fit({"a": X[:, 0], "class": CLASSES}, CLASSES == "no")


def test_unseen_categories_and_missing_values_are_predicted():
    model = TabularClassifier(**SMALL).fit(columns(), CLASSES)
    with pytest.warns(tables.TableWarning, match="a category that training has not seen: 'new'"):
        model.predict(columns() | {"c": ["new"] * N})
    gaps = {name: [None] * N for name in columns()}
    assert set(model.predict(gaps)) <= {"yes", "no"}


@pytest.mark.parametrize("kind", ["dict", "array"])
def test_rows_that_differ_much_from_those_of_training_are_said(kind):
    table = {name: X[:, place] for place, name in enumerate("abc")} if kind == "dict" else X
    model = TabularRegressor(**SMALL).fit(table, Y)
    far = {**table, "b": X[:, 1] + 1000.0} if kind == "dict" else X + np.array([0, 1e3, 0])
    name = "b" if kind == "dict" else "x1"
    for predict in (model.predict, lambda rows: model.score(rows, Y)):
        with pytest.warns(tables.TableWarning, match=f"outside the range .*: {name} [(]40 rows"):
            predict(far)
        with warnings.catch_warnings():
            warnings.simplefilter("error", tables.TableWarning)
            predict(table)


def test_masked_arrays_are_missing_values():
    x = X.copy()
    gone = RNG.random(x.shape) > 0.8
    x[gone] = 1e6  # what is under a mask is no value
    masked = np.ma.masked_array(x, gone)
    plain = np.where(gone, np.nan, x)
    expected = TabularRegressor(**SMALL).fit(plain, Y)
    model = TabularRegressor(**SMALL).fit(masked, Y)
    np.testing.assert_array_equal(model.predict(masked), expected.predict(plain))


def test_numbers_beside_texts_stay_numbers():
    rows = [[0.1 + i, "u" if i % 2 else "v"] for i in range(N)]
    model = TabularRegressor(**SMALL).fit(rows, Y)
    assert model.model_.encoder.feature_kinds == {"x0": "number", "x1": "known"}


def test_numbers_in_texts_are_read_as_in_training():
    # 1,234 is 1234 there and 1.234 here, and a single row cannot say which.
    thousands = {"a": [f"{1000 + 3 * i:,}.5" for i in range(N)], "b": X[:, 0]}
    decimals = {"a": [f"{1 + i},{i:02d}" for i in range(N)], "b": X[:, 0]}
    for given, number in ((thousands, 1234.0), (decimals, 1.234)):
        model = TabularRegressor(**SMALL).fit(given, Y)
        one = model.predict({"a": ["1,234"], "b": [0.5]})
        np.testing.assert_array_equal(model.predict({"a": [number], "b": [0.5]}), one)


def test_columns_by_name_and_by_number():
    pandas = pytest.importorskip("pandas")
    x = np.column_stack([np.arange(N) % 5, X[:, 0]])
    kinds = {0: "category"}
    for given in (x, pandas.DataFrame(x)):
        model = TabularRegressor(**SMALL, columns=kinds).fit(given, Y)
        assert [d.kind for d in model.model_.encoder.describe()][:2] == ["number", "category"]
    dropped = TabularRegressor(**SMALL, columns={"a": "drop"}).fit(columns(), Y)
    assert "a" not in dropped.model_.encoder.feature_names
    with pytest.raises(UnknownNameError, match="nothing"):
        TabularRegressor(**SMALL, columns={"nothing": "category"}).fit(columns(), Y)


def test_a_column_may_be_named_like_the_target():
    given = {"target": X[:, 0], "target_": X[:, 1]}
    model = TabularRegressor(**SMALL).fit(given, Y)
    assert set(model.model_.encoder.feature_names) == {"target", "target_"}
    assert model.predict(given).shape == (N,)


def test_the_recipe_says_what_was_chosen_by_the_rows():
    for more, model in (({}, "realmlp-simple"), ({"preset": "best", "folds": 1}, "realmlp")):
        assert TabularClassifier(**SMALL, **more).fit(X, X[:, 0] > 0).recipe_.model == model
    assert TabularRegressor(**SMALL).fit(X, X[:, 0]).recipe_.model == "realmlp"


@pytest.mark.parametrize(
    "labels",
    [(0, 1), (10, 9), (-1, 1), (2**60, 2**60 + 1), (0.0, 1.0), (True, False), ("10", "9"),
     ("1", "1.0"), ("01", "1"), ("no", " no"), ("True", "true"), ("ä", "a")],
)  # fmt: skip
def test_labels_keep_their_type_and_their_place(labels, tmp_path):
    y = np.array(labels)[(X[:, 0] > 0).astype(int)]
    more: dict[str, Any] = SMALL | {"epochs": 40, "model": "realmlp-simple"}
    model = TabularClassifier(**more).fit(X[:, :1], y)
    assert model.classes_.dtype == y.dtype
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.score(X[:, :1], y) > 0.8  # they are not mixed up
    p = model.predict_proba(X[:, :1])
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(X[:, :1]))
    rows, held_out = model.held_out_
    np.testing.assert_allclose(p[rows], held_out, rtol=1e-6)
    back = load(model.save(tmp_path / "model"))
    assert back.classes_.dtype == y.dtype
    np.testing.assert_array_equal(back.predict_proba(X[:, :1]), p)
    np.testing.assert_array_equal(back.predict(X[:, :1]), model.predict(X[:, :1]))


@pytest.mark.parametrize(
    ("y", "message"),
    [(["a"] * N, "y has one class"), (Y, "Unknown label type: continuous"),
     (np.where(Y > 0, np.nan, 1.0), "contains NaN"), ([None, "a"] * 20, "y has no label in row 1"),
     (np.array(["a", np.nan] * 20, dtype=object), "y has no label in row 2"),
     (np.array([1, "1"] * 20, dtype=object), "both texts and other labels"),
     (["", "b"] * 20, "none may be empty"), (np.c_[Y > 0, Y > 1], "1d array"),
     ([f"n{i}" for i in range(N)], "40 classes in 40 rows"), (CLASSES[:9], "inconsistent numbers")],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
def test_labels_that_cannot_be_learned_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        TabularClassifier(**SMALL).fit(X, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [(np.c_[Y, Y], "y has 2 targets, and TabularRegressor predicts one"),
     (np.where(Y > 1, np.nan, Y), "contains NaN"), (np.where(Y > 1, np.inf, Y), "infinity"),
     (np.ones(N), "one value only"), (CLASSES, "could not convert string"),
     (np.where(Y > 1, 1e308, Y), "too large: divide them")],
)  # fmt: skip
def test_numbers_that_cannot_be_learned_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        TabularRegressor(**SMALL).fit(X, y)


def test_tables_without_anything_to_learn_from_are_refused():
    with pytest.raises(ValueError, match="no column is left"):
        TabularRegressor(**SMALL).fit(np.ones((N, 3)), Y)
    with pytest.raises(ValueError, match="no column is left"):
        TabularRegressor(**SMALL).fit({"a": [[1]] * N}, Y)
    with pytest.raises(NotFittedError):
        TabularClassifier().predict(X)
    with pytest.raises(NotFittedError):
        TabularRegressor().save("none")


@pytest.mark.parametrize(
    "x",
    [X[:, :1], np.c_[X, np.ones(N)], X[:10], RNG.normal(size=(N, 3000)),
     np.array([[f"k{i % 15}"] for i in range(N)], dtype=object), X > 0, np.arange(3 * N).reshape(N, 3)],
    ids=["one column", "a constant", "ten rows", "3000 columns", "categories", "booleans", "integers"],
)  # fmt: skip
def test_tables_of_every_shape(x):
    y = Y[: len(x)]
    found = TabularRegressor(**SMALL).fit(x, y).predict(x)
    assert np.isfinite(found).all()
    assert (found.min() >= y.min() - 1e-5) & (found.max() <= y.max() + 1e-5)
    classes = TabularClassifier(**SMALL).fit(x, np.where(y > np.median(y), 1, 0))
    assert set(classes.predict(x)) <= {0, 1}


def test_a_class_of_one_row_is_learned():
    y = np.where(np.arange(N) == 7, "rare", CLASSES)
    for more in ({}, {"folds": 3}):
        model = TabularClassifier(**SMALL, **more).fit(X, y)
        assert model.predict_proba(X).shape == (N, 3)
        assert list(model.classes_) == ["no", "rare", "yes"]


@pytest.mark.parametrize("make", [TabularClassifier, TabularRegressor])
def test_rows_of_weight_zero_are_left_out_exactly(make):
    y = CLASSES if make is TabularClassifier else Y
    weight = (np.arange(N) % 4 > 0).astype(float)
    kept = np.flatnonzero(weight)
    if make is TabularClassifier:
        y = y.astype(object)
        y[::4] = "only there"  # a class that nothing says anything of
    other = X.copy()
    other[::4] = 1e6
    expected = make(**SMALL).fit(X[kept], y[kept], np.ones(len(kept)))
    found = make(**SMALL).fit(other, y, weight)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    np.testing.assert_array_equal(found.held_out_[0], kept[expected.held_out_[0]])
    with pytest.raises(ValueError, match="at least one non-zero"):
        make(**SMALL).fit(X, y, np.zeros(N))
    with pytest.raises(ValueError, match="Negative values"):
        make(**SMALL).fit(X, y, -weight)


def test_weights_are_relative_and_count():
    more: dict[str, Any] = SMALL | {"epochs": 60, "model": "realmlp-simple"}
    x = np.tile([[0.0], [1.0]], (20, 1))
    y = np.tile([0.0, 0.0, 1.0, 1.0], 10)  # both inputs have both targets
    heavy = TabularRegressor(**more).fit(x, y, np.where(y > 0, 9.0, 1.0)).predict(x)
    light = TabularRegressor(**more).fit(x, y, np.where(y > 0, 1.0, 9.0)).predict(x)
    assert heavy.mean() > 0.7
    assert light.mean() < 0.3


def test_class_weights():
    labels = np.where(np.arange(N) % 4 == 0, 7, 3)  # nothing tells them apart
    more: dict[str, Any] = SMALL | {"epochs": 30, "model": "realmlp-simple", "label_smoothing": 0.0}
    x = np.tile([[0.0], [0.0], [0.0], [0.0], [1.0], [1.0], [1.0], [1.0]], (5, 1))
    shares = {
        name: TabularClassifier(**more, class_weight=given)
        .fit(x, labels)
        .predict_proba(x)[:, 1]
        .mean()
        for name, given in {"none": None, "balanced": "balanced", "dict": {7: 27.0}}.items()
    }
    assert shares["none"] == pytest.approx(0.25, abs=0.12)
    assert shares["balanced"] == pytest.approx(0.5, abs=0.12)
    assert shares["dict"] == pytest.approx(0.9, abs=0.12)
    for unknown in (
        {"yes": 1.0, "maybe": 2.0},
        {0: 5.0},
    ):  # 0 is the place of a class, and no label
        with pytest.raises(ValueError, match="class_weight names"):
            TabularClassifier(**SMALL, class_weight=unknown).fit(X, CLASSES)


@pytest.mark.parametrize("make", [TabularClassifier, TabularRegressor])
def test_seeds_folds_members_and_time(make):
    y = CLASSES if make is TabularClassifier else Y
    outputs = "predict_proba" if make is TabularClassifier else "predict"

    def predict(**more: Any) -> Any:
        return getattr(make(**SMALL | more).fit(X, y), outputs)(X)

    np.testing.assert_array_equal(predict(), predict())
    assert np.abs(predict() - predict(random_state=1)).max() > 1e-6
    assert predict(model="tabm", members=3, folds=2).shape == predict().shape
    assert predict(members=3).shape == predict().shape
    model = make(**SMALL | {"folds": 3, "epochs": 10**6, "max_time": 0.5}).fit(X, y)
    assert len(model.histories_) == 3
    assert model.n_iter_ < 10**6
    np.testing.assert_array_equal(model.held_out_[0], np.arange(N))


def test_backends_and_precision():
    pytest.importorskip("torch")
    more: dict[str, Any] = SMALL | {"precision": "float64"}
    expected = TabularRegressor(**more).fit(X, Y).predict(X)
    found = TabularRegressor(**more, backend="torch").fit(X, Y)
    np.testing.assert_allclose(found.predict(X), expected, atol=1e-9)
    assert isinstance(found.predict(X), np.ndarray)


def test_progress_is_shown_if_wanted(capsys):
    TabularRegressor(**SMALL).fit(X, Y)
    assert capsys.readouterr() == ("", "")
    TabularRegressor(**SMALL, verbose=True).fit(X, Y)
    assert "epoch 2/2" in capsys.readouterr().err


@pytest.mark.parametrize("make", [TabularClassifier, TabularRegressor])
def test_scikit_learn_s_tools(make, tmp_path):
    pandas = pytest.importorskip("pandas")
    y = CLASSES if make is TabularClassifier else Y
    table = pandas.DataFrame(columns())
    model = make(**SMALL, preset="fast")
    assert clone(model).get_params() == model.get_params()
    assert clone(model).set_params(epochs=3).epochs == 3
    grid = {"model": ["realmlp", "tabm"], "members": [2]}
    search = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(table, y)
    assert np.isfinite(search.best_score_)
    assert len(cross_val_score(model, table, y, cv=2, n_jobs=2)) == 2
    scaled = ColumnTransformer([("a", StandardScaler(), ["a"])], remainder="passthrough")
    pipeline = make_pipeline(scaled.set_output(transform="pandas"), model).fit(table, y)
    assert len(pipeline.predict(table)) == N
    model.fit(table, y)
    for again in (pickle.loads(pickle.dumps(model)), joblib_round(model, tmp_path)):
        np.testing.assert_array_equal(again.predict(table), model.predict(table))


def joblib_round(model: Any, folder: Any) -> Any:
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


@pytest.mark.parametrize("make", [TabularClassifier, TabularRegressor])
def test_the_order_of_day_and_month_can_be_told(make, tmp_path):
    y = CLASSES if make is TabularClassifier else Y
    slashes = {"when": [f"{1 + i % 12}/{1 + i % 11}/2024" for i in range(N)], "a": X[:, 0]}
    iso = [f"2024-{1 + i % 11:02d}-{1 + i % 12:02d}" for i in range(N)]
    with pytest.warns(tables.TableWarning, match=r"month first.*day_first=True"):
        undecided = make(**SMALL).fit(slashes, y)
    month, day = (make(day_first=first, **SMALL) for first in (False, True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", tables.TableWarning)
        month.fit(slashes, y)
        day.fit(slashes, y)
        like = make(**SMALL).fit(slashes | {"when": iso}, y)
    np.testing.assert_array_equal(month.predict(slashes), undecided.predict(slashes))
    np.testing.assert_array_equal(day.predict(slashes), like.predict(slashes | {"when": iso}))
    assert (encoded(day, slashes) != encoded(month, slashes)).any()
    assert clone(day).day_first is True
    back = load(day.save(tmp_path / "model.safetensors"))
    assert back.day_first is True
    np.testing.assert_array_equal(back.predict(slashes), day.predict(slashes))


def test_an_order_that_was_told_holds_for_dates_that_training_did_not_have():
    iso = {"when": DATES.astype(str), "a": X[:, 0]}
    new = {"when": ["5/3/2020"], "a": [0.0]}
    told = TabularRegressor(day_first=True, **SMALL).fit(iso, Y)
    assert told.predict(new) == told.predict({"when": ["2020-03-05"], "a": [0.0]})
    with pytest.raises(ValueError, match=r"may mean 2020-03-05 or 2020-05-03.*day_first="):
        TabularRegressor(**SMALL).fit(iso, Y).predict(new)
    with pytest.raises(ValueError, match="'day_first' parameter of TabularRegressor must be"):
        TabularRegressor(day_first="yes", **SMALL).fit(iso, Y)


def encoded(estimator: Any, rows: Any) -> Any:
    table = tables.read_columns(rows, wanted=estimator.model_.encoder.feature_kinds).table
    return estimator.model_.encoder.encode_features(table)


@pytest.mark.parametrize("make", [TabularClassifier, TabularRegressor])
@pytest.mark.parametrize("more", [{}, {"folds": 2}, {"model": "tabm", "members": 2}])
def test_saved_estimators_come_back(make, more, tmp_path):
    y = CLASSES if make is TabularClassifier else Y
    given = columns() | {"price": [f"{1 + i},{i:02d} €" for i in range(N)]}
    model = make(**SMALL, **more).fit(given, y)
    path = model.save(tmp_path / "model.safetensors")
    back = load(path)
    assert type(back) is make
    assert back.get_params() == model.get_params()
    assert "estimator" not in model.model_.network.metadata
    np.testing.assert_array_equal(back.predict(given), model.predict(given))
    one = {name: column[:1] for name, column in given.items()}
    np.testing.assert_array_equal(back.predict(one), model.predict(one))
    assert list(back.feature_names_in_) == list(given)
    assert (back.n_features_in_, back.n_iter_) == (8, model.n_iter_)
    plain = tables.load(path).predict(given)
    if make is TabularClassifier:
        np.testing.assert_array_equal(plain, model.predict(given))
    else:
        np.testing.assert_allclose(plain, model.predict(given))
    assert back.save(tmp_path / "again").read_bytes() == path.read_bytes()
    with (
        pytest.warns(UserWarning, match="does not have valid feature names"),
        pytest.raises(ValueError, match="expecting 8 features"),
    ):
        back.predict(X)


def test_a_loaded_estimator_computes_where_it_is_told(tmp_path):
    pytest.importorskip("torch")
    model = TabularRegressor(**SMALL).fit(X, Y)
    back = load(model.save(tmp_path / "model"), backend="torch")
    assert back.backend == "torch"
    assert back.model_.network.backend.name == "torch"
    np.testing.assert_allclose(back.predict(X), model.predict(X), atol=1e-5)


def test_hostile_files_are_refused(tmp_path):
    path = TabularClassifier(**SMALL).fit(columns(), CLASSES).save(tmp_path / "good")
    good = nnb.load(path)
    described = good.metadata["estimator"]
    parameters = described["parameters"]
    for number, change in enumerate((
        {"class": "os.system"}, {"class": ["TabularClassifier"]}, {"class": "TabularRegressor"},
        {"class": "MLPClassifier"}, {"parameters": 3}, {"parameters": {"unheard_of": 1}},
        {"parameters": {**parameters, "epochs": -1}}, {"parameters": {"backend": "torch"}},
        {"parameters": {"callbacks": [3]}}, {"n_features_in_": 3}, {"n_features_in_": 2**70},
        {"n_features_in_": "7"}, {"n_iter_": -1}, {"feature_names": ["a"] * 7},
        {"feature_names": [*"abcdefg"]}, {"feature_names": 3}, {"classes": None},
        {"classes": {"dtype": "<U3", "values": ["no", "nay"]}},
        {"classes": {"dtype": "<U3", "values": ["no", "no"]}},
        {"classes": {"dtype": "<U3", "values": ["no"]}},
        {"classes": {"dtype": "U500000000", "values": ["no", "yes"]}},
        {"classes": {"dtype": "V8", "values": ["no", "yes"]}},
        {"classes": {"dtype": "i8", "values": ["no", "yes"]}},
        {"classes": {"dtype": "object", "values": [["no"], ["yes"]]}},
        {"more": 1},
    )):  # fmt: skip
        good.metadata["estimator"] = {**described, **change}
        good.save(tmp_path / f"bad{number}")
        with pytest.raises(ModelFileError):
            load(tmp_path / f"bad{number}")
    for whole in (3, [], "TabularClassifier", {}):
        good.metadata["estimator"] = whole
        good.save(tmp_path / "bad")
        with pytest.raises(ModelFileError):
            load(tmp_path / "bad")
    good.metadata["estimator"] = described
    good.metadata["table"] = {"features": []}
    good.save(tmp_path / "bad")
    with pytest.raises(ModelFileError):
        load(tmp_path / "bad")


class Own(TabularRegressor):
    """A class of somebody else."""


def test_what_cannot_be_saved_says_so(tmp_path):
    with pytest.raises(TypeError, match="only the estimators of this library"):
        Own(**SMALL).fit(X, Y).save(tmp_path / "own")
    dates = np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[D]")[(Y > 0).astype(int)]
    model = TabularClassifier(**SMALL).fit(X, dates)
    np.testing.assert_array_equal(model.classes_, np.unique(dates))
    with pytest.raises(TypeError, match="make them texts"):
        model.save(tmp_path / "dates")


def noisy(count: int, seed: int) -> tuple[Any, Any]:
    """Targets whose spread grows with the first column."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.0, 2.0, size=(count, 2))
    return x, 3.0 * x[:, 1] + (0.2 + x[:, 0]) * rng.normal(size=count)


@pytest.mark.parametrize("more", [{}, {"folds": 2}, {"model": "tabm", "members": 4}])
def test_quantiles_and_intervals(more, tmp_path):
    x, y = noisy(600, 0)
    settings: dict[str, Any] = {"preset": "fast", "epochs": 24, "hidden": (32,), "random_state": 0}
    model = TabularRegressor(**settings | more, quantiles=[0.05, 0.25, 0.5, 0.75, 0.95])
    model.fit(x, y)
    new, truth = noisy(2000, 1)
    found = model.predict_quantiles(new)
    assert found.shape == (2000, 5)
    assert (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_array_equal(model.predict(new), found[:, 2])
    assert abs(np.mean(truth <= found[:, 2]) - 0.5) < 0.1
    for coverage in (0.9, 0.5):
        low, high = model.predict_interval(new, coverage).T
        assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(coverage, abs=0.07)
        wide, narrow = new[:, 0] > 1.5, new[:, 0] < 0.5
        assert np.mean((high - low)[wide]) > 1.5 * np.mean((high - low)[narrow])
    with pytest.raises(
        ValueError, match=r"coverage 0\.9, 0\.5, not 0\.8: train with the quantiles 0\.1, 0\.5"
    ):
        model.predict_interval(new, 0.8)
    path = model.save(tmp_path / "model")
    back = load(path)
    np.testing.assert_array_equal(back.predict_interval(new), model.predict_interval(new))
    plain = tables.load(path)
    columns = {f"x{place}": new[:, place] for place in range(2)}
    np.testing.assert_allclose(plain.predict(columns), model.predict(new))
    encoded = plain.encode(columns)
    targets = plain.encoder.encode_target({"target": truth})
    quality = plain.evaluate(encoded, targets)
    pinball = nnb.losses.Quantile(plain.quantiles)(plain.outputs(encoded), np.tile(targets, 5))[0]
    assert quality["loss"] == pytest.approx(float(pinball), rel=1e-5)
    baseline, words = plain.evaluate_baseline(targets, targets)
    assert quality["loss"] < baseline["loss"]
    assert words.startswith("always the median")


def test_quantiles_that_cannot_be_are_refused(tmp_path):
    for wrong in ([0.1, 0.9], [0.9, 0.5, 0.1], [0.0, 0.5], [0.5, 1.0], ["a"], []):
        with pytest.raises((ValueError, TypeError), match="quantiles"):
            TabularRegressor(**SMALL, quantiles=wrong).fit(X, Y)
    model = TabularRegressor(**SMALL).fit(X, Y)
    with pytest.raises(ValueError, match="no quantiles were learned"):
        model.predict_quantiles(X)
    path = TabularRegressor(**SMALL, quantiles=(0.1, 0.5, 0.9)).fit(X, Y).save(tmp_path / "good")
    for quantiles in (3, [0.5], [0.1, 0.2, 0.9], ["a", 0.5, "b"], None, [0.1, 0.5, 0.9, 0.95]):
        bad = nnb.load(path)
        bad.metadata["quantiles"] = quantiles
        bad.save(tmp_path / "bad")
        for read in (load, tables.load):
            with pytest.raises(ModelFileError):
                read(tmp_path / "bad")
    bad = nnb.load(path)
    for widening in ([], [1.0, 2.0], "a", [float("nan")]):
        bad.metadata["estimator"]["widening"] = widening
        with pytest.raises((ModelFileError, ValueError)):  # noqa: PT012 (NaN is not even written)
            bad.save(tmp_path / "bad")
            load(tmp_path / "bad")


def test_intervals_are_as_wide_as_held_out_rows_need():
    from nnbackend.tables.intervals import symmetric_pairs, widen_intervals

    assert symmetric_pairs((0.05, 0.1, 0.5, 0.9, 0.95)) == [(0, 4, 0.9), (1, 3, 0.8)]
    assert symmetric_pairs((0.1, 0.5)) == []
    targets = np.arange(1.0, 20.0)  # 19 rows: 0.9 * 20 is the 18th
    found = np.zeros((19, 3))
    assert widen_intervals(found, targets, (0.05, 0.5, 0.95)) == [18.0]
    assert widen_intervals(found[:5], targets[:5], (0.05, 0.5, 0.95)) == [5.0]  # there is no more
    assert widen_intervals(np.tile([-1.0, 0.0, 30.0], (19, 1)), targets, (0.05, 0.5, 0.95)) == [
        -3.0
    ]


def test_the_target_is_called_as_the_series_was(tmp_path):
    pd = pytest.importorskip("pandas")
    rows = pd.DataFrame({"x": X[:, 0], "target": X[:, 1]})
    price = pd.Series(Y, name="price")
    for y, name in (
        (price, "price"),
        (price.to_frame(), "price"),
        (price.rename("target"), "target_"),
        (price.rename(None), "target_"),
        (price.rename(3), "target_"),
        (Y, "target_"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of scikit-learn: a column, where a vector was expected
            fitted = TabularRegressor(**SMALL).fit(rows, y)
        path = fitted.save(tmp_path / "model.safetensors")
        assert tables.load(path).encoder.target.name == name
