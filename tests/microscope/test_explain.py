"""The explanation of one training step: its numbers are the library's, its formulas add up."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from cases import rows
from microscope.networks import (
    SCORES,
    X,
    classifier,
    exam,
    explain_exam,
    image,
    images,
    trained_exam,
)
from microscope.recompute import check_formulas
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.core.tree import flatten
from nnbackend.drawing.text import digits
from nnbackend.microscope.formulas import Number

STEPS = [
    "Input", "Forward: layer 0", "Forward: output layer", "Loss", "Output error", "Delta output sum",
    "Hidden error", "Hidden delta", "Adjustment", "Update",
]  # fmt: skip


def test_the_steps_are_named_as_those_of_backpropagation():
    assert [step.title for step in explain_exam().steps] == STEPS


@pytest.mark.parametrize("rows", [1, 3])
def test_the_numbers_of_the_exam_are_those_of_the_library(rows):
    net, _ = trained_exam()
    e = nnb.explain(net, X[:rows], SCORES[:rows], "mse", nnb.SGD(1.0))
    seen = {p.path: p for p in nnb.observe(net, X[:rows], SCORES[:rows], "mse")}
    for row in range(rows):
        for path, count in (("0", 3), ("1", 1)):
            for unit in range(count):
                for what, array in {
                    "x": None, "z": seen[path].notes["z"], "y": seen[path].y,
                    "dy": seen[path].dy, "dz": seen[path].notes["dz"],
                }.items():  # fmt: skip
                    if array is not None:
                        number = Number(f"{path}:{what}", (row, unit))
                        assert e.value(number) == array[row, unit]
    output, backward = net.forward(X[:rows])
    loss, dy = nnb.losses.mse(output, SCORES[:rows])
    grads = flatten(backward(dy)[1])
    assert e.value(Number("loss")) == float(loss)
    copy = net.to()
    copy.partial_fit(X[:rows], SCORES[:rows], loss="mse", optimizer=nnb.SGD(1.0))
    for name, before in net.state_dict().items():
        for place in np.ndindex(before.shape):
            assert e.value(Number(name, place)) == before[place]
            assert e.value(Number(f"{name}:gradient", place)) == grads[name][place]
            assert e.value(Number(f"{name}:after", place)) == copy.state_dict()[name][place]
    assert check_formulas(e) == (6 + 2) * rows + 1 + 2 * rows + 2 * 3 * rows + 9 * 2


def test_the_network_stays_as_it_is():
    net, record = trained_exam()
    before, trained = net.state_dict(), net.trained
    nnb.explain(net, X[0], 0.92, "mse", record=record)
    assert_equal(net.state_dict(), before)
    assert net.trained == trained


def test_each_moment_of_the_record_is_a_step_with_its_parameters():
    net, record = trained_exam()
    e = nnb.explain(net, X[:2], SCORES[:2], optimizer=nnb.SGD(1.0), record=record)
    assert len(e.moments) == 41
    assert [m.step for m in e.moments] == record.steps.tolist()
    other = exam()
    for i in (0, 17, 40):
        other.load_state_dict({name: a[i] for name, a in record.parameters.items()})
        alone = nnb.explain(other, X[:2], SCORES[:2], "mse", nnb.SGD(1.0))
        values = [alone.value(number) for number in e.numbers]
        assert values == e.moments[i].values.tolist()
    net.fit(X, SCORES, epochs=1)
    e = nnb.explain(net, X[:2], SCORES[:2], record=record)
    assert len(e.moments) == 42
    assert e.moments[-1].label == "now"


def test_softmax_with_cross_entropy_relu_and_dropout():
    net = classifier(dtype="float64")
    e = nnb.explain(net, rows((2, 4)), [1, 2], "softmax_cross_entropy", nnb.SGD(0.1))
    assert check_formulas(e) > 60
    text = str(e)
    assert "softmax in the loss" in text
    assert "loss = mean of -log(p of the right class)" in text
    assert "y = x \u00b7 mask" in text
    p = [e.value(Number("prediction", (0, k))) for k in range(3)]
    assert math.isclose(sum(p), 1)


@pytest.mark.parametrize(
    ("loss", "is_said"),
    [
        (nnb.losses.SoftmaxCrossEntropy(), True),
        (nnb.losses.SoftmaxCrossEntropy(label_smoothing=0.1), False),
        (nnb.losses.SoftmaxFocal(), False),
    ],
)
def test_only_where_the_error_is_a_difference_it_is_said(loss, is_said):
    text = str(nnb.explain(classifier(), rows((1, 4)), [1], loss))
    assert "are derived together" in text
    assert ("leaves the difference of output and target" in text) is is_said
    assert ("with label smoothing 0.1" in text) is bool(getattr(loss, "label_smoothing", 0))


def test_a_sigmoid_with_cross_entropy():
    net = nnb.Network(
        [nnb.Dense(2, "tanh"), nnb.Dense(1, "sigmoid")], input_shape=4, dtype="float64"
    )
    e = nnb.explain(net, rows((1, 4)), 1, "binary_cross_entropy", nnb.SGD(0.1))
    assert check_formulas(e) == 2 * 2 + 1 + 2 + 1 + 2 * 2 + 10 + 13


@pytest.mark.parametrize("units", [1, 3])
def test_the_loss_of_a_network_that_ends_in_logits(units):
    loss = "binary_cross_entropy" if units == 1 else "softmax_cross_entropy"
    net = nnb.Network([nnb.Dense(units)], input_shape=4, dtype="float64")
    e = nnb.explain(net, rows((2, 4)), [0, 1], loss, nnb.SGD(0.1))
    z = net.predict(rows((2, 4)))
    p = 1 / (1 + np.exp(-z)) if units == 1 else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    found = [e.value(Number("activated", place)) for place in np.ndindex(p.shape)]
    assert np.allclose(found, p.ravel())
    assert e.value(e.items["neuron:1:0"].numbers["result"][0]) == z[0, 0]
    assert check_formulas(e) > 10 * units


def test_alpha_dropout_is_not_written_as_a_product():
    layers = [nnb.Dense(6, "selu"), nnb.AlphaDropout(0.5), nnb.Dense(1)]
    e = nnb.explain(nnb.Network(layers, input_shape=2), rows((1, 2)), [1.0], "mse")
    (symbols,) = {f.symbols for f in e.formulas if f.step == "forward:1"}
    assert symbols.startswith("y = a")


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax"])
def test_activations_of_all_units_are_not_written_as_functions_of_one_sum(name):
    for layers in ([nnb.Dense(3, name)], [nnb.Conv2D(3, 2, activation=name), nnb.Flatten()]):
        shape = (4,) if len(layers) == 1 else (2, 2, 1)
        net = nnb.Network([*layers, nnb.Dense(1)], input_shape=shape, dtype="float64")
        e = nnb.explain(net, rows((1, *shape)), [1.0], "mse")
        text = str(e)
        assert f"{name}'(z)" not in text
        assert f"{name}(z" in text
        dy, y, dz = (
            np.array([e.value(e.items[f"neuron:1:{k}"].numbers[what][0]) for k in range(3)])
            for what in ("error", "result", "delta")
        )
        expected = {
            "softmax": y * (dy - (dy * y).sum()),
            "log_softmax": dy - np.exp(y) * dy.sum(),
            "sparsemax": np.where(y > 0, dy - dy[y > 0].sum() / max(1, (y > 0).sum()), 0.0),
        }[name]
        assert np.allclose(dz, expected)


def test_each_word_of_a_row_may_have_a_class():
    net = nnb.Network([nnb.Dense(3, "softmax")], input_shape=(4, 2))
    x, y = rows((1, 4, 2)), np.array([[0, 1, 2, 0]])
    e = nnb.explain(net, x, y[0], "softmax_cross_entropy")
    p = net.predict(x)[0][np.arange(4), y[0]]
    assert math.isclose(e.value(Number("loss")), -np.log(p).mean(), rel_tol=1e-5)


def test_a_network_whose_loss_overflows_is_explained():
    net = nnb.Network([nnb.Dense(1)], input_shape=2, dtype="float64")
    net.load_state_dict({"0.weight": np.full((2, 1), 1e200), "0.bias": np.zeros(1)})
    with np.errstate(over="ignore", invalid="ignore"):
        e = nnb.explain(net, [1.0, 2.0], [1.0], "mse", nnb.SGD(0.1))
    assert e.value(Number("loss")) == math.inf
    assert math.isnan(e.value(Number("0.weight:after", (0, 0))))
    assert "no update" in e.notes[-1]
    assert "Infinity" in e.html


def test_only_layers_that_normalize_by_a_batch_are_said_to():
    net = nnb.Network([nnb.SpectralNorm(nnb.Dense(1))], input_shape=2)
    assert not any("by a batch" in n for n in nnb.explain(net, [1.0, 2.0], [1.0], "mse").notes)


def test_the_windows_of_a_convolution():
    e = nnb.explain(images(), image(), 3, "softmax_cross_entropy", nnb.SGD(0.1))
    assert check_formulas(e, 2e-5) > 100
    first = [i for i in e.items.values() if i.column == 1 and i.key.startswith("neuron")]
    assert len(first) == 6
    seen = nnb.observe(images(), image()[None], [3], "softmax_cross_entropy")
    largest = np.abs(seen[0].y[0]).max(axis=(0, 1))
    assert sorted(int(i.key.split(":")[2]) for i in first) == sorted(np.argsort(-largest)[:6])
    for item in first:
        channel = int(item.key.split(":")[2])
        assert abs(e.value(item.numbers["result"][0])) == largest[channel]
        assert item.window[2] <= 3
    assert "6 channels, each by the window" in e.layers[0].note
    assert "the 8 busiest of 20 units" in e.layers[4].note
    assert [i.title for i in e.images if i.column == 0] == ["image"]
    (note,) = e.notes
    assert "a row of the input is no vector" in note


def test_channels_first_give_the_same_windows():
    def net(channels):
        return nnb.Network([nnb.Conv2D(2, 3, channels=channels), nnb.Flatten(), nnb.Dense(2)],
                           input_shape=(5, 5, 2) if channels == "last" else (2, 5, 5))  # fmt: skip

    x = rows((1, 5, 5, 2))
    last = nnb.explain(net("last"), x, [[1.0, 2.0]], "mse")
    first = nnb.explain(net("first"), np.moveaxis(x, -1, 1), [[1.0, 2.0]], "mse")
    for key in ("neuron:1:0", "neuron:1:1"):
        a, b = last.items[key], first.items[key]
        assert a.window == b.window
        assert math.isclose(
            last.value(a.numbers["sum"][0]), first.value(b.numbers["sum"][0]), rel_tol=1e-5
        )


def test_other_layers_are_told_by_their_smallest_mean_and_largest_number():
    layers = [nnb.Residual([nnb.Dense(4, "tanh")]), nnb.LayerNorm(), nnb.Dense(2)]
    net = nnb.Network(layers, input_shape=4, dtype="float64")
    e = nnb.explain(net, rows((1, 4)), [[1.0, 2.0]], "huber")
    seen = {p.path: p for p in nnb.observe(net, rows((1, 4)), [[1.0, 2.0]], "huber")}
    layer = e.layers[2]
    assert layer.text == "LayerNorm()"
    y = seen["1"].y
    assert [e.value(n) for n in layer.numbers[:3]] == [y.min(), y.mean(), y.max()]
    assert f"smallest {digits(y.min())}, mean {digits(y.mean())}" in str(e)
    assert "loss = huber(output, target)" in str(e)
    assert "Weights that are not listed: those of layer 1." in str(e)
    check_formulas(e)


def test_a_batch_of_a_few_rows_is_said_where_layers_normalize_by_it():
    net = nnb.Network([nnb.Dense(3), nnb.BatchNorm(), nnb.Dense(1)], input_shape=2, dtype="float64")
    state = host(net.backend, net.state)
    e = nnb.explain(net, X, SCORES, "mse")
    assert "take these rows for it" in e.notes[-1]
    assert_equal(host(net.backend, net.state), state)
    seen = nnb.observe(net, X, SCORES, "mse")
    assert e.value(e.layers[1].numbers[1]) == seen[1].y.mean()


def test_attention_that_a_layer_notes_is_a_picture():
    class Mean:
        def init(self, input_shape, rng):
            return {}, input_shape

        def forward(self, params, x, ctx):
            xp = ctx.xp
            weights = ctx.note("attention", xp.full((x.shape[0], 3, 3), 1 / 3))
            return weights @ x, lambda dy, input_grad=True: (weights @ dy, {})

    net = nnb.Network([Mean(), nnb.Flatten(), nnb.Dense(1)], input_shape=(3, 2))
    e = nnb.explain(net, rows((1, 3, 2)), [[1.0]], "mse")
    (picture,) = e.images
    assert picture.title.startswith("attention")
    assert {e.value(number) for number in picture.numbers[0]} == {1 / 3}


def test_what_changes_weights_beside_the_gradient_is_said():
    layers = [nnb.Dense(2, regularizer="l2"), nnb.Dense(1, constraint="non_negative")]
    net = nnb.Network(layers, input_shape=2, dtype="float64").freeze("0.bias")
    text = str(nnb.explain(net, [1.0, 2.0], 1.0, "mse", nnb.SGD(0.1)))
    assert "weight after = weight changed by SGD's rule, with the regularizer of the layer" in text
    assert "with the constraint of the layer" in text
    assert "frozen: it stays" in text
    text = str(nnb.explain(net, [1.0, 2.0], 1.0, "mse", nnb.SGD(0.1, momentum=0.9)))
    assert "changed by SGD's rule" in text
    assert "learning rate \u00b7 gradient" not in text


def test_numbers_of_other_backends_are_theirs(backend):
    net = exam(backend)
    e = nnb.explain(net, X[:1], SCORES[:1], "mse", nnb.SGD(1.0))
    passage = nnb.observe(net, X[:1], SCORES[:1], "mse")[0]
    z = host(net.backend, passage.notes["z"])
    assert [e.value(Number("0:z", (0, k))) for k in range(3)] == z[0].astype(float).tolist()


def test_several_inputs_are_told_by_layer():
    net = nnb.Network([nnb.Concatenate(), nnb.Dense(2, "tanh"), nnb.Dense(1)],
                      input_shape=((2,), (1,)))  # fmt: skip
    e = nnb.explain(net, (rows((2, 2)), rows((2, 1))), [1.0, 2.0], "mse", nnb.SGD(0.1))
    assert check_formulas(e, 1e-5) > 10
    assert e.layers[0].text == "Concatenate()"


def test_a_table_for_the_terminal():
    text = str(explain_exam())
    assert text.splitlines()[0] == "One training step: Network 2 \u2192 3 \u2192 1"
    for i, title in enumerate(STEPS, 1):
        assert f"\n{i}. {title}\n" in text
    assert re.search(r"hours studied +0\.6667\n", text)
    assert repr(explain_exam()) == text


def test_the_record_of_a_long_training_is_thinned_to_the_size_of_the_page():
    net = nnb.Network([nnb.Dense(16, "tanh"), nnb.Dense(16, "tanh"), nnb.Dense(3)], input_shape=16)
    record = nnb.callbacks.Record()
    x, y = rows((8, 16)), rows((8, 3), 1)
    net.fit(x, y, epochs=150, batch_size=None, callbacks=[record])
    e = nnb.explain(net, x[0], y[0], "mse", record=record)
    assert any("of the 151 recorded moments are shown" in note for note in e.notes)
    assert e.moments[0].step == 0
    assert len(e.html) < 800_000


def test_files_and_notebooks(tmp_path):
    e = explain_exam()
    path = e.save(tmp_path / "explain.html")
    assert path.read_text(encoding="utf-8") == e.html
    with pytest.raises(ValueError, match=r"ends in \.html"):
        e.save(tmp_path / "explain.pdf")
    shown = e._repr_html_()
    assert shown.startswith("<iframe title=")
    assert 'sandbox="allow-scripts"' in shown


def test_names_cannot_break_out_of_the_page():
    evil = "</script><script>alert(1)</script>{{data}}&\u2028"
    e = nnb.explain(exam(), X[0], 0.92, "mse", input_names=[evil, "b"], output_names=[evil])
    page = e.html
    assert page.count("</script>") == 2
    assert "<script>alert" not in page
    assert "alert(1)" in page


def test_clear_words():
    net, record = trained_exam()
    with pytest.raises(ValueError, match="1 to 8 rows"):
        nnb.explain(net, np.zeros((9, 2)), np.zeros((9, 1)), "mse")
    with pytest.raises(ValueError, match="x must be a row"):
        nnb.explain(net, np.zeros((1, 2, 2)), 1.0, "mse")
    with pytest.raises(ValueError, match=r"the network was built for \(2,\)"):
        nnb.explain(net, np.zeros(3), 1.0, "mse")
    with pytest.raises(ValueError, match=r"y must be the targets of 1 row"):
        nnb.explain(net, X[0], [1.0, 2.0], "mse")
    with pytest.raises(ValueError, match="numbers of classes below 3"):
        nnb.explain(classifier(), rows((1, 4)), [3], "softmax_cross_entropy")
    with pytest.raises(ValueError, match="say which loss"):
        nnb.explain(exam(), X[0], 0.92)
    with pytest.raises(ValueError, match="record is of another network"):
        nnb.explain(classifier(), rows((1, 4)), [1], "softmax_cross_entropy", record=record)
    with pytest.raises(TypeError, match="record must be"):
        nnb.explain(net, X[0], 0.92, "mse", record=net)
    with pytest.raises(ValueError, match="L-BFGS"):
        nnb.explain(net, X[0], 0.92, "mse", nnb.LBFGS())
    with pytest.raises(ValueError, match="input_names must be 2 names, got 1"):
        nnb.explain(net, X[0], 0.92, "mse", input_names=["a"])
    with pytest.raises(TypeError, match="network"):
        nnb.explain("net", X[0], 0.92)
    unbuilt = nnb.Network([nnb.Dense(1)])
    assert "Dense(1)" in str(nnb.explain(unbuilt, [[1.0, 2.0]], 1.0, "mse"))
    assert unbuilt.input_shape is None
