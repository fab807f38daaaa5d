"""Models of tables in Python: frames in, answers in their units out."""

from __future__ import annotations

import numpy as np
import pytest
from cli.commands import PENGUINS, answers, done, table, train_json

import nnbackend as nnb
from nnbackend.errors import UnknownNameError
from nnbackend.tables.table import TableWarning

pl = pytest.importorskip("polars")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def species(tmp_path_factory):
    """A model of species, and what the command predicts with it for the table."""
    path = tmp_path_factory.mktemp("model") / "species.safetensors"
    options = ["--quiet", "--epochs", "5", "--model", "mlp", "--output", path]
    done("train", PENGUINS, "--target", "species", *options)
    return path, answers(done("predict", path, PENGUINS, "--probabilities").stdout)


def frames_of(path):
    """The same table as pandas and polars read it, with their own kinds of columns."""
    pandas = pytest.importorskip("pandas")
    read = pandas.read_csv(path)
    yield read
    yield read.convert_dtypes()
    yield read.astype({name: "category" for name in read if read[name].dtype.kind == "O"})
    yield read.sample(frac=1, random_state=0).sort_index()
    yield pl.read_csv(path, null_values="NA")
    yield pl.scan_csv(path)
    yield pl.read_csv(path).to_arrow()
    yield pl.read_csv(path).to_dict(as_series=False)
    yield {column.name: column.to_numpy() for column in pl.read_csv(path)}


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_every_frame_gives_the_answers_of_the_command(species):
    path, expected = species
    model = nnb.tables.load(path)
    for frame in frames_of(PENGUINS):
        assert list(model.predict(frame)) == expected["species"], type(frame)
        shares = model.predict_proba(frame)
        for name in model.classes:
            np.testing.assert_array_equal(
                np.asarray(shares[name]), np.array(expected[f"probability_{name}"], float)
            )


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_answers_are_of_the_frames_library_with_its_index(species):
    pandas = pytest.importorskip("pandas")
    model = nnb.tables.load(species[0])
    frame = pandas.read_csv(PENGUINS).iloc[[5, 3, 300]]
    said = model.predict(frame)
    assert isinstance(said, pandas.Series)
    assert said.name == "species"
    assert said.index.tolist() == [5, 3, 300]
    assert model.predict_proba(frame).index.tolist() == [5, 3, 300]
    assert model.predict_proba(frame).columns.tolist() == list(model.classes)
    said = model.predict(pl.read_csv(PENGUINS, null_values="NA").head(2))
    assert isinstance(said, pl.Series)
    assert (said.name, said.dtype) == ("species", pl.String)
    assert isinstance(model.predict(pl.read_csv(PENGUINS).to_dict()), np.ndarray)


def test_large_numbers_keep_their_digits():
    """What float32 cannot tell apart, in the answers, in the figures and in what is printed."""
    rows = "".join(f"{x},{1_600_000_000 + 10 * x}\n" for x in range(200))
    told = train_json(table("x,y\n" + rows), "--target", "y", "--epochs", "60", "--model", "mlp")
    assert told["validation"]["r2"] > 0.99
    assert told["baseline_answer"].startswith("always the mean, 16000009")
    frame = pl.DataFrame({"x": range(200)})
    said = nnb.tables.load("model.safetensors").predict(frame)
    assert said.dtype == pl.Float64
    np.testing.assert_allclose(said - 1_600_000_000, 10.0 * np.arange(200), atol=100)
    assert len(set(said)) == 200
    table("x\n" + "".join(f"{x}\n" for x in range(200)), "x.csv")
    printed = answers(done("predict", "model.safetensors", "x.csv").stdout)["y"]
    assert [float(y) for y in printed] == said.to_list()
    assert "(value - 16000009" in done("inspect", "model.safetensors").stdout


def test_one_answer_for_each_row_of_a_frame():
    done("train", table("x,y\n" + "".join(f"{i},{2 * i}\n" for i in range(20))), "--target", "y",
         "--quiet", "--epochs", "2")  # fmt: skip
    model = nnb.tables.load("model.safetensors")
    with pytest.warns(UserWarning, match="filled with the median"):
        assert model.predict(pl.DataFrame({"x": [1, None, 3]})).len() == 3
    none = model.predict(pl.DataFrame({"x": []}))
    assert (none.len(), none.dtype) == (0, pl.Float64)
    assert model.predict({"x": np.zeros(0)}).shape == (0,)
    assert model.predict({"x": [5]}).shape == (1,)
    expected = model.predict({"x": [5.0, 7.0]})
    for dtype in ("float16", "longdouble", "uint8", "int64", object, str):
        assert (model.predict({"x": np.array([5, 7], dtype)}) == expected).all()


def test_columns_whose_names_are_numbers():
    pandas = pytest.importorskip("pandas")
    data = table("0,1\n" + "".join(f"{i},{2 * i}\n" for i in range(20)))
    done("train", data, "--target", "1", "--quiet", "--epochs", "2")
    model = nnb.tables.load("model.safetensors")
    assert len(model.predict(pandas.DataFrame([[5.0, 0.0], [7.0, 0.0]]))) == 2
    assert len(model.predict({0: [5, 7]})) == 2


def test_what_is_no_table_or_lacks_columns_is_named(species):
    model = nnb.tables.load(species[0])
    for wrong in (np.zeros((3, 7)), [[1, 2]], "penguins.csv", None):
        with pytest.raises(TypeError, match="a table is a DataFrame of pandas or polars"):
            model.predict(wrong)
    frame = pl.read_csv(PENGUINS).drop("sex", "year").rename({"island": "islands"})
    with pytest.raises(UnknownNameError, match=r"lacks 3 columns: 'island'.*, 'sex', 'year'"):
        model.predict(frame)
    columns = pl.read_csv(PENGUINS).head(2).to_dict(as_series=False)
    for wrong, message in (
        ([1, 2, 3], "make no table"),
        ("2007", "'year' is no column of values: '2007'; each is a list"),
        (2007, "'year' is no column of values: 2007; each is a list"),
        ({2007, 2008}, "'year' is no column of values"),
        ({0: 2007, 1: 2008}, r"'year' is a dictionary.*to_dict\("),
        (np.zeros((2, 2)), "'year' is no row of values"),
        (
            [10**400, 2007],
            "'year' holds (a whole number of about 401 digits in row 1|numbers that are too large)",
        ),
        ([[1], [2]], r"'year' holds List\(Int64\), neither numbers nor texts$"),
        (["old", "new"], "column 'year' holds numbers, but row 1 holds 'old'"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(columns | {"year": wrong})
    pandas = pytest.importorskip("pandas")
    read = pandas.read_csv(PENGUINS)
    year = columns["year"]
    masked = np.ma.array([float(year[0]), 9e9], mask=[False, True])
    with pytest.warns(TableWarning, match=r"filled with the median .*year \(1\)"):
        found = model.predict_proba(columns | {"year": masked})
    with pytest.warns(TableWarning, match=r"year \(1\)"):
        expected = model.predict_proba(columns | {"year": [year[0], None]})
    assert [c.tolist() for c in found.values()] == [c.tolist() for c in expected.values()]
    with pytest.raises(ValueError, match="'sex' is no row of values, or more than one"):
        model.predict(pandas.concat([read, read["sex"]], axis=1))
    for series in (read["year"], read.iloc[0]):
        with pytest.raises(TypeError, match=r"a table is a DataFrame .* got Series"):
            model.predict(series)


def test_the_bare_network_refuses_the_table(species):
    """It would take the numbers for scaled ones, and answer in scaled ones."""
    frame = pl.DataFrame({str(i): [1.0, 2.0] for i in range(11)})
    net = nnb.load(species[0])
    assert net.predict(frame.to_numpy()).shape == (2, 3)
    for attempt in (lambda: net.predict(frame), lambda: net.evaluate(frame, [0, 1], loss="mse")):
        with pytest.raises(ValueError, match=r"nnb\.tables\.load\(path\) predicts from the table"):
            attempt()


def test_numbers_and_hinges_have_no_probabilities():
    options = ["--quiet", "--epochs", "1", "--target"]
    done("train", PENGUINS, *options, "year")
    with pytest.raises(ValueError, match="only classes have probabilities"):
        nnb.tables.load("model.safetensors").predict_proba({})
    done("train", PENGUINS, *options, "sex", "--loss", "hinge")
    with pytest.raises(ValueError, match="hinge gives no probabilities"):
        nnb.tables.load("model.safetensors").predict_proba({})


@pytest.mark.parametrize("unit", ["D", "s", "ns"])
def test_dates_of_numpy_are_read_as_in_training(unit):
    from nnbackend.tables import choose_kinds, read_columns
    from nnbackend.tables.training import fit_table

    days = np.datetime64("2020-01-31") + 11 * np.arange(30)
    frame = {"d": days.astype(f"datetime64[{unit}]"), "t": days - days[0], "a": np.arange(30.0)}
    columns = read_columns(frame)
    table = {**columns.table, "y": np.sin(np.arange(30.0))}
    kinds = choose_kinds(table, target="y")
    model = fit_table(table, "y", kinds, recipe={"epochs": 1, "hidden": (4,)}, verbose=0).model
    expected = model.answers(model.outputs(model.encoder.encode_features(table)))
    np.testing.assert_array_equal(model.predict(frame), expected)
