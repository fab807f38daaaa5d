"""One of several processes does something else than the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

from common import data, fit, network

import nnbackend as nnb
from nnbackend.core.launcher import launched_rank

fault, which = sys.argv[1], int(sys.argv[2])
if fault == "beginning":
    nnb.parallel.mpi._SHORTEST_BEGINNING = 3.0
    if launched_rank() == which:
        raise ArithmeticError("before MPI")
if fault == "early" and launched_rank() == which:
    print("ready", os.getpid(), flush=True)
    time.sleep(60.0)  # the others wait within MPI's beginning
parallel = nnb.parallel.MPI(timeout=3.0 if fault in ("beginning", "stall", "moments") else 60.0)
here = parallel.rank == which
x, y = data()
settings: dict[str, Any] = {"epochs": 10**6, "parallel": parallel}


class Failing(nnb.callbacks.Callback):
    def epoch_end(self, run: Any) -> None:
        raise OSError("the disk is full")


def fail_in_training() -> None:
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.startswith("os._exit"):
        status = int(fault.partition(" ")[2])
        leaving = threading.Thread(target=os._exit, args=[status])
        leaving.run() if status != 3 else leaving.start()
        time.sleep(60.0)
    raise MemoryError("Unable to allocate 9 TB") if fault == "memory" else ArithmeticError("wrong")


class FailingLayer:
    """Hands on what it gets, and fails in the twentieth pass."""

    passes = 0

    def init(self, input_shape: Any, rng: Any) -> Any:
        return {}, input_shape

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        type(self).passes += 1
        if self.passes == 20 and fault == "moments" and not here:
            signal.setitimer(signal.ITIMER_REAL, 0.5)  # while it waits for the one that failed
        elif self.passes == 20 and here:
            fail_in_training()
        return x, lambda dy, input_grad=True: (dy, {})


def fail_by_a_signal(*_: Any) -> None:
    raise TimeoutError("the time is up")


net = network()
if fault == "callback":
    settings["callbacks"] = [Failing()]
elif fault == "nested":
    settings["callbacks"] = [lambda run: fit(network(), parallel=parallel) and None]
elif fault in ("layer", "memory", "killed") or fault.startswith("os._exit"):
    net = network(FailingLayer(), nnb.Dense(4))
elif fault == "moments":
    signal.signal(signal.SIGALRM, fail_by_a_signal)
    try:
        fit(network(FailingLayer(), nnb.Dense(4)), **settings)
    except (ArithmeticError, TimeoutError):
        settings["epochs"] = 2
elif fault == "outside" and here:
    raise ArithmeticError("before the training")
elif fault.startswith("sys.exit") and here:
    sys.exit(int(fault.partition(" ")[2]))
elif fault == "child":
    settings["epochs"] = 2
    if here:
        child = multiprocessing.get_context("fork").Process(target=int)
        child.start()
        child.join()
        assert child.exitcode == 0
elif fault == "interrupt":
    settings["callbacks"] = [lambda run: run.epoch == 1 and print("ready", os.getpid(), flush=True)]
    history = fit(net, **settings)
    assert history.stopped is not None
    assert set(parallel.processes.gather(len(history))) == {len(history)}
    print(parallel.rank, history.stopped, flush=True)
    sys.exit(0)
elif fault == "stall" and here:
    os.kill(os.getpid(), signal.SIGSTOP)
elif fault == "wrong":
    settings["batch_size"] = 8 if here else 16
fit(net, x, y, **settings)
