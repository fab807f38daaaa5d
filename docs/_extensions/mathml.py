"""Formulas as MathML, which browsers draw themselves: no script and no font has to be fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

LOG = logging.getLogger(__name__)


def convert_formula(node: nodes.Element, display: str) -> str:
    """Return the formula of ``node`` as MathML, with a warning for what is not understood."""
    formula = node.astext()
    mathml = convert(formula, display=display)
    if "\\" in mathml:  # an unknown command is printed as it stands
        LOG.warning("the formula %r has a command that is not known", formula, location=node)
    return mathml


def visit_math(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(f'<span class="math">{convert_formula(node, "inline")}</span>')
    raise nodes.SkipNode


def visit_math_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own, with its number if it has a label."""
    number = ""
    if node["number"]:
        number = f'<span class="eqno">({node["number"]})</span>'
    anchor = f' id="{node["ids"][0]}"' if node["ids"] else ""
    mathml = convert_formula(node, "block")
    translator.body.append(f'<div class="math"{anchor}>{number}{mathml}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
