"""A convolutional network learns scikit-learn's handwritten digits, 8 x 8 pixels.

python examples/digits.py                 # one split, in some seconds
python examples/digits.py --splits 5      # the mean over five: see docs/images.md
python examples/digits.py --backend cupy  # the same on a GPU
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import nnbackend as nnb

parser = argparse.ArgumentParser()
parser.add_argument("--backend", default="numpy")
parser.add_argument("--splits", type=int, default=1)
parser.add_argument("--epochs", type=int, default=15)
arguments = parser.parse_args()

digits = load_digits()
x = digits.images[..., None] / 16.0  # (1797, 8, 8, 1): channels last


def block(channels):
    """Return a convolution with batch normalization."""
    return [
        nnb.Conv2D(channels, 3, padding="same", bias=False),
        nnb.BatchNorm(),
        nnb.Activation("relu"),
    ]


accuracies = []
for split in range(arguments.splits):
    x_train, x_test, y_train, y_test = train_test_split(
        x, digits.target, test_size=0.2, random_state=split, stratify=digits.target
    )
    net = nnb.Network(
        [
            *block(32), *block(32), nnb.MaxPool2D(2), nnb.Dropout(0.25),
            *block(64), nnb.Flatten(), nnb.Dropout(0.5), nnb.Dense(10),
        ],
        backend=arguments.backend,
        seed=split,
    )  # fmt: skip
    steps = arguments.epochs * -(-len(x_train) // 32)
    net.fit(
        x_train,
        y_train,
        loss="softmax_cross_entropy",
        optimizer=nnb.Adam(nnb.schedules.Cosine(3e-3, steps)),
        epochs=arguments.epochs,
        batch_size=32,
    )
    scores = net.evaluate(x_test, y_test, loss="softmax_cross_entropy", metrics=["accuracy"])
    accuracies.append(scores["accuracy"])
    print(f"split {split}: {scores['accuracy']:.1%} of {len(x_test)} held-out digits")

print(net.summary())
print(f"mean accuracy: {np.mean(accuracies):.1%}")
assert np.mean(accuracies) > 0.97
