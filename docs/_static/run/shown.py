"""Run the blocks of a page, in the browser, and tell the page what each of them shows."""

import base64
import contextlib
import io
import json
import os
import sys
import traceback
import types

from pyodide.code import eval_code

os.environ["MPLBACKEND"] = "agg"
# The output of the block that runs: (kind, text) with the kind text, html, image or error.
_parts = []
_names = {"__name__": "__main__"}  # what the blocks of the page define


class _Text(io.TextIOBase):
    """A stream whose text is part of the output, in its place."""

    def write(self, text):
        if _parts and _parts[-1][0] == "text":
            text = _parts.pop()[1] + text
        _parts.append(("text", text))
        return len(text)


class HTML:
    """HTML to show, as IPython's class of that name."""

    def __init__(self, data):
        self.data = data

    def _repr_html_(self):
        return self.data


class SVG(HTML):
    """A picture to show, as IPython's class of that name."""


def display(*values):
    """Show values as a notebook does: as HTML or a picture where they have one, else as text."""
    for value in values:
        for kind, method in (("html", "_repr_html_"), ("html", "_repr_svg_")):
            shown = getattr(value, method, None)
            shown = None if isinstance(value, type) or shown is None else shown()
            if shown is not None:
                _parts.append((kind, shown))
                break
        else:
            _Text().write(f"{value!r}\n")


def _show_figures():
    """Show the figures of matplotlib that a block has left open, and close them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    for number in pyplot.get_fignums() if pyplot else ():
        picture = io.BytesIO()
        pyplot.figure(number).savefig(picture, format="png", dpi=150)
        _parts.append(("image", base64.b64encode(picture.getvalue()).decode()))
    if pyplot:
        pyplot.close("all")


def run_block(code):
    """Run a block; return what it shows as JSON: pairs of kind and text."""
    _parts.clear()
    with contextlib.redirect_stdout(_Text()), contextlib.redirect_stderr(_Text()):
        try:
            value = eval_code(code, _names, filename="<this block>")
            if value is not None:
                display(value)
            _show_figures()
        except BaseException as error:
            # From the block's own lines on: above them is what runs it.
            frames = traceback.extract_tb(error.__traceback__)
            own = [n for n, frame in enumerate(frames) if frame.filename == "<this block>"]
            frames = frames[own[0] :] if own else []
            lines = traceback.format_list(frames) + traceback.format_exception_only(error)
            _parts.append(("error", "".join(lines)))
    return json.dumps(_parts)


_module = types.ModuleType("IPython.display")
_module.HTML, _module.SVG, _module.display = HTML, SVG, display
sys.modules["IPython.display"] = _module
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].display = _module
_names["display"] = display
