"""Embeddings of categories beside numbers: the body mass of penguins.

Species, island and sex become vectors that are learned, which stand beside the measurements.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

import nnbackend as nnb

parser = argparse.ArgumentParser()
parser.add_argument("--backend", default="numpy")
parser.add_argument("--epochs", type=int, default=200)
arguments = parser.parse_args()

with open(Path(__file__).parent / "data" / "penguins.csv", newline="") as file:
    rows = [row for row in csv.DictReader(file) if all(v not in ("", "NA") for v in row.values())]

categories = ("species", "island", "sex")
numbers = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm")
known = {name: sorted({row[name] for row in rows}) for name in categories}
x = {name: np.asarray([known[name].index(row[name]) for row in rows]) for name in categories}
x["numbers"] = np.asarray([[float(row[name]) for name in numbers] for row in rows])
y = np.asarray([float(row["body_mass_g"]) for row in rows])

order = np.random.default_rng(0).permutation(len(rows))
train, test = order[:250], order[250:]
mean, std = x["numbers"][train].mean(axis=0), x["numbers"][train].std(axis=0)
center, scale = y[train].mean(), y[train].std()

vectors = [f"{name}_vector" for name in categories]
nodes = {
    vector: (nnb.Embedding(len(known[name]), 2), name)
    for vector, name in zip(vectors, categories, strict=True)
}
nodes["scaled"] = (nnb.Normalize(mean.tolist(), std.tolist()), "numbers")
nodes["all"] = (nnb.Concatenate(), *vectors, "scaled")
nodes["mass"] = (nnb.Sequential([nnb.Dense(16, activation="relu"), nnb.Dense(1)]), "all")
net = nnb.Network(
    nnb.Graph(inputs=(*categories, "numbers"), nodes=nodes, outputs="mass"),
    backend=arguments.backend,
    seed=0,
)


def part(indices):
    """Return some rows of all inputs."""
    return {name: values[indices] for name, values in x.items()}


net.fit(
    part(train),
    (y[train] - center) / scale,
    optimizer=nnb.AdamW(1e-2, weight_decay=0.05),
    epochs=arguments.epochs,
    batch_size=50,
)
found = center + scale * np.asarray(net.backend.to_numpy(net.predict(part(test))))[:, 0]
error = np.sqrt(np.mean((found - y[test]) ** 2))
r2 = 1.0 - error**2 / np.var(y[test])
print(f"body mass of {len(test)} other penguins: off by {error:.0f} g, R2 {r2:.3f}")
assert r2 > 0.8
for vector, name in zip(vectors, categories, strict=True):
    table = np.asarray(net.backend.to_numpy(net.params["0"][vector]["weight"]))
    for category, (first, second) in zip(known[name], table, strict=True):
        print(f"{name:8} {category:10} {first:6.2f} {second:6.2f}")
