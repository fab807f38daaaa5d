"""Values, gradients and optimizers against PyTorch's own, in float64."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from cases import (
    ACTIVATIONS,
    CONSTRAINTS,
    FAMILIES,
    LAYERS,
    LOSSES,
    OPTIMIZERS,
    REGULARIZERS,
    each,
    rows,
)
from tools import assert_close, host, parameters

import nnbackend as nnb
from nnbackend import Context
from nnbackend.core.tree import flatten, tree_map

torch = pytest.importorskip("torch")
F = torch.nn.functional
NUMPY = nnb.get_backend("numpy", dtype="float64")


def sparsemax(x):
    falling = torch.sort(x, descending=True)[0]
    k, sums = torch.arange(1, x.shape[-1] + 1), torch.cumsum(falling, -1)
    support = (1 + k * falling > sums).sum(-1, keepdim=True)
    return F.relu(x - (torch.gather(sums, -1, support - 1) - 1) / support)


ACTIVATION_TWINS = {
    "identity": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "leaky_relu-0.2": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "elu-0.5": lambda x: F.elu(x, 0.5),
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "softplus": lambda x: F.softplus(x, threshold=1e9),
    "exponential": torch.exp,
    "mish": F.mish,
    "softmax": lambda x: F.softmax(x, -1),
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    # Of F.hardsigmoid the derivative is a float32, also in float64.
    "hardsigmoid": lambda x: F.relu6(x + 3) / 6,
    "hardtanh": F.hardtanh,
    "hardtanh-0.05-4": lambda x: F.hardtanh(x, 0.05, 4.0),
    "celu": F.celu,
    "celu-0.5": lambda x: F.celu(x, 0.5),
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "logsigmoid": F.logsigmoid,
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "sparsemax": sparsemax,
}


def softened(t, amount, classes):
    return (1 - amount) * t + amount / classes


def binary_focal(z, t, gamma, alpha):
    """torchvision's sigmoid_focal_loss for hard targets, mixed by the target for soft ones."""

    def of(label):
        p = torch.sigmoid(z)
        ce = F.binary_cross_entropy_with_logits(z, torch.full_like(z, label), reduction="none")
        p_t = p * label + (1 - p) * (1 - label)
        weight = 1.0 if alpha is None else alpha * label + (1 - alpha) * (1 - label)
        return weight * ce * (1 - p_t) ** gamma

    return (t * of(1.0) + (1 - t) * of(0.0)).mean()


def softmax_focal(z, t, gamma):
    """Keras's categorical_focal_crossentropy without its alpha."""
    p = torch.softmax(z, -1)
    t = F.one_hot(t.long(), z.shape[-1]) if t.ndim < z.ndim else t
    return -(t * (1 - p) ** gamma * torch.log(p)).sum(-1).mean()


def pinball(x, t, q):
    return torch.maximum(q * (t - x), (q - 1) * (t - x)).mean()


def crammer_singer(z, t):
    """torch's multi_margin_loss adds the classes up; this takes the largest of them."""
    t = t.argmax(-1) if t.ndim == z.ndim else t.long()
    own = z.gather(-1, t[..., None])
    rival = z.masked_fill(F.one_hot(t, z.shape[-1]) > 0, -torch.inf).amax(-1, keepdim=True)
    return F.relu(1 + rival - own).mean()


def kl_divergence(z, t):
    t = F.one_hot(t.long(), z.shape[-1]).to(z.dtype) if t.ndim < z.ndim else t
    return F.kl_div(F.log_softmax(z, -1), t, reduction="batchmean")


def cosine_distance(x, t):
    return (1 - F.cosine_similarity(x, t, dim=-1)).mean()


LOSS_TWINS = {
    "log_cosh": lambda x, t: torch.log(torch.cosh(x - t)).mean(),
    "quantile": lambda x, t: pinball(x, t, 0.5),
    "quantile-0.9": lambda x, t: pinball(x, t, 0.9),
    "quantiles": lambda x, t: pinball(x, t, torch.tensor([0.05, 0.5, 0.95], dtype=x.dtype)),
    "poisson": lambda x, t: F.poisson_nll_loss(x, t, log_input=True),
    "cosine_similarity": cosine_distance,
    "cosine_similarity-axes": cosine_distance,
    "hinge": lambda x, t: F.relu(1 - t * x).mean(),
    "squared_hinge": lambda x, t: (F.relu(1 - t * x) ** 2).mean(),
    "categorical_hinge": crammer_singer,
    "categorical_hinge-axes": crammer_singer,
    "binary_focal": lambda x, t: binary_focal(x, t, 2.0, None),
    "binary_focal-soft": lambda x, t: binary_focal(x, t, 1.5, 0.25),
    "softmax_focal": lambda x, t: softmax_focal(x, t, 2.0),
    "softmax_focal-0.5": lambda x, t: softmax_focal(x, t, 0.5),
    "kl_divergence": kl_divergence,
    "kl_divergence-labels": kl_divergence,
    "binary_cross_entropy-smooth": lambda x, t: F.binary_cross_entropy_with_logits(
        x, softened(t, 0.1, 2)
    ),
    "softmax_cross_entropy-smooth": lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
    "softmax_cross_entropy-smooth-labels": lambda x, t: F.cross_entropy(
        x, t.long(), label_smoothing=0.2
    ),
    "mse": F.mse_loss,
    "mse-axes": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
    "huber-0.3": lambda x, t: F.huber_loss(x, t, delta=0.3),
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "softmax_cross_entropy": F.cross_entropy,
    "softmax_cross_entropy-labels": lambda x, t: F.cross_entropy(x, t.long()),
    "softmax_cross_entropy-axes": lambda x, t: F.cross_entropy(x.mT, t.long()),
}


class MuonTwin:
    """PyTorch's Muon for matrices, which are (out, in) there, and another optimizer for the rest.

    PyTorch's iteration is in bfloat16; here it keeps the dtype, so that it can be compared.
    """

    def __init__(self, params: list[Any], others: Any, *args: Any, **kwargs: Any) -> None:
        self.pairs = [(p, p.detach().T.contiguous()) for p in params if p.ndim == 2]
        self.muon = torch.optim.Muon([twin for _, twin in self.pairs], *args, **kwargs)
        self.others = others([p for p in params if p.ndim != 2])

    def step(self) -> None:
        for p, twin in self.pairs:
            twin.grad = p.grad.T.contiguous()
        with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
            self.muon.step()
        self.others.step()
        for p, twin in self.pairs:
            p.data.copy_(twin.T)


OPTIMIZER_TWINS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "sgd-decay": lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.02),
    "sgd-momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "sgd-nesterov": lambda p: torch.optim.SGD(
        p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01),
    "rmsprop-momentum": lambda p: torch.optim.RMSprop(
        p, 0.01, alpha=0.9, momentum=0.8, weight_decay=0.01
    ),
    "adam": lambda p: torch.optim.Adam(p, 0.02),
    "adam-decay": lambda p: torch.optim.Adam(
        p, 0.02, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.02
    ),
    "adamw": lambda p: torch.optim.AdamW(p, 0.02),
    "adamw-decay": lambda p: torch.optim.AdamW(p, 0.02, weight_decay=0.1),
    "adam-amsgrad": lambda p: torch.optim.Adam(p, 0.02, (0.9, 0.9), amsgrad=True),
    "adamw-amsgrad": lambda p: torch.optim.AdamW(p, 0.02, (0.9, 0.9), amsgrad=True),
    "nadam": lambda p: torch.optim.NAdam(p, 0.02),
    "nadam-decay": lambda p: torch.optim.NAdam(p, 0.02, (0.8, 0.9), 1e-6, 0.02, 0.1),
    "radam": lambda p: torch.optim.RAdam(p, 0.05),
    "radam-decay": lambda p: torch.optim.RAdam(p, 0.05, (0.8, 0.99), 1e-6, 0.02),
    "radam-no-epsilon": lambda p: torch.optim.RAdam(p, 0.05, eps=0.0),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.5),
    "adagrad-decay": lambda p: torch.optim.Adagrad(
        p, 0.5, weight_decay=0.02, initial_accumulator_value=0.1, eps=0.0
    ),
    "adadelta": lambda p: torch.optim.Adadelta(p, 2.0, eps=1e-3),
    "adadelta-decay": lambda p: torch.optim.Adadelta(p, 1.0, 0.8, 1e-2, 0.02),
    "muon": lambda p: MuonTwin(p, lambda q: torch.optim.AdamW(q, 0.03), 0.02),
    "muon-plain": lambda p: MuonTwin(
        p,
        lambda q: torch.optim.Adam(q, 0.02, eps=1e-30),
        0.02,
        0.01,
        0.8,
        False,
        ns_steps=4,
        eps=1e-30,
    ),
    "muon-rms": lambda p: MuonTwin(
        p, lambda q: torch.optim.SGD(q, 0.1), 0.02, adjust_lr_fn="match_rms_adamw"
    ),
}
# Without a counterpart in PyTorch: test_crosscheck_jax.py compares them with optax.
NOT_IN_TORCH = {"lion", "lion-decay", "lamb", "lamb-decay"}


def layer_twin(layer: Any, params: Any, x: Any) -> Any:
    """Return a layer's output by torch's functions; dropout is left out of layers compared here."""
    match layer:
        case nnb.Dense():
            bias = params["bias"] if layer.bias else None
            y = F.linear(x, params["weight"].mT, bias)
            return ACTIVATION_TWINS[nnb.activations.ACTIVATIONS.name_of(layer.activation)](y)
        case nnb.Activation():
            return ACTIVATION_TWINS[nnb.activations.ACTIVATIONS.name_of(layer.function)](x)
        case nnb.Flatten():
            return torch.flatten(x, 1)
        case nnb.Residual():
            return x + layer_twin(nnb.Sequential(layer.layers), params, x)
        case nnb.Sequential():
            for i, inner in enumerate(layer.layers):
                x = layer_twin(inner, params[str(i)], x)
            return x
        case nnb.Dropout() | nnb.AlphaDropout() | nnb.GaussianNoise():  # outside training
            return x
    raise AssertionError(f"no twin for {layer}")


def leaf(values: np.ndarray) -> Any:
    return torch.tensor(values, requires_grad=True)


@each(ACTIVATIONS)
def test_activations(case):
    x, dy = rows((4, 5)) * 3, rows((4, 5), 1)
    y, backward = case.thing(x, Context(NUMPY))
    twin_x = leaf(x)
    twin = ACTIVATION_TWINS[case.id](twin_x)
    twin.backward(torch.tensor(dy))
    assert_close(y, twin.detach().numpy(), 1e-14)
    assert_close(backward(dy), twin_x.grad.numpy(), 1e-13)


@each(case for case in LAYERS if case not in FAMILIES)
def test_layers(case):
    params, x = parameters(case.thing, case.shape, NUMPY), rows((4, *case.shape))
    y, backward = case.thing.forward(params, x, Context(NUMPY))
    dy = rows(y.shape, 1)
    dx, grads = backward(dy)
    twin_params, twin_x = tree_map(leaf, params), leaf(x)
    twin = layer_twin(case.thing, twin_params, twin_x)
    twin.backward(torch.tensor(dy))
    assert_close(y, twin.detach().numpy(), 1e-14)
    assert_close(dx, twin_x.grad.numpy(), 1e-13)
    assert_close(grads, tree_map(lambda p: p.grad.numpy(), twin_params), 1e-13)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_alpha_dropout_has_torchs_two_values(rate):
    """Where it keeps a number and where not is chance; what becomes of it is not."""
    x = rows((400, 50))
    y, backward = nnb.AlphaDropout(rate).forward({}, x, Context(NUMPY, True, (1, 2), 0))
    torch.manual_seed(0)
    twin_x = leaf(x)
    twin = F.alpha_dropout(twin_x, rate, training=True)
    twin.sum().backward()
    dx, _ = backward(np.ones_like(x))
    kept, twin_kept = dx != 0, twin_x.grad.numpy() != 0
    both, neither = kept & twin_kept, ~kept & ~twin_kept
    for part in (both, neither):
        assert_close(y[part], twin.detach().numpy()[part], 1e-12)
    assert_close(dx[both], twin_x.grad.numpy()[both], 1e-12)
    assert abs(kept.mean() - twin_kept.mean()) < 0.02


@each(LOSSES)
def test_losses(case):
    shape = (6, *case.shape)
    x, target = rows(shape) * 2, case.target(np.random.default_rng(0), shape)
    value, dy = case.thing(x, target)
    twin_x = leaf(x)
    twin = LOSS_TWINS[case.id](twin_x, torch.tensor(target))
    twin.backward()
    assert float(value) == pytest.approx(twin.item(), rel=1e-12)
    assert_close(dy, twin_x.grad.numpy(), 1e-13)


SHAPES = {"0": {"weight": (5, 4), "bias": (4,)}, "1": {"weight": (4, 1)}}


@pytest.fixture
def float64_by_default():
    """NAdam keeps its product of momenta in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_every_optimizer_has_a_twin():
    assert OPTIMIZER_TWINS.keys() | NOT_IN_TORCH == {case.id for case in OPTIMIZERS}


@each(case for case in OPTIMIZERS if case.id not in NOT_IN_TORCH)
@pytest.mark.usefixtures("float64_by_default")
def test_optimizers_over_a_hundred_steps(case, backend64):
    start = tree_map(lambda shape: rows(shape, 0), SHAPES)
    twins = flatten(tree_map(leaf, start))
    twin = OPTIMIZER_TWINS[case.id](list(twins.values()))
    params = tree_map(lambda p: backend64.xp.asarray(backend64.asarray(p), copy=True), start)
    state = case.thing.init(params)
    for step in range(100):
        grads = tree_map(lambda shape, step=step: rows(shape, step + 1), SHAPES)
        with backend64.scope():
            params, state = case.thing.update(params, tree_map(backend64.asarray, grads), state)
        for parameter, gradient in zip(twins.values(), flatten(grads).values(), strict=True):
            parameter.grad = torch.tensor(gradient)
        twin.step()
    assert_close(
        flatten(host(backend64, params)),
        {name: p.detach().numpy() for name, p in twins.items()},
        1e-10,
    )


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (nnb.SGD, torch.optim.SGD),
        (nnb.RMSprop, torch.optim.RMSprop),
        (nnb.Adam, torch.optim.Adam),
        (nnb.AdamW, torch.optim.AdamW),
        (nnb.Nadam, torch.optim.NAdam),
        (nnb.RAdam, torch.optim.RAdam),
        (nnb.Adagrad, torch.optim.Adagrad),
        (nnb.Adadelta, torch.optim.Adadelta),
        (nnb.Muon, torch.optim.Muon),
    ],
)
def test_defaults_are_those_of_pytorch(own, other):
    """Every hyperparameter that both have, under the name that each has for it."""
    names = {
        "learning_rate": "lr",
        "epsilon": "eps",
        "smoothing": "rho" if own is nnb.Adadelta else "alpha",
        "initial": "initial_accumulator_value",
        "iterations": "ns_steps",
    }
    theirs = dict(other([torch.zeros(2, 2)]).defaults)
    if "betas" in theirs:
        theirs["beta1"], theirs["beta2"] = theirs["betas"]
    for field in dataclasses.fields(own):
        if field.name not in ("adjust", "others"):
            assert getattr(own(), field.name) == theirs[names.get(field.name, field.name)]


LEARNING = {
    "regression": SimpleNamespace(
        loss="mse", output=None, optimizer=nnb.Adam(1e-2), target=lambda rng: rng.normal(size=(40, 2)),
        twin_loss=F.mse_loss, twin=lambda p: torch.optim.Adam(p, 1e-2),
    ),
    "classes": SimpleNamespace(
        loss="softmax_cross_entropy", output="softmax", optimizer=nnb.SGD(0.1, momentum=0.9),
        target=lambda rng: rng.integers(2, size=40),
        twin_loss=F.cross_entropy, twin=lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    ),
    "yes or no": SimpleNamespace(
        loss="binary_cross_entropy", output="sigmoid", optimizer=nnb.AdamW(1e-2),
        target=lambda rng: rng.integers(2, size=(40, 2)).astype(float),
        twin_loss=F.binary_cross_entropy_with_logits, twin=lambda p: torch.optim.AdamW(p, 1e-2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("task", LEARNING.values(), ids=LEARNING)
def test_a_network_trained_for_a_hundred_steps(task, backend64):
    """Five batches an epoch, in the order of the rows, for twenty epochs."""
    x, y = rows((40, 3)), task.target(np.random.default_rng(0))
    net = nnb.Network([nnb.Dense(8, activation="tanh"), nnb.Dense(2, activation=task.output)],
                      backend=backend64, input_shape=3)  # fmt: skip
    twins = [leaf(host(backend64, p)) for p in net.state_dict().values()]
    w1, b1, w2, b2 = twins
    twin = task.twin(twins)
    losses = []
    for _ in range(20):
        for start in range(0, 40, 8):
            batch = slice(start, start + 8)
            logits = torch.tanh(torch.tensor(x[batch]) @ w1 + b1) @ w2 + b2
            loss = task.twin_loss(logits, torch.tensor(y[batch]))
            twin.zero_grad()
            loss.backward()
            twin.step()
            losses.append(loss.item())
    history = net.fit(x, y, loss=task.loss, optimizer=task.optimizer, epochs=20, batch_size=8,
                      shuffle=False)  # fmt: skip
    for own, other in zip(net.state_dict().values(), twins, strict=True):
        assert_close(host(backend64, own), other.detach().numpy(), 1e-10)
    np.testing.assert_allclose(history["loss"], np.reshape(losses, (20, 5)).mean(1), rtol=1e-10)


# ------------------------------------------------------------------------------------- wrappers

GRADIENTS = [tree_map(lambda shape, i=i: rows(shape, i + 1), SHAPES) for i in range(100)]


def steps_of(optimizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters after a hundred steps, and their averages."""
    params = tree_map(lambda shape: rows(shape, 0), SHAPES)
    state = optimizer.init(params)
    for grads in GRADIENTS:
        params, state = optimizer.update(params, grads, state)
    return flatten(params), flatten(optimizer.averaged(params, state))


def twin_steps(make: Any, before: Any = None, after: Any = None) -> dict[str, np.ndarray]:
    """Return what torch's optimizer makes of the same gradients, with a call before and after each."""
    twins = flatten(tree_map(lambda shape: leaf(rows(shape, 0)), SHAPES))
    twin = make(twins)
    for t, grads in enumerate(GRADIENTS, 1):
        for name, gradient in flatten(grads).items():
            twins[name].grad = torch.tensor(gradient) if twins[name].requires_grad else None
        if before is not None:
            before(list(twins.values()))
        twin.step()
        if after is not None:
            after(t, twins)
    return {name: p.detach().numpy() for name, p in twins.items()}


def test_clipping_by_norm_and_by_value():
    def by_norm(
        parameters,
    ):  # as clip_grad_norm_ does it, but for the 1e-6 that it adds to the norm
        total = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        for p in parameters:
            p.grad *= torch.clamp(2.0 / total, max=1.0)

    adam = lambda p: torch.optim.Adam(p.values(), 0.02)  # noqa: E731
    found, _ = steps_of(nnb.optimizers.Clipped(nnb.Adam(0.02), norm=2.0))
    assert_close(found, twin_steps(adam, by_norm), 1e-10)
    whole = twin_steps(adam, lambda p: torch.nn.utils.clip_grad_norm_(p, 2.0))
    assert_close(found, whole, 1e-5)
    found, _ = steps_of(nnb.optimizers.Clipped(nnb.Adam(0.02), value=0.3))
    assert_close(found, twin_steps(adam, lambda p: torch.nn.utils.clip_grad_value_(p, 0.3)), 1e-10)


def averaged_twin(every: int, start: int, **kind: Any) -> dict[str, np.ndarray]:
    """Return the averages that torch's AveragedModel keeps of SGD."""

    class Held(torch.nn.Module):
        def __init__(self, twins: Any) -> None:
            super().__init__()
            names = [name.replace(".", "_") for name in twins]
            for name, p in zip(names, twins.values(), strict=True):
                self.register_parameter(name, torch.nn.Parameter(p))

    found: dict[str, Any] = {}

    def after(t: int, twins: Any) -> None:
        if t > start and (t - start) % every == 0:
            model = Held({name: p.detach() for name, p in twins.items()})
            if "model" not in found:
                found["model"] = torch.optim.swa_utils.AveragedModel(model, **kind)
            found["model"].update_parameters(model)

    twin_steps(lambda p: torch.optim.SGD(p.values(), 0.05), after=after)
    held = found["model"].module.named_parameters()
    return {name.replace("_", "."): p.detach().numpy() for name, p in held}


def test_averaged_weights():
    swa_utils = torch.optim.swa_utils
    _, found = steps_of(nnb.optimizers.EMA(nnb.SGD(0.05), decay=0.9, bias_correction=False))
    twin = averaged_twin(1, 0, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    assert_close(found, twin, 1e-10)
    _, found = steps_of(nnb.optimizers.SWA(nnb.SGD(0.05), start=30, every=7))
    assert_close(found, averaged_twin(7, 30), 1e-10)


def test_parameter_groups():
    optimizer = nnb.optimizers.Grouped(
        nnb.AdamW(0.02, weight_decay=0.2),
        {"1.*": {"learning_rate_factor": 0.1, "beta1": 0.8}},
        decay="weights",
    )
    twin = twin_steps(
        lambda p: torch.optim.AdamW([
            {"params": [p["0.weight"]]},
            {"params": [p["0.bias"]], "weight_decay": 0.0},
            {"params": [p["1.weight"]], "lr": 0.002, "betas": (0.8, 0.999)},
        ], lr=0.02, weight_decay=0.2)
    )  # fmt: skip
    assert_close(steps_of(optimizer)[0], twin, 1e-10)


def test_frozen_parameters():
    def make(twins):
        twins["0.weight"].requires_grad_(False)
        return torch.optim.AdamW([p for p in twins.values() if p.requires_grad], 0.02)

    def before(parameters):
        torch.nn.utils.clip_grad_value_([p for p in parameters if p.grad is not None], 0.3)

    inside = nnb.optimizers.Clipped(nnb.AdamW(0.02), value=0.3)
    found, _ = steps_of(nnb.optimizers.Frozen(inside, "0.w*"))
    assert_close(found, twin_steps(make, before), 1e-10)


PENALTY_TWINS = {
    "l1": lambda w: 0.02 * w.abs().sum(),
    "l2": lambda w: 0.03 * (w**2).sum(),
    "elastic_net": lambda w: 0.02 * w.abs().sum() + 0.03 * (w**2).sum(),
    "none": lambda w: 0.0 * w.sum(),
}
CONSTRAINT_TWINS = {
    "max_norm": lambda w: torch.renorm(w, 2, 1, 0.5),
    "unit_norm": lambda w: F.normalize(w, dim=0),
    "non_negative": lambda w: torch.clamp(w, min=0.0),
}


@each(REGULARIZERS)
def test_a_penalty_in_training(case):
    """Five epochs of three batches, with torch's autograd through loss and penalty."""
    x, y = rows((24, 3)), rows((24, 2), 1)
    net = nnb.Network([nnb.Dense(2, regularizer=case.thing)], dtype="float64", input_shape=3)
    w, b = (leaf(p) for p in net.state_dict().values())
    twin, losses = torch.optim.SGD([w, b], 0.1), []
    for _ in range(5):
        for start in range(0, 24, 8):
            batch = slice(start, start + 8)
            loss = F.mse_loss(torch.tensor(x[batch]) @ w + b, torch.tensor(y[batch]))
            loss = loss + PENALTY_TWINS[case.id](w)
            twin.zero_grad()
            loss.backward()
            twin.step()
            losses.append(loss.item())
    history = net.fit(x, y, optimizer=nnb.SGD(0.1), epochs=5, batch_size=8, shuffle=False)
    assert_close(net.state_dict()["0.weight"], w.detach().numpy(), 1e-12)
    np.testing.assert_allclose(history["loss"], np.reshape(losses, (5, 3)).mean(1), rtol=1e-12)


@each(CONSTRAINTS)
def test_constraints(case):
    w = rows((6, 5))
    twin = CONSTRAINT_TWINS[case.id](torch.tensor(w)).numpy()
    assert_close(case.thing(w), twin, 1e-6)  # torch's renorm divides by the norm + 1e-7
