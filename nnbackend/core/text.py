"""Texts for people: names of metrics, numbers, and what data hold, in a report or a figure."""

from __future__ import annotations

__all__ = ["in_short", "metric_name", "number", "printable"]

_NAMES = {word: word.upper() for word in ("rmse", "r2", "mae", "mse", "mape", "roc", "auc", "f1")}
_LONGEST = 24  # in a figure


def printable(text: str) -> str:
    r"""Return a text whose invisible characters, which could change how others are shown, are escaped.

    >>> print(printable("a\u202eb\x00"))
    a\u202eb\x00
    """
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def in_short(value: object, most: int = _LONGEST) -> str:
    """Return a value as a text of at most so many characters.

    >>> in_short("x" * 30, 5), in_short(None), in_short(0.1 + 0.2)
    ('xxxx…', '(missing)', '0.3')
    """
    if value is None:
        return "(missing)"
    text = printable(value if isinstance(value, str) else number(value)).replace("\n", "\\n")
    return text if len(text) <= most else text[: most - 1] + "…"


def metric_name(name: str) -> str:
    """Return the name of a metric for people.

    >>> metric_name("roc_auc"), metric_name("f1_macro"), metric_name("log_loss")
    ('ROC AUC', 'F1 macro', 'log loss')
    """
    return " ".join(_NAMES.get(word, word) for word in name.split("_"))


def number(value: object) -> str:
    """Return a number in four figures, and all that are before the point; None: not defined."""
    if value is None:
        return "not defined"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
