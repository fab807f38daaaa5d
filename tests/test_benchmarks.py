"""The benchmark: contestants compute the same, one that fails is left out, and results become a page."""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import require

from nnbackend import get_backend

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # the benchmark is no part of the package

from benchmarks import gpu, gpu_memory, gpu_report, report  # noqa: E402
from benchmarks.__main__ import left_out, main  # noqa: E402
from benchmarks.peers import nnb  # noqa: E402
from benchmarks.timing import Options, race, table  # noqa: E402
from benchmarks.work import Task, images, initial, step_task  # noqa: E402

SIZES = (6, 8, 8, 3)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """What happens before each run for the sake of its timing takes longer than all else here."""
    monkeypatch.setattr("benchmarks.timing.PAUSE", 0.0)
    for module in ("benchmarks.timing", "benchmarks.peers"):
        monkeypatch.setattr(f"{module}.gc", SimpleNamespace(collect=int))


def small(batch=16, steps=5, **settings):
    x, y = images(batch * steps, SIZES[0], SIZES[-1])
    return Task(SIZES, batch, x, y, initial(SIZES), **settings)


def values(make, runs=1):
    """Return what a contestant computes in its first run and, set back, in the next."""
    trial = make()
    found = []
    for _ in range(2):
        trial.reset()
        for _ in range(runs):
            value = trial.run()
        found.append(value)
    return found


def by_hand(task):
    """Return the mean loss of an epoch, written out in float64."""
    params = [(w.astype(float), b.astype(float)) for w, b in task.weights]
    m, v = ([[np.zeros_like(a) for a in pair] for pair in params] for _ in range(2))
    losses = []
    for t in range(1, task.steps + 1):
        rows = slice((t - 1) * task.batch, t * task.batch)
        outputs, y = [task.x[rows].astype(float)], task.y[rows]
        for i, (w, b) in enumerate(params):
            z = outputs[-1] @ w + b
            outputs.append(np.maximum(z, 0.0) if i < len(params) - 1 else z)
        z = outputs.pop()
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        losses.append(-np.log(p[np.arange(len(y)), y]).mean())
        p[np.arange(len(y)), y] -= 1.0
        dz = p / len(y)
        for i in reversed(range(len(params))):
            grads = outputs[i].T @ dz, dz.sum(axis=0)
            dz = (dz @ params[i][0].T) * (outputs[i] > 0.0)
            for k, (parameter, grad) in enumerate(zip(params[i], grads, strict=True)):
                m[i][k] = 0.9 * m[i][k] + 0.1 * grad
                v[i][k] = 0.999 * v[i][k] + 0.001 * grad**2
                rate = task.rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
                parameter -= rate * m[i][k] / (np.sqrt(v[i][k]) + 1e-8 * np.sqrt(1 - 0.999**t))
    return float(np.mean(losses))


@pytest.mark.parametrize("rate", [1e-3, 1e-2])
def test_nnbackend_and_the_peers_of_a_gpu_compute_the_same_losses(library, rate):
    require(library)
    task = small(rate=rate)
    expected = by_hand(task)
    contestants = nnb.factories("GPU_STEPS", Options([library]))
    if library == "torch":
        from benchmarks.peers import pytorch

        contestants |= pytorch.GPU_STEPS
        contestants = {
            n: c for n, c in contestants.items() if "compile" not in n and "graph" not in n
        }
    if library == "jax":
        from benchmarks.peers import jax_by_hand

        contestants |= jax_by_hand.GPU_STEPS
    assert len(contestants) == {"torch": 3, "jax": 3, "cupy": 3}.get(library, 1)
    for name, make in contestants.items():
        first, again = values(partial(make, task))
        assert first == pytest.approx(expected, rel=1e-4), name
        if not name.startswith("nnbackend"):  # which goes on where it was
            assert again == pytest.approx(expected, rel=1e-4), name


def test_the_step_that_becomes_a_cuda_graph_computes_the_same_losses(monkeypatch):
    """The graph itself needs a card. What is recorded, the buffers it reads and its reset do not."""
    pytest.importorskip("torch")
    from benchmarks.peers import pytorch

    def captured(step):
        for _ in range(3):  # to warm up, and a fourth time to record
            step()
        step()
        return step

    with pytest.raises(RuntimeError, match="CUDA"):
        pytorch.Graph(small())
    monkeypatch.setattr(pytorch, "captured", captured)
    task = small(rate=1e-2)
    assert values(lambda: pytorch.Graph(task)) == pytest.approx([by_hand(task)] * 2, rel=1e-4)


@pytest.mark.parametrize(
    ("needs", "module", "name"),
    [
        ("torch", "pytorch", "PyTorch, fused Adam"),
        ("jax", "jax_by_hand", "JAX, one jit per step"),
        ("jax", "jax_by_hand", "JAX, one jit over many steps"),
    ],
)
def test_mixed_precision_of_the_peers_is_near_float32(needs, module, name):
    pytest.importorskip(needs)
    peer = importlib.import_module(f"benchmarks.peers.{module}")
    losses = [
        values(partial(peer.GPU_STEPS[name], small(precision=precision)))[0]
        for precision in ("float32", "bfloat16")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=gpu.TOLERANCE["bfloat16"])
    assert losses[0] != losses[1]


def test_pytorchs_fits_learn_as_nnbackends_does():
    pytest.importorskip("torch")
    from benchmarks.peers import pytorch

    x, y = images(600, 6, 3)
    task = Task((6, 16, 3), 20, x, y, initial((6, 16, 3)), epochs=6, rate=1e-2)
    ours = nnb.Fit(task, "numpy")
    loss = ours.run()
    for name, make in pytorch.GPU_FIT.items():
        trial = make(task)
        assert trial.run() == pytest.approx(loss, rel=0.15), name
        assert trial.notes["validation_accuracy"] > 0.6, name


class Worker:
    """Returns a value, or raises an error in one of its runs."""

    def __init__(self, value, fails_in=None):
        self.value, self.fails_in, self.runs = value, fails_in, 0

    def reset(self):
        pass

    def run(self):
        self.runs += 1
        if self.runs == self.fails_in:
            raise MemoryError("out of memory\nand more")
        return self.value


def test_a_contestant_that_fails_is_named_and_left_out(capsys):
    options = Options(["numpy"])
    entered = {
        "good": partial(Worker, 1.0),
        "fails at once": partial(Worker, 1.0, 1),
        "fails later": partial(Worker, 1.0, 3),
        "nnbackend fails": partial(Worker, 1.0, 1),
    }
    for work in ("walking", "running"):
        rows = race(entered, options, rounds=4, work=work)
        assert [row["name"] for row in rows] == ["good"]
        assert rows[0]["n"] == 4
    reason = "MemoryError: out of memory (in walking)"
    assert options.left_out == dict.fromkeys(list(entered)[1:], reason)
    assert options.failed == ["nnbackend fails (walking)", "nnbackend fails (running)"]
    assert "Traceback" in capsys.readouterr().err
    assert race({"fails": partial(Worker, 1.0, 1)}, options) == []


def test_what_computes_something_else_is_marked_and_no_peer():
    entered = {
        "nnbackend cupy": partial(Worker, 1.0),
        "PyTorch": partial(Worker, 1.001),
        "other": partial(Worker, 1.1),
        "diverged": partial(Worker, float("nan")),
        "matrix products, cupy": partial(Worker, float("nan")),
    }
    rows = race(entered, Options([]), rounds=2, tolerance=0.01)
    assert {row["name"]: row.get("differs") for row in rows} == {
        "nnbackend cupy": False,
        "PyTorch": False,
        "other": True,
        "diverged": True,
        "matrix products, cupy": None,
    }
    made = table("gpu-steps/x", "x", "step", rows)
    assert report.ratio(made, "nnbackend cupy", ("other", "diverged")) == (None, "")
    assert report.ratio(made, "nnbackend cupy", ("other", "PyTorch"))[1] == "PyTorch"


def test_a_first_run_can_be_many_and_its_value_is_the_last():
    class Counting(Worker):
        def run(self):
            self.runs += 1
            return float(self.runs)

    (row,) = race({"counting": partial(Counting, 0.0)}, Options([]), rounds=2, warm=5)
    assert (row["value"], row["n"]) == (5.0, 2)


def sections(monkeypatch, backend):
    """Return the tables of all sections, of tiny networks on the CPU, without peers to compile."""
    monkeypatch.setattr(gpu, "NETWORKS", [(SIZES, 8)])
    monkeypatch.setattr(gpu, "_WIDTHS", (4, 8))
    monkeypatch.setattr(gpu, "_BATCHES", (2, 4))
    monkeypatch.setattr("benchmarks.peers._PEERS", ())
    monkeypatch.setattr(gpu, "step_task", lambda sizes, batch, seconds, **more: step_task(
        sizes, batch, 0.001, least=2, **{k: v for k, v in more.items() if k in ("device", "rate")}
    ))  # fmt: skip
    options = Options([backend], quick=True, rounds=1)
    found = {
        name: list(section(options)) for name, section in gpu.SECTIONS.items() if name != "gpu-fit"
    }
    return found, options


MACHINE = {"cpu": "CPU", "cores": 1, "device": "A card (cuda:0)", "system": "OS", "python": "3",
           "versions": {"numpy": "2"}, "pools": [], "load": 0.0,
           "card": {"driver": "1.2"}, "cuda": {"CuPy": "12.9"}}  # fmt: skip


def test_the_sections_run_on_a_cpu_and_make_a_page(monkeypatch, tmp_path, capsys):
    found, options = sections(monkeypatch, "numpy")
    assert "TF32" in options.left_out["gpu-tf32"]
    assert "card" in options.left_out["gpu-memory"]
    assert [t["key"] for t in found["gpu-steps"]] == ["gpu-steps/6-8-8-3"]
    assert [t["key"] for t in found["gpu-float32"]] == ["gpu-float32/8 layers of 64"]
    assert len(found["crossover"]) == 2 * 2 * 2
    # NumPy has no bfloat16, which ends that contest and no more.
    assert "has no bfloat16" in options.left_out["nnbackend numpy"]
    assert [
        failed.startswith("nnbackend numpy (Training step in bf") for failed in options.failed
    ] == [True]
    assert not any(t["rows"] for t in found.pop("gpu-bfloat16"))
    assert all(t["rows"] for tables in found.values() for t in tables)
    results = {
        "machine": MACHINE, "date": "2000-01-01", "quick": True, "left_out": {"thinc": "why"},
        "sections": {name: {"tables": tables} for name, tables in found.items() if tables},
    }  # fmt: skip
    page, file = tmp_path / "page.md", tmp_path / "gpu.json"
    file.write_text(json.dumps(results))
    page.write_text("a\n<!-- begin: gpu -->\nstale\n<!-- end: gpu -->\nb\n")
    report.write(file, page)
    text = page.read_text()
    assert "stale" not in text
    assert text.startswith("a\n")
    assert text.endswith("b\n")
    for part in (
        "A card",
        "driver 1.2",
        "CuPy 12.9",
        "left out: thinc (why)",
        "## When a GPU pays",
        "| 2 layers of 8 |",
        "### Predictions on the GPU",
        "6-8-8-3, 8",
        "float32",
    ):
        assert part in text  # fmt: skip
    report.write(file, page)
    assert page.read_text() == text
    assert not page.with_suffix(".png").exists()  # the figure is of a CPU


def test_a_warning_while_training_is_told(monkeypatch, capsys):
    """As that a training step cannot be run as a program: then its time is another."""
    trial = nnb.Going(small(), "numpy")
    real = trial.net.partial_fit

    def warning(*arguments, **settings):
        warnings.warn("no program", RuntimeWarning, stacklevel=1)
        return real(*arguments, **settings)

    monkeypatch.setattr(trial.net, "partial_fit", warning)
    rows = race({"nnbackend numpy": lambda: trial}, Options([]), rounds=1)
    made = table("gpu-steps/x", "Step", "step", rows, batch=1)
    assert "warned: no program" in capsys.readouterr().out
    results = {"machine": MACHINE, "date": "2000-01-01", "quick": False, "left_out": {}}
    text = gpu_report.block(results | {"sections": {"gpu-steps": {"tables": [made]}}})
    assert "**nnbackend numpy**, Step, warned: no program" in text


def test_what_was_left_out_of_each_section_is_joined():
    sections = {
        "a": {"left_out": {"x": "1 (in a)", "y": "2"}},
        "b": {"left_out": {"x": "3 (in b)", "y": "2"}},
        "c": {"left_out": {"x": "1 (in c)"}},
        "d": {},
    }
    assert left_out(sections) == {"x": "1 (in a); 3 (in b)", "y": "2"}


def row(name, median, value=1.0, **more):
    return {"name": name, "median": median, "quartiles": [median, median], "n": 1,
            "first_run": 0.0, "value": value} | more  # fmt: skip


def test_targets_stand_beside_what_was_measured():
    key = f"gpu-bfloat16/{gpu_report.DEEP}"
    rows = [
        row("nnbackend cupy", 1.2),
        row("PyTorch", 2.0),
        row("JAX, one jit per step", 1.0),
        row("torch.compile, max-autotune", 0.5, differs=True),
        row("matrix products, cupy", 0.8, None),
    ]
    text = gpu_report.targets({key: {"key": key, "title": "Deep, batch 1", "rows": rows}})
    lines = text.splitlines()[2:]
    assert lines == [
        "| Deep, batch 1 | JAX, one jit per step | 1.20 | 1.10 | **no** |",
        "| Deep, batch 1 | matrix products, cupy | 1.50 | 1.25 | **no** |",
    ]
    other = [row("PyTorch", 2.0), row("nnbackend cupy", 1.0, differs=True)]
    text = gpu_report.targets({key: {"key": key, "title": "Deep, batch 1", "rows": other}})
    assert text.count("**not measured**") == 2


def test_the_targets_name_what_is_measured():
    """A target of a table or a contestant that does not exist would never be missed."""
    steps = {gpu.called(sizes) for sizes, _ in gpu.NETWORKS}
    for key, peers, _ in gpu_report.TARGETS:
        section, _, rest = key.partition("/")
        assert section in gpu.SECTIONS
        if section == "gpu-steps":
            assert rest in steps
        if rest == gpu_report.DEEP:
            assert gpu.called((4096,) * 9 + (10,)) == rest
        if importlib.util.find_spec("torch"):
            from benchmarks.peers import pytorch

            tables = pytorch.GPU_STEPS | pytorch.GPU_FIT | pytorch.GPU_PREDICT
            assert {p for p in peers if "PyTorch" in p or "torch" in p} <= tables.keys()
        if importlib.util.find_spec("jax"):
            from benchmarks.peers import jax_by_hand

            assert {p for p in peers if p.startswith("JAX")} <= jax_by_hand.GPU_STEPS.keys()


def test_the_faster_of_cpu_and_gpu_is_in_bold():
    tables = [
        {"depth": 2, "width": 16, "batch": b, "rows": [
            row("nnbackend numpy", cpu), row("nnbackend cupy", on_gpu)]}
        for b, cpu, on_gpu in ((32, 1e-5, 2e-5), (256, 3e-3, 1e-3))
    ]  # fmt: skip
    assert gpu_report.crossover(tables).splitlines()[0] == "| NumPy / GPU | 32 | 256 |"
    line = gpu_report.crossover(tables).splitlines()[2]
    assert line == "| 2 layers of 16 | **10.0 µs** / 20.0 µs | 3.00 ms / **1.00 ms** |"


def test_the_newest_results_of_each_kind_are_reported(tmp_path):
    for name, device in (
        ("2000-a", None),
        ("2001-b", None),
        ("2000-c", "A card"),
        ("2002-d", None),
    ):
        text = json.dumps({"machine": {"device": device}, "sections": {}})
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "2003-tables.json").write_text(json.dumps({"machine": {"device": None}}))
    assert [path.stem for path in report.newest(tmp_path)] == ["2002-d", "2000-c"]
    assert report.newest(tmp_path / "nothing") == []


def test_without_a_result_the_page_says_so_and_how_to_make_one():
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    if not any(
        report.on_gpu(json.loads(path.read_text())) for path in report.RESULTS.glob("*.json")
    ):
        assert "No run on a card is on this page yet: `nox -s benchmarks -- --backend cupy`" in text


def test_memory_is_counted_in_a_process_of_its_own(capsys):
    gpu_memory.main("nnbackend numpy", "numpy", "cpu", "float32", "6-8-3", "4")
    assert json.loads(capsys.readouterr().out) == {"peak": 0}  # there is no card


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--backend", "cupi"], "did you mean 'cupy'"),
        (["--only", "stepz"], "unknown sections: stepz; there are steps,"),
        (
            ["--only", "steps", "--device", "cuda"],
            "measured on the CPU: steps; on a GPU there are gpu-",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, says, capsys):
    with pytest.raises(SystemExit):
        main(["--backend", "numpy", *arguments])
    assert says in capsys.readouterr().err


def test_memory_of_each_contestant_stands_beside_what_is_counted(monkeypatch):
    def python(*arguments):
        _, module, name, backends, device, _, _, batch = arguments
        assert (module, backends, device) == ("benchmarks.gpu_memory", "numpy", "cuda")
        if name == "JAX":
            raise RuntimeError("out of memory")
        return f"a line that is no JSON\n{json.dumps({'peak': int(batch)})}"

    names = ("nnbackend numpy", "torch.compile, max-autotune", "JAX", "matrix products, numpy")
    monkeypatch.setattr(gpu, "contestants", lambda kind, options: dict.fromkeys(names))
    monkeypatch.setattr(gpu, "python", python)
    options = Options(["numpy"], device="cuda")
    shallow, deep = gpu.memory(options)
    assert shallow["key"] == "gpu-memory/784-2048-2048-10"
    assert deep["key"] == f"gpu-memory/{gpu_report.DEEP}"
    numbers = 785 * 2048 + 2049 * 2048 + 2049 * 10
    counted = 4 * (4 * numbers + 1024 * (2048 + 2048 + 10))
    assert [(r["name"], r["median"]) for r in shallow["rows"]] == [
        ("counted", counted), ("nnbackend numpy", 1024)]  # fmt: skip
    assert deep["rows"][1]["median"] == 8192
    assert list(options.left_out) == ["JAX"]


def test_weights_are_set_back_from_the_device():
    task = small(device="cuda")
    trial = nnb.Going(task, "numpy")  # which computes on the CPU whatever the task says
    assert trial.run() == pytest.approx(by_hand(task), rel=1e-4)
    again = nnb.Going(task, "numpy")
    assert again.start is trial.start
    assert again.run() == pytest.approx(by_hand(task), rel=1e-4)


def test_no_gpu_is_an_error_that_says_why(capsys):
    if get_backend("auto").name == "cupy":
        pytest.skip("there is a GPU here")
    with pytest.raises(SystemExit):
        main(["--backend", "cupy"])
    assert "backend 'cupy' cannot be used" in capsys.readouterr().err
