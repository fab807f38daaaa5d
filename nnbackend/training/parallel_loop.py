"""The loop over epochs in several processes: they decide alike, and process 0 calls the callbacks."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nnbackend import callbacks
from nnbackend.core.history import History
from nnbackend.core.tree import arrays_in
from nnbackend.core.types import Batch
from nnbackend.data.samples import Samples
from nnbackend.errors import ResumeError
from nnbackend.inference.predictor import Predictor
from nnbackend.losses.base import weighs_rows
from nnbackend.parallel.communicator import HostCommunicator
from nnbackend.parallel.signals import NotedSignal, noting_signals
from nnbackend.saving.run_identity import find_differences, whole_checksum
from nnbackend.training.communicator import counts_of_processes
from nnbackend.training.loop import Loop
from nnbackend.training.loss_check import adds_up
from nnbackend.training.share_reading import SharedBlocks
from nnbackend.training.shared_samples import NO_BLOCK, block_identity, check_same_block
from nnbackend.training.trainer import Trainer

if TYPE_CHECKING:
    from nnbackend.saving.checkpoint import Checkpoint

__all__ = ["ParallelLoop"]


class ParallelLoop(Loop):
    """The loop of one of several processes that train a network together.

    Clocks, signals, files and what users' callbacks do differ between processes. So only process 0
    calls the callbacks, and the others are told what they decided; signals are followed where all
    processes meet, before each block of steps.

    Raises:
        ValueError: there are fewer rows than processes, or the processes were not given the same.
    """

    def __init__(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        super().__init__(trainer, *args, **kwargs)
        assert isinstance(trainer.communicator, HostCommunicator)
        self._communicator = trainer.communicator
        self._processes = trainer.communicator.processes
        self._is_first = self._processes.rank == 0
        self._alone = False  # whether what the others wait for will not come
        self._signal = NotedSignal()
        loss = trainer.objective.loss
        self._loss: Any = getattr(loss, "__wrapped__", loss)  # without a profile
        self._checks_loss = trainer.rounds is None and not weighs_rows(self._loss)
        if self._stream is None and self._count < self._processes.size:
            raise ValueError(
                f"{self._count} rows cannot be divided among {self._processes.size} processes: start "
                "fewer"
            )

    def task(self) -> dict[str, Any]:
        """Return the description that a resumed run must have, too: who reads what is a part of it."""
        task, rounds = super().task(), self._trainer.rounds
        if rounds is not None:
            task["local_steps"] = asdict(rounds.options)
        return task | {"readers": self._processes.size} if self._reads_share else task

    @property
    def _reads_share(self) -> bool:
        return self._communicator.reads_share

    def check(self, found: Checkpoint) -> None:
        """Check that a checkpoint is of this run, and holds all that goes on."""
        super().check(found)
        if self._reads_share and self.metrics and found.state["batch"]:
            raise ResumeError(
                f"{found.path} is from the middle of an epoch, and has the outputs for the metrics of "
                "process 0 only: go on from one after a whole epoch"
            )

    def check_alike(self, found: Checkpoint | None) -> None:
        """Check that all processes are about to do the same, and let process 0 say when callbacks run.

        Raises:
            ValueError: they are not; the message says all that differs.
        """
        task = self.task()
        del task["where"]
        task["compress"] = self._communicator.compress
        task["local_steps"] = task.get("local_steps")
        trainer = self._trainer
        task |= {
            "epochs": self.epochs,
            "reads": "share" if self._reads_share else "all",
            "compress": self._communicator.compress,
            "validation data (a checksum)": self._whole_checksum(self._validation),
            "trained": list(self.network.trained),
            "checkpoint": None if found is None else [found.state["epoch"], found.state["batch"]],
            "parameters (a checksum)": self._communicator.checksum(trainer.params, trainer.state),
        }
        if (
            self._stream is None
        ):  # those of some rows are not enough: others may have been filled in
            task["data (a checksum)"] = self._whole_checksum(self._samples.learned())
        every = self._processes.gather(task)
        for rank, other in enumerate(every):
            places = "in process 0", f"in process {rank}"
            if wrong := find_differences(every[0], other, places=places):
                raise ValueError(
                    f"the processes do not train the same network on the same data: {'; '.join(wrong)}"
                )
        within = any(isinstance(c, callbacks.Checkpoint) and c.every_steps for c in self.callbacks)
        heard = [bool(self.callbacks), bool(self.listening), self._interval, within]
        self._hears, hears_batches, self._interval, within = self._processes.share(heard)
        self._each_block = self._tell_callbacks if hears_batches else None
        if trainer.rounds is not None and within:
            raise ValueError(
                "Checkpoint(every_steps=...) does not go with local_steps: within an epoch each process "
                "has optimizer's arrays of its own. Leave every_steps out"
            )
        if trainer.rounds is not None and hears_batches:
            self._interval = trainer.rounds.check_interval(self._interval)

    def _whole_checksum(self, samples: Any) -> int | None:
        """Return a number by which samples in memory are recognized; None for others."""
        if not isinstance(samples, Samples):
            return None
        home = samples.placement(self._trainer.backend)
        return whole_checksum([*arrays_in(samples.arrays[:3])], home.to_numpy)

    def train(self, found: Checkpoint | None = None) -> History:
        """Train; return the history; see :meth:`Loop.train`."""
        with noting_signals(lambda: self._processes.abort("interrupted", 130)) as self._signal:
            return super().train(found)

    @contextmanager
    def _running(self, found: Checkpoint | None) -> Iterator[None]:
        """Begin the run, and end it however the block is left; an error of one process, as one's own."""
        with super()._running(found):
            try:
                yield
            except Exception as error:
                if not self._alone:
                    self._alone = not self._processes.all_failed(error)
                raise

    def _one_by_one(self) -> bool:
        """Return True: how long epochs take differs between processes."""
        return True

    @contextmanager
    def _blocks(self) -> Iterator[Any]:
        """Return the blocks of an epoch, before each of which all processes meet."""
        with super()._blocks() as blocks:
            if self._reads_share and self._stream is not None:
                stream, backend = self._stream, self._trainer.backend
                shared = stream.batch_size, self._most_steps, stream.first_row
                yield SharedBlocks(blocks, *shared, backend)
            else:
                yield _Meeting(blocks, self._meet)

    def _most_steps(self, steps: int, size: int) -> int:
        """Return the most steps that a process has in its next block, before which all meet."""
        return max(met for (met,) in self._follow_signals(steps))

    def _meet(self, block: Samples | None, size: int = 0) -> None:
        """Meet the other processes before a block; None: there are no more.

        Raises:
            KeyboardInterrupt: a signal has come to one of them.
            DataError: they do not have the same rows.
        """
        identity = NO_BLOCK
        if block is not None:
            streams = self._stream is not None  # else the rows were compared before the first step
            backend = self._trainer.backend
            identity = block_identity(block, size, backend) if streams else (len(block), size, 0)
        check_same_block(self._follow_signals(*identity))
        if block is not None and self._checks_loss:
            self._check_loss(block, size)

    def _check_loss(self, block: Samples, size: int) -> None:
        """Refuse a user's loss that does not add up over the rows of two processes.

        Raises:
            ValueError: it does not.
        """
        self._checks_loss = False
        trainer, rows = self._trainer, counts_of_processes(size, self._processes.size)
        some = block.learned().slice(0, max(rows[0] + rows[1], 1))
        outputs = Predictor(trainer.objective.layers, trainer.backend).predict(
            trainer.params, trainer.state, some.x
        )
        if not adds_up(self._loss, outputs, Batch(*some.arrays[:3]), trainer.backend):
            weights = "" if some.weight is None else ", which it may ignore,"
            raise ValueError(
                f"the loss {getattr(self._loss, '__name__', self._loss)} cannot be computed in several "
                "processes: its value and gradient for a batch have to be the means over its rows (with "
                f"sample_weight{weights} the sum of the weighted losses divided by the sum of the "
                "weights), so that those of parts add up to those of the whole, and they do not"
            )

    def _follow_signals(self, *numbers: int) -> list[list[int]]:
        """Meet the other processes; return the numbers that each gives.

        Raises:
            KeyboardInterrupt: a signal has come to one of them.
        """
        met = self._processes.gather_numbers(self._signal.number, *numbers)
        number = int(met[:, 0].max())
        if number:
            self._signal.follow(number)
        found: list[list[int]] = met[:, 1:].tolist()
        return found

    def _finish_epochs(self, columns: dict[str, list[float]], seconds: float) -> None:
        """Write epochs into the history and run the callbacks; check that all processes agree."""
        super()._finish_epochs(columns, seconds)
        own = self._communicator.checksum(self._trainer.params, self._trainer.state)
        found = self._follow_signals(own)
        for rank, checksum in enumerate(found):
            if checksum != found[0]:
                raise RuntimeError(
                    f"after epoch {self.epoch} the parameters of process {rank} are not those of "
                    "process 0. Has a callback changed arrays in place? Only process 0 calls it: set "
                    "run.network.params. Have they different functions as loss, schedule or layer? Or "
                    "do machines of several kinds round differently?"
                )

    def notify(self, event: str) -> None:
        """Let process 0 call the callbacks; take over what they decided."""
        heard = self._each_block is not None if event == "batch_end" else self._hears
        before = self.network.params, self.network.state
        self._sets_params = self._sets_state = False
        if self._is_first:
            self._processes.runs_callbacks = True
            try:
                super().notify(event)
            except KeyboardInterrupt:
                self._signal.number = signal.SIGINT  # all follow it where they meet
            except BaseException:
                self._alone = True
                raise
            finally:
                self._processes.runs_callbacks = False
        if event == "stop":
            self._sets_params = self.network.params is not before[0]
            self._sets_state = self.network.state is not before[1]
        if heard and not self._alone:
            self._take_decisions(event)

    def _take_decisions(self, event: str) -> None:
        """Take over from process 0 what callbacks decided, and the parameters and state they set."""
        trainer, network = self._trainer, self.network
        decided = self.reason, self.at_once, self.learning_rate_factor
        states = [_plain(c.state()) for c in self.callbacks] if event == "stop" else []
        sets = self._sets_params, self._sets_state
        decided, sets, states = self._processes.share([decided, sets, states])
        self.reason, self.at_once, self.learning_rate_factor = decided
        trainer.rate_factor = self.learning_rate_factor
        self._sets_params, self._sets_state = sets
        if self._sets_params:
            shared = self._communicator.share_params(network.params)
            if not self._is_first:
                network.params = shared
                if event != "stop":
                    trainer.params = shared
        if self._sets_state:
            shared = self._communicator.share_params(network.state)
            if not self._is_first:
                network.state = shared
                if event != "stop":
                    trainer.state = shared
        if not self._is_first:
            self._restore_watchers(states)

    def _restore_watchers(self, states: Sequence[Any]) -> None:
        """Let callbacks of the other processes know what those of process 0 found: the best epoch."""
        for callback, state in zip(self.callbacks, states, strict=False):
            if state:
                callback.restore(state)


def _plain(state: Any) -> Any:
    """Return a state of plain data; None for one with arrays."""
    try:
        json.dumps(state)
    except (TypeError, ValueError):
        return None
    return state


class _Meeting:
    """Blocks before each of which, and after the last, all processes meet."""

    def __init__(self, blocks: Any, meet: Any) -> None:
        self._blocks, self._meet = blocks, meet

    def __iter__(self) -> Iterator[tuple[Samples, int]]:
        for block, size in self._blocks:
            self._meet(block, size)
            yield block, size
            del block
        self._meet(None)

    @property
    def waiting(self) -> float:
        """The seconds that were waited for blocks."""
        return float(self._blocks.waiting)
