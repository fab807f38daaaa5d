"""Record parameters, gradients and the loss while a network learns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnbackend import losses
from nnbackend.callbacks.base import Callback
from nnbackend.core.checks import check_size
from nnbackend.core.tree import flatten
from nnbackend.inspection.observe import observe_step
from nnbackend.saving.schema import Check, array, entries, items, number, record, whole

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Record"]

Values: TypeAlias = NDArray[Any]

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass
class _Moment:
    """What was recorded at one moment, by dotted name of the parameter.

    Of weights and gradients it is the norm and behind it the quantiles, in one array.
    """

    step: int
    epoch: int
    loss: float
    probe_loss: float = math.nan
    parameters: dict[str, Values] = field(default_factory=dict)
    weights: dict[str, Values] = field(default_factory=dict)
    gradients: dict[str, Values] = field(default_factory=dict)


_NUMBERS = ("step", "epoch", "loss", "probe_loss")
_ARRAYS = ("parameters", "weights", "gradients")


class Record(Callback):
    """Records parameters, gradients and the loss at moments of a run, for figures and the microscope.

    The first moment is before the first step. The memory is bounded: when there are more moments than
    ``most``, every second one is dropped, and from then on they are twice as far apart. On all backends
    the records are NumPy arrays on the host.

    Gradients within a step are not seen by callbacks. With ``probe`` they are those of the same few rows
    at each moment, of a training pass (:func:`nnbackend.observe`) with the parameters of that moment,
    without the penalties of regularizers.

    >>> record = nnb.callbacks.Record(probe=(x[:32], y[:32]))
    >>> net.fit(x, y, epochs=100, callbacks=[record])
    >>> plt.plot(record.steps, record.gradient_norms["0.weight"])

    Args:
        every: the number of epochs from one moment to the next, default 1.
        every_steps: the number of steps instead, also within an epoch, where moments are at least so far
            apart: steps are counted anew in each epoch; None (the default): epochs.
        probe: rows and targets ``(x, y)`` for gradients and ``probe_loss``; None: these are not
            recorded.
        loss: the loss of the probe, in a training loop of your own; None: that of ``fit``.
        most: the largest number of moments that are kept, default 200.
        max_parameters: of a network with more numbers in its parameters these are not kept, only their
            norms and quantiles; default 5,000.

    Attributes:
        steps: the number of steps done at each moment, counted from the start of the run.
        epochs: the number of the epoch that each moment is in or ends; 0 before the first.
        loss: the training loss of the epoch that ended there, with ``every_steps`` of the step; NaN at
            the first moment.
        probe_loss: the loss of the probe with the parameters of each moment; NaN without a probe.
        interval: how many epochs (or steps) are between two moments now.
        note: what was not kept, and why; "" if all was.

    Raises:
        ValueError: an argument is out of range, or the probe does not fit the network.
    """

    only_watches = True
    schema: ClassVar[Check] = record(
        {
            "interval": whole(1),
            "step": items(whole()),
            "epoch": items(whole()),
            "loss": items(number(finite=False)),
            "probe_loss": items(number(finite=False)),
            "parameters": entries(array()),
            "weights": entries(array(2)),
            "gradients": entries(array(2)),
        }
    )

    def __init__(
        self,
        every: int = 1,
        *,
        every_steps: int | None = None,
        probe: tuple[Any, Any] | None = None,
        loss: Any = None,
        most: int = 200,
        max_parameters: int = 5000,
    ) -> None:
        self.every = check_size("every", every)
        self.every_steps = None if every_steps is None else check_size("every_steps", every_steps)
        if probe is not None and not (isinstance(probe, tuple | list) and len(probe) == 2):
            raise ValueError("probe must be rows and their targets, (x, y)")
        if isinstance(loss, str) or (loss is not None and not isinstance(loss, Mapping | Sequence)):
            losses.get(loss)
        self.probe, self._probe_loss = probe, loss
        self.most = check_size("most", most, least=2)
        self.max_parameters = check_size("max_parameters", max_parameters, least=0)
        if loss is not None and probe is None:
            raise ValueError("loss is that of the probe: give probe=(x, y) as well")
        self._reset()

    def _reset(self) -> None:
        self._moments: list[_Moment] = []
        self.interval = self.every_steps or self.every
        self.note = ""

    @property
    def listens_to_batches(self) -> bool:
        """Whether moments are counted in steps."""
        return self.every_steps is not None

    @property
    def batch_interval(self) -> int | None:
        """The number of steps between calls."""
        return self.every_steps

    def start(self, run: Run) -> None:
        """Record the moment before the first step; of a resumed run the moments go on."""
        if not run.resumed or not self._moments:
            self._reset()
            self._add(run, math.nan)

    def batch_end(self, run: Run) -> None:
        """Record a moment if it is so many steps after the last one."""
        if run.steps - self._moments[-1].step >= self.interval:
            of_steps = run.losses
            self._add(run, of_steps[-1] if of_steps else math.nan)

    def epoch_end(self, run: Run) -> None:
        """Record a moment if it is so many epochs after the last one."""
        if self.every_steps is None and run.epoch - self._moments[-1].epoch >= self.interval:
            self._add(run, run.history["loss"][-1])

    def _add(self, run: Run, loss: float) -> None:
        """Record a moment; drop every second one if there are too many."""
        network, backend = run.network, run.network.backend
        moment = _Moment(run.steps, run.epoch, loss)
        with backend.scope():
            values = {n: backend.to_numpy(p) for n, p in flatten(network.params).items()}
            moment.weights = {name: _describe(array) for name, array in values.items()}
            if self._keeps(values):
                moment.parameters = {n: np.array(v, copy=True) for n, v in values.items()}
            if self.probe is not None:
                seen = observe_step(network, *self.probe, self._probe_loss, step=run.steps)
                moment.probe_loss = float(seen.loss)
                moment.gradients = {
                    name: _describe(backend.to_numpy(g)) for name, g in flatten(seen.grads).items()
                }
        self._moments.append(moment)
        if len(self._moments) > self.most:
            self._moments = self._moments[::2]
            self.interval *= 2

    def _keeps(self, values: Mapping[str, Values]) -> bool:
        """Return whether the parameters are few enough to be kept; say so if not."""
        count = sum(array.size for array in values.values())
        if count > self.max_parameters:
            self.note = (
                f"of {count:,} parameters only norms and quantiles are kept: they are more than "
                f"max_parameters={self.max_parameters:,}"
            )
        return not self.note

    # What was recorded

    def __len__(self) -> int:
        return len(self._moments)

    @property
    def steps(self) -> Values:
        """The number of steps done at each moment, of shape (moments,)."""
        return self._numbers("step")

    @property
    def epochs(self) -> Values:
        """The number of the epoch of each moment, of shape (moments,)."""
        return self._numbers("epoch")

    @property
    def loss(self) -> Values:
        """The training loss of the epoch or step that ended at each moment, of shape (moments,)."""
        return self._numbers("loss")

    @property
    def probe_loss(self) -> Values:
        """The loss of the probe at each moment, of shape (moments,)."""
        return self._numbers("probe_loss")

    @property
    def parameters(self) -> dict[str, Values]:
        """The parameters by dotted name, each ``(moments, *shape)``; {} if they are too many."""
        return self._arrays("parameters")

    @property
    def weight_norms(self) -> dict[str, Values]:
        """The root of the sum of squares of each parameter, of shape (moments,)."""
        return {name: a[:, 0] for name, a in self._arrays("weights").items()}

    @property
    def weight_quantiles(self) -> dict[str, Values]:
        """Smallest number, quartiles and largest of each parameter, of shape (moments, 5)."""
        return {name: a[:, 1:] for name, a in self._arrays("weights").items()}

    @property
    def gradient_norms(self) -> dict[str, Values]:
        """As ``weight_norms``, of the gradients of the probe's loss; {} without a probe."""
        return {name: a[:, 0] for name, a in self._arrays("gradients").items()}

    @property
    def gradient_quantiles(self) -> dict[str, Values]:
        """As ``weight_quantiles``, of the gradients of the probe's loss; {} without a probe."""
        return {name: a[:, 1:] for name, a in self._arrays("gradients").items()}

    def _numbers(self, name: str) -> Values:
        return np.array([getattr(moment, name) for moment in self._moments])

    def _arrays(self, name: str) -> dict[str, Values]:
        """Return what was recorded by dotted name, as far as each moment has it."""
        moments = [getattr(moment, name) for moment in self._moments]
        kept = [key for key in moments[0] if all(key in m for m in moments)] if moments else []
        return {key: np.stack([m[key] for m in moments]) for key in kept}

    # For checkpoints

    def state(self) -> dict[str, Any]:
        numbers = {name: [getattr(m, name) for m in self._moments] for name in _NUMBERS}
        arrays = {name: self._arrays(name) for name in _ARRAYS}
        return {"interval": self.interval, **numbers, **arrays}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._reset()
        self.interval = state["interval"]
        for i, numbers in enumerate(zip(*(state[name] for name in _NUMBERS), strict=True)):
            arrays = [{n: a[i] for n, a in state[name].items()} for name in _ARRAYS]
            self._moments.append(_Moment(*numbers, *arrays))


def _describe(values: Values) -> Values:
    """Return the norm of an array, and its quantiles."""
    wide = np.asarray(values, dtype=np.float64).ravel()
    if not wide.size:
        return np.full(1 + len(QUANTILES), math.nan)
    return np.concatenate([[math.sqrt(float(wide @ wide))], np.quantile(wide, QUANTILES)])
