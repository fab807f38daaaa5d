"""Text in a drawing: how wide it is, how it is shortened, and how a number is written."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["clean", "digits", "shorten", "text_width", "wrap"]

_WIDTHS = {  # of characters, as parts of the font's size, in DejaVu Sans, wider than most fonts
    **dict.fromkeys("ijl'|", 0.3),
    **dict.fromkeys(" .,:;!()[]/fIrt-\u00b7", 0.4),
    **dict.fromkeys("mwM@W%\u2026", 1.0),
    **dict.fromkeys("+=<>~_\u00d7", 0.84),
}
_BOLD = 1.12

# What XML 1.0 cannot hold, and what would turn the direction of the text behind it.
_UNSUITABLE = re.compile(
    "[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    "|[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def clean(text: object) -> str:
    """Return a text on one line, in which what a drawing cannot hold is replaced by U+FFFD."""
    return _UNSUITABLE.sub("\ufffd", " ".join(str(text).split()))


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return about how many pixels a text is wide, rather more than less."""
    return sum(map(_width, text)) * size * (_BOLD if bold else 1.0)


def _width(character: str) -> float:
    if (known := _WIDTHS.get(character)) is not None:
        return known
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF" or ord(character) > 0x1F000:
        return 1.05
    return 0.78 if character.isupper() else 0.65


def shorten(text: str, width: float, size: float, bold: bool = False) -> str:
    """Return a text that is at most so wide, shortened by an ellipsis where it is longer."""
    if text_width(text, size, bold) <= width:
        return text
    kept, left = 0, width - text_width("\u2026", size, bold)
    for character in text:
        left -= text_width(character, size, bold)
        if left < 0:
            break
        kept += 1
    return text[:kept].rstrip(" ,(") + "\u2026"


def wrap(text: str, width: float, size: float, lines: int = 2) -> list[str]:
    """Return a text in at most so many lines, broken at spaces, the last one shortened."""
    found: list[str] = []
    words = text.split()
    while words and len(found) < lines - 1:
        line = words.pop(0)
        while words and text_width(f"{line} {words[0]}", size) <= width:
            line += f" {words.pop(0)}"
        found.append(shorten(line, width, size))
    return [*found, shorten(" ".join(words), width, size)] if words else found


def digits(value: float, count: int = 4) -> str:
    """Return a number in so many significant digits, as ``format(value, ".4g")`` writes it."""
    text = f"{float(value):.{count}g}"
    return "0" if text == "-0" else text
