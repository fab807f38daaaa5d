"""Where figures are drawn: in the axes that are given, or in new ones that notebooks show."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend.core.axes import get_axes, line_style


def recorded():
    record = nnb.callbacks.Record()
    nnb.Network([nnb.Dense(1)], seed=0).fit([[1.0]], [2.0], callbacks=[record], verbose=0)
    return record


CALLS = {
    "attention": lambda ax: nnb.plots.attention([[0.5, 0.5]], ax=ax),
    "calibration": lambda ax: nnb.plots.calibration([0, 1], [0.2, 0.7], ax=ax),
    "confusion_matrix": lambda ax: nnb.plots.confusion_matrix([0, 1], [1, 1], ax=ax),
    "curves": lambda ax: nnb.plots.curves({"epoch": [1, 2], "loss": [2.0, 1.0]}, ax=ax),
    "embedding": lambda ax: nnb.plots.embedding([[0.0, 1.0], [1.0, 3.0]], ax=ax),
    "filters": lambda ax: nnb.plots.filters(
        nnb.Network([nnb.Conv2D(2, 3)], input_shape=(3, 3, 1)), ax=ax
    ),
    "parameters_over_time": lambda ax: nnb.plots.parameters_over_time(recorded(), ax=ax),
    "predictions": lambda ax: nnb.plots.predictions([1.0, 2.0], [1.5, 2.0], ax=ax),
    "residuals": lambda ax: nnb.plots.residuals([1.0, 2.0], [1.5, 2.0], ax=ax),
    "roc": lambda ax: nnb.plots.roc([0, 1], [0.2, 0.7], ax=ax),
}


def test_all_figures_are_looked_at():
    assert set(CALLS) == set(nnb.plots.__all__)


@pytest.mark.parametrize("name", CALLS)
def test_the_given_axes_are_drawn_in_and_returned(name, ax):
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert CALLS[name](ax) is ax
    assert ax.has_data()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("wrong", [np.array([None, None]), "ax", 3])
def test_what_is_no_axes(wrong):
    with pytest.raises(TypeError, match="one Axes of matplotlib"):
        CALLS["residuals"](wrong)


def test_new_axes_are_those_of_pyplot():
    from matplotlib import pyplot

    ax = get_axes()
    assert pyplot.gcf() is ax.figure
    pyplot.close(ax.figure)


def test_nothing_of_pyplot_is_loaded_where_axes_are_given():
    code = """
import sys
import nnbackend as nnb
from matplotlib.figure import Figure
nnb.plots.roc([0, 1], [0.2, 0.7], ax=Figure().subplots())
assert "matplotlib.pyplot" not in sys.modules
print("done")
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "done\n"


def test_without_matplotlib_it_says_which_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    history = nnb.Network([nnb.Dense(1)]).fit([[1.0]], [1.0], verbose=0)
    for draw in (history.plot, lambda: CALLS["residuals"](None)):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'nnbackend\[plot\]'"):
            draw()


def test_twenty_lines_differ_without_color():
    styles = [line_style(i, 3) for i in range(20)]
    assert len({(style["linestyle"], style["marker"]) for style in styles}) == 20
