"""``nnbackend predict --explain``: what each column contributes to one prediction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.commands import PENGUINS, answers, done, fails, table


@pytest.fixture(scope="module")
def species(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "species.safetensors"
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "5", "--output", path)
    return path


def test_contributions_add_up_to_the_prediction(species):
    result = done("predict", species, PENGUINS, "--explain", "3", "--json")
    assert result.stderr == ""
    told = json.loads(result.stdout)
    columns = answers(done("predict", species, PENGUINS, "--probabilities").stdout)
    assert (told["row"], told["answer"]) == (3, columns["species"][2])
    assert told["prediction"] == pytest.approx(
        float(columns[f"probability_{told['answer']}"][2]), abs=1e-6
    )
    total = sum(column["contribution"] for column in told["columns"])
    assert total == pytest.approx(told["prediction"] - told["base"], abs=1e-6)
    assert abs(told["residual"]) < 1e-6
    assert told["background_rows"] == 100
    values = {column["column"]: column["value"] for column in told["columns"]}
    assert values["island"] == "Torgersen"
    assert values["bill_length_mm"] == 40.3
    assert any("missing numbers" in note for note in told["notes"]) is False
    text = done("predict", species, PENGUINS, "--explain", "3").stdout
    assert f"Row 3: probability of {told['answer']} " in text
    assert "standard error" in text
    assert "Torgersen" in text
    assert f"{told['prediction'] - told['base']:+.4g}" in text


def test_the_background_may_be_another_table(species):
    lines = Path(PENGUINS).read_text().splitlines()
    one = table("\n".join(lines[:2]) + "\n", "one.csv")
    assert "give --background a table" in fails(2, "predict", species, one, "--explain", "1")
    told = json.loads(
        done("predict", species, one, "--explain", "1", "--background", PENGUINS, "--json").stdout
    )
    same = json.loads(done("predict", species, PENGUINS, "--explain", "1", "--json").stdout)
    assert told["columns"] == same["columns"]
    folder = Path("parts")
    folder.mkdir()
    table("\n".join(lines[:100]) + "\n", "parts/a.csv")
    table("\n".join([lines[0], *lines[100:]]) + "\n", "parts/b.csv")
    told = json.loads(
        done(
            "predict", species, one, "--explain", "1", "--background", "parts/*.csv", "--json"
        ).stdout
    )
    assert told["columns"] == same["columns"]


def test_numbers_are_explained_in_their_units():
    rows = "".join(f"{i},{i % 7},{100 * i + 1000}\n" for i in range(60))
    done("train", table("a,b,y\n" + rows), "--target", "y", "--quiet", "--hidden", "none",
         "--epochs", "40")  # fmt: skip
    told = json.loads(done("predict", "model.safetensors", "table.csv", "--explain", "60",
                           "--json").stdout)  # fmt: skip
    assert told["answer"] == "y"
    first = told["columns"][0]
    assert first["column"] == "a"
    assert np.isclose(first["contribution"], told["prediction"] - told["base"], rtol=0.2)
    assert (
        "Row 60: y " in done("predict", "model.safetensors", "table.csv", "--explain", "60").stdout
    )


def test_calls_that_cannot_be_explained(species):
    assert "has 344 rows" in fails(2, "predict", species, PENGUINS, "--explain", "345")
    for more in (["--output", "a.csv"], ["--id", "year"], ["--probabilities"]):
        message = fails(2, "predict", species, PENGUINS, "--explain", "1", *more)
        assert "--explain prints one row" in message
    for more in (["--json"], ["--background", PENGUINS]):
        assert "go with --explain" in fails(2, "predict", species, PENGUINS, *more)
    fails(2, "predict", species, PENGUINS, "--explain", "0")
    fails(2, "predict", species, PENGUINS, "--explain", "1", "--background", "no/*.csv")


def test_a_hinge_loss_has_nothing_to_explain():
    done("train", PENGUINS, "--target", "sex", "--loss", "hinge", "--quiet", "--epochs", "1")
    message = fails(2, "predict", "model.safetensors", PENGUINS, "--explain", "1")
    assert "gives no probabilities" in message
