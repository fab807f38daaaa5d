"""Your own training loop with the library's callbacks: early stopping, a log, checkpoints.

Run it with: python examples/loop_with_callbacks.py [backend]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import nnbackend as nnb
from nnbackend.callbacks import Checkpoint, EarlyStopping, JSONLines, Run

rng = np.random.default_rng(0)
x, noise = rng.uniform(-2, 2, size=(256, 1)), rng.normal(size=(256, 1))
y = np.sin(2 * x) + 0.1 * noise

net = nnb.Network(
    [nnb.Dense(32, activation="tanh"), nnb.Dense(1)],
    backend=sys.argv[1] if len(sys.argv) > 1 else "numpy",
    input_shape=1,
)
optimizer = nnb.Adam(learning_rate=1e-2)
as_array = net.backend.asarray
held_out = as_array(x[192:]), as_array(y[192:])

folder = Path(tempfile.mkdtemp())
callbacks = [
    EarlyStopping(patience=20),
    JSONLines(folder / "log.jsonl"),
    Checkpoint(folder / "checkpoints", every=10),
]

with Run(net, epochs=300, callbacks=callbacks) as run:  # resume=folder / "checkpoints" resumes
    state = run.optimizer_state or optimizer.init(net.params)
    for epoch in run:
        rows = np.random.default_rng(epoch).permutation(192)  # the same in a resumed run
        losses = []
        for batch in rows.reshape(6, 32):
            prediction, backward = net.forward(x[batch], training=True)
            loss, dy = nnb.losses.mse(prediction, as_array(y[batch]))
            _, grads = backward(dy, input_grad=False)
            net.params, state = optimizer.update(net.params, grads, state)
            losses.append(float(loss))
            run.batch_end(loss)
        run.optimizer_state = state  # for the checkpoints
        validation, _ = nnb.losses.mse(net.predict(held_out[0]), held_out[1])
        run.epoch_end(loss=np.mean(losses), validation_loss=float(validation))

print(f"{len(run.history)} epochs: {run.history.stopped}")
print((folder / "log.jsonl").read_text().splitlines()[-1])
error = float(nnb.metrics.get("rmse")(net.predict(held_out[0]), held_out[1]))
print(f"error {error:.3f}, and the noise is 0.1")
assert error < 0.2
