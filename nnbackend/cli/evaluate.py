"""``nnbackend evaluate``: how good the answers of a model are."""

from __future__ import annotations

from typing import Any

from nnbackend.cli.arguments import (
    BackendName,
    DataFile,
    Debug,
    DeviceName,
    HTMLFile,
    Json,
    LoadedPrecision,
    ModelFile,
    Reported,
    Threads,
    check_html,
    load_model,
)
from nnbackend.cli.dialect import DialectOptions
from nnbackend.cli.html_report import write_evaluation_report
from nnbackend.cli.model_data import as_told, read_features_and_targets
from nnbackend.cli.options import takes_options
from nnbackend.cli.printing import print_json, print_metrics, say
from nnbackend.cli.report import build_report, print_report
from nnbackend.cli.reporting import reporting
from nnbackend.cli.threads import thread_limit
from nnbackend.errors import counted

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
    html: HTMLFile = None,
    as_json: Json = False,
    debug: Debug = False,
    **options: Any,
) -> None:
    """Compare the predictions for a table or an array with its targets."""
    with reporting(debug, quiet=as_json) as (notes, _):
        check_html(html, model, data=data)
        trained = as_told(load_model(model, backend, device, precision), options)
        x, y = read_features_and_targets(trained, data, options)
        with thread_limit(threads, trained.network):
            metrics = trained.evaluate(x, y)
            full = build_report(trained, x, y) if in_full else None
            if html is not None:
                write_evaluation_report(html, model, trained, x, y, data, options, notes)
        if as_json:
            extra = {} if full is None else {"report": full}
            print_json({"task": trained.task, "rows": len(y), **metrics, **extra, "notes": notes})
            return
        print_metrics({counted(len(y), "row"): metrics}, {}, trained.encoder.scales_target)
        if html is not None:
            say(f"Report written to {html}")
        if full is not None:
            print_report(full, "rows")
