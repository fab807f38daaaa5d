"""``nnbackend train --stream``: every row in its place, and the same model as from memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import chosen

pl = pytest.importorskip("polars")
pytest.importorskip("pyarrow")
pytest.importorskip("typer")

from typer.testing import CliRunner  # noqa: E402

from nnbackend.cli.app import app  # noqa: E402
from nnbackend.cli.streaming import TableStream  # noqa: E402
from nnbackend.core.random import Generator  # noqa: E402
from nnbackend.data.reading_share import ReadingShare  # noqa: E402
from nnbackend.errors import DataError, UnknownNameError  # noqa: E402
from nnbackend.tables.encoding import TableEncoder  # noqa: E402
from nnbackend.tables.table import row_count, take_rows  # noqa: E402

ROWS = 300


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch, request):
    if "numpy" not in chosen(request.config):
        pytest.skip("tested with --backend numpy")
    monkeypatch.chdir(tmp_path)


def table():
    rng = np.random.default_rng(0)
    size, color = rng.normal(size=ROWS), rng.choice(["red", "green", "blue"], ROWS)
    kind = np.where(size + (color == "red") > 0, "large", "small")
    return pl.DataFrame({"number": np.arange(ROWS), "size": size, "color": color, "kind": kind})


def write(ending, frame=None, parts=4):
    frame = table() if frame is None else frame
    size = -(-frame.height // parts)
    for i in range(parts):
        part, path = frame[i * size : (i + 1) * size], f"part-{i}.{ending}"
        part.write_csv(path) if ending == "csv" else part.write_parquet(path, row_group_size=30)
    return Path(f"*.{ending}")


def train(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("sample_rows", [1, 70, 10_000])
def test_every_row_trains_or_validates_once(ending, sample_rows):
    stream = TableStream(write(ending), None, 3, sample_rows)
    sample = stream.sample({})
    assert row_count(sample) == min(sample_rows, ROWS)
    trains = np.arange(row_count(sample)) % 3 > 0  # a third of the sample validates
    whole = TableStream(Path("."), None, 0, 10**6).sample({})
    encoder = TableEncoder.learn(whole, "size", ["number"], "none")
    kept = take_rows(sample, trains)
    stream.encode(encoder, encoder.encode_features(kept), encoder.encode_target(kept))
    for order in (None, Generator.of(1)):
        seen = np.concatenate([chunk.x[:, 0] for chunk in stream.chunks(1, order)])
        expected = set(range(ROWS)) - set(sample["number"][~trains])
        assert sorted(seen) == sorted(expected)
        assert stream.rows == len(expected)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("sample_rows", [1, 70, 10_000])
def test_processes_share_the_rows(ending, sample_rows):
    frame = table().with_columns(
        size=pl.when(pl.col("number") % 7 == 0).then(None).otherwise(pl.col("size"))
    )
    stream = TableStream(write(ending, frame), None, 3, sample_rows)
    sample = stream.sample({})
    sample = take_rows(sample, ~np.isnan(sample["size"]))
    whole = TableStream(Path("."), None, 0, 10**6).sample({})
    encoder = TableEncoder.learn(whole, "size", ["number"], "none")
    stream.encode(encoder, encoder.encode_features(sample), encoder.encode_target(sample))
    for order in (None, 1):
        parts = [
            [chunk.x[:, 0] for chunk in stream.divided(ReadingShare(rank, 3, 8)).chunks(
                1, None if order is None else Generator.of(order))]
            for rank in range(3)
        ]  # fmt: skip
        counts = [sum(map(len, part)) for part in parts]
        seen = np.concatenate([rows for part in parts for rows in part])
        assert sorted(seen) == [n for n in range(ROWS) if n % 7]
        assert (
            max(
                abs(count / stream.rows - share / 8)
                for count, share in zip(counts, (2, 3, 3), strict=True)
            )
            < 0.01
        )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_model_from_a_stream_is_as_good_as_one_from_memory(ending):
    options = ["--target", "kind", "--features", "size,color", "--epochs", "30", "--json"]
    found = [
        json.loads(train(write(ending), *options, *more).stdout) for more in ([], ["--stream"])
    ]
    memory, streamed = found
    assert streamed["rows"] == memory["rows"] == ROWS
    assert streamed["validation_rows"] == memory["validation_rows"] == 60
    assert streamed["validation"]["accuracy"] > 0.9
    assert streamed["history"]["waiting"]
    arguments = ["predict", "model.safetensors", f"*.{ending}", "--output", "predicted.csv"]
    predicted = CliRunner().invoke(app, arguments)
    assert predicted.exit_code == 0, predicted.output
    assert pl.read_csv("predicted.csv").height == ROWS


def test_how_to_read_is_for_streams():
    for more, message in (
        (["--reads", "share"], "give --stream"),
        (["--reads", "none"], "share or all"),
    ):
        result = train(write("csv"), "--target", "kind", *more)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.replace("│", " ").split())
    result = train(write("csv"), "--target", "kind", "--stream", "--reads", "share", "--epochs", 1)
    assert result.exit_code == 0  # one process reads all


def test_numbers_are_predicted_from_a_stream_with_gaps():
    frame = table().with_columns(
        size=pl.when(pl.col("number") % 7 == 0).then(None).otherwise(pl.col("size")),
        number=pl.when(pl.col("number") % 50 == 1).then(None).otherwise(pl.col("number")),
    )
    result = train(write("csv", frame), "--target", "number", "--stream", "--epochs", "2", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["task"] == "regression"
    filled = [note for note in found["notes"] if "filled with the median" in note]
    assert len(filled) == 1  # not for each part of the rows


def test_what_the_sample_did_not_see_is_named(monkeypatch):
    monkeypatch.setattr(TableStream.__init__, "__defaults__", (None, 0, 60))
    frame = table().with_columns(
        kind=pl.when(pl.col("number") == 299).then(pl.lit("huge")).otherwise(pl.col("kind"))
    )
    pattern = write("parquet", frame, 1)
    messages = set()
    for seed in range(4):
        result = train(pattern, "--target", "kind", "--stream", "--epochs", "1", "--seed", seed)
        messages.add(result.stderr.strip().splitlines()[-1] if result.exit_code else "fine")
    assert any("part-0.parquet, rows from" in m and "huge" in m for m in messages), messages


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_without_a_target_do_not_count(ending, monkeypatch):
    """Nor do empty ones: the learning rate falls to its last value in the last step."""
    monkeypatch.setattr(TableStream.__init__, "__defaults__", (None, 0, 60))
    frame = table().with_columns(size=pl.when(pl.col("number") % 5 > 0).then(pl.col("size")))
    frame = pl.concat([frame, frame.head(7).clear(7)])
    options = ["--target", "size", "--features", "number", "--epochs", "3", "--validation", "0",
               "--batch-size", "16", "--schedule", "linear", "--json"]  # fmt: skip
    found = [
        json.loads(train(write(ending, frame), *options, *more).stdout)
        for more in ([], ["--stream"])
    ]
    for told in found:
        assert told["rows"] == ROWS - ROWS // 5
        assert told["history"]["learning_rate"][-1] == pytest.approx(1e-3 / 45)


def test_wrong_streams_are_refused():
    pattern = write("parquet")
    with pytest.raises(UnknownNameError, match="did you mean 'size'"):
        TableStream(pattern, ["siz", "kind"])
    table().drop("size").write_parquet("z.parquet")
    with pytest.raises(DataError, match=r"z\.parquet has no column 'size'"):
        TableStream(pattern)
    os.rename("z.parquet", "z.jsonl")
    result = train("z.jsonl", "--target", "kind", "--stream")
    assert result.exit_code == 1
    assert "cannot tell what z.jsonl holds by its ending; known: .parquet" in result.stderr
