"""``nnbackend draw``: a picture of a model file's network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from cli.commands import EXAM, EXAM_OPTIONS, PENGUINS, done, fails, table
from drawing.svg import Page

import nnbackend as nnb


def page(path: str | Path) -> Page:
    return Page(Path(path).read_text(encoding="utf-8"))


def test_the_exam_model_has_the_names_of_its_columns():
    done("train", EXAM, "--target", "score", *EXAM_OPTIONS, "--epochs", "5", "--quiet")
    told = done("draw", "model.safetensors").stdout
    assert told == "wrote model.svg, drawn as circles\n"
    drawn = page("model.svg")
    header = Path(EXAM).read_text().splitlines()[0].split(",")
    assert set(header) <= set(drawn.texts("strong"))
    assert len(drawn.circles()) == 6
    assert drawn.titles()[0] == "Network 2 \u2192 3 \u2192 1"


def test_a_row_of_the_data_is_shown_as_the_network_has_it():
    done("train", EXAM, "--target", "score", *EXAM_OPTIONS, "--epochs", "5", "--quiet")
    call = ["draw", "model.safetensors", "--data", EXAM]
    model = nnb.tables.load("model.safetensors")
    rows = {"hours_studied": [2.0, 1.0], "hours_slept": [9.0, 5.0]}
    rows = dict(zip(model.encoder.feature_names, rows.values(), strict=True))
    encoded = model.encode(rows)
    for options, i in (([], 0), (["--row", "2"], 1)):
        done(*call, *options)
        results = page("model.svg").texts("result")
        expected = [*encoded[i], model.outputs(encoded)[i, 0]]
        assert [results[0], results[1], results[-1]] == [f"{v:.4g}" for v in expected]
    assert "--row 4: the data have 3 rows" in fails(2, *call, "--row", "4")
    assert "give --data as well" in fails(2, "draw", "model.safetensors", "--row", "1")
    copy = table(Path(EXAM).read_text(), "rows.svg")
    message = fails(2, "draw", "model.safetensors", "--data", copy, "--output", copy)
    assert "would overwrite" in message
    nnb.Network([nnb.Dense(2)], input_shape=2).save("plain.safetensors")
    assert "nnbackend train" in fails(2, "draw", "plain.safetensors", "--data", EXAM)
    assert "shown in circles, and this network is drawn as blocks" in fails(
        1, *call, "--style", "blocks"
    )


def test_categories_dates_and_gaps_have_names_too():
    rows = "".join(
        f"{i % 9 or ''},{'abc'[i % 3]},2024-{1 + i % 12:02d}-11,{'yes' if i % 2 else 'no'}\n"
        for i in range(60)
    )
    path = table("size,kind,day,won\n" + rows)
    options = ["--hidden", "3", "--epochs", "2", "--quiet", "--model", "mlp"]
    done("train", path, "--target", "won", *options)
    done("draw", "model.safetensors", "--output", "net.svg")
    names = page("net.svg").texts("strong")
    model = nnb.tables.load("model.safetensors")
    assert {"size", "kind: a", "kind: b", "kind: c", "no", "yes"} <= set(names)
    assert any(name.startswith("day: ") for name in names)
    circles = page("net.svg").circles()
    assert len(circles) == model.encoder.width + 3 + 2
    # The names are in the order of the network's inputs.
    frame = {"size": [3.0], "kind": ["b"], "day": ["2024-05-11"]}
    encoded = model.encode(frame)[0]
    one_hot = dict(zip([t.partition(",")[0] for t in circles], encoded, strict=False))
    assert [one_hot[f"kind: {c}"] for c in "abc"] == [0.0, 1.0, 0.0]


def test_blocks_and_what_is_said_of_them():
    plain = ["--quiet", "--epochs", "1", "--model", "mlp"]
    done("train", PENGUINS, "--target", "species", *plain)
    told = json.loads(done("draw", "model.safetensors", "--json").stdout)
    assert told["output"] == "model.svg"
    assert told["style"] == "blocks"
    assert "units, and a column of circles at most 16" in told["note"]
    assert "Adelie, Chinstrap, Gentoo" in page("model.svg").texts()
    assert "drawn as blocks: layer 0 has 64" in done("draw", "model.safetensors").stdout


def test_an_array_model_and_a_plain_network():
    rng = np.random.default_rng(0)
    np.savez("images.npz", x=rng.normal(size=(30, 8, 8, 1)), y=rng.integers(2, size=30))
    done("train", "images.npz", "--target", "y", "--model", "cnn", "--epochs", "1", "--quiet")
    done("draw", "model.safetensors", "--output", "cnn.svg")
    assert "8\u00d78\u00d71" in page("cnn.svg").texts()
    layers = [nnb.Sequential([nnb.Dense(4), nnb.LayerNorm()])] * 3
    nnb.Network(layers, input_shape=4).save("plain.safetensors")
    options = ["--output", "plain.svg", "--style", "blocks"]
    done("draw", "plain.safetensors", *options, "--depth", "0", "--no-gather")
    assert len(page("plain.svg").blocks()) == 4
    done("draw", "plain.safetensors", *options)
    assert "\u00d7 3" in page("plain.svg").texts()


def test_wrong_calls_and_failures(monkeypatch):
    nnb.Network([nnb.Dense(20)], input_shape=3).save("net.safetensors")
    call = ["draw", "net.safetensors"]
    assert "ends in .svg, .png or .pdf" in fails(2, *call, "--output", "net.jpg")
    Path("model.svg").write_bytes(Path("net.safetensors").read_bytes())
    assert "would overwrite" in fails(2, "draw", "model.svg")
    assert "cannot be written" in fails(2, *call, "--output", "no/folder.svg")
    assert "--style" in fails(2, *call, "--style", "cubes")
    assert "layer 0 has 20 units" in fails(1, *call, "--style", "circles")
    assert "does not exist" in fails(2, "draw", "nothing.safetensors")
    assert "penguins.csv" in fails(1, "draw", PENGUINS)
    monkeypatch.setitem(sys.modules, "cairosvg", None)
    assert "pip install 'nnbackend[draw]'" in fails(1, *call, "--output", "net.png")


def test_help():
    text = done("draw", "--help").stdout
    for words in ("--output", "--style", "--depth", "--no-gather", "circles"):
        assert words in text
    assert "draw" in done("--help").stdout


@pytest.mark.parametrize("ending", ["png", "pdf"])
@pytest.mark.filterwarnings("ignore")
def test_other_formats(ending):
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("needs cairosvg and cairo")
    nnb.Network([nnb.Dense(2)], input_shape=3).save("net.safetensors")
    done("draw", "net.safetensors", "--output", f"net.{ending}")
    assert Path(f"net.{ending}").read_bytes()[:4] in (b"\x89PNG", b"%PDF")
