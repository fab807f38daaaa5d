"""``nnbackend evaluate``: how good the answers of a model are."""

from __future__ import annotations

from typing import Any

from nnbackend.cli.arguments import (
    BackendName,
    DataFile,
    Debug,
    DeviceName,
    Json,
    LoadedPrecision,
    ModelFile,
    Reported,
    Threads,
    load_model,
    wrong_call,
)
from nnbackend.cli.dialect import DialectOptions
from nnbackend.cli.options import build_from_options, takes_options
from nnbackend.cli.printing import print_json, print_metrics
from nnbackend.cli.report import build_report, print_report
from nnbackend.cli.reporting import reporting
from nnbackend.cli.threads import thread_limit
from nnbackend.tables.columns import table_of
from nnbackend.tables.frames import select_columns
from nnbackend.tables.reading import dialect_of, naming_lines, read_frame
from nnbackend.tables.selection import known_target

__all__ = ["evaluate"]


@takes_options(DialectOptions)
def evaluate(
    model: ModelFile,
    data: DataFile,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    precision: LoadedPrecision = None,
    threads: Threads = None,
    in_full: Reported = False,
    as_json: Json = False,
    debug: Debug = False,
    **options: Any,
) -> None:
    """Compare the predictions for a table with its target column."""
    with reporting(debug, quiet=as_json) as (notes, _):
        trained = load_model(model, backend, device, precision)
        encoder = trained.encoder
        with wrong_call():
            dialect = build_from_options(DialectOptions, options).dialect(like=trained.dialect)
        frame = select_columns(read_frame(data, dialect), encoder.kinds)
        dialect = dialect_of(data, dialect)
        with naming_lines(data, dialect):
            table = table_of(frame, encoder.kinds, encoder.kinds, dialect)
        table = known_target(table, encoder.target.name)
        x, y = encoder.encode_features(table), encoder.encode_target(table)
        with thread_limit(threads, trained.network):
            metrics = trained.evaluate(x, y)
            full = build_report(trained, x, y) if in_full else None
        if as_json:
            extra = {} if full is None else {"report": full}
            print_json({"task": trained.task, "rows": len(y), **metrics, **extra, "notes": notes})
            return
        print_metrics({f"{len(y)} rows": metrics}, {}, encoder.scales_target)
        if full is not None:
            print_report(full, "rows")
