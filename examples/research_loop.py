"""Your own training loop: forward, loss, backward and update are four plain calls.

Run it with: python examples/research_loop.py [backend]
"""

import sys

import numpy as np

import nnbackend as nnb

rng = np.random.default_rng(0)
angle, turn = rng.uniform(0, 3 * np.pi, 600), rng.integers(0, 3, 600)  # three arms of a spiral
points = (angle * np.stack([np.cos(angle + 2.1 * turn), np.sin(angle + 2.1 * turn)])).T / 5

net = nnb.Network(
    [
        nnb.Dense(64, activation="gelu"),
        nnb.Dropout(0.1),
        nnb.Dense(64, activation="gelu"),
        nnb.Dense(3),
    ],
    backend=sys.argv[1] if len(sys.argv) > 1 else "numpy",
    input_shape=(2,),
)
x = net.backend.asarray(points)
labels = net.backend.asarray(turn, dtype=net.backend.xp.int32)

optimizer = nnb.Adam(learning_rate=5e-3)
state = optimizer.init(net.params)
for step in range(400):
    logits, backward = net.forward(x, training=True)
    loss, dy = nnb.losses.softmax_cross_entropy(logits, labels)
    _, grads = backward(dy, input_grad=False)
    net.params, state = optimizer.update(net.params, grads, state)
    if step % 100 == 0:
        print(f"step {step:>3}: loss {float(loss):.4f}")

accuracy = float(nnb.metrics.get("accuracy")(net.predict(x), labels))
print(f"accuracy {accuracy:.3f}")
assert accuracy > 0.95
