"""A network with two inputs: prices of things from an image and a table of numbers.

Each thing has a picture, a bright square of some size on noise, and two numbers, its age and its weight.
The price needs both: the area of the square times the weight, less the age.
"""

import argparse

import numpy as np

import nnbackend as nnb

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--backend", default="numpy")
backend = arguments.parse_args().backend

rng = np.random.default_rng(0)
count, side = 1200, 12
sizes, corners = rng.integers(2, 9, size=count), rng.integers(0, 4, size=(count, 2))
image = 0.3 * rng.normal(size=(count, side, side, 1))
for picture, size, (row, column) in zip(image, sizes, corners, strict=True):
    picture[row : row + size, column : column + size] += 1.0
table = rng.uniform(0.0, 1.0, size=(count, 2))
price = ((sizes / 8.0) ** 2 * table[:, 1] - 0.3 * table[:, 0])[:, None]

graph = nnb.Graph(
    inputs=("image", "table"),
    nodes={
        "seen": (
            nnb.Sequential(
                [
                    nnb.Conv2D(8, 3, stride=2, activation="relu"),
                    nnb.GlobalAveragePool2D(),  # wherever the square is
                ]
            ),
            "image",
        ),
        "known": (nnb.Dense(16, activation="relu"), "table"),
        "both": (nnb.Concatenate(), "seen", "known"),
        "hidden": (nnb.Dense(32, activation="relu"), "both"),
        "price": (nnb.Dense(1), "hidden"),
    },
    outputs="price",
)

x = {"image": image, "table": table}
train, test = slice(0, 1000), slice(1000, None)
net = nnb.Network(graph, backend=backend, seed=0)
net.fit(
    {name: array[train] for name, array in x.items()}, price[train],
    loss="mse", optimizer=nnb.Adam(3e-3), epochs=30, batch_size=50, verbose=0,
)  # fmt: skip
found = net.evaluate({name: array[test] for name, array in x.items()}, price[test], metrics=["r2"])
print(f"share of the variance of prices that is explained: {found['r2']:.3f}")
assert found["r2"] > 0.9
