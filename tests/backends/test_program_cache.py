"""What is compiled once serves all that is described alike, and nothing else."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
from cases import rows
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.inference import predictor as inference
from nnbackend.training import full_batch, step

jax = pytest.importorskip("jax")

X, Y = rows((24, 3)), rows((24, 2), 1)
_compiled: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _listen():
    """Write down what XLA compiles; there is no public way to stop listening."""

    def listener(event, seconds, **_):
        if "backend_compile" in event:
            _compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listener)


@pytest.fixture(autouse=True)
def _forgotten():
    forget()


def forget():
    for program in (
        step._compiled_steps,
        inference._forward_pass,
        full_batch._program,
    ):
        program.forget()


def fitted(units=4, seed=0, layers=None, **given):
    """Return the weights of a network that was fitted, and how many programs that compiled."""
    layers = layers or [nnb.Dense(units, activation="tanh"), nnb.Dropout(0.2), nnb.Dense(2)]
    given = {"optimizer": nnb.Adam(0.01), "batch_size": 8, "epochs": 2, "verbose": 0} | given
    net = nnb.Network(layers, backend="jax", input_shape=3, seed=seed)
    before = len(_compiled)
    net.fit(X, Y, **given)
    return host(net.backend, net.state_dict()), len(_compiled) - before


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"seed": 1},
        {"optimizer": nnb.Adam(0.02)},
        {"optimizer": nnb.Adam(0.02, beta1=0.8, beta2=0.95, epsilon=1e-5)},
        {"optimizer": nnb.Adam(nnb.schedules.Exponential(0.01, 0.9)), "scheduled": True},
        {"epochs": 3},
    ],
    ids=["nothing", "seed", "rate", "hyperparameters", "schedule", "epochs"],
)
def test_what_is_handed_to_a_program_compiles_nothing(other):
    first = {}
    if other.pop("scheduled", False):
        first = {"optimizer": nnb.Adam(nnb.schedules.Exponential(0.5, 0.5))}
    _, compiled = fitted(**first)
    assert compiled > 0
    shared, compiled = fitted(**other)
    assert compiled == 0
    forget()
    alone, compiled = fitted(**other)
    assert compiled > 0
    assert_equal(shared, alone)


@pytest.mark.parametrize(
    "other",
    [
        {"units": 5},
        {"layers": [nnb.Dense(4, activation="relu"), nnb.Dropout(0.2), nnb.Dense(2)]},
        {"layers": [nnb.Dense(4, activation="tanh"), nnb.Dropout(0.3), nnb.Dense(2)]},
        {"loss": "mae"},
        {"loss": nnb.losses.Huber(0.5)},
        {"optimizer": nnb.Adam(0.01, weight_decay=0.1)},
        {"optimizer": nnb.AdamW(0.01)},
        {"optimizer": nnb.SGD(0.01)},
        {"metrics": ["mae"]},
        {"accumulate": 2},
        {"batch_size": 6},
    ],
    ids=lambda given: "-".join(map(str, given)),
)
def test_every_other_difference_is_another_program(other):
    fitted()
    shared, compiled = fitted(**other)
    assert compiled > 0
    forget()
    alone, _ = fitted(**other)
    assert_equal(shared, alone)


def test_zeros_of_two_signs_are_two_values():
    backend = nnb.get_backend("jax")
    made = [inference._forward_pass(backend, Shifted(by)) for by in (0.0, -0.0, 0.0, -0.0)]
    assert made[0] is made[2] is not made[1] is made[3]


@dataclass(frozen=True)
class Shifted:
    """A layer of a user's module, with a number."""

    by: float = 0.0

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        return x + self.by, lambda dy, input_grad=True: (dy, {})


def test_layers_of_users_modules_are_shared_by_their_numbers():
    layers = [Shifted(1.0), nnb.Dense(2)]
    fitted(layers=layers)
    assert fitted(layers=[Shifted(1.0), nnb.Dense(2)])[1] == 0
    assert fitted(layers=[Shifted(2.0), nnb.Dense(2)])[1] > 0


def test_a_class_that_sees_variables_of_a_function_is_not_shared():
    def local(scale):
        @dataclass(frozen=True)
        class Scaled:
            def init(self, input_shape, rng):
                return {}, input_shape

            def forward(self, params, x, ctx):
                return x * scale, lambda dy, input_grad=True: (dy * scale, {})

        return Scaled()

    found = [fitted(layers=[local(scale), nnb.Dense(2)])[0] for scale in (1.0, 3.0)]
    assert not np.allclose(found[0]["1.weight"], found[1]["1.weight"])


def test_a_program_keeps_neither_network_nor_data():
    net = nnb.Network([nnb.Dense(4, activation="tanh"), nnb.Dense(2)], backend="jax", input_shape=3)
    x, y = net.backend.asarray(X), net.backend.asarray(Y)
    net.fit(x, y, epochs=2, batch_size=8, verbose=0, validation_split=0.25)
    arrays = [x, y, *net.state_dict().values()]
    alive = [weakref.ref(thing) for thing in (net, *arrays)]
    del net, x, y, arrays
    gc.collect()
    assert [ref() for ref in alive] == [None] * len(alive)


def test_only_the_latest_programs_are_kept():
    backend = nnb.get_backend("jax")
    first = weakref.ref(inference._forward_pass(backend, Shifted(0.5)))
    for number in range(64):
        inference._forward_pass(backend, Shifted(float(number)))
    gc.collect()
    assert first() is None


def test_an_estimator_that_is_fitted_again_compiles_nothing():
    pytest.importorskip("sklearn")
    from nnbackend.estimators import MLPClassifier

    labels = (Y[:, 0] > Y[:, 0].mean()).astype(int)

    def fit(**given):
        before = len(_compiled)
        model = MLPClassifier((4,), backend="jax", precision="float32", max_iter=2, **given)
        with pytest.warns(match="Maximum iterations"):
            model.fit(X, labels)
        return len(_compiled) - before

    assert fit(random_state=0) > 0
    assert fit(random_state=0) == fit(random_state=1, alpha=0.1, learning_rate_init=0.1) == 0


def absolute_error(prediction, target):
    """A loss of a user's module."""
    xp, error = nnb.backends.base.namespace(prediction), prediction - target
    return xp.mean(xp.abs(error)), xp.sign(error) / error.size


def test_a_function_of_a_module_is_a_value():
    assert fitted(loss=absolute_error)[1] > 0
    assert fitted(loss=absolute_error)[1] == 0


def test_a_function_that_sees_variables_of_another_is_not_shared():
    def local(factor):
        def loss(prediction, target):
            value, dy = absolute_error(prediction, target)
            return factor * value, factor * dy

        return loss

    by_factor = [fitted(loss=local(factor), optimizer=nnb.SGD(0.1))[0] for factor in (1.0, 3.0)]
    assert not np.allclose(by_factor[0]["0.weight"], by_factor[1]["0.weight"])


def test_evaluating_again_compiles_nothing_even_if_the_pass_is_not_shared():
    @dataclass(frozen=True)
    class Doubled:
        def init(self, input_shape, rng):
            return {}, input_shape

        def forward(self, params, x, ctx):
            return 2.0 * x, lambda dy, input_grad=True: (2.0 * dy, {})

    net = nnb.Network([Doubled(), nnb.Dense(2)], backend="jax", input_shape=3)
    first = net.evaluate(X, Y, loss="mse")
    before = len(_compiled)
    assert net.evaluate(X, Y, loss="mse") == first
    assert len(_compiled) == before


def test_loss_and_metrics_outside_training_compile_nothing():
    labels = np.arange(len(X)) % 3
    net = nnb.Network(
        [nnb.Dense(3, regularizer=nnb.regularizers.L2(0.1))], backend="jax", input_shape=3
    )
    before = len(_compiled)
    net.evaluate(X, labels, loss="softmax_cross_entropy", metrics=["accuracy", "f1", "log_loss"])
    assert len(_compiled) <= before + 2  # the pass, and one-hot rows of labels


FACTOR = 1.0


def loss_times_a_global(prediction, target, sample_weight=None):
    difference = prediction - target
    return (difference * difference).mean() * FACTOR, 2.0 * FACTOR / difference.size * difference


def test_a_program_holds_a_global_only_as_long_as_it_stays_the_same(monkeypatch):
    def losses():
        task = {"loss": loss_times_a_global, "optimizer": nnb.SGD(0.0), "verbose": 0}
        return nnb.Network([nnb.Dense(2)], backend="jax").fit(X, Y, **task)["loss"]

    (once,) = losses()
    before = len(_compiled)
    assert losses() == [once]
    assert len(_compiled) == before
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert losses() == [pytest.approx(3.0 * once)]
