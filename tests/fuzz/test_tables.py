"""Tables with anything in them: read, or refused with a reason, by every command."""

from __future__ import annotations

import functools
import gzip
import io
import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from fuzz.judge import attempt, folder, part_of_examples, run_command
from fuzz.test_files import DAMAGE, EDITS, damaged, edited
from hypothesis import given

from nnbackend import tables
from nnbackend.tables.reading import read_table

pl = pytest.importorskip("polars")
pytest.importorskip("typer")

CELLS = st.one_of(
    st.sampled_from(["", " ", "1", "2.5", "-3", "1e5", "1e999", "nan", "inf", "NA", "null", "true", "no",
                     "a", "b", "1,5", "$3", "50%", "1_000", "0x10", "01", "2024-02-30", "\\N", '"', "'",
                     "\u00e9", "\u0661", "=1+1", "1 2", "9" * 400]),
    st.integers(-100, 100).map(str), st.floats(allow_nan=False).map(str), st.text(max_size=5),
)  # fmt: skip
NAMES = st.one_of(st.sampled_from(["a", "b", "y", "y ", "", "Y", "a.b", "../x", "1", '"q"', "\u00fc"]),
                  st.text(max_size=5))  # fmt: skip
ENDINGS = [".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl", ".parquet", ".npz", ".txt", ""]
COLUMNS = {"a": [1.5, 2.0, None, 4.0, 5.0, 6.0] * 3, "b": ["x", "y", "x", None, "y", "x"] * 3,
           "y": ["p", "q", "p", "q", "q", "p"] * 3}  # fmt: skip


@functools.cache
def seeds() -> dict[str, bytes]:
    """Return a small table in each format, by its ending."""
    frame, made = pl.DataFrame(COLUMNS), {}
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    made[".parquet"] = buffer.getvalue()
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    made[".feather"] = buffer.getvalue()
    made[".csv"] = frame.write_csv().encode()
    made[".tsv"] = frame.write_csv(separator="\t").encode()
    made[".csv.gz"] = gzip.compress(made[".csv"], mtime=0)
    made[".jsonl"] = frame.write_ndjson().encode()
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(18.0), b=np.ones((18, 2)), y=np.arange(18) % 3)
    made[".npz"] = buffer.getvalue()
    return made


@functools.cache
def model(target: str) -> bytes:
    """Return a model of the command line for the columns of the small table."""
    with folder():
        Path("table.csv").write_bytes(seeds()[".csv"])
        assert (
            run_command("train", "table.csv", "--target", target, *QUICK, "-o", "m.safetensors")
            == 0
        )
        return Path("m.safetensors").read_bytes()


RESUMED = ("--target", "y", "--epochs", "3", "--hidden", "2", "--quiet", "--patience", "2")


@functools.cache
def checkpoint() -> bytes:
    """Return the newest checkpoint of a run of the command line."""
    with folder():
        Path("table.csv").write_bytes(seeds()[".csv"])
        assert run_command("train", "table.csv", *RESUMED, "--checkpoint", "saved") == 0
        return max(Path("saved").glob("*.safetensors")).read_bytes()


@part_of_examples(2)
@given(edits=EDITS)
def test_resumed_runs(edits):
    content = edited(checkpoint(), edits)
    with folder():
        Path("table.csv").write_bytes(seeds()[".csv"])
        Path("saved").mkdir()
        Path("saved/000009-epoch-0002.safetensors").write_bytes(content)
        run_command("train", "table.csv", *RESUMED, "--checkpoint", "saved", "--resume", "saved")


def use_model(content: bytes) -> None:
    """Load a model of the command line in every way, and predict with it."""
    with folder():
        Path("table.csv").write_bytes(seeds()[".csv"])
        Path("m.safetensors").write_bytes(content)
        loaded, learned = attempt(tables.load, "m.safetensors")
        if loaded:
            attempt(learned.predict, pl.DataFrame(COLUMNS))
        run_command("inspect", "m.safetensors")
        run_command("predict", "m.safetensors", "table.csv", "--probabilities")
        run_command("evaluate", "m.safetensors", "table.csv", "--report")


@pytest.mark.parametrize("target", ["y", "a"])
@part_of_examples(2)
@given(edits=EDITS)
def test_models(target, edits):
    use_model(edited(model(target), edits))


QUICK = ("--epochs", "1", "--hidden", "2", "--quiet")


def use(content: bytes, ending: str, target: str = "y") -> None:
    """Read a file in every way, train on it, and predict and evaluate with a model of another one."""
    seeds_model = model("y")
    with folder():
        data = Path(f"table{ending}")
        data.write_bytes(content)
        Path("m.safetensors").write_bytes(seeds_model)
        attempt(read_table, data)
        run_command("train", str(data), "--target", target, *QUICK, "-o", "new.safetensors")
        run_command(
            "train", str(data), "--target", target, *QUICK, "--stream", "-o", "s.safetensors"
        )
        run_command("predict", "m.safetensors", str(data), "-o", "answers.csv")
        run_command("evaluate", "m.safetensors", str(data), "--json")
        if Path("new.safetensors").exists():
            run_command("predict", "new.safetensors", str(data), "--probabilities")


@pytest.mark.parametrize("ending", seeds())
@part_of_examples(4)
@given(damage=DAMAGE)
def test_bytes(ending, damage):
    use(damaged(seeds()[ending], damage), ending)


@part_of_examples(4)
@given(kind=st.sampled_from(sorted(seeds())), ending=st.sampled_from(ENDINGS))
def test_wrong_endings(kind, ending):
    use(seeds()[kind], ending)


@part_of_examples(4)
@given(
    names=st.lists(NAMES, min_size=1, max_size=4),
    rows=st.lists(st.lists(CELLS, max_size=5), max_size=30),
    separator=st.sampled_from([",", "\t", ";", "|"]),
    line=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    number=st.integers(0, 3),
)
def test_texts(names, rows, separator, line, encoding, number):
    text = line.join(separator.join(row) for row in [names, *rows])
    use(text.encode(encoding, "replace"), ".csv", names[number % len(names)])


@part_of_examples(4)
@given(
    columns=st.dictionaries(
        NAMES, st.sampled_from(["number", "text", "both"]), min_size=2, max_size=4
    ),
    cells=st.lists(CELLS, min_size=4, max_size=12),
)
def test_columns(columns, cells):
    """Tables of which each column holds numbers, or a few texts again and again."""
    texts = {
        "number": [str(i * 0.5) for i in range(24)],
        "text": [cells[i % len(cells)] for i in range(24)],
        "both": [cells[i % 4] if i % 5 == 0 else str(i) for i in range(24)],
    }
    frame = pl.DataFrame({name: texts[kind] for name, kind in columns.items()})
    target = [*columns][-1]
    use(frame.write_csv().encode(), ".csv", target)
    use(frame.write_ndjson().encode(), ".jsonl", target)


DIALECTS = {
    "--delimiter": [";", "\t", "tab", "xx", '"', "\n", "", "|", "\u00e9", "auto"],
    "--decimal": [",", ".", "x", "1", ""], "--thousands": [",", ".", "'", " ", "x", ""],
    "--encoding": ["utf-16", "latin-1", "nope", "rot13", "base64", "idna", "utf-7", "undefined", ""],
    "--missing": ["?", "?,unknown", "1", ",", ""], "--comment": ["#", "//", "a", "\n", '"', ""],
    "--exclude": ["a", "b", "y", "nope", "a,a", ""], "--text": ["a", "y", "nope", ""],
    "--id": ["a", "y", "nope", ""], "--max-categories": ["0", "1", "-1", "9" * 30],
}  # fmt: skip
DIALECT_TEXTS = [
    "a,b,y\n" + "".join(f"{i}.5,{'pq'[i % 2]},{i % 3}\n" for i in range(24)),
    "a;b;y\n" + "".join(f"{i},5;{'pq'[i % 2]};{i % 3}\n" for i in range(24)),
    "# c\na\tb\ty\n" + "".join(f"1.{i:03}\t?\t{i % 2}\n" for i in range(24)),
    "a,b,y\n" + "".join(f"${i},{i}%,\u00f6{i % 2}\n" for i in range(24)),
    "a,b,y\n1,2\n1,2,3,4\n", 'a,b,y\n"1,2,3\n', "a,b,y\n1,2,3\n,,\n\n4,5,6\n" * 5, "y\n1\n2\n",
]  # fmt: skip


@part_of_examples(2)
@given(
    text=st.sampled_from(DIALECT_TEXTS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"]),
    options=st.dictionaries(st.sampled_from(sorted(DIALECTS)), st.integers(0, 9), max_size=3),
    ending=st.sampled_from([".csv", ".tsv", ".jsonl"]),
)
def test_dialects(text, encoding, options, ending):
    given = [(name, DIALECTS[name][i % len(DIALECTS[name])]) for name, i in options.items()]
    learning = [word for option in given if option[0] != "--id" for word in option]
    asking = [
        w for o in given if o[0] not in ("--exclude", "--text", "--max-categories") for w in o
    ]
    learned = model("y")
    with folder():
        data = f"table{ending}"
        Path(data).write_bytes(text.encode(encoding, "replace"))
        Path("m.safetensors").write_bytes(learned)
        run_command("train", data, "--target", "y", *QUICK, *learning)
        run_command("train", data, "--target", "y", *QUICK, "--stream", *learning)
        run_command("predict", "m.safetensors", data, *asking)


CELLS_OF_LINES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), CELLS
)
LINES = (
    CELLS_OF_LINES
    | st.lists(CELLS_OF_LINES, max_size=2)
    | st.dictionaries(NAMES, CELLS, max_size=2)
)


@part_of_examples(4)
@given(rows=st.lists(st.dictionaries(NAMES, LINES, max_size=3), max_size=12))
def test_json_lines(rows):
    use(
        "\n".join(map(json.dumps, rows)).encode(), ".jsonl", next((n for r in rows for n in r), "y")
    )


DTYPES = ["Boolean", "Int8", "UInt64", "Float32", "Float64", "Date", "Datetime", "Duration", "Time",
          "Categorical", "Binary", "Null", "List", "Struct", "Object"]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_of_columns(dtype):
    """Columns of a Parquet file that are neither numbers nor texts."""
    whole = pl.Series(range(18))
    column = {
        "List": lambda: pl.Series([[i] for i in range(18)]),
        "Struct": lambda: pl.DataFrame({"n": whole}).to_struct(),
        "Binary": lambda: pl.Series([b"\xff"] * 18),
        "Categorical": lambda: pl.Series([f"c{i % 3}" for i in range(18)], dtype=pl.Categorical),
        "Null": lambda: pl.Series([None] * 18, dtype=pl.Null),
        "Object": lambda: pl.Series(["x\u0000y"] * 18),
        "Boolean": lambda: whole % 2 == 0,
    }.get(dtype, lambda: whole.cast(getattr(pl, dtype)))()
    for place in ("a", "y"):
        buffer = io.BytesIO()
        pl.DataFrame(COLUMNS).with_columns(column.alias(place)).write_parquet(buffer)
        use(buffer.getvalue(), ".parquet")


@pytest.mark.parametrize("kind", ["no rows", "no columns", "object", "zero axes", "complex", "dates",
                                  "no arrays", "not npz", "lengths", "empty name", "bytes"])  # fmt: skip
def test_arrays(kind):
    arrays = {
        "no rows": {"a": np.zeros(0), "y": np.zeros(0)},
        "no columns": {"a": np.zeros((5, 0)), "y": np.zeros(5)},
        "object": {"a": np.array([1, None], object), "y": np.zeros(2)},
        "zero axes": {"a": np.float64(1), "y": np.zeros(2)},
        "complex": {"a": np.zeros(2, complex), "y": np.zeros(2)},
        "dates": {"a": np.zeros(2, "M8[D]"), "y": np.zeros(2)},
        "no arrays": {}, "not npz": {},
        "lengths": {"a": np.zeros(3), "y": np.zeros(2)},
        "empty name": {"": np.zeros(8), "y": np.arange(8) % 2},
        "bytes": {"a": np.array([b"a", b"b"]), "y": np.zeros(2)},
    }[kind]  # fmt: skip
    buffer = io.BytesIO()
    if kind == "not npz":
        np.save(buffer, np.zeros((4, 2)))
    else:
        np.savez(buffer, **arrays)
    use(buffer.getvalue(), ".npz")
