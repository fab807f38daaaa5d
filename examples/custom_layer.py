"""Your own layers: with parameters, with state, with two inputs; checked, trained, saved, loaded.

The task: sequences of different lengths, padded to one length, are classified by their means.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nnbackend as nnb


@nnb.register_layer  # so that networks with it can be saved and loaded
@dataclass(frozen=True)  # a layer is a description; its arrays are handed to it
class ScaleNorm:
    """Normalization to a learned length of the last axis (Nguyen, Salazar 2019, arXiv:1910.05895).

    y = gain * x / r with r = sqrt(sum(x**2) + epsilon), gain a number.
    """

    epsilon: float = 1e-6

    def init(self, input_shape, rng):
        """Return the initial parameters (NumPy, on the host) and the output's shape."""
        return {"gain": np.sqrt(input_shape[-1])}, input_shape

    def forward(self, params, x, ctx):
        """Return the output and its backward pass, in functions of the array API standard."""
        xp = ctx.xp
        r = xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True) + self.epsilon)
        normed = ctx.note("normed", x / r)  # for nnb.observe; it costs nothing otherwise

        def backward(dy, input_grad=True):
            grads = {"gain": xp.sum(dy * normed)}
            dn = dy * params["gain"]
            dx = (dn - normed * xp.sum(dn * normed, axis=-1, keepdims=True)) / r
            return dx, grads

        return normed * params["gain"], backward


@nnb.register_layer
@dataclass(frozen=True)
class MaskedMean(nnb.layers.Parameterless):
    """The mean of the steps that count: (values, mask) -> sum(mask * values) / sum(mask).

    A layer without parameters has one method, and its output's shape where that differs. Two
    inputs are a tuple, and so are their shapes: values (batch, steps, features), mask (batch, steps).
    """

    takes = ("numbers", "indices")  # the zeros and ones of the mask stay integers

    def output_shape(self, input_shape):
        """Return the shape of the values without the axis of steps."""
        (_, features), _ = input_shape
        return (features,)

    def apply(self, x, ctx):
        """Return the output, and the function from its gradient to those of the two inputs."""
        xp, (values, mask) = ctx.xp, x
        mask = xp.expand_dims(xp.astype(mask, values.dtype), axis=-1)
        share = mask / xp.sum(mask, axis=1, keepdims=True)
        return xp.sum(share * values, axis=1), lambda dy: (share * xp.expand_dims(dy, axis=1), None)


@nnb.register_layer
@dataclass(frozen=True)
class Standardize:
    """Subtracts the mean of all rows seen in training, and divides by their standard deviation.

    Both are state: arrays that no optimizer trains. They are read from ``ctx.state`` and, in training,
    replaced by ``ctx.set_state``; saving, copying and resuming keep them.
    """

    def init(self, input_shape, rng):
        """Return no parameters, and the shape, which stays."""
        return {}, input_shape

    def init_state(self, input_shape):
        """Return the initial state, NumPy arrays by name."""
        return {"rows": np.zeros(()), "mean": np.zeros(input_shape), "square": np.ones(input_shape)}

    def forward(self, params, x, ctx):
        """Standardize by the rows before this batch; then count the batch in."""
        xp, (rows, mean, square) = ctx.xp, (ctx.state[n] for n in ("rows", "mean", "square"))
        std, dtype = xp.sqrt(square - mean * mean + 1e-6), x.dtype
        x = xp.astype(x, mean.dtype)  # mixed precision computes in 16 bits; the state has 32
        if ctx.training:
            weight = ctx.row_weight  # rows of weight 0 are padding, and must not count
            if weight is None:
                weight = xp.ones(x.shape[0], dtype=mean.dtype, device=ctx.backend.device)
            total = rows + xp.sum(weight)
            share = xp.reshape(weight, (-1, 1)) / total
            ctx.set_state(
                rows=total,
                mean=mean + xp.sum(share * (x - mean), axis=0),
                square=square + xp.sum(share * (x * x - square), axis=0),
            )
        y = xp.astype((x - mean) / std, dtype)
        return y, lambda dy, input_grad=True: (dy / xp.astype(std, dtype), {})


rng = np.random.default_rng(0)
lengths = rng.integers(3, 9, size=512)
mask = (np.arange(8) < lengths[:, None]).astype(int)
x = 5.0 + 2.0 * rng.normal(size=(512, 8, 4))
y = (np.sum(mask[:, :, None] * x, axis=1) / lengths[:, None] @ [1, -1, 1, -1] > 0).astype(int)

layers = [MaskedMean(), Standardize(), nnb.Dense(32, activation="silu"), ScaleNorm(), nnb.Dense(2)]
net = nnb.Network(layers, seed=0)

error = nnb.testing.check_gradients(net, (x[:5], mask[:5]))
print(f"the backward passes agree with central differences to {error:.1e}")

history = net.fit(
    (x, mask), y, loss="softmax_cross_entropy", epochs=30, metrics=["accuracy"], verbose=0
)
print(f"accuracy after 30 epochs: {history['accuracy'][-1]:.3f}")
assert history["accuracy"][-1] > 0.95
print("mean of the rows seen:", np.round(net.state["1"]["mean"], 2))

for passage in nnb.observe(net, (x[:2], mask[:2])):
    print(passage)

with tempfile.TemporaryDirectory() as folder:
    path = net.save(Path(folder) / "sequences.safetensors")
    again = nnb.load(path)
assert np.array_equal(again.predict((x, mask)), net.predict((x, mask)))
print("saved and loaded:", again)
