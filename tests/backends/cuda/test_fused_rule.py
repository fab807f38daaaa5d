"""Rules as one launch: with a make-believe ``cupy.fuse``, and as CuPy's own translates them."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from cases import OPTIMIZERS, WRAPPERS, each
from fake_cupy import LABELS, TASK, X

import nnbackend as nnb
from nnbackend.backends.base import Backend
from nnbackend.backends.cuda.fused_rule import FusedRule
from nnbackend.backends.cupy import CuPyBackend
from nnbackend.optimizers.numbers import Numbers
from nnbackend.optimizers.wrapper import Wrapper

STEPS = 12  # of three epochs


def fitted(optimizer: Any, **options: Any) -> dict[str, Any]:
    """Return the parameters after some steps on the make-believe card."""
    layers = [nnb.Dense(6, "tanh"), nnb.Dense(4, "tanh"), nnb.Dense(3)]
    net = nnb.Network(layers, backend="cupy", device=1, seed=1, **options)
    net.fit(X, LABELS, **TASK, optimizer=optimizer, epochs=3)
    return {name: np.array(net.to_numpy(p)) for name, p in net.state_dict().items()}


def rules(optimizer: Any) -> list[Any]:
    """Return what updates the parameters of each group."""
    params = {str(i): {"weight": np.ones((2, 2)), "bias": np.ones(2)} for i in range(3)}
    return [group.rule for group in optimizer.prepared(params).groups]


def innermost(optimizer: Any) -> Any:
    return innermost(optimizer.inner) if isinstance(optimizer, Wrapper) else optimizer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each([*OPTIMIZERS, *WRAPPERS])
def test_a_step_is_one_launch_for_each_rule_and_does_the_same(case, dtype, machine, monkeypatch):
    if isinstance(innermost(case.thing), nnb.optimizers.LBFGS):
        pytest.skip("it has no rule")
    found = fitted(case.thing, dtype=dtype)
    launches = [fused.launches for fused in machine.fused]
    traces = [fused.traces for fused in machine.fused]
    monkeypatch.setattr(CuPyBackend, "fuse_rule", Backend.fuse_rule)

    for name, expected in fitted(case.thing, dtype=dtype).items():
        np.testing.assert_array_equal(found[name], expected)
    expected = [rule for rule in rules(case.thing) if rule.elementwise]
    # Lion's sign takes care of NaN with an index, which no kernel does.
    taken = [not isinstance(innermost(rule), nnb.optimizers.Lion) for rule in expected]
    assert launches == [STEPS + 1 if one else 0 for one in taken]  # one is on trial
    assert traces == [int(one) for one in taken]


@dataclass(frozen=True)
class Mine(nnb.optimizers.Optimizer):
    """A rule that users wrote."""

    def rule(self, p, g, slots, h, xp):
        return p - h.learning_rate * g, slots


@dataclass(frozen=True)
class Counting(Mine):
    """A rule that does more than compute."""

    calls: ClassVar[list[int]] = []
    pure: ClassVar[bool] = False

    def rule(self, p, g, slots, h, xp):
        self.calls.append(1)
        return super().rule(p, g, slots, h, xp)


@dataclass(frozen=True)
class Branching(Mine):
    """A rule that looks at a number."""

    def rule(self, p, g, slots, h, xp):
        return (p - h.learning_rate * g, slots) if h.learning_rate > 0.05 else (p + 0.0, slots)


def test_a_rule_of_ones_own_is_fused_with_its_results_in_the_old_memory(machine):
    found = fitted(Mine(0.1))
    assert [fused.launches for fused in machine.fused] == [STEPS + 1]
    for name, expected in fitted(nnb.optimizers.SGD(0.1)).items():
        np.testing.assert_array_equal(found[name], expected)


def test_what_does_more_than_compute_runs_in_each_step(machine):
    Counting.calls.clear()
    fitted(Counting(0.1))
    assert len(Counting.calls) == STEPS
    assert not machine.fused


def test_a_branch_on_a_number_is_not_fused(machine):
    found = fitted(Branching(nnb.schedules.Step(0.1, every=6, factor=0.1)))
    assert [fused.launches for fused in machine.fused] == [0]
    few = nnb.optimizers.SGD(lambda step: 0.1 if step < 6 else 0.0)
    for name, expected in fitted(few).items():
        np.testing.assert_array_equal(found[name], expected)


def test_a_learning_rate_that_changes_is_an_argument(machine, monkeypatch):
    rate = nnb.schedules.Cosine(0.1, STEPS)
    found = fitted(nnb.optimizers.Adam(rate))
    (fused,) = machine.fused
    assert (fused.traces, fused.launches) == (1, STEPS + 1)
    monkeypatch.setattr(CuPyBackend, "fuse_rule", Backend.fuse_rule)
    for name, expected in fitted(nnb.optimizers.Adam(rate)).items():
        np.testing.assert_array_equal(found[name], expected)


def test_steps_that_may_be_left_out_are_not_fused(machine):
    """They copy, and the copy of an array needs its memory."""
    fitted("adam", precision="float16")
    assert [fused.launches for fused in machine.fused] == [0]


class Card:
    """NumPy in the place of CuPy, with a ``fuse`` that goes wrong."""

    asnumpy = staticmethod(np.asarray)

    def __init__(self, fuse: Any) -> None:
        self.fuse = fuse


def test_a_kernel_that_does_something_else_is_not_used():
    def fuse(function: Any) -> Any:
        return lambda p, g, *others: p.__isub__(0.11 * g)

    fused = FusedRule(Card(fuse), nnb.optimizers.SGD(0.1).rule)
    p, g = np.ones(3), np.ones(3)
    p, _ = fused(p, g, (), Numbers(learning_rate=0.1, weight_decay=0.0), np)
    assert fused.refused == "the kernel does something else"
    np.testing.assert_allclose(p, 0.9)


def test_a_kernel_that_changes_the_gradient_is_not_used():
    def fuse(function: Any) -> Any:
        def kernel(p: Any, g: Any, rate: float) -> None:
            g *= rate
            p -= g

        return kernel

    fused = FusedRule(Card(fuse), lambda p, g, slots, h, xp: (p - h.rate * g, slots))
    fused(np.ones(3), np.ones(3), (), Numbers(rate=0.1), np)
    assert fused.refused == "the kernel does something else"


def test_a_kernel_that_fails_is_not_used():
    def fuse(function: Any) -> Any:
        def kernel(*args: Any) -> None:
            raise RuntimeError("no compiler")

        return kernel

    fused = FusedRule(Card(fuse), nnb.optimizers.SGD(0.1).rule)
    p, _ = fused(np.ones(3), np.ones(3), (), Numbers(learning_rate=0.1, weight_decay=0.0), np)
    assert fused.refused == "RuntimeError: no compiler"
    np.testing.assert_allclose(p, 0.9)


# CuPy's own translation, compiled for a CPU. It needs CuPy, and no card.


class Tracing:
    """CuPy without a card: its ``fuse`` writes a kernel, which a C++ compiler makes one for the host."""

    asnumpy = staticmethod(np.asarray)

    def __init__(self, cupy: Any, folder: Any) -> None:
        self.cupy, self.folder, self.kernels = cupy, folder, 0

    def fuse(self, function: Any) -> Any:
        def kernel(*args: Any) -> None:
            kinds = {int: ctypes.c_longlong, float: ctypes.c_double}
            given = [
                ctypes.c_void_p(arg.ctypes.data)
                if isinstance(arg, np.ndarray)
                else kinds[type(arg)](arg)
                for arg in args
            ]
            self.compiled(function, args)(*given, ctypes.c_long(args[0].size))

        return kernel

    def compiled(self, function: Any, args: Any) -> Any:
        """Return CuPy's kernel in a loop over all elements."""
        from cupy._core import fusion

        memory = self.cupy.cuda.UnownedMemory(1 << 20, 1 << 20, None, device_id=0)
        there = self.cupy.cuda.MemoryPointer(memory, 0)
        stand_ins = [
            self.cupy.ndarray(a.shape, a.dtype, there) if isinstance(a, np.ndarray) else a
            for a in args
        ]
        state, history = fusion._thread_local, fusion._FusionHistory()
        state.history, state.is_old_fusing = history, True
        try:
            kernel, _ = history.get_fusion(function, stand_ins, function.__name__)
        finally:
            state.history, state.is_old_fusing = None, False
        assert not kernel.out_params  # all results are in the arguments
        declared, inner = [], []
        for k, parameter in enumerate(kernel.in_params):
            const = "const " if parameter.is_const else ""
            if isinstance(args[k], np.ndarray):
                declared.append(f"{const}{parameter.ctype} *array{k}")
                inner.append(f"{const}{parameter.ctype} &{parameter.name} = array{k}[i];")
            else:
                declared.append(f"{parameter.ctype} {parameter.name}")
        preamble = re.sub(r"#include.*", "", kernel.preamble).replace("__device__", "static")
        text = f"""
#include <cmath>
using namespace std;
{preamble}
extern "C" void run({", ".join(declared)}, long size) {{
    for (long i = 0; i < size; ++i) {{ {" ".join(inner)} {kernel.operation} }}
}}
"""
        self.kernels += 1
        source, library = (self.folder / f"rule{self.kernels}{end}" for end in (".cpp", ".so"))
        source.write_text(text)
        subprocess.run(
            [shutil.which("c++"), "-O0", "-shared", "-fPIC", str(source), "-o", str(library)],
            check=True,
        )
        return ctypes.CDLL(str(library)).run


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler here")
@each([*OPTIMIZERS, *WRAPPERS])
def test_rules_as_cupy_translates_them(case, tmp_path):
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    from array_api_compat import cupy as xp

    lbfgs, tracing = (
        isinstance(innermost(case.thing), nnb.optimizers.LBFGS),
        Tracing(cupy, tmp_path),
    )
    for rule in [] if lbfgs else [one for one in rules(case.thing) if one.elementwise]:
        h = Numbers(**rule.numbers(3))

        def on_both(p: Any, g: Any, slots: Any, h: Any, _: Any, rule: Any = rule) -> Any:
            return rule.rule(p, g, slots, h, np if isinstance(p, np.ndarray) else xp)

        fused = FusedRule(tracing, on_both)
        rng = np.random.default_rng(0)
        arrays = [np.abs(rng.normal(size=50)).astype(np.float32) for _ in range(2 + rule.slots)]
        copies = [array.copy() for array in arrays]
        fused(arrays[0], arrays[1], tuple(arrays[2:]), h, np)
        p, slots = rule.rule(copies[0], copies[1], tuple(copies[2:]), h, np)
        if isinstance(innermost(rule), nnb.optimizers.Lion):
            assert "supports" in fused.refused
            continue
        assert fused.refused == ""
        for a, b in zip(arrays, (p, copies[1], *slots), strict=True):
            np.testing.assert_allclose(a, b, rtol=3e-6)
