"""Write a report on a trained model as one HTML file."""

from __future__ import annotations

import datetime
import os
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nnbackend.analysis.answers import TableRows
from nnbackend.core.text import metric_name, number, printable
from nnbackend.core.version import __version__
from nnbackend.saving.atomic import write_atomically
from nnbackend.tables.model import Model, TableModel

if TYPE_CHECKING:
    from nnbackend.report.contents import Contents

__all__ = ["check_report_libraries", "render_page", "write_report"]

_LIBRARIES = {"matplotlib": "matplotlib", "jinja2": "Jinja2"}


def check_report_libraries() -> None:
    """Say, before any work, which libraries of a report are missing.

    Raises:
        ModuleNotFoundError: matplotlib or Jinja2 is not installed.
    """
    for name, title in _LIBRARIES.items():
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f"an HTML report needs {title}: pip install 'nnbackend[report]'", name=name
            )


def write_report(
    path: str | os.PathLike[str],
    model: Model,
    x: Any,
    y: Any,
    *,
    rows: str = "rows",
    outputs: NDArray[Any] | None = None,
    holdout: TableRows | None = None,
    training: TableRows | None = None,
    divisions: Sequence[tuple[NDArray[Any], NDArray[Any]]] = (),
    histories: Sequence[Mapping[str, Sequence[float]]] = (),
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    model_path: str | os.PathLike[str] = "model.safetensors",
    seed: int = 0,
) -> Path:
    """Write a report on a model: one HTML file that loads nothing, whole or not at all.

    It has what was done to the data, learning curves, scores beside those of baselines, the confusion
    matrix or the residuals, calibration, the importance of columns, partial dependence on the most
    important, the network, and how to predict. Names and values of the data are escaped.

    Args:
        path: the file to write.
        model: the model.
        x: encoded features of the rows to report on, best ones that did not train.
        y: their encoded targets.
        rows: these rows in words, such as ``validation rows``.
        outputs: of the network for these rows, if they are not those of the model: of networks that did
            not see them.
        holdout: the same rows of a table before they were encoded, see
            :func:`nnbackend.analysis.read_rows`: for the importance of columns and partial dependence.
        training: the rows that trained: for baselines.
        divisions: of several networks with other rows held out, the numbers of the rows of ``training``
            that trained each, and of those held out: baselines learn and are judged like them.
        histories: the metrics by epoch, see :class:`nnbackend.History`; of several networks that predict
            together those of each.
        facts: names and values to begin with, such as how it was trained.
        notes: what was said about the data.
        model_path: the file of the model, in the example of how to predict.
        seed: of what is drawn at random.

    Raises:
        ModuleNotFoundError: matplotlib or Jinja2 is not installed.
        OSError: the file cannot be written.
    """
    # It imports much, for which every command would wait.
    from nnbackend.report.contents import collect_contents

    check_report_libraries()
    contents = collect_contents(
        model,
        x,
        y,
        rows=rows,
        outputs=outputs,
        holdout=holdout,
        training=training,
        divisions=divisions,
        histories=histories,
        facts=facts,
        notes=notes,
        seed=seed,
    )
    page = render_page(contents, model, os.fspath(model_path))
    return write_atomically(path, page.encode("utf-8"))


def render_page(contents: Contents, model: Model, model_path: str) -> str:
    """Return the page; every text that is not markup of ours is escaped."""
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["metric"] = metric_name
    # Figures are ours: their texts were escaped when they were written as XML.
    environment.filters["markup"] = markupsafe.Markup
    template = environment.from_string(
        files("nnbackend.report").joinpath("page.html").read_text(encoding="utf-8")
    )
    page: str = template.render(
        report=contents,
        classes=model.classes,
        is_table=isinstance(model, TableModel),
        python_path=repr(model_path),
        quoted_path=shlex.quote(model_path),
        version=__version__,
        today=datetime.date.today().isoformat(),
    )
    return page


def _finalize(value: Any) -> Any:
    """Return what stands in the page for a value; markup is a kind of text and stays as it is."""
    return printable(value) if type(value) is str else value
