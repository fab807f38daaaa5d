"""Tables that write their values otherwise than the one that trained: read right, or refused."""

from __future__ import annotations

import csv
import io

import pytest
from cli.commands import answers, done, fails, table

import nnbackend as nnb
from nnbackend.errors import ModelFileError

SMALL = ["--epochs", "1", "--hidden", "4"]
PLAIN = ["--model", "mlp", *SMALL]
MODEL = "model.safetensors"


def write(name: str, **values: list) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([values, *zip(*values.values(), strict=True)])
    return str(table(text.getvalue(), name))


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
    assert "if that is wrong: --day-first" in done("train", data, "--target", "y", *PLAIN).stderr
    assert "day before month" not in done("inspect", MODEL).stdout
    assert "nothing tells" not in done("train", data, "--target", "y", "--day-first", *PLAIN).stderr
    assert "day before month" in done("inspect", MODEL).stdout


def train(**values: list) -> str:
    """Train on columns, and return the notes."""
    write("data.csv", **values, y=[i % 7 for i in range(40)])
    return done("train", "data.csv", "--target", "y", *PLAIN).stderr


def test_percents_have_to_be_as_in_training():
    train(share=[f"{2 * i}%" for i in range(40)])
    percents = write("percents.csv", share=["45%", "12 %"])
    assert len(set(predict(percents))) == 2
    assert "written with  share: %\n" in done("inspect", MODEL).stdout
    without = "column 'share' had percents in training, and holds numbers without them; write 45%"
    assert without in fails(1, "predict", MODEL, write("plain.csv", share=["0.45", "0.12"]))
    said = fails(1, "predict", MODEL, write("mixed.csv", share=["45%", "0.12"]))
    assert "column 'share' had percents in training, and holds '0.12' in row 2" in said
    assert "which has none; write 45% as in training" in said
    with pytest.raises(ValueError, match=without):
        nnb.tables.load(MODEL).predict({"share": [45.0]})
    train(share=[i / 40 for i in range(40)])
    said = fails(1, "predict", MODEL, percents)
    assert "column 'share' had no numbers with % in training, and holds '45%' in row 1" in said


def test_other_currencies_are_said():
    train(price=[f"${i}.50" for i in range(40)])
    plain = write("plain.csv", price=["7.50", "1,000"])
    assert "amounts" not in done("predict", MODEL, plain).stderr
    euros = write("euros.csv", price=["€7.50", "1,000 €"])
    said = done("predict", MODEL, euros).stderr
    assert "column 'price' holds amounts in €, and training had $" in said
    assert predict(euros) == predict(plain)


def test_numbers_with_suffixes_are_read_as_numbers_then_and_later():
    texts = [f"{1 + i / 2}{'kKMmb'[i % 5]}{'n' * (i % 5 > 2)}" for i in range(39)]
    said = train(sales=[*texts, "700k"])
    assert "numbers with suffixes in sales: 1.5k is 1500, 2M is 2000000, 3bn is 3000000000" in said
    assert "number" in done("inspect", MODEL).stdout
    same = [write("a.csv", sales=["1.5k", "3bn"]), write("b.csv", sales=["0.0015M", "3,000m"])]
    assert predict(same[0]) == predict(same[1])
    said = fails(1, "predict", MODEL, write("plain.csv", sales=["1.5", "3bn"]))
    assert "'sales' had suffixes such as k or M in training, and holds '1.5' in row 1" in said
    train(sales=[i / 2 for i in range(40)])
    said = fails(1, "predict", MODEL, same[0])
    assert "column 'sales' holds numbers, but row 1 (line 2) holds '1.5k'" in said


def test_codes_that_end_in_letters_are_categories():
    train(code=["1a", "2k", "3m", "4b"] * 10)
    assert "category" in done("inspect", MODEL).stdout


@pytest.mark.parametrize(
    "words", [("FALSE", "TRUE"), ("False", "True"), ("no", "yes"), ("No", "Yes")]
)
@pytest.mark.parametrize("more", [[], ["--task", "classification"]], ids=["", "told"])
def test_classes_are_answered_as_the_table_wrote_them(words, more):
    data = write("data.csv", x=[i % 9 for i in range(40)], y=[words[i % 9 > 4] for i in range(40)])
    done("train", data, "--target", "y", *more, "--model", "mlp", "--epochs", "30")
    assert set(predict(data)) == set(words)
    if words[1].lower() == "true":
        other = write("other.csv", x=[1, 8], y=["false", "true"])
        assert done("evaluate", MODEL, other, "--json").exit_code == 0


def test_one_boolean_in_several_writings_is_one_class():
    labels = ["TRUE", "true", "0", "FALSE", "TRUE"]
    data = write("data.csv", x=[i % 5 for i in range(40)], y=[labels[i % 5] for i in range(40)])
    done("train", data, "--target", "y", *PLAIN)
    header = done("predict", MODEL, data, "--probabilities").stdout.partition("\n")[0]
    assert header == "y,probability_FALSE,probability_TRUE"


def test_a_damaged_dialect_is_refused_when_the_model_is_loaded():
    train(x=list(range(40)))
    network = nnb.load(MODEL)
    network.metadata["dialect"]["units"] = {"x": "%"}
    network.save(MODEL)
    with pytest.raises(ModelFileError, match="dialect of its table is damaged"):
        nnb.tables.load(MODEL)
