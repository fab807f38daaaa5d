"""A residual network on images, with what people train them with, stopped and resumed.

Batch normalization, random shifts of the images, a cosine schedule and an average of the weights; a
checkpoint after each epoch. The run is stopped in the middle and resumed, to the same weights.
"""

import argparse
import tempfile

import numpy as np
from sklearn.datasets import load_digits

import nnbackend as nnb

parser = argparse.ArgumentParser()
parser.add_argument("--backend", default="numpy")
parser.add_argument("--epochs", type=int, default=6)
arguments = parser.parse_args()

digits = load_digits()
x, y = digits.images[..., None] / 16.0, digits.target
order = np.random.default_rng(0).permutation(len(x))
train, test = order[:1440], order[1440:]


def convolution(channels, stride=1):
    """Return a convolution with batch normalization."""
    return [
        nnb.Conv2D(channels, 3, stride=stride, padding="same", bias=False),
        nnb.BatchNorm(),
    ]


def block(channels):
    """Return a residual block, in the order of He et al. (2016)."""
    inside = [*convolution(channels), nnb.Activation("relu"), *convolution(channels)]
    return [nnb.Residual(inside), nnb.Activation("relu")]


def new_network():
    """Return the network, with its initial weights."""
    layers = [
        *convolution(16), nnb.Activation("relu"), *block(16),
        *convolution(32, stride=2), nnb.Activation("relu"), *block(32),
        nnb.GlobalAveragePool2D(), nnb.Dense(10),
    ]  # fmt: skip
    return nnb.Network(layers, backend=arguments.backend, seed=0)


def train_network(net, epochs, folder=None, resume=None):
    """Train up to an epoch."""
    steps = arguments.epochs * len(train) // 32
    optimizer = nnb.optimizers.EMA(nnb.AdamW(nnb.schedules.Cosine(3e-3, steps)), decay=0.98)
    return net.fit(
        x[train],
        y[train],
        loss="softmax_cross_entropy",
        optimizer=optimizer,
        epochs=epochs,
        batch_size=32,
        augment=[nnb.transforms.RandomShift(1)],
        callbacks=[] if folder is None else [nnb.callbacks.Checkpoint(folder)],
        resume=resume,
    )


whole = new_network()
train_network(whole, arguments.epochs)
with tempfile.TemporaryDirectory() as folder:
    train_network(new_network(), arguments.epochs // 2, folder)  # the machine goes down here
    resumed = new_network()
    train_network(resumed, arguments.epochs, folder, resume=folder)

found = [np.asarray(net.backend.to_numpy(net.predict(x[test]))) for net in (whole, resumed)]
print("the resumed run ends at the same outputs:", np.array_equal(*found))
accuracy = np.mean(found[0].argmax(axis=1) == y[test])
print(f"{accuracy:.1%} of {len(test)} held-out digits")
assert np.allclose(*found, atol=1e-5)
assert accuracy > 0.95
