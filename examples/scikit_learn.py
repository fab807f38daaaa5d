"""A scikit-learn pipeline with a grid search, and the same with another import.

Handwritten digits are scaled and classified by a multilayer perceptron, whose width and penalty are
searched for. First with scikit-learn's MLPClassifier, then with nnbackend's: nothing else changes, the
scores are the same, and it takes less time. One more keyword computes in float32, another on a GPU.

BLAS gets one thread: products as small as these gain nothing from more, and on a machine that is busy
the threads of each product wait for each other, ten times as long as they compute. Then chance decides
which of the libraries is faster. The time that other programs take is not in what was spent computing.

Run it with: python examples/scikit_learn.py [backend]      (cupy, torch, jax; numpy is the default)
"""

import sys
import time
import warnings

import sklearn.neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import nnbackend.estimators

BACKEND = sys.argv[1] if len(sys.argv) > 1 else "numpy"
warnings.simplefilter("ignore", ConvergenceWarning)  # 20 epochs are enough here

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
grid = {
    "mlpclassifier__hidden_layer_sizes": [(64,), (128, 64)],
    "mlpclassifier__alpha": [1e-4, 1.0],
}


def search(name: str, mlp: sklearn.base.ClassifierMixin) -> float:
    """Search for the best settings; return the score on the test data."""
    started = time.perf_counter(), time.process_time()
    with threadpool_limits(1, "blas"):
        found = GridSearchCV(make_pipeline(StandardScaler(), mlp), grid, cv=3).fit(X_train, y_train)
    seconds, computing = time.perf_counter() - started[0], time.process_time() - started[1]
    score = found.score(X_test, y_test)
    best = ", ".join(f"{k.partition('__')[2]}={v}" for k, v in found.best_params_.items())
    print(f"{name:<32} {seconds:6.2f} s ({computing:.2f} s computing)   score {score:.4f}   {best}")
    return float(score)


settings = {"max_iter": 20, "random_state": 0}
theirs = search("scikit-learn", sklearn.neural_network.MLPClassifier(**settings))
ours = search("nnbackend", nnbackend.estimators.MLPClassifier(**settings))
search(
    f"nnbackend, float32, {BACKEND}",
    nnbackend.estimators.MLPClassifier(**settings, precision="float32", backend=BACKEND),
)
assert abs(ours - theirs) < 0.01, "the scores should be the same"

# What scikit-learn's class does not have: GELU in one layer and tanh in the other, dropout, AdamW, a
# weight for each class, and the network itself, to be saved and loaded without pickle.
more = nnbackend.estimators.MLPClassifier(
    (64, 32),
    activation=["gelu", "tanh"],
    dropout=[0.2, 0.1],
    solver=nnbackend.AdamW(learning_rate=3e-3),
    class_weight="balanced",
    max_iter=30,
    random_state=0,
)
print(f"with more of nnbackend: {more.fit(X_train / 16, y_train).score(X_test / 16, y_test):.4f}")
print(more.network_.summary())
