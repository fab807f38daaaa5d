"""The page: an explanation as one HTML file with its data, style and script in it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from nnbackend.drawing.text import clean
from nnbackend.microscope.formulas import Number

if TYPE_CHECKING:
    from nnbackend.microscope.explanation import Explanation

__all__ = ["write_page"]

_SCRIPTS = ("page_network.js", "page_training.js", "page.js")


def write_page(explanation: Explanation) -> str:
    """Return the page of an explanation, which loads nothing and of which no text is code."""
    script = "".join(map(_file, _SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        "title": html.escape(clean(explanation.title)),
        "subtitle": html.escape(clean(explanation.subtitle)),
        "digest": digest,
        "style": _file("page.css"),
        "script": script,
        "data": _json(_data(explanation)),
        "drawing": explanation.drawing.svg,
        "kind": explanation.drawing.style,
    }
    # In one pass: what is put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _file("page.html"))


def _file(name: str) -> str:
    return files("nnbackend.microscope").joinpath(name).read_text(encoding="utf-8")


def _json(data: Any) -> str:
    """Return data as JSON that cannot end the element it is in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(explanation: Explanation) -> dict[str, Any]:
    """Return all that the page shows."""
    place = explanation.place
    order = {step.key: i for i, step in enumerate(explanation.steps)}

    def refs(numbers: list[Number]) -> list[int]:
        return [place(number) for number in numbers]

    items = {
        key: {
            "name": clean(item.name),
            "column": item.column,
            "numbers": {what: refs(numbers) for what, numbers in item.numbers.items()},
            "from": {what: order[key] for what, key in item.shown_from.items()},
            "window": item.window,
        }
        for key, item in explanation.items.items()
    }
    formulas = [
        [
            order[f.step],
            f.item,
            f.row,
            f.symbols,
            [part if isinstance(part, str) else place(part) for part in f.parts if part != ""],
        ]
        for f in explanation.formulas
    ]
    images = [
        {
            "title": image.title,
            "column": image.column,
            "height": image.height,
            "width": image.width,
            "numbers": [refs(row) for row in image.numbers],
            "item": image.item,
            "from": order[image.step],
        }
        for image in explanation.images
    ]
    layers = [
        {
            "text": clean(layer.text),
            "column": layer.column,
            "items": layer.items,
            "note": layer.note,
            "numbers": refs(layer.numbers),
        }
        for layer in explanation.layers
    ]
    steps = [
        {"key": s.key, "title": s.title, "text": s.text, "column": s.column}
        for s in explanation.steps
    ]
    moments = [
        {"label": m.label, "step": m.step, "values": [*map(_number, m.values.tolist())]}
        for m in explanation.moments
    ]
    steps_done, losses = explanation.curve
    return {
        "steps": steps,
        "items": items,
        "formulas": formulas,
        "images": images,
        "layers": layers,
        "moments": moments,
        "curve": {"steps": steps_done, "loss": [*map(_number, losses)]},
        "loss": place(Number("loss")),
        "notes": [clean(note) for note in explanation.notes],
        "rows": explanation.rows,
        "style": explanation.drawing.style,
    }


def _number(value: float) -> float | str:
    """Return a number as JSON has it, in full; text that JavaScript reads for one that is not finite."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
