"""Files that are changed at random are read, or refused with one of the library's errors."""

from __future__ import annotations

import pytest
from saving.mutations import foreign_errors


@pytest.mark.parametrize("seed", range(2))
def test_files_changed_at_random_give_no_foreign_errors(seed, library):
    if library != "numpy":
        pytest.skip("files are read on NumPy")
    pytest.importorskip("polars", reason="one of the files is a model of a table")
    assert [(reader, error) for reader, _, error in foreign_errors(150, seed)] == []
