"""Learning curves: each value at its epoch."""

from __future__ import annotations

import math

import pytest

import nnbackend as nnb
from nnbackend.core.history import History

RUN = {
    "epoch": [1, 2, 3],
    "loss": [3.0, 2.0, 1.0],
    "validation_loss": [3.5, 2.5, 2.0],
    "log_loss": [0.3, 0.2, 0.1],
    "learning_rate": [0.1, 0.1, 0.1],
}


def drawn(ax):
    return {
        line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
        for line in ax.lines
    }


def test_a_history_draws_itself(ax):
    rows = [[1.0], [2.0], [3.0], [4.0]]
    history = nnb.Network([nnb.Dense(1)], seed=0).fit(
        rows, [2.0, 4.0, 6.0, 8.0], epochs=3, validation_split=0.5, verbose=0
    )
    assert history.plot(ax=ax) is ax
    assert drawn(ax) == {
        "training": ([1, 2, 3], history["loss"]),
        "validation": ([1, 2, 3], history["validation_loss"]),
    }
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"]


def test_several_names_have_their_names_in_the_legend(ax):
    nnb.plots.curves(RUN, ["loss", "log_loss", "validation_loss"], ax)
    assert list(drawn(ax)) == ["loss", "validation loss", "log loss"]
    assert drawn(ax)["log loss"][1] == RUN["log_loss"]
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 3


def test_a_single_curve_needs_no_legend(ax):
    nnb.plots.curves(RUN, "learning_rate", ax)
    assert ax.get_legend() is None
    assert ax.get_ylabel() == "learning rate"


def test_the_validation_curve_alone(ax):
    nnb.plots.curves(RUN, "validation_loss", ax)
    assert drawn(ax) == {"validation": (RUN["epoch"], RUN["validation_loss"])}


def test_several_runs_share_a_color_and_one_entry(ax):
    shorter = {"epoch": [1], "loss": [4.0]}
    nnb.plots.curves([RUN, shorter], ax=ax)
    assert [line.get_ydata().tolist() for line in ax.lines] == [
        RUN["loss"],
        [4.0],
        RUN["validation_loss"],
    ]
    assert ax.lines[0].get_color() == ax.lines[1].get_color() != ax.lines[2].get_color()
    assert [text.get_text() for text in ax.get_legend().texts] == ["training", "validation"]
    assert ax.lines[1].get_marker() == "o"  # a line of one point is not seen


def test_an_epoch_without_a_value_is_a_gap(ax):
    history = History()
    history.extend({"loss": [1.0]})
    history.extend({"loss": [0.5], "mae": [0.2]})
    history.plot("mae", ax)
    values = ax.lines[0].get_ydata()
    assert math.isnan(values[0])
    assert values[1] == 0.2


@pytest.mark.parametrize(
    ("history", "names", "error", "message"),
    [
        (History(), None, ValueError, "no epochs"),
        (RUN, "log_los", ValueError, "unknown metric 'log_los'; did you mean 'log_loss'"),
        (RUN, [], ValueError, "got none"),
        (3, None, TypeError, "must be a History"),
        ([], None, TypeError, "must be a History"),
    ],
)
def test_what_cannot_be_drawn(history, names, error, message):
    with pytest.raises(error, match=message):
        nnb.plots.curves(history, names)
