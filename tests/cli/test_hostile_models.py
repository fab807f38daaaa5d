"""Models of tables in files: hostile and foreign ones are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli.commands import PENGUINS, done, fails, table

import nnbackend as nnb
from nnbackend.tables.array_encoding import ArrayEncoder
from nnbackend.tables.encoding import Classes, Number, TableEncoder


def saved_model(**metadata) -> Path:
    """Write a model for a table of one number, whose metadata may be anything."""
    encoder = TableEncoder((Number("x", 0.0, 0.0, 1.0),), Classes("y", ("a", "b")))
    network = nnb.Network([nnb.Dense(2)], input_shape=1)
    network.metadata = {
        "table": encoder.to_dict(),
        "loss": "softmax_cross_entropy",
        "output_activation": None,
    } | metadata
    return network.save("hostile.safetensors")


def test_the_model_that_the_hostile_ones_are_made_from_is_fine():
    assert done("predict", saved_model(), table("x\n1\n2\n")).stdout.startswith("y\n")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"table": {}}, "description of its table is damaged"),
        ({"table": None}, "description of its table is damaged"),
        ({"loss": "mse"}, "names a loss that does not belong to classification"),
        ({"loss": ["softmax_cross_entropy"]}, "names a loss that does not belong"),
        ({"loss": "binary_cross_entropy"}, "do not belong together"),
        ({"label_smoothing": 2}, "a loss that cannot be"),
        ({"label_smoothing": [0.1]}, "a loss that cannot be"),
        (
            {
                "table": TableEncoder(
                    (Number("x", 0.0, 0.0, 1.0),), Classes("y", tuple("abc"))
                ).to_dict()
            },
            "do not belong together",
        ),
    ],
)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_hostile_models_are_refused(metadata, message, command):
    model, data = saved_model(**metadata), table("x,y\n1,a\n2,b\n")
    assert message in fails(1, command, model, data)


def test_models_without_a_table_are_refused():
    path = nnb.Network([nnb.Dense(2)], input_shape=1).save("bare.safetensors")
    message = fails(1, "predict", path, PENGUINS)
    assert (
        "does not describe a table or an array: it was not written by 'nnbackend train'" in message
    )


@pytest.mark.parametrize("command", ["predict", "evaluate", "inspect", "draw"])
@pytest.mark.parametrize("kind", ["foreign", "empty", "truncated"])
def test_files_that_are_no_models_are_refused(command, kind):
    content = saved_model().read_bytes()
    path = Path("no.safetensors")
    path.write_bytes({"foreign": b"a,b\n1,2\n", "empty": b"", "truncated": content[:-5]}[kind])
    message = fails(1, command, path, *([] if command in ("inspect", "draw") else [PENGUINS]))
    assert "no.safetensors cannot be loaded" in message


def saved_array_model(**changes) -> Path:
    """Write a model of signals of three steps, whose description of the array may be anything."""
    rows = np.arange(12.0).reshape(4, 3, 1)
    targets = {"y": np.array(["a", "b", "a", "b"], dtype=object)}
    description = ArrayEncoder.learn("x", rows, "y", targets, channels="last").to_dict()
    network = nnb.Network([nnb.Flatten(), nnb.Dense(2)], input_shape=(3, 1))
    network.metadata = {"array": description | changes, "loss": "softmax_cross_entropy"}
    np.savez("x.npz", x=rows, y=np.array(["a", "b", "a", "b"]))
    return network.save("hostile.safetensors")


def test_the_array_model_that_the_hostile_ones_are_made_from_is_fine():
    assert done("predict", saved_array_model(), "x.npz").stdout.startswith("y\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {}}, "description of its arrays is damaged"),
        ({"integer_classes": True}, "description of its arrays is damaged"),
        ({"target": {"name": "y", "classes": ["a", "b", "c"]}}, "a network and an array that do not"),
        (
            {"features": {"name": "x", "shape": [2**62, 2**62], "channels": "none",
                          "shift": [0.0], "scale": [1.0]}},
            "a network and an array that do not",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_hostile_models_of_arrays_are_refused(changes, message, command):
    model = saved_array_model(**changes)
    assert message in fails(1, command, model, "x.npz")
