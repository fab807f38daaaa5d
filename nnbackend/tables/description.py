"""Encodings as data that JSON can hold, checked as a whole before anything of them is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any, get_args

from nnbackend.saving import schema
from nnbackend.tables.categories import Categories, Classes, EmbeddedCategories, RobustCategories
from nnbackend.tables.encodings import Feature, Target
from nnbackend.tables.kinds import ColumnKind
from nnbackend.tables.moments import PARTS, Moment
from nnbackend.tables.numbers import MissingIndicator, Number, RobustNumber
from nnbackend.tables.summary import ColumnSummary
from nnbackend.tables.targets import LogNumber, QuantileNumber
from nnbackend.tables.words import Words

__all__ = [
    "check_features",
    "check_name",
    "check_table",
    "check_target",
    "column_from_dict",
    "column_to_dict",
    "summary_from_dict",
]

_MAX_WORDS = 1 << 16


def column_to_dict(column: Feature | Target) -> dict[str, Any]:
    """Return the description of a column's encoding, tagged unless earlier versions had it."""
    tag = next((tag for tag, kind in _TAGS.items() if type(column) is kind), None)
    described = asdict(column)
    if isinstance(column, Moment):
        described["parts"] = [column_to_dict(part) for part in column.parts]
    return described if tag is None else {"encoding": tag, **described}


def column_from_dict(description: Mapping[str, Any]) -> Any:
    """Return the encoding that was described, and checked before."""
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in description.items()
        if name != "encoding"
    }
    if "parts" in values:
        values["parts"] = tuple(map(column_from_dict, values["parts"]))
    return _class_of(description)(**values)


def summary_from_dict(description: Mapping[str, Any]) -> ColumnSummary:
    """Return the summary of a column that was described, and checked before."""
    return ColumnSummary(**description)


def _class_of(description: Mapping[str, Any]) -> type:
    if "encoding" in description:
        return _TAGS[description["encoding"]]
    if "scale" in description:
        return Number
    return Categories if "categories" in description else Classes


_TAGS: dict[str, type] = {
    "robust_number": RobustNumber,
    "missing": MissingIndicator,
    "moment": Moment,
    "words": Words,
    "robust_categories": RobustCategories,
    "embedding": EmbeddedCategories,
    "log": LogNumber,
    "quantile": QuantileNumber,
}


def check_name(value: Any, name: str) -> None:
    """Accept texts that are not empty, and that every file can hold."""
    if not isinstance(value, str) or not value or value != value.encode(errors="ignore").decode():
        schema.refuse(value, name, "a text")


def _distinct(inner: schema.Check, fewest: int) -> schema.Check:
    """Accept lists of which no item is there twice."""
    each = schema.items(inner, fewest)

    def check(value: Any, name: str) -> None:
        each(value, name)
        if len(set(value)) < len(value):
            schema.refuse(value, name, "a list of different values")

    return check


def _rising(value: Any, name: str) -> None:
    """Accept lists of two or more numbers, each above the one before."""
    schema.items(_NUMBER, 2)(value, name)
    if any(b <= a for a, b in pairwise(value)):
        schema.refuse(value, name, "a list of rising numbers")


def _record(**fields: schema.Check) -> schema.Check:
    return schema.record({"name": check_name, **fields}, closed=True)


def _tagged(**fields: schema.Check) -> schema.Check:
    return _record(encoding=schema.text(), **fields)


_NUMBER, _POSITIVE = schema.number(), schema.number(math.ulp(0.0))
_PLAIN_NUMBER = _record(fill=_NUMBER, shift=_NUMBER, scale=_POSITIVE)
_CATEGORIES = _record(categories=_distinct(schema.optional(check_name), 1))
_CLASSES = _record(classes=_distinct(check_name, 2))
_ROBUST_NUMBER = _tagged(center=_NUMBER, factor=schema.number(0.0))


def _check_robust_categories(value: Any, name: str) -> None:
    numbers = schema.items(_NUMBER, 1)
    _tagged(
        categories=_distinct(check_name, 1),
        centers=numbers,
        factors=schema.items(schema.number(0.0), 1),
    )(value, name)
    count = len(value["categories"])
    width = 1 if count < 3 else count
    for part in ("centers", "factors"):
        if len(value[part]) != width:
            schema.refuse(value[part], f"{name}.{part}", f"a list of {width}")


def _check_part(value: Any, name: str) -> None:
    """Accept the scaling of a part of a date."""
    (_ROBUST_NUMBER if _tag_of(value) == "robust_number" else _PLAIN_NUMBER)(value, name)
    schema.text(*PARTS)(value["name"], f"{name}.name")


def _check_moment(value: Any, name: str) -> None:
    _tagged(day_first=schema.optional(schema.flag), parts=schema.items(_check_part, 1))(value, name)
    _distinct(schema.anything, 1)([part["name"] for part in value["parts"]], f"{name}.parts")


def _check_quantile(value: Any, name: str) -> None:
    _tagged(values=_rising, normal=_rising)(value, name)
    if len(value["values"]) != len(value["normal"]):
        schema.refuse(value["normal"], f"{name}.normal", f"a list of {len(value['values'])}")


_FEATURES: dict[str, schema.Check] = {
    "robust_number": _ROBUST_NUMBER,
    "missing": _tagged(),
    "moment": _check_moment,
    "words": _tagged(width=schema.whole(1, _MAX_WORDS)),
    "robust_categories": _check_robust_categories,
    "embedding": _tagged(categories=_distinct(check_name, 1)),
}
_TARGETS: dict[str, schema.Check] = {
    "log": _tagged(shift=_NUMBER, scale=_POSITIVE),
    "quantile": _check_quantile,
}


def _tag_of(value: Any) -> Any:
    return value.get("encoding") if isinstance(value, dict) else None


def _one_of(tagged: Mapping[str, schema.Check], texts: schema.Check) -> schema.Check:
    """Accept the description of a column with one of the tags, or of numbers or texts without."""

    def check(value: Any, name: str) -> None:
        if isinstance(value, dict) and "encoding" in value:
            schema.text(*tagged)(value["encoding"], f"{name}.encoding")
            tagged[value["encoding"]](value, name)
        else:
            (_PLAIN_NUMBER if isinstance(value, dict) and "scale" in value else texts)(value, name)

    return check


_COUNT = schema.whole()
_SUMMARY = schema.record(
    {
        "name": check_name,
        "kind": schema.text(*get_args(ColumnKind)),
        "rows": _COUNT,
        "missing": _COUNT,
        "distinct": _COUNT,
        "low": schema.optional(_NUMBER),
        "high": schema.optional(_NUMBER),
    },
    closed=True,
)
_FEATURE_FIELDS = {"features": schema.items(_one_of(_FEATURES, _CATEGORIES), 1)}
_MORE = {"columns": schema.items(_SUMMARY)}
_FEATURE_TABLE = schema.record(_FEATURE_FIELDS, _MORE, closed=True)
check_target = _one_of(_TARGETS, _CLASSES)
"""Accepts the description of the encoding of a target."""

_TABLE = schema.record({**_FEATURE_FIELDS, "target": check_target}, _MORE, closed=True)


def check_features(value: Any, name: str) -> None:
    """Check the description of an encoder of features; see :mod:`nnbackend.saving.schema`."""
    _FEATURE_TABLE(value, name)
    _check_names(value["features"], [], name)
    _check_summaries(value, name)


def check_table(value: Any, name: str) -> None:
    """Check the description of an encoder of a table; see :mod:`nnbackend.saving.schema`."""
    _TABLE(value, name)
    _check_names(value["features"], [value["target"]], name)
    _check_summaries(value, name)


def _check_names(features: Any, more: list[Any], name: str) -> None:
    """Refuse columns of one name; the sign of a missing value has that of its column."""
    names = [column["name"] for column in (*features, *more) if _tag_of(column) != "missing"]
    signs = [column["name"] for column in features if _tag_of(column) == "missing"]
    if len(set(names)) < len(names) or len(set(signs)) < len(signs):
        schema.refuse(names, f"{name}.features", "columns that each have another name")


def _check_summaries(value: Any, name: str) -> None:
    """Refuse summaries of which two have one name, or whose counts cannot be."""
    columns = value.get("columns", [])
    names = [column["name"] for column in columns]
    if len(set(names)) < len(names):
        schema.refuse(names, f"{name}.columns", "columns that each have another name")
    for column in columns:
        if max(column["missing"], column["distinct"]) > column["rows"]:
            schema.refuse(column, f"{name}.columns", "counts of at most the number of rows")
