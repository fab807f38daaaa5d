"""scikit-learn's losses."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from nnbackend.estimators import losses

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("loss", [losses.HalfSquaredError(), losses.HalfPoisson(),
                                  losses.LogLoss(), losses.BinaryLogLoss()],
                         ids=lambda loss: type(loss).__name__)  # fmt: skip
def test_losses_have_the_gradient_that_they_say(loss):
    rng = np.random.default_rng(1)
    z, weight = rng.normal(size=(5, 3)), rng.uniform(0.5, 2.0, 5)
    y = np.eye(3)[[0, 2, 1, 1, 0]]
    step, direction = 1e-6, rng.normal(size=(5, 3))
    for extra in ((), (weight,)):
        _, dz = loss(z, y, *extra)
        up, down = (
            loss(z + step * direction, y, *extra)[0],
            loss(z - step * direction, y, *extra)[0],
        )
        slope = float(np.sum(dz * direction))
        slope /= 3 if isinstance(loss, losses.HalfSquaredError) else 1  # as scikit-learn has it
        np.testing.assert_allclose((up - down) / (2 * step), slope, rtol=1e-6)
