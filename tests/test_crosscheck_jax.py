"""Every written-out backward pass against JAX's differentiation of the forward pass, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from cases import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS, each, rows
from tools import assert_close, host, on_backend, parameters, training

import nnbackend as nnb
from nnbackend import Context
from nnbackend.core.tree import map_arrays, tree_map

jax = pytest.importorskip("jax")
jnp = jax.numpy
JAX = nnb.get_backend("jax", dtype="float64")


def sparsemax(x):
    falling = -jnp.sort(-x, axis=-1)
    k, sums = jnp.arange(1, x.shape[-1] + 1), jnp.cumsum(falling, axis=-1)
    support = jnp.sum(1 + k * falling > sums, axis=-1, keepdims=True)
    return jax.nn.relu(x - (jnp.take_along_axis(sums, support - 1, axis=-1) - 1) / support)


VALUES = {
    "identity": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "leaky_relu-0.2": lambda x: jax.nn.leaky_relu(x, 0.2),
    "elu": jax.nn.elu,
    "elu-0.5": lambda x: jax.nn.elu(x, 0.5),
    "selu": jax.nn.selu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu-tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "exponential": jnp.exp,
    "mish": jax.nn.mish,
    "softmax": jax.nn.softmax,
    "relu6": jax.nn.relu6,
    "hardswish": jax.nn.hard_swish,
    "hardsigmoid": jax.nn.hard_sigmoid,
    "hardtanh": jax.nn.hard_tanh,
    "hardtanh-0.05-4": lambda x: jnp.clip(x, 0.05, 4.0),
    "celu": jax.nn.celu,
    "celu-0.5": lambda x: jax.nn.celu(x, 0.5),
    "softsign": jax.nn.soft_sign,
    "tanhshrink": lambda x: x - jnp.tanh(x),
    "logsigmoid": jax.nn.log_sigmoid,
    "log_softmax": jax.nn.log_softmax,
    "sparsemax": sparsemax,
}


@each(ACTIVATIONS)
def test_activations(case):
    x, dy = JAX.asarray(rows((4, 5)) * 3), JAX.asarray(rows((4, 5), 1))

    @jax.jit
    def both(x, dy):
        y, backward = case.thing(x, Context(JAX))
        _, twin = jax.vjp(VALUES[case.id], x)
        return {"y": y, "dx": backward(dy)}, {"y": VALUES[case.id](x), "dx": twin(dy)[0]}

    own, other = both(x, dy)
    assert_close(host(JAX, own), host(JAX, other), 1e-13)


@each(LAYERS)
def test_layers_in_training(case):
    params = parameters(case.thing, case.shape, JAX)
    x = on_backend(JAX, case.inputs(4))
    whole = map_arrays(lambda a: bool(jnp.issubdtype(a.dtype, jnp.integer)), x)

    def forward(params, x):
        return case.thing.forward(params, x, training(JAX))[0]

    @jax.jit
    def both(params, x):
        y, backward = case.thing.forward(params, x, training(JAX))
        dy = jnp.cos(y)
        _, twin = jax.vjp(forward, params, x)
        dx, grads = twin(dy)[::-1]
        return backward(dy), (map_arrays(lambda d, w: None if w else d, dx, whole), grads)

    own, other = both(params, x)
    for a, b in zip(own, other, strict=True):
        assert_close(host(JAX, a), host(JAX, b), 1e-13)


@each(LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(case, weighted):
    shape = (6, *case.shape)
    target = jnp.asarray(case.target(np.random.default_rng(0), shape))
    extra = (JAX.asarray([0, 1, 2, 1, 0.5, 1]),) if weighted else ()

    def value(x):
        return case.thing(x, target, *extra)[0]

    x = JAX.asarray(rows(shape) * 2)
    _, dy = jax.jit(lambda x: case.thing(x, target, *extra))(x)
    assert_close(host(JAX, dy), host(JAX, jax.jit(jax.grad(value))(x)), 1e-13)


OPTAX_LOSSES = {
    "log_cosh": lambda optax, x, t: optax.log_cosh(x, t),
    "cosine_similarity": lambda optax, x, t: optax.cosine_distance(x, t),
    "cosine_similarity-axes": lambda optax, x, t: optax.cosine_distance(x, t),
    "hinge": lambda optax, x, t: optax.hinge_loss(x, t),
    "squared_hinge": lambda optax, x, t: optax.hinge_loss(x, t) ** 2,
    "categorical_hinge": lambda optax, x, t: optax.losses.multiclass_hinge_loss(x, t),
    "binary_focal": lambda optax, x, t: optax.sigmoid_focal_loss(x, t, gamma=2.0),
    "kl_divergence": lambda optax, x, t: optax.kl_divergence(jax.nn.log_softmax(x), t),
    "softmax_cross_entropy-smooth": lambda optax, x, t: optax.softmax_cross_entropy(
        x, optax.smooth_labels(t, 0.1)
    ),
}


@pytest.mark.parametrize("name", OPTAX_LOSSES)
def test_values_of_losses_against_optax(name):
    optax = pytest.importorskip("optax")
    case = next(case for case in LOSSES if case.id == name)
    shape = (6, *case.shape)
    x = JAX.asarray(rows(shape) * 2)
    target = jnp.asarray(case.target(np.random.default_rng(0), shape))
    twin = jax.jit(lambda x, t: jnp.mean(OPTAX_LOSSES[name](optax, x, t)))
    assert float(case.thing(x, target)[0]) == pytest.approx(float(twin(x, target)), rel=1e-12)


def twin_optimizers():
    optax = pytest.importorskip("optax")
    return {
        "sgd": optax.sgd(0.1),
        "sgd-decay": optax.chain(optax.add_decayed_weights(0.02), optax.sgd(0.1)),
        "sgd-momentum": optax.sgd(0.05, momentum=0.9),
        "sgd-nesterov": optax.chain(
            optax.add_decayed_weights(0.01), optax.sgd(0.05, momentum=0.9, nesterov=True)
        ),
        "rmsprop": optax.rmsprop(0.01, decay=0.99, eps=1e-8, eps_in_sqrt=False),
        "rmsprop-momentum": optax.chain(
            optax.add_decayed_weights(0.01),
            optax.rmsprop(0.01, decay=0.9, eps=1e-8, momentum=0.8, eps_in_sqrt=False),
        ),
        "adam": optax.adam(0.02),
        "adam-decay": optax.chain(
            optax.add_decayed_weights(0.02), optax.adam(0.02, b1=0.8, b2=0.9, eps=1e-6)
        ),
        "adamw": optax.adamw(0.02, weight_decay=0.01),
        "adamw-decay": optax.adamw(0.02, weight_decay=0.1),
        "radam-no-epsilon": optax.radam(0.05, eps=0.0),
        "adagrad-decay": optax.chain(
            optax.add_decayed_weights(0.02),
            optax.adagrad(0.5, initial_accumulator_value=0.1, eps=0.0),
        ),
        "adadelta": optax.adadelta(2.0, eps=1e-3),
        "adadelta-decay": optax.chain(
            optax.add_decayed_weights(0.02), optax.adadelta(1.0, rho=0.8, eps=1e-2)
        ),
        "lion": optax.lion(0.02, weight_decay=0.0),
        "lion-decay": optax.lion(0.02, b1=0.8, b2=0.95, weight_decay=0.1),
        "lamb": optax.lamb(0.05),
        "lamb-decay": optax.lamb(0.05, b1=0.8, b2=0.9, eps=1e-8, weight_decay=0.1),
        "muon-plain": optax.contrib.muon(
            0.02, beta=0.8, nesterov=False, weight_decay=0.01, ns_steps=4, eps=1e-30
        ),
    }


# Another formula in optax (when epsilon is added, how Nesterov looks ahead, whose maximum AMSGrad
# takes); test_crosscheck_torch.py compares them with PyTorch.
OTHERWISE_IN_OPTAX = {
    "adam-amsgrad", "adamw-amsgrad", "nadam", "nadam-decay", "radam", "radam-decay", "adagrad",
    "muon", "muon-rms",
}  # fmt: skip


def test_every_optimizer_has_a_twin():
    assert twin_optimizers().keys() | OTHERWISE_IN_OPTAX == {case.id for case in OPTIMIZERS}


@each(case for case in OPTIMIZERS if case.id not in OTHERWISE_IN_OPTAX)
def test_optimizers_over_a_hundred_steps_against_optax(case):
    optax = pytest.importorskip("optax")
    start = {"weight": rows((5, 4)), "bias": rows((4,))}
    gradients = [tree_map(lambda p, i=i: rows(p.shape, i + 1), start) for i in range(100)]
    params, state = tree_map(np.copy, start), None
    state = case.thing.init(params)
    for gradient in gradients:
        params, state = case.thing.update(params, gradient, state)
    twin = twin_optimizers()[case.id]

    @jax.jit
    def step(carry, gradient):
        p, s = carry
        updates, s = twin.update(gradient, s, p)
        return (optax.apply_updates(p, updates), s), None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)
    twin_params = jax.tree.map(jnp.asarray, start)
    (twin_params, _), _ = jax.lax.scan(step, (twin_params, twin.init(twin_params)), stacked)
    assert_close(params, host(JAX, twin_params), 1e-10)


def test_clipping_and_a_corrected_average_against_optax():
    optax = pytest.importorskip("optax")
    start = {"weight": rows((5, 4)), "bias": rows((4,))}
    inside = nnb.optimizers.Clipped(nnb.Adam(0.02), norm=2.0)
    own = nnb.optimizers.EMA(inside, decay=0.95)
    twin = optax.chain(optax.clip_by_global_norm(2.0), optax.adam(0.02))
    average = optax.ema(0.95, debias=True)
    params, twins = tree_map(np.copy, start), jax.tree.map(jnp.asarray, start)
    state, twin_state, average_state = own.init(params), twin.init(twins), average.init(twins)
    for i in range(60):
        gradient = tree_map(lambda p, i=i: rows(p.shape, i + 1), start)
        params, state = own.update(params, gradient, state)
        updates, twin_state = twin.update(jax.tree.map(jnp.asarray, gradient), twin_state, twins)
        twins = optax.apply_updates(twins, updates)
        averages, average_state = average.update(twins, average_state)
    assert_close(params, host(JAX, twins), 1e-10)
    assert_close(own.averaged(params, state), host(JAX, averages), 1e-10)


def test_an_accumulated_gradient_against_jax():
    """One step on 10 weighted rows in parts of 4, 4 and 2, with a penalty, by ``jax.grad``."""
    x, y, weight = rows((10, 3)), rows((10, 2), 1), np.arange(10.0)
    layers = [nnb.Dense(4, "tanh", regularizer=nnb.regularizers.L2(0.03)), nnb.Dense(2)]
    net = nnb.Network(layers, backend="jax", dtype="float64", input_shape=3)
    params = net.state_dict()

    def value(p):
        z = jnp.tanh(x @ p["0.weight"] + p["0.bias"]) @ p["1.weight"] + p["1.bias"]
        loss = (weight @ ((z - y) ** 2).mean(axis=1)) / weight.sum()
        return loss + 0.03 * (p["0.weight"] ** 2).sum()

    gradient = jax.grad(value)(params)
    history = net.fit(x, y, sample_weight=weight, batch_size=None, shuffle=False, accumulate=3,
                      optimizer=nnb.SGD(0.1))  # fmt: skip
    expected = {name: p - 0.1 * gradient[name] for name, p in params.items()}
    assert_close(host(JAX, net.state_dict()), host(JAX, expected), 1e-13)
    assert history["loss"][0] == pytest.approx(float(value(params)), rel=1e-13)
