"""A convolutional autoencoder takes the noise out of images of digits.

The encoder halves height and width twice, the decoder doubles them again with transposed convolutions.
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits

import nnbackend as nnb

parser = argparse.ArgumentParser()
parser.add_argument("--backend", default="numpy")
parser.add_argument("--epochs", type=int, default=15)
arguments = parser.parse_args()

clean = load_digits().images[..., None] / 16.0
noisy = clean + np.random.default_rng(0).normal(scale=0.3, size=clean.shape)
train, test = slice(0, 1400), slice(1400, None)

net = nnb.Network(
    [
        nnb.Conv2D(16, 3, stride=2, padding="same", activation="relu"),
        nnb.Conv2D(32, 3, stride=2, padding="same", activation="relu"),
        nnb.ConvTranspose2D(16, 2, stride=2, activation="relu"),
        nnb.ConvTranspose2D(16, 2, stride=2, activation="relu"),
        nnb.Conv2D(1, 3, padding="same"),
    ],
    backend=arguments.backend,
    seed=0,
)
net.fit(
    noisy[train],
    clean[train],
    loss="mse",
    optimizer=nnb.Adam(3e-3),
    epochs=arguments.epochs,
    batch_size=32,
)
before = np.mean((noisy[test] - clean[test]) ** 2)
after = net.evaluate(noisy[test], clean[test], loss="mse")["loss"]
print(f"mean squared error: {before:.4f} with noise, {after:.4f} without")
assert after < before / 3

shades = np.asarray(list(" .:-=+*#"))
digit = np.asarray(net.backend.to_numpy(net.predict(noisy[1400:1401])))[0, ..., 0]
for row in zip(noisy[1400, ..., 0], digit, clean[1400, ..., 0], strict=True):
    print("   ".join("".join(shades[np.clip(p * 8, 0, 7).astype(int)]) for p in row))
