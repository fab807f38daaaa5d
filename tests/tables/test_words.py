"""Free text: the words of a text in columns that a fixed hash picks."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from tables.columns import numbers, texts

from nnbackend.tables.features import FeatureEncoder
from nnbackend.tables.words import Words


def test_a_word_counts_in_the_column_of_its_crc():
    code = zlib.crc32(b"hello")
    row = Words("a", 16).encode(texts("Hello"))[0]
    expected = np.zeros(16)
    expected[code % 16] = -1.0 if code >> 31 else 1.0
    np.testing.assert_array_equal(row, expected)
    assert (code, code % 16) == (907060870, 6)  # the same in every process, on every machine


def test_rows_have_length_one_and_none_without_words():
    column = texts("the cat and the dog", "the the the", "!?", "", None)
    found = Words("a").encode(column)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(Words("a").encode(numbers(np.nan)), np.zeros((1, 64)))


@pytest.mark.parametrize(("one", "other"), [("STRASSE", "straße"), ("Cafe\u0301", "CAF\u00c9")])
def test_case_and_the_form_of_accents_do_not_count(one, other):
    found = Words("a").encode(texts(one, other))
    np.testing.assert_array_equal(found[0], found[1])


def test_texts_of_any_characters_are_encoded():
    found = Words("a", 8).encode(texts("\ud800 x", "日本語 テキスト", "a\x00b"))
    assert np.isfinite(found).all()
    table = {"a": texts("one two three", "four five six")}
    encoder = FeatureEncoder.learn(table, {"a": "text"}, "robust")
    assert FeatureEncoder.from_dict(encoder.to_dict()) == encoder
    assert (encoder.width, encoder.numeric_count) == (64, 0)
