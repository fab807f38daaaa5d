"""Embeddings in two dimensions: distances along the principal axes."""

from __future__ import annotations

import numpy as np
import pytest

import nnbackend as nnb


def points(line):
    return np.stack([line.get_xdata(), line.get_ydata()], axis=1)


def test_points_in_a_plane_keep_their_distances(ax):
    random = np.random.default_rng(0)
    plane = random.normal(size=(20, 2)) * [3.0, 1.0]
    basis, _ = np.linalg.qr(random.normal(size=(6, 6)))
    nnb.plots.embedding(plane @ basis[:2] + 5.0, ax=ax)
    drawn = points(ax.lines[0])
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=1e-12)

    def distances(each):
        return np.linalg.norm(each[:, None] - each, axis=-1)

    np.testing.assert_allclose(distances(drawn), distances(plane), atol=1e-12)
    first, second = drawn.var(axis=0) / drawn.var(axis=0).sum()
    assert ax.get_xlabel() == f"principal axis 1: {first:.0%} of the variance"
    assert ax.get_ylabel() == f"principal axis 2: {second:.0%} of the variance"
    assert first > second


def test_the_share_is_of_all_dimensions(ax):
    nnb.plots.embedding(np.concatenate([np.eye(4), -np.eye(4)]), ax=ax)
    assert ax.get_xlabel().startswith("principal axis 1: 25%")


def test_the_sign_does_not_depend_on_the_library(ax):
    vectors = np.array([[0.0, 0.0], [1.0, 0.1], [4.0, 0.0]])
    nnb.plots.embedding(vectors, ax=ax)
    assert np.all(np.diff(ax.lines[0].get_xdata()) > 0)  # along the largest component


def test_labels_and_names(ax):
    vectors = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    nnb.plots.embedding(vectors, ["b", "a", "b"], names=["x", "$y", "z"], ax=ax)
    assert [line.get_label() for line in ax.lines] == ["a", "b"]
    assert len({line.get_marker() for line in ax.lines}) == 2
    assert [text.get_text() for text in ax.texts] == ["x", "\\$y", "z"]
    assert ax.texts[1].xy == pytest.approx(points(ax.lines[0])[0])
    assert ax.texts[2].xy == pytest.approx(points(ax.lines[1])[1])


def test_twenty_classes_differ_without_color(ax):
    nnb.plots.embedding(np.eye(20), range(20), ax=ax)
    assert len({(line.get_marker(), line.get_fillstyle()) for line in ax.lines}) == 20


def test_the_table_of_an_embedding_layer(ax):
    net = nnb.Network([nnb.Embedding(5, 3)], input_shape=(2,), seed=0)
    nnb.plots.embedding(net.params["0"]["weight"], names=list("abcde"), ax=ax)
    assert points(ax.lines[0]).shape == (5, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nnb.plots.embedding([1.0, 2.0]), r"\(vectors, dimensions\), got shape \(2,\)"),
        (lambda: nnb.plots.embedding([[1.0, 2.0]]), "two vectors and two dimensions"),
        (lambda: nnb.plots.embedding([[0.1, 0.2]] * 3), "all vectors are the same"),
        (lambda: nnb.plots.embedding(np.eye(2), [1]), "labels must be 2, one for each.*got 1"),
        (lambda: nnb.plots.embedding(np.eye(2), names="abc"), "names must be 2.*got 3"),
        (lambda: nnb.plots.embedding(np.eye(25), range(25)), "25 classes"),
        (lambda: nnb.plots.embedding([[1.0, np.inf]] * 2), r"vectors\[0, 1\] is not"),
    ],
)
def test_what_cannot_be_drawn(call, message):
    with pytest.raises(ValueError, match=message):
        call()
