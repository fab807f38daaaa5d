"""Quantiles, intervals and members on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.commands import answers, done, fails, table, train_json

import nnbackend as nnb

MODEL = "model.safetensors"
SMALL = ["--epochs", "30", "--hidden", "8"]


def data(rows: int = 200) -> str:
    rng = np.random.default_rng(0)
    x = rng.uniform(size=rows)
    y = x + rng.normal(size=rows) / 10
    return str(table("x,y\n" + "".join(f"{a:.4f},{b:.4f}\n" for a, b in zip(x, y, strict=True))))


@pytest.mark.parametrize(
    "more", [[], ["--folds", "2"], ["--model", "tabm", "--members", "2"]], ids=str
)
def test_quantiles_are_columns_of_the_answers(more):
    result = train_json(data(), "--target", "y", "--quantiles", "0.1,0.5,0.9", *more, *SMALL)
    assert result["settings"]["quantiles"] == [0.1, 0.5, 0.9]
    assert result["settings"]["loss"] == "quantile"
    found = answers(done("predict", MODEL, "table.csv", "--interval", "0.8").stdout)
    assert [*found] == ["y", "y_0.1", "y_0.9", "y_low", "y_high"]
    low, middle, high = (np.array(found[name], float) for name in ("y_0.1", "y", "y_0.9"))
    assert (low <= middle).all()
    assert (middle <= high).all()
    truth = np.array(answers(Path("table.csv").read_text())["y"], float)
    ends = np.array(found["y_low"], float), np.array(found["y_high"], float)
    assert 0.7 < np.mean((ends[0] <= truth) & (truth <= ends[1])) < 0.95
    widening = nnb.tables.load(MODEL).widening
    np.testing.assert_allclose(ends[0], low - widening[0], atol=1e-6)
    said = fails(2, "predict", MODEL, "table.csv", "--interval", "0.9")
    assert "--interval: the quantiles learned have intervals of the coverage 0.8, not 0.9" in said
    assert "inside_0.8" in done("evaluate", MODEL, "table.csv", "--report").stdout
    report = json.loads(done("evaluate", MODEL, "table.csv", "--report", "--json").stdout)["report"]
    shares = {name: np.mean(truth <= ends) for name, ends in
              {"below_0.1": low, "below_0.5": middle, "below_0.9": high}.items()}  # fmt: skip
    shares["inside_0.8"] = np.mean((ends[0] <= truth) & (truth <= ends[1]))
    assert {name: report["metrics"][name] for name in shares} == pytest.approx(shares, abs=0.006)


def test_members_are_trained_together():
    result = train_json(data(), "--target", "y", "--members", "3", "--epochs", "1", "--hidden", "4")
    assert result["settings"]["members"] == 3
    assert (
        "3 members" in done("train", "table.csv", "--target", "y", "--members", "3", *SMALL).stdout
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--quantiles", "0.1,0.9"], "include 0.5"),
        (["--quantiles", "a"], "--quantiles takes numbers like 0.1,0.5,0.9; got 'a'"),
        (["--quantiles", "0.5", "--loss", "mae"], "leave out --loss mae"),
        (["--quantiles", "0.5", "--task", "classification"], "leave out --task classification"),
        (["--quantiles", "0.5", "--model", "mlp"], "does not go with --model mlp"),
        (["--members", "2", "--activation", "tanh"], "--members is for the models"),
    ],
    ids=str,
)
def test_wrong_calls(options, said):
    assert said in fails(2, "train", data(20), "--target", "y", *options)


def test_a_damaged_widening_is_refused():
    train_json(
        data(), "--target", "y", "--quantiles", "0.1,0.5,0.9", "--epochs", "1", "--hidden", "4"
    )
    network = nnb.load(MODEL)
    network.metadata["widening"] = [1.0, 2.0]
    network.save(MODEL)
    with pytest.raises(ValueError, match="widening"):
        nnb.tables.load(MODEL)
