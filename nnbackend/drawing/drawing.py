"""A drawing that is finished: its text, files of it, and how a notebook shows it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnbackend.core.checks import check_path
from nnbackend.saving.atomic import write_atomically

__all__ = ["Drawing", "check_format"]

_CONVERTED = {".png": "svg2png", ".pdf": "svg2pdf"}
_PNG_SCALE = 2.0  # pixels for one of the drawing, for screens with small ones


@dataclass(frozen=True)
class Drawing:
    """A picture of a network, as SVG. A notebook shows it where it is the last value of a cell.

    Attributes:
        svg: the text of the SVG.
        style: ``"circles"`` or ``"blocks"``.
        title: its title, which a screen reader reads.
        description: what it shows, in words.
        note: why the network is drawn as blocks, if that was not asked for; else "".
    """

    svg: str = field(repr=False)
    style: str
    title: str
    description: str = field(repr=False)
    note: str = ""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the drawing to a file, whole or not at all; return the file's path.

        Args:
            path: its name, which ends in ``.svg``, ``.png`` (twice as many pixels, on the light
                background) or ``.pdf``. The latter two need the extra ``draw``.

        Raises:
            ValueError: the name has another ending.
            ModuleNotFoundError: the extra is not installed; the message says how to.
            OSError: the file cannot be written, see
                ``write_atomically``, or the library cairo is missing.
        """
        ending = check_format(path)
        content = self.svg.encode() if ending == ".svg" else self._converted(ending)
        return write_atomically(path, content)

    def _converted(self, ending: str) -> bytes:
        """Return the drawing as PNG or PDF."""
        scale = _PNG_SCALE if ending == ".png" else 1.0
        convert = getattr(_cairosvg(ending), _CONVERTED[ending])
        content: bytes = convert(bytestring=self.svg.encode(), scale=scale)
        return content

    def _repr_svg_(self) -> str:
        return self.svg


def check_format(path: str | os.PathLike[str]) -> str:
    """Return the ending of a drawing's file; load what it needs.

    Raises:
        ValueError, ModuleNotFoundError, OSError: see :meth:`Drawing.save`.
    """
    ending = check_path("path", path).suffix.lower()
    if ending in _CONVERTED:
        _cairosvg(ending)
    elif ending != ".svg":
        raise ValueError(
            f"a drawing is written to a file that ends in .svg, .png or .pdf, got {str(path)!r}"
        )
    return ending


def _cairosvg(ending: str) -> Any:
    """Return the library that makes PNG and PDF of an SVG."""
    try:
        import cairosvg
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"a {ending} file needs cairosvg, which is not installed; run: "
            "pip install 'nnbackend[draw]' (an .svg file needs nothing)"
        ) from error
    except OSError as error:
        raise OSError(
            f"a {ending} file needs the library cairo, which cairosvg does not find; install it "
            "(Debian: apt install libcairo2; macOS: brew install cairo), or save an .svg file, "
            "which needs nothing"
        ) from error
    return cairosvg
