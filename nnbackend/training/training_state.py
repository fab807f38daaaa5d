"""What is in training: the parameters, the optimizer's arrays, and the state of the layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnbackend.backends.base import Backend
from nnbackend.core.tree import flatten, leaves, unflatten
from nnbackend.core.types import Carry, Params, RunData, State
from nnbackend.optimizers.prepared import Prepared
from nnbackend.training.layout import layout_for
from nnbackend.training.step import overwrite

__all__ = ["TrainingState"]


class TrainingState:
    """The carry of training steps, which is read and changed between steps.

    Args:
        rule: the optimizer, prepared for the parameters.
        backend: where the arrays are.
        params: the parameters to start from; they are copied.
        state: the state of the layers to start from; it is copied.
        data: the data that all steps share.

    Attributes:
        carry: the carry, which goes from one step to the next.
        layout: how parameters and the optimizer's arrays are kept in it.
        updates: how many steps the optimizer has done, which its formulas count.
    """

    def __init__(
        self, rule: Prepared, backend: Backend, params: Params, state: State, data: RunData
    ) -> None:
        self.rule, self.backend = rule, backend
        self.layout = layout_for(backend, rule.for_program(backend))
        self.carry = Carry(self.layout.init(params), self._copy_state(state), data)
        self.updates = 0

    @property
    def params(self) -> Params:
        """The current named parameters."""
        return self.layout.params(self.carry.storage)

    @params.setter
    def params(self, params: Params) -> None:
        self._store(self.layout.with_params(self.carry.storage, params))

    @property
    def state(self) -> State:
        """The current state of the layers."""
        return self.carry.state

    @state.setter
    def state(self, state: State) -> None:
        if self.layout.in_place:
            overwrite(self.carry.state, state, self.backend.xp)
        else:
            self.carry = self.carry._replace(state=self._copy_state(state))

    @property
    def averages(self) -> bool:
        """Whether the optimizer keeps an average of the parameters."""
        return self.rule.averages

    @property
    def result(self) -> Params:
        """The named parameters to evaluate with and to keep: their average, if one is kept."""
        return self.layout.result(self.carry.storage)

    def optimizer_state(self) -> dict[str, Any]:
        """Return the optimizer's arrays and count of steps, as ``Optimizer.init`` gives them."""
        return {"step": self.updates, "slots": self.layout.slots(self.carry.storage)}

    def misfit(self, state: Mapping[str, Any]) -> str:
        """Return entries of an ``optimizer_state`` that do not fit this optimizer in words, or ""."""
        trees = self.layout.slots(self.carry.storage), state["slots"]
        own, given = ({n: tuple(a.shape) for n, a in flatten(tree).items()} for tree in trees)
        wrong = sorted(n for n in own.keys() | given.keys() if own.get(n) != given.get(n))
        return f"arrays do not fit: {', '.join(wrong[:5])}" if wrong else ""

    def restore_optimizer(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``optimizer_state`` gave, here or in another process."""
        like = self.layout.slots(self.carry.storage)
        given = flatten(state["slots"])
        on_device = {
            name: self.backend.asarray(given[name], dtype=array.dtype)
            for name, array in flatten(like).items()
        }
        self._store(self.layout.with_slots(self.carry.storage, unflatten(on_device, like)))
        self.updates = state["step"]

    def snapshot(self, old: Any = None) -> Any:
        """Return a copy of parameters and state for ``restore``, perhaps in the place of an old one."""
        storage = self.layout.snapshot(self.carry.storage, None if old is None else old[0])
        return storage, self._copy_state(self.carry.state)

    def restore(self, snapshot: Any) -> None:
        """Go back to the parameters and the state of a snapshot."""
        storage, self.state = snapshot
        self._store(self.layout.restored(self.carry.storage, storage))

    def finite(self) -> bool:
        """Return whether all parameters and the layers' state are finite."""
        return self.layout.finite(self.carry.storage) and all(
            self.backend.all_finite(array) for array in leaves(self.carry.state)
        )

    def _copy_state(self, state: State) -> State:
        return self.backend.copy_tree(state) if state else {}

    def _store(self, storage: Any) -> None:
        """Take other parameters and arrays of the optimizer into the carry."""
        if storage is not self.carry.storage:  # else a recording of the steps is still good
            self.carry = self.carry._replace(storage=storage)
