"""The colors of a drawing, on a light and on a dark background."""

from __future__ import annotations

__all__ = ["BLOCK_KINDS", "SCOPE", "STYLE"]

SCOPE = "nnb-drawing"
"""The class of a drawing: its rules must not reach the page around it."""

# For each kind of layer the color on white, and on black. All can be told apart with any color vision
# together with the text of the block, which names the layer.
BLOCK_KINDS = {
    "input": ("#57606a", "#9aa4af"),
    "convolution": ("#1f6fb4", "#6cb4f0"),
    "dense": ("#c2570c", "#f3a35f"),
    "pooling": ("#238b45", "#6fd08c"),
    "normalization": ("#6a51a3", "#b3a0e6"),
    "activation": ("#9a7400", "#e3c04d"),
    "regularization": ("#6e7781", "#a8b0b8"),
    "embedding": ("#b5247c", "#f08cc4"),
    "reshape": ("#57606a", "#9aa4af"),
    "merge": ("#0f7b7b", "#5fc9c9"),
    "other": ("#7a5c2e", "#cda86b"),
}

# Colors by name: on white, and on black.
_COLORS = {
    "back": ("#ffffff", "#14181d"),
    "ink": ("#1f2328", "#e6e9ec"),
    "faint": ("#57606a", "#9aa4af"),
    "positive": ("#0b62a8", "#62b0f5"),
    "negative": ("#c2480a", "#ff9a57"),
    "gradient": ("#7a3e9d", "#cfa3ec"),
    "line": ("#6e7781", "#a0a8b0"),
    "frame": ("#a5adb6", "#5a636d"),
    "circle": ("#f4f6f8", "#232a31"),
    "output": ("#fff3d6", "#3c3420"),
}

_SHAPES = """\
text{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:11px}
.strong{font-weight:bold}
.line,.flow,.positive,.negative,.frame{fill:none}
.negative{stroke-dasharray:5 3}
.flow{stroke-width:1.3}
.frame{stroke-width:1;stroke-dasharray:2 3}
.unit{stroke-width:1.4}
.bias{stroke-width:1.1;stroke-dasharray:2 2}
.rule{stroke-width:.7}
.block{stroke-width:1.4;fill-opacity:.22}
.stripe{fill-opacity:.75}
.label{fill-opacity:.88}"""


def _rules(i: int) -> str:
    """Return the rules of the colors on white (0) or on black (1)."""
    c = {name: pair[i] for name, pair in _COLORS.items()}
    lines = [
        f".back,.label{{fill:{c['back']}}}",
        f"text,.ink{{fill:{c['ink']}}}",
        f".faint{{fill:{c['faint']}}}",
        f".line,.flow,.rule{{stroke:{c['line']}}}",
        f".arrow,.dot{{fill:{c['line']}}}",
        f".frame{{stroke:{c['frame']}}}",
        f".positive{{stroke:{c['positive']}}}",
        f".negative{{stroke:{c['negative']}}}",
        f"text.gradient{{fill:{c['gradient']}}}",
        f".unit,.bias,.sign{{fill:{c['circle']};stroke:{c['ink']}}}",
        f".unit.output{{fill:{c['output']}}}",
    ]
    for kind, colors in BLOCK_KINDS.items():
        lines.append(f".{kind} .block{{fill:{colors[i]};stroke:{colors[i]}}}")
        lines.append(f".{kind} .stripe{{fill:{colors[i]}}}")
    return "\n".join(lines)


def _scoped(rules: str) -> str:
    """Return rules that hold inside a drawing only."""
    scoped = []
    for rule in rules.splitlines():
        selectors, brace, rest = rule.partition("{")
        names = (f".{SCOPE} {name}" for name in selectors.split(","))
        scoped.append(",".join(names) + brace + rest)
    return "\n".join(scoped)


STYLE = (
    f"{_scoped(_SHAPES)}\n{_scoped(_rules(0))}\n"
    f"@media (prefers-color-scheme:dark){{\n{_scoped(_rules(1))}\n}}"
)
"""The style sheet of every drawing."""
