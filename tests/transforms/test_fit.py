"""Augmentation in ``fit``: of training alone, equal however steps are run, and checked beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import Checkpoint, Lambda
from nnbackend.errors import ResumeError
from nnbackend.layers import Parameterless
from nnbackend.transforms import (
    TRANSFORMS,
    CutMix,
    Mixup,
    RandomCrop,
    RandomFlip,
    RandomShift,
    register_transform,
)

X = rows((23, 6, 5, 2))
CLASSES = np.arange(23) % 3
EVERY = [RandomFlip(), RandomCrop(padding=1), RandomShift(fraction=0.2), Mixup(), CutMix()]
FEW = [RandomShift(1), Mixup()]  # which take less time to compile
LAYERS = [nnb.Conv2D(3, 3, activation="tanh"), nnb.Flatten(), nnb.Dropout(0.2), nnb.Dense(3)]


def network(backend="numpy", layers=LAYERS, **given):
    return nnb.Network(layers, backend=backend, input_shape=(6, 5, 2), seed=4, **given)


def trained(backend="numpy", x=X, y=CLASSES, **task):
    task = {"loss": "softmax_cross_entropy", "epochs": 4, "batch_size": 5, "augment": EVERY, **task}
    net = network(backend)
    history = net.fit(x, y, verbose=0, **task)
    return host(net.backend, net.state_dict()), history


def same(found, expected, tolerance=0.0):
    for name, array in expected.items():
        if tolerance:
            assert_close(found[name], array, tolerance)
        else:
            assert_equal(found[name], array)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_parity(weighted, backend64):
    weight = np.arange(23) % 4 + 0.5 * (np.arange(23) > 3) if weighted else None
    found, expected = (
        trained(b, sample_weight=weight)
        for b in (backend64, nnb.get_backend("numpy", dtype="float64"))
    )
    same(found[0], expected[0], 1e-10)
    assert_close(np.asarray(found[1]["loss"]), np.asarray(expected[1]["loss"]), 1e-10)


def test_it_changes_training(backend):
    plain, augmented = (trained(backend, augment=augment)[0] for augment in ([], FEW))
    assert not np.array_equal(plain["3.weight"], augmented["3.weight"])


def test_parts_of_a_batch_have_its_augmentation(backend64):
    """All parts together are the batch that was changed as a whole."""
    layers = [nnb.Flatten(), nnb.Dense(4, activation="tanh"), nnb.Dense(3)]
    found = []
    for parts in (1, 3):
        net = network(backend64, layers)
        net.fit(X, CLASSES, loss="softmax_cross_entropy", epochs=3, batch_size=7, accumulate=parts,
                augment=EVERY, verbose=0)  # fmt: skip
        found.append(host(backend64, net.state_dict()))
    same(found[1], found[0], 1e-10)


def test_streams_are_augmented(backend64):
    batches = [(X[i : i + 5], CLASSES[i : i + 5]) for i in range(0, 23, 5)]
    net, whole = network(backend64), network(backend64)
    task: Any = {"loss": "softmax_cross_entropy", "epochs": 2, "augment": FEW, "verbose": 0}
    net.fit(batches, **task)
    whole.fit(X, CLASSES, batch_size=5, shuffle=False, **task)
    same(host(backend64, net.state_dict()), host(backend64, whole.state_dict()), 1e-10)


def test_only_training_is_augmented(backend):
    """Validation, evaluation and predictions see the data as they are."""
    net, seen = network(backend), []
    history = net.fit(X, CLASSES, loss="softmax_cross_entropy", epochs=2, batch_size=8,
                      augment=FEW, validation_data=(X, CLASSES), metrics=["accuracy"], verbose=0,
                      callbacks=[Lambda(epoch_end=lambda run: seen.append(run.epoch))])  # fmt: skip
    again = network(backend)
    again.load_state_dict(net.state_dict())
    expected = again.evaluate(X, CLASSES, loss="softmax_cross_entropy")["loss"]
    assert history["validation_loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert net.evaluate(X, CLASSES)["loss"] == pytest.approx(expected, rel=1e-5)
    assert_close(host(backend, net.predict(X)), host(backend, again.predict(X)), 1e-6)


def test_partial_fit(backend64):
    nets = network(backend64), network(backend64)
    task: Any = {"loss": "softmax_cross_entropy", "augment": FEW}
    for _ in range(3):
        nets[0].partial_fit(X, CLASSES, batch_size=6, **task)
    nets[1].fit(X, CLASSES, batch_size=6, shuffle=False, epochs=3, verbose=0, **task)
    same(*(host(backend64, net.state_dict()) for net in nets), 1e-10)


def test_regression_and_one_row(backend64):
    for x, y in ((X, rows((23, 3))), (X[:1], rows((1, 3)))):
        found, expected = (
            trained(b, x, y, loss="mse", augment=FEW)[0]
            for b in (backend64, nnb.get_backend("numpy", dtype="float64"))
        )
        same(found, expected, 1e-10)


def test_many_classes_are_mixed(backend):
    """More classes than features stay numbers in the data, and become rows in the step."""
    net = nnb.Network(
        [nnb.Flatten(), nnb.Dense(70)], backend=backend, input_shape=(2, 2, 1), seed=0
    )
    x, y = rows((9, 2, 2, 1)), np.arange(9) * 7
    net.fit(
        x, y, loss="softmax_cross_entropy", augment=["Mixup"], epochs=2, batch_size=4, verbose=0
    )
    assert np.isfinite(host(backend, net.predict(x))).all()


def test_whole_numbers_are_images_too(backend):
    images = (np.abs(X) * 100).astype(np.uint8)
    found, expected = (trained(backend, x)[0] for x in (images, images.astype(np.float32)))
    same(found, expected)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_mixed_precision(precision):
    pytest.importorskip("torch")
    net = network("torch", precision=precision)
    history = net.fit(X, CLASSES, loss="softmax_cross_entropy", augment=EVERY, epochs=3, verbose=0)
    full = network("torch")
    expected = full.fit(
        X, CLASSES, loss="softmax_cross_entropy", augment=EVERY, epochs=3, verbose=0
    )
    assert_close(np.asarray(history["loss"]), np.asarray(expected["loss"]), 0.05)


def test_several_inputs(backend64):
    layers = [
        nnb.Graph(
            inputs=("image", "table"),
            nodes={"flat": (nnb.Flatten(), "image"), "both": (nnb.Concatenate(), "flat", "table"),
                   "out": (nnb.Dense(3), "both")},
            outputs="out",
        )
    ]  # fmt: skip
    x = {"image": X, "table": rows((23, 4))}
    task: Any = {"loss": "softmax_cross_entropy", "epochs": 2, "verbose": 0}
    found = []
    for b in (backend64, nnb.get_backend("numpy", dtype="float64")):
        net = nnb.Network(layers, backend=b, seed=2)
        net.fit(x, CLASSES, augment=[RandomShift(1, input="image"), Mixup()], **task)
        found.append(host(b, net.state_dict()))
    same(*found, 1e-10)
    with pytest.raises(
        ValueError, match=r"augment\[0\], RandomFlip: the network has several inputs"
    ):
        net.fit(x, CLASSES, augment=[RandomFlip()], **task)
    with pytest.raises(ValueError, match="there is no input 'picture'"):
        net.fit(x, CLASSES, augment=[RandomFlip(input="picture")], **task)


def test_a_resumed_run_has_the_same_augmentation(variant, tmp_path):
    class Cut(Exception):
        pass

    def cut(run):
        if run.epoch == 3 and run.step == 2:
            raise Cut

    backend = variant.make("float64" if variant.float64 else "float32")
    task: Any = {"loss": "softmax_cross_entropy", "epochs": 5, "batch_size": 5, "verbose": 0}
    whole, first, second = (network(backend) for _ in range(3))

    def saving(name, batch_end=lambda run: None):
        return [Checkpoint(tmp_path / name, every_steps=1), Lambda(batch_end=batch_end)]

    whole.fit(X, CLASSES, augment=EVERY, callbacks=saving("a"), **task)
    with pytest.raises(Cut):
        first.fit(X, CLASSES, augment=EVERY, callbacks=saving("b", cut), **task)
    second.fit(X, CLASSES, augment=EVERY, resume=tmp_path / "b", callbacks=saving("b"), **task)
    exact = variant.library in ("numpy", "array-api-strict")
    same(*(host(backend, net.state_dict()) for net in (second, whole)), 0.0 if exact else 1e-10)
    for other in ([], EVERY[:1], [RandomFlip(vertical=True), *EVERY[1:]]):
        with pytest.raises(ResumeError, match="augment"):
            network(backend).fit(X, CLASSES, augment=other, resume=tmp_path / "a", **task)


@register_transform
@dataclass(frozen=True)
class Brighten:
    """A transform of a user's: a factor for each row."""

    strength: float = 0.2

    def apply(self, batch, ctx):
        like = ctx.xp.ones(batch.x.shape[:1], dtype=ctx.backend.dtype, device=ctx.backend.device)
        factor = nnb.Dropout(self.strength).apply(like, ctx)[0]
        return batch._replace(x=batch.x * ctx.xp.reshape(factor, (-1, 1, 1, 1)))


@dataclass(frozen=True)
class Counted:
    """A transform that does more than compute."""

    calls: list = field(default_factory=list, hash=False)
    pure = False

    def apply(self, batch, ctx):
        self.calls.append(batch.x.shape[0])
        return batch


def test_a_transform_of_a_user(backend64):
    found, expected = (
        trained(b, augment=["Brighten", Brighten(0.5)])[0]
        for b in (backend64, nnb.get_backend("numpy", dtype="float64"))
    )
    same(found, expected, 1e-10)
    assert "Brighten" in TRANSFORMS


def test_one_that_is_not_pure_runs_in_each_step():
    counted = Counted()
    trained(augment=[counted], epochs=20)
    assert counted.calls == [5, 5, 5, 5, 3] * 20


class Wrong:
    """A transform that returns no batch."""

    def apply(self, batch, ctx):
        return batch.x


@pytest.mark.parametrize(
    ("augment", "task", "error", "words"),
    [
        ("RandomFlip", {}, TypeError, "augment must be a list"),
        (RandomFlip(), {}, TypeError, "augment must be a list"),
        ([RandomFlip], {}, TypeError, "augment: a transform is"),
        ([lambda batch: batch], {}, TypeError, "augment: a transform is"),
        (["RandomFlop"], {}, nnb.errors.UnknownNameError, "RandomFlip"),
        ([Wrong()], {}, TypeError, "returns a Batch; Wrong returned"),
        ([Mixup()], {"loss": "hinge"}, ValueError, "Mixup mixes targets, and the loss hinge"),
        ([CutMix()], {"loss": "categorical_hinge"}, ValueError, "zeros and a one"),
        ([RandomCrop(4)], {}, ValueError, r"augment gives rows of shape \(4, 4, 2\)"),
        ([RandomCrop(99)], {}, ValueError, r"augment\[0\], RandomCrop: parts .* larger"),
        ([RandomCrop((1, 2, 3))], {}, ValueError, "size has 3 numbers"),
        ([RandomFlip(input="a")], {}, ValueError, "one input"),
        ([Mixup()], {"optimizer": nnb.LBFGS(), "batch_size": None}, ValueError, "augment is for other"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(augment, task, error, words):
    net = network()
    before = host(net.backend, net.state_dict())
    with pytest.raises(error, match=words):
        net.fit(X, CLASSES, verbose=0,
                **{"loss": "softmax_cross_entropy", "augment": augment, **task})  # fmt: skip
    same(host(net.backend, net.state_dict()), before)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomFlip(False), "horizontal"),
        (lambda: RandomFlip(probability=1.5), "probability"),
        (lambda: RandomFlip(channels="middle"), "channels"),
        (lambda: RandomFlip(input=1.5), "input"),
        (lambda: RandomCrop(padding=-1), "padding"),
        (lambda: RandomCrop(0), "size"),
        (lambda: RandomCrop(fill="mean"), "fill"),
        (lambda: RandomShift(), "pixels or fraction"),
        (lambda: RandomShift(1, 0.5), "pixels or fraction"),
        (lambda: RandomShift(fraction=1.0), "fraction"),
        (lambda: Mixup(0.0), "alpha"),
        (lambda: Mixup(1e5), "alpha"),
        (lambda: CutMix(per="pixel"), "per"),
        (lambda: CutMix(input="a"), "one input"),
        (lambda: RandomFlip(vertical=True).check((4, 2)), "height and a width"),
        (lambda: RandomFlip().check((784,)), "beside the channels"),
    ],
)
def test_wrong_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@dataclass(frozen=True)
class Pooled(Parameterless):
    """The mean of each channel."""

    def output_shape(self, input_shape):
        return input_shape[-1:]

    def apply(self, x, ctx):
        y = ctx.xp.mean(x, axis=(1, 2))
        count = x.shape[1] * x.shape[2]
        return y, lambda dy: ctx.xp.zeros_like(x) + dy[:, None, None, :] / count


def test_parts_may_be_smaller_where_the_network_takes_any_size(backend):
    layers = [nnb.Conv2D(4, 3, activation="relu"), Pooled(), nnb.Dense(3)]
    net = network(backend, layers)
    net.fit(X, CLASSES, loss="softmax_cross_entropy", augment=[RandomCrop(4, padding=0)], verbose=0)
    assert net.predict(X).shape == (23, 3)
