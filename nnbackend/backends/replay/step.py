"""Run training steps from recordings of the NumPy calls they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnbackend.backends.replay.recording import Function, MapArrays, put_back
from nnbackend.backends.replay.replayed import Programs, Replayed
from nnbackend.core.types import Arrays, Batch, Step, StepResult

__all__ = ["WARMUP_STEPS", "replayed_step", "step_function"]

WARMUP_STEPS = 32
"""Steps of small batches before the first recording."""


def replayed_step(
    step: Step, map_carry: MapArrays, dtype: Any, new: Callable[..., Replayed]
) -> Step:
    """Return a training step that is played from a recording, one for each shape of batches.

    Args:
        step: the step as it is. Arrays of its carry may be changed in place or be others.
        map_carry: ``map_carry(carry, function)``: the carry with a function applied to each array.
        dtype: the dtype of the scalars.
        new: makes what records and plays a step.
    """
    function = step_function(step)

    def new_program() -> Replayed:
        return new(function, map_carry, (dtype, np.int32), WARMUP_STEPS)

    programs = Programs(new_program)

    def replayed(
        carry: Any, batch: Batch, scalars: tuple[float, ...], number: int
    ) -> tuple[Any, StepResult]:
        program, arrays = programs.find(batch)
        if program.player is not None and program.is_held(carry):
            return carry, program.player.play(arrays, (*scalars, number))
        if not program.is_plain(carry, batch):
            return program.advance(carry, batch, (*scalars, number))
        new, result = step(carry, batch, scalars, number)  # here, so that a reader soon is there
        put_back(carry, new, map_carry)
        return carry, result

    return replayed


def step_function(step: Step) -> Function:
    """Return a training step as a function of what is held, inputs and numbers."""

    def function(carry: Any, batch: Arrays, numbers: tuple[Any, ...]) -> tuple[Any, Arrays]:
        return step(carry, batch, numbers[:-1], numbers[-1])

    return function
