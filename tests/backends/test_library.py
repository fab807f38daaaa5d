"""A library that cannot be imported says why, and what helps."""

from __future__ import annotations

import importlib
import sys

import pytest

from nnbackend.backends import choose, library
from nnbackend.backends.base import Backend
from nnbackend.errors import BackendUnavailableError


@pytest.mark.parametrize("name", ["torch", "jax", "cupy", "array-api-strict"])
def test_a_library_that_is_not_installed_comes_with_the_command(name, monkeypatch):
    cls = choose._class(name)
    module = name.replace("-", "_")
    for loaded in list(sys.modules):
        if loaded.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, loaded)
    find = importlib.import_module

    def missing(wanted, *args):
        if wanted.split(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return find(wanted, *args)

    monkeypatch.setattr(library.importlib, "import_module", missing)
    with pytest.raises(BackendUnavailableError, match="not installed; run: pip install"):
        cls()


def test_a_library_that_is_broken_says_how(monkeypatch):
    def broken(wanted, *args):
        raise ImportError("libfoo.so.3: cannot open shared object file")

    monkeypatch.setattr(library.importlib, "import_module", broken)
    with pytest.raises(BackendUnavailableError, match=r"installed but.*libfoo\.so\.3"):
        library.import_library(Backend, "foo")
