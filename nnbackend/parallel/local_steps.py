"""Steps that each process takes alone, before all of them meet: for slow networks."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.checks import check_number, check_size

__all__ = ["LocalSteps"]


@dataclass(frozen=True)
class LocalSteps:
    """Each process takes ``steps`` steps on its share of the batches; then all of them meet.

    There the processes' changes of the parameters, ``d = start - end``, are averaged by the weights of
    the rows that each has seen, and a gradient descent with Nesterov's momentum follows the average:
    ``v = momentum * v + d`` and ``start -= learning_rate * (d + momentum * v)``. From there all go on.
    The layers' state is averaged; the optimizer's arrays of a process stay its own until the end of an
    epoch, where they are averaged, too.

    With ``steps=1``, ``learning_rate=1``, ``momentum=0`` and ``SGD`` as the optimizer this is training
    that sums gradients in every step.

    Args:
        steps: how many steps a process takes alone. An epoch ends with a meeting, too.
        learning_rate: how far the parameters follow the average change, default 0.7.
        momentum: the share of the velocity that a meeting keeps, from 0 to below 1; default 0.9.

    Raises:
        ValueError: an argument is out of range.

    Source: Douillard et al. (2023), DiLoCo: Distributed Low-Communication Training of Language Models
    (arXiv:2311.08105).
    """

    steps: int
    learning_rate: float = 0.7
    momentum: float = 0.9

    def __post_init__(self) -> None:
        checked = {
            "steps": check_size("local_steps", self.steps),
            "learning_rate": check_number("learning_rate", self.learning_rate, 0.0),
            "momentum": check_number("momentum", self.momentum, 0.0, 1.0),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
