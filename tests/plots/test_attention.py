"""Attention maps: the weights, with the right words beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import nnbackend as nnb

WEIGHTS = np.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]])


def labels(texts):
    return [text.get_text() for text in texts]


def test_the_matrix_and_its_words(ax):
    nnb.plots.attention(WEIGHTS, ["une", "pomme"], ["an", "apple", "."], ax=ax)
    np.testing.assert_array_equal(ax.images[0].get_array(), WEIGHTS)
    assert labels(ax.get_yticklabels()) == ["une", "pomme"]
    assert labels(ax.get_xticklabels()) == ["an", "apple", "."]
    assert ax.figure.axes[1].get_ylabel() == "attention weight"


def test_keys_are_the_queries_in_self_attention(ax):
    nnb.plots.attention(np.eye(2), ["a", "b"], ax=ax)
    assert labels(ax.get_xticklabels()) == ["a", "b"]


@dataclass(frozen=True)
class Attend:
    """A layer that mixes the vectors of a sequence, and notes how; of several heads if asked."""

    heads: bool

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        xp = ctx.xp
        weights = xp.exp(x @ xp.matrix_transpose(x))
        weights = weights / xp.sum(weights, axis=-1, keepdims=True)
        ctx.note("attention", xp.stack([weights, 0 * weights], axis=1) if self.heads else weights)
        return weights @ x, lambda dy, input_grad=True: (dy, {})


def passage(heads):
    net = nnb.Network([Attend(heads)], input_shape=(4, 2))
    return nnb.observe(net, np.random.default_rng(0).normal(size=(3, 4, 2)))[0]


@pytest.mark.parametrize("heads", [False, True])
def test_what_a_layer_noted(heads, ax):
    seen = passage(heads)
    nnb.plots.attention(seen, row=2, ax=ax)
    noted = seen.notes["attention"][2]
    np.testing.assert_array_equal(ax.images[0].get_array(), noted[0] if heads else noted)
    assert ax.get_title() == "layer 0, row 2" + (", head 0 of 2" if heads else "")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nnb.plots.attention([0.5, 0.5]), r"\(queries, keys\), got shape \(2,\)"),
        (lambda: nnb.plots.attention([[0.5, -0.5]]), "after the softmax"),
        (lambda: nnb.plots.attention([[0.5, np.nan]]), r"weights\[0, 1\] is not"),
        (lambda: nnb.plots.attention(WEIGHTS, ["a"]), "queries must be 2 texts.*got 1"),
        (lambda: nnb.plots.attention(WEIGHTS, None, ["a"]), "keys must be 3 texts.*got 1"),
        (lambda: nnb.plots.attention(passage(False), note="map"), "no 'map'.*noted: attention"),
        (lambda: nnb.plots.attention(passage(False), row=3), "row must be below 3, got 3"),
        (lambda: nnb.plots.attention(passage(True), head=2), "head must be below 2, got 2"),
    ],
)
def test_what_cannot_be_drawn(call, message):
    with pytest.raises(ValueError, match=message):
        call()
