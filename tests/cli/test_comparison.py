"""What ``train`` says where the network is worse than what takes no network."""

from __future__ import annotations

import numpy as np
import pytest
from cli.commands import done, table, train_json

pytest.importorskip("sklearn")

WORSE = "the network predicts the held-out rows worse than"


def data(kind: str) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = x[:, 0] * 3 + rng.normal(size=200) / 10
    target = y if kind == "number" else np.where(y > 0, "yes", "no")
    lines = [f"{a:.4f},{b:.4f},{c:.4f},{t}" for (a, b, c), t in zip(x, target, strict=True)]
    return str(table("a,b,c,y\n" + "\n".join(lines) + "\n"))


@pytest.mark.parametrize("kind", ["number", "class"])
@pytest.mark.parametrize("more", [[], ["--folds", "2"], ["--model", "mlp"]], ids=str)
def test_a_network_that_is_hardly_trained_is_worse(kind, more):
    rate = ["--learning-rate", "1e-9", "--hidden", "4", "--epochs", "1"]
    (said,) = [
        n for n in train_json(data(kind), "--target", "y", *more, *rate)["notes"] if WORSE in n
    ]
    assert "a linear model" in said
    assert ("rmse" if kind == "number" else "log loss") in said
    assert ("try --folds 5" in said) == (not more)
    assert said.endswith("try more --epochs or --model realmlp") == ("mlp" in more)


def test_a_network_that_is_as_good_is_not():
    assert WORSE not in done("train", data("class"), "--target", "y", "--epochs", "60").stderr
    call = ["train", "table.csv", "--target", "y", "--epochs", "1", "--hidden", "4"]
    assert WORSE not in done(*call, "--class-weight", "balanced").stderr
    assert WORSE not in done(*call, "--validation", "0").stderr
