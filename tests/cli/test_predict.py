"""``nnbackend predict``: a CSV table, or the reason why there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli.commands import EXAM, PENGUINS, done, fails, table


def test_predictions_go_to_a_file():
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "2")
    result = done("predict", "model.safetensors", EXAM, "--output", "answers.csv")
    assert result.output == ""
    assert Path("answers.csv").read_text().count("\n") == 4


def test_unseen_categories_are_reported_and_predicted_all_the_same():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "2")
    text = Path(PENGUINS).read_text().replace("Torgersen", "Atlantis")
    result = done("predict", "model.safetensors", table(text))
    assert "note: column 'island': 52 row(s) with a category that training has not seen: 'At" in (
        result.stderr
    )
    assert result.stdout.count("\n") == 345


def test_probabilities_of_numbers():
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "1")
    message = fails(2, "predict", "model.safetensors", EXAM, "--probabilities")
    assert "--probabilities needs classes" in message


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
    assert "unknown column 'bill_length_mm'; did you mean 'bill_length'" in message


def test_text_instead_of_a_number_at_prediction():
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "1")
    data = table("hours_studied,hours_slept\n4,eight\n")
    message = fails(1, "predict", "model.safetensors", data)
    assert "column 'hours_slept' holds numbers, but row 1 holds 'eight'" in message
