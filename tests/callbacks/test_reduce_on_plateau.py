"""Reduce on plateau: PyTorch's decisions, in fit and in a user's loop."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import rows

import nnbackend as nnb
from nnbackend.callbacks import ReduceOnPlateau
from nnbackend.schedules import Step

X, Y = rows((10, 3)), rows((10, 1), 1)


def bare_run(figures, callback, name="validation_loss", rate=0.1):
    """Return the learning rate after each epoch, of a user's loop with these metrics."""
    net = nnb.Network([nnb.Dense(1)], input_shape=3)
    rates = []
    with nnb.callbacks.Run(net, epochs=len(figures), callbacks=[callback]) as run:
        for figure in figures:
            next(iter(run))
            run.batch_end(1.0, rate * run.learning_rate_factor)
            run.epoch_end(loss=1.0, **{name: figure})
            rates.append(rate * run.learning_rate_factor)
    return rates


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("patience", "cooldown"), [(1, 0), (2, 0), (3, 2), (2, 5)])
@pytest.mark.parametrize("minimum", [0.0, 0.004])
def test_the_rates_are_pytorchs(mode, patience, cooldown, minimum):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(patience)
    figures = [
        *(1 / np.arange(1, 8)),
        *rng.uniform(0.1, 0.4, 30),
        np.nan,
        *rng.uniform(0.05, 0.2, 30),
    ]
    twin = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        twin, mode, 0.5, patience - 1, 0.01, "abs", cooldown, minimum, 0.0
    )
    expected = []
    for figure in figures:
        scheduler.step(figure)
        expected.append(twin.param_groups[0]["lr"])
    assert len(set(expected)) > 3
    own = ReduceOnPlateau(factor=0.5, patience=patience, min_delta=0.01, cooldown=cooldown,
                          minimum=minimum, mode=mode)  # fmt: skip
    np.testing.assert_allclose(bare_run(figures, own), expected, rtol=1e-12)


def test_it_goes_on_from_a_state(tmp_path):
    figures = list(np.random.default_rng(0).uniform(size=20))
    expected = bare_run(figures, ReduceOnPlateau(factor=0.5, patience=2, cooldown=3))
    for cut in range(1, 20):
        first, second = (ReduceOnPlateau(factor=0.5, patience=2, cooldown=3) for _ in range(2))
        start = bare_run(figures[:cut], first)
        second.restore(json.loads(json.dumps(first.state())))
        second.start = lambda run: None  # a run that is resumed forgets nothing
        rates = bare_run(figures[cut:], second)
        scale = start[-1] / 0.1
        np.testing.assert_allclose([*start, *(scale * np.asarray(rates))], expected, rtol=1e-12)


def test_a_new_run_starts_afresh():
    callback = ReduceOnPlateau(factor=0.5, patience=2)
    assert bare_run([1.0, 2.0], callback) == [0.1, 0.1]
    assert bare_run([5.0, 6.0, 7.0], callback) == [0.1, 0.1, 0.05]


def test_in_fit_it_scales_what_a_schedule_says(backend64):
    net = nnb.Network([nnb.Dense(1)], backend=backend64)
    seen = []
    optimizer = nnb.SGD(Step(0.01, every=12, factor=0.5))
    history = net.fit(
        X, Y, optimizer=optimizer, epochs=8, batch_size=5,
        metrics={"same": lambda p, t: 1.0},
        callbacks=[ReduceOnPlateau("same", factor=0.1, patience=3, mode="max"),
                   lambda run: seen.append(run.learning_rate_factor)],
    )  # fmt: skip
    np.testing.assert_allclose(seen, [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])
    base = [0.01] * 6 + [0.005] * 2
    np.testing.assert_allclose(history["learning_rate"], np.multiply(base, [1, *seen[:-1]]))


def test_in_fit_the_rate_falls_no_further_than_the_minimum():
    history = nnb.Network([nnb.Dense(1)]).fit(
        X, Y, optimizer=nnb.AdamW(0.01), epochs=6, metrics={"same": lambda p, t: 1.0},
        callbacks=[ReduceOnPlateau("same", factor=0.1, patience=1, minimum=0.0004, mode="max")],
    )  # fmt: skip
    np.testing.assert_allclose(history["learning_rate"], [0.01, 0.01, 0.001, *[0.0004] * 3])


def test_a_new_rate_compiles_nothing():
    jax = pytest.importorskip("jax")
    programs = []

    class Counting(nnb.callbacks.Callback):
        def epoch_end(self, run):
            programs.append(sum(f._cache_size() for f in traced))

    traced = []
    original = jax.jit

    def jit(*args, **kwargs):
        traced.append(original(*args, **kwargs))
        return traced[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", jit)
        own = nnb.activations.LeakyReLU(0.0123)  # of which no program is there yet
        nnb.Network([nnb.Dense(1, own)], backend="jax").fit(
            X, Y, optimizer=nnb.Adam(0.0123), epochs=5, batch_size=5, shuffle=False,
            metrics={"same": lambda p, t: 1.0},
            callbacks=[ReduceOnPlateau("same", patience=1, mode="max"), Counting()],
        )  # fmt: skip
    assert traced
    assert len(set(programs)) == 1


def test_a_minimum_needs_to_know_the_rate():
    net = nnb.Network([nnb.Dense(1)], input_shape=3)
    callback = ReduceOnPlateau(patience=1, minimum=0.1)

    def loop():
        with nnb.callbacks.Run(net, epochs=3, callbacks=[callback]) as run:
            for _ in run:
                run.epoch_end(loss=1.0, validation_loss=1.0)

    with pytest.raises(ValueError, match="batch_end"):
        loop()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"factor": 1.0}, "factor"),
        ({"factor": -0.1}, "factor"),
        ({"patience": 0}, "patience"),
        ({"min_delta": -1}, "min_delta"),
        ({"cooldown": -1}, "cooldown"),
        ({"minimum": float("nan")}, "minimum"),
        ({"mode": "up"}, "mode"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        ReduceOnPlateau(**arguments)


def test_a_figure_that_does_not_exist_is_named():
    with pytest.raises(nnb.errors.UnknownNameError, match="validation_data"):
        nnb.Network([nnb.Dense(1)]).fit(X, Y, callbacks=[ReduceOnPlateau()], epochs=2)
