"""How a notebook shows a network."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from nnbackend.drawing.draw import draw

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["network_html"]


def network_html(network: Network) -> str:
    """Return a network's drawing and summary as HTML; of one that is not built the layers as text.

    A notebook must not fail because of it: what cannot be drawn is told in words.
    """
    try:
        drawing = draw(network).svg if network.input_shape is not None else ""
    except Exception as error:
        drawing = f"<p>no drawing: {html.escape(str(error))}</p>"
    try:
        text = network.summary()
    except Exception as error:
        text = f"{type(network).__name__}, without a summary: {error}"
    return f'<div style="overflow-x:auto">{drawing}<pre>{html.escape(text)}</pre></div>'
