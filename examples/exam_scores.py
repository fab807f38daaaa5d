"""The tutorial this project grew from: exam scores from hours studied and hours slept.

Three students, a network of two inputs, three hidden units and one output, all sigmoid, no biases. The
comments name each value as the tutorial does. Run it with: python examples/exam_scores.py [backend]
"""

import sys

import numpy as np

import nnbackend as nnb

BACKEND = sys.argv[1] if len(sys.argv) > 1 else "numpy"

# Hours studied and slept, and the score; the question is the score after 4 hours and 8.
hours = np.array([[2.0, 9.0], [1.0, 5.0], [3.0, 6.0]])
scores = np.array([[92.0], [86.0], [89.0]])
question = np.array([[4.0, 8.0]])

# Scale to about 0 ... 1: the inputs by the largest of each column, the scores by the best possible.
largest = hours.max(axis=0)
X = hours / largest
y = scores / 100.0

net = nnb.Network(
    [
        nnb.Dense(3, activation="sigmoid", bias=False, initializer="normal"),  # W1: 2 x 3
        nnb.Dense(1, activation="sigmoid", bias=False, initializer="normal"),  # W2: 3 x 1
    ],
    backend=BACKEND,
    dtype="float32" if BACKEND == "jax" else "float64",
    seed=1,
    input_shape=(2,),
)

# One iteration by hand. forward: z = X W1, z2 = sigmoid(z), z3 = z2 W2, o = sigmoid(z3).
output, backward = net.forward(X)
loss, dy = nnb.losses.mse(output, net.backend.asarray(y))  # mean((y - o)**2) and its gradient

# backward, the five steps, with -2/N * (y - o) as dy:
#   1. o_error  = y - o                    the error in the output
#   2. o_delta  = o_error * s'(o)          ... before its sigmoid; s'(s) = s * (1 - s)
#   3. z2_error = o_delta W2.T             what the hidden units contributed
#   4. z2_delta = z2_error * s'(z2)        ... before their sigmoid
#   5. W1 += X.T z2_delta, W2 += z2.T o_delta
# Steps 1 to 4 are in Dense's backward pass, once for each layer; grads are the updates of step 5.
_, grads = backward(dy)
print(f"before training: loss {float(loss):.6f}, gradient of W1 {grads['0']['weight'].shape}")


def report(run: nnb.callbacks.Run) -> None:
    """Print the loss now and then."""
    if run.epoch in (1, 10, 100) or run.epoch % 1000 == 0:
        print(f"iteration {run.epoch:>4}: loss {run.history['loss'][-1]:.8f}")


# The same iteration 5000 times, with all three students in each step.
history = net.fit(
    X,
    y,
    loss="mse",
    optimizer=nnb.SGD(learning_rate=1.0),
    epochs=5000,
    batch_size=None,
    callbacks=[report],
    verbose=0,
)
assert history["loss"][-1] < history["loss"][0], "the loss should have fallen"

print("scores:    ", ", ".join(f"{s:.1f}" for s in scores.ravel()))
learned = net.to_numpy(net.predict(X)).ravel()
print("learned:   ", ", ".join(f"{100 * s:.1f}" for s in learned))
predicted = net.to_numpy(net.predict(question / largest)).item()
print(f"after 4 hours of study and 8 of sleep: {100 * predicted:.1f}")
