"""Progress: silence, lines, or a bar."""

from __future__ import annotations

import sys
import types

import pytest
from callbacks.runs import X, Y, network


def test_verbose_prints_a_line_for_each_epoch(capsys):
    network().fit(X, Y, epochs=2, metrics=["mae"], verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  loss ")
    assert "mae" in lines[1]


@pytest.mark.parametrize("verbose", [0, False, None])
def test_without_a_terminal_nothing_is_printed_unasked(verbose, capsys):
    network().fit(X, Y, epochs=2, verbose=verbose)
    assert capsys.readouterr() == ("", "")


class Terminal:
    """A standard error that is one."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def fileno(self):
        raise OSError


def at_terminal(monkeypatch):
    """Put a terminal in place of standard error (in a fixture pytest would take it away again)."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_at_a_terminal_brief_work_shows_no_bar(monkeypatch):
    terminal = at_terminal(monkeypatch)
    network().fit(X, Y, epochs=2)
    assert terminal.text == ""


def test_at_a_terminal_long_work_shows_a_bar(monkeypatch):
    pytest.importorskip("rich")
    terminal = at_terminal(monkeypatch)
    monkeypatch.setattr("nnbackend.callbacks.progress.SECONDS_BEFORE_BAR", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    network().fit(X, Y, epochs=3, batch_size=4)
    assert "epoch" in terminal.text


def test_without_rich_long_work_at_a_terminal_shows_lines(monkeypatch):
    terminal = at_terminal(monkeypatch)
    monkeypatch.setattr("nnbackend.callbacks.progress.SECONDS_BEFORE_BAR", 0.0)
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    network().fit(X, Y, epochs=3, batch_size=4)
    assert "epoch 3/3  loss" in terminal.text


def test_with_no_standard_error_at_all_nothing_fails(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert len(network().fit(X, Y, epochs=2)) == 2


class Notebook:
    """What IPython says in a notebook."""

    class ZMQInteractiveShell:
        pass

    @staticmethod
    def get_ipython():
        return Notebook.ZMQInteractiveShell()


class Output:
    """A widget that keeps what is displayed in it."""

    shown: list[str] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def clear_output(self, wait):
        pass

    def close(self):
        Output.shown.append("closed")


def in_a_notebook(monkeypatch):
    monkeypatch.setattr("nnbackend.callbacks.progress.SECONDS_BEFORE_BAR", 0.0)
    monkeypatch.setattr("builtins.get_ipython", Notebook.get_ipython, raising=False)
    display = types.ModuleType("IPython.display")
    display.display = lambda *shown, **_: Output.shown.extend(map(str, shown))
    monkeypatch.setitem(sys.modules, "IPython", Notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", display)


def test_in_a_notebook_the_bar_is_a_widget(monkeypatch, capsys):
    pytest.importorskip("rich")
    in_a_notebook(monkeypatch)
    widgets = types.ModuleType("ipywidgets")
    widgets.Output = Output
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    monkeypatch.setattr(Output, "shown", [])
    network().fit(X, Y, epochs=2, batch_size=4)
    assert "Output object" in Output.shown[0]
    assert Output.shown.count("closed") == 1
    assert "epoch" not in capsys.readouterr().err


def test_in_a_notebook_without_widgets_there_are_lines(monkeypatch, capsys):
    in_a_notebook(monkeypatch)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    network().fit(X, Y, epochs=2, batch_size=4)
    assert "epoch 2/2  loss" in capsys.readouterr().err
