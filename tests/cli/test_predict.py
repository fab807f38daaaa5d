"""``nnbackend predict``: a CSV table, or the reason why there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from cli.commands import EXAM, PENGUINS, answers, done, fails, table, train_json

from nnbackend.tables.reading import read_frame

pl = pytest.importorskip("polars")


def test_predictions_go_to_a_file():
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "2")
    result = done("predict", "model.safetensors", EXAM, "--output", "answers.csv")
    assert result.output == ""
    assert Path("answers.csv").read_text().count("\n") == 4


def test_unseen_categories_are_reported_and_predicted_all_the_same():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "2")
    text = Path(PENGUINS).read_text().replace("Torgersen", "Atlantis")
    result = done("predict", "model.safetensors", table(text))
    assert "note: column 'island': 52 rows with a category that training has not seen: 'At" in (
        result.stderr
    )
    assert result.stdout.count("\n") == 345


def test_probabilities_of_numbers():
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "1")
    message = fails(2, "predict", "model.safetensors", EXAM, "--probabilities")
    assert "--probabilities: only classes have probabilities" in message


@pytest.mark.parametrize("victim", ["model.safetensors", "data.csv"])
def test_predictions_overwrite_no_input(victim):
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "1")
    shutil.copy(EXAM, "data.csv")
    message = fails(2, "predict", "model.safetensors", "data.csv", "--output", victim)
    assert "would overwrite what is read" in message


def test_missing_columns_at_prediction_are_named():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "1")
    data = table("island,bill_length,bill_depth_mm\nDream,40,18\n")
    message = fails(2, "predict", "model.safetensors", data)
    assert "the table lacks 5 columns: 'bill_length_mm' (it has 'bill_length'), 'fl" in message


def test_text_instead_of_a_number_at_prediction():
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "1")
    data = table("hours_studied,hours_slept\n4,eight\n")
    message = fails(1, "predict", "model.safetensors", data)
    assert "column 'hours_slept' holds numbers, but row 1 (line 2) holds 'eight'" in message


@pytest.fixture
def line():
    """A model of y = 2 x."""
    data = table("x,z,y\n" + "".join(f"{i},{i % 5},{2 * i}\n" for i in range(20)))
    done("train", data, "--target", "y", "--features", "x,z", "--quiet", "--epochs", "2")
    return "model.safetensors"


@pytest.mark.parametrize("rows", [[("1", "1"), (None, None), ("3", "1")], [(None, None)], []])
def test_one_answer_for_each_row_of_every_format(line, rows):
    frame = pl.DataFrame(rows, schema={"x": pl.String, "z": pl.String}, orient="row")
    frame.write_csv("t.csv")
    numbers = frame.cast(pl.Float64)
    numbers.write_parquet("t.parquet")
    numbers.write_ndjson("t.jsonl")
    np.savez("t.npz", **{name: numbers[name].fill_null(np.nan).to_numpy() for name in "xz"})
    said = [done("predict", line, name).stdout for name in ("t.csv", "t.parquet", "t.npz")]
    assert said[0].count("\n") == len(rows) + 1
    assert len(set(said)) == 1
    if rows:  # JSON lines without a line say nothing of columns
        assert done("predict", line, "t.jsonl").stdout == said[0]


@pytest.mark.parametrize("ending", [".csv", ".tsv.gz", ".parquet", ".jsonl"])
def test_the_output_has_the_format_of_its_name_and_the_columns_asked_for(line, ending):
    data = table("id,x,z\n007,1,1\n,2,1\nß,3,1\n", "in.csv")
    done("predict", line, data, "--output", f"out{ending}", "--id", "id", "--id", "z")
    frame = read_frame(f"out{ending}")
    assert frame.columns == ["id", "z", "y"]
    assert done("predict", line, data, "--id", "id, z").stdout.startswith("id,z,y\n007,1,")
    assert frame["id"].to_list() == ["007", None, "ß"]
    plain = answers(done("predict", line, data).stdout)["y"]
    assert [float(y) for y in frame["y"]] == [float(y) for y in plain]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_no_rows_are_a_table_of_the_same_columns(ending):
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "1")
    table(Path(PENGUINS).read_text().partition("\n")[0] + "\n", "none.csv")
    call = ["predict", "model.safetensors", "none.csv", "--probabilities", "--id", "island"]
    done(*call, "--output", f"said{ending}")
    frame = read_frame(f"said{ending}")
    names = ["island", "species", *(f"probability_{n}" for n in ("Adelie", "Chinstrap", "Gentoo"))]
    assert (frame.columns, frame.height) == (names, 0)
    if ending == ".parquet":
        assert frame.dtypes == [pl.String, pl.String, *[pl.Float64] * 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "p.xlsx"], "cannot write 'p.xlsx' in the format of its ending"),
        (["--output", "p.safetensors"], "cannot write 'p.safetensors'"),
        (["--id", "idd"], "the table lacks 1 column: 'idd' (it has 'id')"),
        (["--id", "y"], "--id y: a column of the answers has that name"),
    ],
)
def test_wrong_outputs_and_identifiers(line, options, message):
    data = table("id,x,z,y\na,1,1,2\nb,2,1,4\n", "in.csv")
    assert message in fails(2, "predict", line, data, *options)


def test_rows_that_differ_from_those_of_training_are_said():
    rows = [f"{i % 10},{'ab'[i % 2]},{i % 10}.5\n" for i in range(60)]
    done("train", table("x,c,y\n" + "".join(rows)), "--target", "y", "--quiet", "--epochs", "2")
    same = done("predict", "model.safetensors", table("x,c\n3,a\n,b\n12,a\n", "same.csv"))
    assert "range" not in same.stderr
    assert "more values" not in same.stderr
    other = "x,c\n" + "99,a\n" + ",z\n" * 20
    said = done("predict", "model.safetensors", table(other, "other.csv")).stderr
    assert "values far or often outside the range of the training rows: x (1 row)" in said
    assert "more values missing than in the training rows: x (95%, in training 0%)" in said
    assert "20 rows with a category that training has not seen: 'z'" in said


def test_columns_that_give_the_target_away_are_said_in_training():
    rows = "".join(f"{i % 3},{i % 7},{'uvw'[i % 3]}\n" for i in range(60))
    told = train_json(table("code,x,y\n" + rows), "--target", "y", "--epochs", "1")
    (said,) = (
        note for note in told["notes"] if note.startswith("columns that give the target away")
    )
    assert "one-to-one with it: code;" in said
    assert told["settings"]["features"] == ["code", "x"]
