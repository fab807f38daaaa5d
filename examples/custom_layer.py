"""A layer of your own: two methods, then checked, trained, saved and loaded like any other.

RMS normalization divides each row by its root mean square and scales the features:
y = g * x / r with r = sqrt(mean(x**2) + epsilon). (Zhang, Sennrich 2019, arXiv:1910.07467.)
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nnbackend as nnb


@nnb.register_layer  # so that networks with it can be saved and loaded
@dataclass(frozen=True)  # a layer is a description; its arrays are handed to it
class RMSNorm:
    """Root mean square normalization of the last axis."""

    epsilon: float = 1e-6

    def init(self, input_shape, rng):
        """Return the initial parameters (NumPy, on the host) and the output's shape."""
        return {"gain": np.ones(input_shape[-1:])}, input_shape

    def forward(self, params, x, ctx):
        """Return the output and its backward pass, in functions of the array API standard."""
        xp = ctx.xp
        r = xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        normed = x / r

        def backward(dy, input_grad=True):
            grads = {"gain": xp.sum(dy * normed, axis=tuple(range(dy.ndim - 1)))}
            dn = dy * params["gain"]
            dx = (dn - normed * xp.mean(dn * normed, axis=-1, keepdims=True)) / r
            return dx, grads

        return normed * params["gain"], backward


rng = np.random.default_rng(0)
x = rng.normal(size=(512, 8)) * rng.uniform(0.1, 10, size=(512, 1))  # rows of very different size
y = (x[:, 0] > x[:, 1]).astype(int)

net = nnb.Network([RMSNorm(), nnb.Dense(32, activation="silu"), RMSNorm(), nnb.Dense(2)], seed=0)

error = nnb.testing.check_gradients(net, x[:5])
print(f"the backward pass agrees with central differences to {error:.1e}")

history = net.fit(x, y, loss="softmax_cross_entropy", epochs=30, metrics=["accuracy"], verbose=0)
print(f"accuracy after 30 epochs: {history['accuracy'][-1]:.3f}")
assert history["accuracy"][-1] > 0.95

with tempfile.TemporaryDirectory() as folder:
    path = net.save(Path(folder) / "rms.safetensors")
    again = nnb.load(path)
assert np.array_equal(again.predict(x), net.predict(x))
print("saved and loaded:", again)
