"""Tables that write their values otherwise than the one that trained: read right, or refused."""

from __future__ import annotations

import pytest
from cli.commands import answers, done, fails, table

import nnbackend as nnb

SMALL = ["--epochs", "1", "--hidden", "4"]
PLAIN = ["--model", "mlp", *SMALL]
MODEL = "model.safetensors"


def write(name: str, **values: list) -> str:
    rows = zip(*values.values(), strict=True)
    lines = [",".join(values), *(",".join(map(str, row)) for row in rows)]
    return str(table("\n".join(lines) + "\n", name))


def predict(data: str, *options: str) -> list[str]:
    return answers(done("predict", MODEL, data, *options).stdout)["y"]


@pytest.mark.parametrize("network", [PLAIN, SMALL], ids=["mlp", "realmlp"])
def test_dates_of_a_form_that_training_did_not_have(network):
    days = [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(40)]
    write("days.csv", day=days, y=[i % 7 for i in range(40)])
    done("train", "days.csv", "--target", "y", *network)
    iso = write("iso.csv", day=["2024-03-05", "2024-11-25"])
    slashes = write("slashes.csv", day=["05/03/2024", "25/11/2024"])
    said = fails(1, "predict", MODEL, slashes)
    assert "'day' holds '05/03/2024' in row 1, which may mean 2024-03-05 or 2024-05-03" in said
    assert "say --day-first or --month-first" in said
    assert predict(slashes, "--day-first") == predict(iso)
    said = done("predict", MODEL, slashes, "--month-first").stderr
    assert "dates are read with the month first, which 1 row" in said
    quiet = done("predict", MODEL, slashes, "--month-first", "--quiet")
    assert quiet.stderr == ""
    model = nnb.tables.load(MODEL)
    with pytest.raises(ValueError, match="by the model's method with_dates"):
        model.predict({"day": ["05/03/2024"]})
    told = model.with_dates(day_first=True).predict({"day": ["05/03/2024"]})
    assert told == model.predict({"day": ["2024-03-05"]})


def test_the_order_of_day_and_month_can_be_told_in_training():
    days = [f"{1 + i % 12}/{1 + i % 11}/2024" for i in range(40)]
    data = write("days.csv", day=days, y=[i % 7 for i in range(40)])
    assert "--day-first if that is wrong" in done("train", data, "--target", "y", *PLAIN).stderr
    assert "day before month" not in done("inspect", MODEL).stdout
    assert "nothing tells" not in done("train", data, "--target", "y", "--day-first", *PLAIN).stderr
    assert "day before month" in done("inspect", MODEL).stdout
