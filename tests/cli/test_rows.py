"""``nnbackend train``: which rows of a table it takes, and which tables it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.commands import EXAM, PENGUINS, done, fails, run, table, train_json


def test_a_batch_larger_than_the_data_is_one_batch():
    result = train_json(EXAM, "--target", "score", "--batch-size", "9999", "--epochs", "2")
    assert result["settings"]["batch_size"] == 3


def test_too_few_rows_to_validate_is_said():
    result = done("train", EXAM, "--target", "score", "--epochs", "2")
    assert "3 rows are too few to hold some out" in result.stderr
    assert "3: 3 train, 0 validate" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table.csv is empty"),
        ("a,b\n", "holds no rows"),
        ("a,b\n1,2\n", "at least two rows with a target 'b'"),
        ("a,b\n1,5\n2,5\n", "target 'b' has one value only, 5"),
        ("a,b\n1,\n2,\n", "no row has a value for the target 'b'"),
        ("a,b\n1,1\n1,2\n", "no column to predict 'b' from"),
        ("b\n1\n2\n", "no column to predict 'b' from"),
        ("a,b\n1,2\n2,3\nx,4\n", "column 'a' holds numbers, but row 3 (line 4) holds 'x'"),
        ("a,b\n1,2\n2,3\n4,x\n", "column 'b' holds numbers, but row 3 (line 4) holds 'x'"),
        ("a,b\n1,2\ninf,3\n", "column 'a' is infinite in row 2"),
        ("a,b\n1,2,3\n", "not a readable .csv file"),
        ("a,b,b\n1,2,3\n", "more than one column is named 'b'"),
    ],
)
def test_tables_that_cannot_be_learned_from(text, message):
    assert message in fails(1, "train", table(text), "--target", "b")


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".jsonl", ".csv.gz", ".xlsx", ""])
def test_files_that_are_not_what_their_ending_says(ending):
    path = Path(f"table{ending}")
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe")
    assert str(path) in fails(1, "train", path, "--target", "b")


def test_text_in_a_target_of_numbers():
    message = fails(1, "train", PENGUINS, "--target", "species", "--task", "regression")
    assert "the target 'species' holds texts, 'Adelie', " in message
    assert "without --task regression they are classes" in message
    assert "--missing" not in message
    message = fails(1, "train", PENGUINS, "--target", "species", "--quantiles", "0.1,0.5,0.9")
    assert "'Chinstrap'; without --quantiles they are classes" in message
    few = table("x,y\n" + "".join(f"{i},{2 * i}\n" for i in range(20)) + "3,abc\n")
    message = fails(1, "train", few, "--target", "y", "--task", "regression")
    assert "row 21 (line 22) holds 'abc'; correct it" in message


def test_a_table_of_several_files_trains_as_one_file_does(tmp_path):
    lines = Path(EXAM).read_text().splitlines()
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, row in enumerate(lines[1:]):
        (folder / f"{i}.csv").write_text(f"{lines[0]}\n{row}\n")
    whole = run("train", EXAM, "--target", "score", "--epochs", "3", "--json")
    for data in (folder, folder / "*.csv"):
        parts = run("train", data, "--target", "score", "--epochs", "3", "--json")
        assert parts.exit_code == 0, parts.output
        loss = [json.loads(r.stdout)["history"]["loss"] for r in (whole, parts)]
        assert loss[0] == loss[1]
    fails(2, "train", folder / "*.csv", "--target", "score", "--output", folder / "0.csv")
