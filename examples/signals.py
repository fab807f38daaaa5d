"""A one-dimensional convolutional network on MNIST-1D: pip install mnist1d.

Signals of 40 numbers stand for ten digits. Greydanus and Kobak (2024, arXiv:2011.14439) report 94 % for
a convolutional network and 68 % for a multilayer perceptron.

    python examples/signals.py              # in some seconds
    python examples/signals.py --epochs 50  # see docs/images.md
"""

import argparse

from mnist1d.data import make_dataset

import nnbackend as nnb

parser = argparse.ArgumentParser()
parser.add_argument("--backend", default="numpy")
parser.add_argument("--epochs", type=int, default=15)
arguments = parser.parse_args()

data = make_dataset()  # 4,000 signals and 1,000 to test with; always the same ones
x_train, x_test = data["x"][..., None], data["x_test"][..., None]  # (rows, 40, 1 channel)
y_train, y_test = data["y"].astype(int), data["y_test"].astype(int)

layers = []
for channels, stride in ((32, 1), (64, 2), (64, 2)):
    layers += [
        nnb.Conv1D(channels, 5, stride=stride, padding="same", bias=False),
        nnb.BatchNorm(),
        nnb.Activation("relu"),
    ]
layers += [nnb.Flatten(), nnb.Dropout(0.5), nnb.Dense(10)]
net = nnb.Network(layers, backend=arguments.backend, seed=0)

steps = arguments.epochs * len(x_train) // 100
net.fit(
    x_train,
    y_train,
    loss="softmax_cross_entropy",
    optimizer=nnb.AdamW(nnb.schedules.Cosine(3e-3, steps), weight_decay=0.05),
    epochs=arguments.epochs,
    batch_size=100,
)
scores = net.evaluate(x_test, y_test, loss="softmax_cross_entropy", metrics=["accuracy"])
print(f"{scores['accuracy']:.1%} of {len(x_test)} test signals")
assert scores["accuracy"] > 0.93
