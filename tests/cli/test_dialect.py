"""Tables in other dialects and formats: the same model, and the same answers."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from cli.commands import done, fails, table, train_json  # skips without typer

import nnbackend as nnb

pl = pytest.importorskip("polars")

ROWS = 60
BRIEF = ("--epochs", "3", "--hidden", "4")
FORMATS = ["csv", "tsv", "parquet", "feather", "jsonl"]


def flags():
    """Return a table whose target hangs on booleans and whole numbers."""
    rng = np.random.default_rng(0)
    wet, grade = rng.random(ROWS) < 0.5, rng.integers(1, 4, ROWS)
    days = [dt.datetime(2020, 1, 1) + dt.timedelta(days=int(i)) for i in range(ROWS)]
    return pl.DataFrame(
        {"wet": wet, "grade": grade.astype(float), "day": days, "y": wet * 3.0 + grade}
    )


def write(frame, ending, name="t"):
    path = Path(f"{name}.{ending}")
    if ending in ("csv", "tsv"):
        frame.write_csv(path, separator="\t" if ending == "tsv" else ",")
    else:
        {"parquet": frame.write_parquet, "feather": frame.write_ipc, "jsonl": frame.write_ndjson}[
            ending
        ](path)
    return path


def evaluated(path):
    return json.loads(done("evaluate", "model.safetensors", path, "--json").stdout)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("target", ["y", "wet", "grade"])
def test_a_model_of_one_format_is_right_on_every_other(ending, target):
    frame = flags()
    task = ["--task", "classification"] if target == "grade" else []
    told = train_json(write(frame, ending), "--target", target, *BRIEF, *task)
    assert told["settings"]["features"] == [c for c in frame.columns if c != target]
    if target != "y":
        assert told["classes"] == (["false", "true"] if target == "wet" else ["1", "2", "3"])
    first = evaluated(Path(f"t.{ending}"))
    python = frame.with_columns(pl.col("wet").replace_strict({True: "True", False: "False"}))
    digits = frame.with_columns(pl.col("wet").cast(pl.Int8), pl.col("grade").cast(pl.Int8))
    others = [write(frame, other, "u") for other in FORMATS]
    for other in (*others, write(python, "csv", "v"), write(digits, "parquet", "v")):
        assert evaluated(other) | {"notes": []} == first | {"notes": []}, other


def test_dates_are_read_alike_and_may_be_texts():
    frame = flags()
    for ending in ("csv", "parquet"):
        path = write(frame, ending)
        for stream in ([], ["--stream"]):
            told = train_json(path, "--target", "y", *BRIEF, *stream)
            assert told["settings"]["features"] == ["wet", "grade", "day"]
            assert "date: days" in done("inspect", "model.safetensors").stdout
        told = train_json(path, "--target", "y", *BRIEF, "--text", "day,grade")
        assert told["settings"]["features"] == ["wet", "grade", "day"]
        assert "category: 2020" in done("inspect", "model.safetensors").stdout


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_table_in_another_dialect_trains_and_predicts(stream):
    rows = [f"{i},5;{i % 3};Stra\xdfe;?;{i}" for i in range(40)]
    rows[7] = "?;?;Stra\xdfe;2;7"
    header = "# of the office\nsize;part;way;gap;weight\n"
    Path("t.csv").write_bytes((header + "\n".join(rows) + "\n").encode("latin-1"))
    dialect = ["--comment", "#", "--missing", "?"]
    told = train_json("t.csv", "--target", "weight", *BRIEF, *dialect, "--exclude", "part", *stream)
    assert told["settings"]["features"] == ["size"]
    assert told["settings"]["missing"] == ["?"]
    for words in ("decimal commas in size", "parted by semicolons", "is not in UTF-8"):
        assert any(words in note for note in told["notes"])
    Path("u.csv").write_text("size\n2,5\n?\n")  # missing values are those of the training
    found = done("predict", "model.safetensors", "u.csv", "--delimiter", "tab").stdout.split()
    assert len(found) == 3
    for ambiguous, plain in (("2,500", "2.5"), ("1,250", "1.25")):  # decimal commas, as in training
        Path("u.csv").write_text(f'size,a\n"{ambiguous}",1\n')
        Path("v.csv").write_text(f"size,a\n{plain},1\n")
        answers = [done("predict", "model.safetensors", f"{n}.csv").stdout for n in "uv"]
        assert answers[0] == answers[1]


def test_options_that_cannot_be():
    path = table("a,b\n1,2\n2,3\n")
    for options, words in (
        (["--delimiter", "::"], "delimiter is one character"),
        (["--encoding", "utf-99"], "there is no encoding 'utf-99'"),
        (["--encoding", "base64"], "there is no encoding 'base64'"),
        (["--encoding", "idna"], "there is no encoding 'idna'"),
        (["--thousands", ""], "thousands is one of"),
        (["--decimal", ",", "--thousands", ","], "cannot be both"),
        (["--exclude", "b"], "'b' cannot be left out by --exclude: it is needed"),
        (["--exclude", "c"], "unknown column 'c'"),
        (["--text", "c"], "unknown column 'c'"),
        (["--missing", ","], "--missing takes texts like a,b,c"),
    ):
        assert words in fails(2, "train", path, "--target", "b", *options)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_target_that_is_not_there_is_said_while_streaming(ending):
    path = write(flags(), ending)
    assert "unknown column 'nope'" in fails(2, "train", path, "--target", "nope", "--stream")
    assert "unknown column 'days'; did you mean 'day'" in fails(
        2, "train", path, "--target", "y", "--stream", "--text", "days"
    )


DAMAGED = {
    "csv": b"a,b\n1,2\n3\n",
    "csv.gz": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x00\x01",
    "parquet": b"PAR1" + b"\xff" * 60 + b"PAR1",
    "arrow": b"ARROW1\0\0" + b"\xff" * 60 + b"ARROW1",
    "feather": b"ARROW1\0\0" + b"\0" * 60,
}


@pytest.mark.parametrize("ending", DAMAGED)
@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_damaged_files_have_one_kind_of_message(ending, stream):
    Path(f"t.{ending}").write_bytes(DAMAGED[ending])
    message = fails(1, "train", f"t.{ending}", "--target", "b", *stream)
    assert f"error: t.{ending} is not a readable .{ending} file: " in message


def test_a_stream_takes_no_line_of_any_length():
    Path("t.csv.gz").write_bytes(gzip.compress(b"a,b\n1," + b"2" * (1 << 21)))
    message = fails(1, "train", "t.csv.gz", "--target", "b", "--stream", "--comment", "#")
    assert "error: t.csv.gz is not a readable .csv.gz file: a line is longer than" in message


def test_files_without_any_rows_have_one_message():
    frame = flags().head(0)
    for ending in ("csv", "parquet", "feather"):
        for stream in ([], ["--stream"]):
            message = fails(1, "train", write(frame, ending), "--target", "y", *stream)
            assert "hold" in message
            assert "no rows" in message


def test_prediction_reads_numbers_as_training_did():
    """Only the target has decimal commas, which the features alone do not show."""
    distances = range(1000, 9000, 200)
    lines = [f"{k:,};{48 + k / 8000};{k / 2}".replace(",", ".") for k in distances]
    lines = [",".join(line.rsplit(".", 1)) for line in lines]
    data = table("km;latitude;price\n" + "\n".join(lines) + "\n")
    train_json(data, "--target", "price", *BRIEF)
    expected = evaluated(data)
    frame = {"km": [float(k) for k in distances], "latitude": [48 + k / 8000 for k in distances]}
    answers = nnb.tables.load("model.safetensors").predict(frame)
    one = table(f"km;latitude\n{lines[3].rpartition(';')[0]}\n", "one.csv")
    for path, count in ((data, len(answers)), (one, 1)):
        done("predict", "model.safetensors", path, "-o", "answers.parquet")
        found = pl.read_parquet("answers.parquet")["price"].to_list()
        start = 0 if count > 1 else 3
        np.testing.assert_allclose(found, answers[start : start + count], rtol=1e-6)
    errors = answers - np.array(distances) / 2
    assert abs(np.sqrt(np.mean(errors**2)) - expected["rmse"]) < 1e-6 * expected["rmse"]


def test_fields_of_several_lines_stream_across_the_parts_of_a_file(monkeypatch):
    monkeypatch.setattr("nnbackend.data.arrow._CSV_BYTES", 1 << 10)
    rows = "".join(f'{i},"line {i % 3}\n\nmore, {i % 2}",{2 * i}\n' for i in range(200))
    told = train_json(table(f"x,c,y\n{rows}"), "--target", "y", *BRIEF, "--stream")
    assert (told["rows"], told["settings"]["features"]) == (200, ["x", "c"])
