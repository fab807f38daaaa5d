"""CuPy's border, with a make-believe CuPy: devices, what is said if it cannot be used, memory."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import pickle
import sys
import threading
import types
import warnings

import numpy as np
import pytest
from fake_cupy import CUDARuntimeError, Machine
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.backends import choose, library
from nnbackend.backends.cuda import installation
from nnbackend.errors import BackendUnavailableError, OutOfMemoryError

X = np.random.default_rng(0).normal(size=(60, 5))
LABELS = np.arange(60) % 3
TASK = {"loss": "softmax_cross_entropy", "batch_size": 16, "verbose": 0}


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    made.install(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    packages(monkeypatch, "cupy-cuda12x")
    yield made
    choose._status.cache_clear()
    installation.installed.cache_clear()


def packages(monkeypatch, *names):
    """Make it seem that these distributions of CuPy are installed."""

    real = importlib.metadata.distribution

    def distribution(name):
        if not name.startswith("cupy"):
            return real(name)
        if name in names:
            return types.SimpleNamespace(version="14.2.0")
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation.importlib.metadata, "distribution", distribution)
    installation.installed.cache_clear()


def network(device=1, **given):
    layers = [nnb.Dense(8, "relu"), nnb.Dropout(0.1), nnb.Dense(3)]
    return nnb.Network(layers, backend="cupy", device=device, **given)


# Devices


@pytest.mark.parametrize("device", [1, "1", "cuda:1", "gpu:1", np.int64(1)])
def test_a_device_has_several_names(machine, device):
    assert nnb.get_backend("cupy", device).device.id == 1
    assert nnb.get_backend("cupy", machine.cupy.cuda.Device(1)).device.id == 1


@pytest.mark.parametrize("device", [None, 0, "cuda", "gpu", "cuda:0"])
def test_the_first_device_is_the_default(machine, device):
    assert nnb.get_backend("cupy", device).device.id == 0


def saved_and_loaded(net, tmp_path):
    net.save(tmp_path / "model.safetensors")
    nnb.load(tmp_path / "model.safetensors", backend="cupy", device=1).predict(X)


def checkpointed(net, tmp_path):
    keep = nnb.callbacks.Checkpoint(tmp_path, every_steps=2)
    net.fit(X, LABELS, callbacks=[keep], epochs=2, **TASK)
    network().fit(X, LABELS, callbacks=[keep], epochs=4, resume=tmp_path, **TASK)


def forward_and_back(net, tmp_path):
    y, backward = net.forward(X, training=True)
    dx, grads = backward(np.ones(y.shape))
    assert dx.device.id == grads["0"]["weight"].device.id == 1


def evaluated_within(net, tmp_path):
    class Watch(nnb.callbacks.Callback):
        def epoch_end(self, run):
            run.network.evaluate(X, LABELS, loss="softmax_cross_entropy", metrics=["accuracy"])
            run.network.predict(X)

    net.fit(X, LABELS, callbacks=[Watch()], validation_data=(X, LABELS), epochs=2, **TASK)


ENTRIES = {
    "forward and backward": forward_and_back,
    "predict": lambda net, _: net.predict(X, batch_size=7),
    "predict to the host": lambda net, _: net.predict(X, batch_size=7, on_host=True),
    "fit": lambda net, _: net.fit(X, LABELS, metrics=["accuracy", "roc_auc"], epochs=2, **TASK),
    "fit by averages": lambda net, _: net.fit(
        X, LABELS, optimizer=nnb.optimizers.EMA(nnb.Adam()), validation_split=0.3, **TASK),
    "fit by groups": lambda net, _: net.freeze("0.*").fit(
        X, LABELS, class_weight="balanced", sample_weight=np.ones(60), accumulate=2, **TASK),
    "fit by whole matrices": lambda net, _: net.fit(X, LABELS, optimizer="muon", **TASK),
    "fit from the host": lambda net, _: net.fit(X, LABELS, data_on="host", **TASK),
    "fit from a stream": lambda net, _: net.fit(
        lambda: ((X[i : i + 20], LABELS[i : i + 20]) for i in range(0, 60, 20)),
        loss="softmax_cross_entropy", verbose=0),
    "profile": lambda net, _: net.fit(X, LABELS, profile=True, **TASK),
    "partial_fit": lambda net, _: net.partial_fit(X, LABELS, loss="softmax_cross_entropy"),
    "evaluate": lambda net, _: net.evaluate(
        X, LABELS, loss="softmax_cross_entropy", metrics=["accuracy", "f1"]),
    "save and load": saved_and_loaded,
    "checkpoints": checkpointed,
    "callbacks that evaluate": evaluated_within,
    "state_dict": lambda net, _: net.load_state_dict(net.state_dict()),
    "to the same device": lambda net, _: net.to(device=1).predict(X),
    "check_gradients": lambda net, _: nnb.testing.check_gradients(network(dtype="float64"), X),
    "compare_backends": lambda net, _: nnb.testing.compare_backends(net, X, "numpy"),
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_all_work_is_done_on_the_device_of_the_network(machine, entry, tmp_path):
    """From a program whose current device is another one, and stays so."""
    net = network(input_shape=5)
    entry(net, tmp_path)
    assert set(machine.made) == {1}
    assert machine.current.device == 0
    assert machine.current.stack == []


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("estimator", ["NetworkClassifier", "MLPClassifier"])
def test_estimators_work_on_their_device(machine, estimator):
    pytest.importorskip("sklearn")
    from nnbackend import estimators

    what = (4,) if estimator == "MLPClassifier" else [nnb.Dense(4)]
    made = getattr(estimators, estimator)(what, max_iter=3, backend="cupy", device=1)
    made.fit(X, LABELS).predict_proba(X)
    made.partial_fit(X, LABELS)
    made.score(X, LABELS)
    assert set(machine.made) == {1}


def test_networks_on_several_devices_and_on_the_cpu_live_side_by_side(machine):
    nets = [network(0), network(1), nnb.Network(network().layers)]
    for _ in range(3):  # in turns
        for net in nets:
            net.partial_fit(X, LABELS, loss="softmax_cross_entropy", batch_size=16)
    first, second, third = (host(net.backend, net.params) for net in nets)
    assert_equal(first, third)
    assert_equal(second, third)
    assert [net.params["0"]["weight"].device.id for net in nets[:2]] == [0, 1]
    assert nets[0].backend != nets[1].backend


def test_a_network_in_each_thread(machine):
    nets, errors = [network(0), network(1)], []

    def train(net):
        try:
            net.fit(X, LABELS, epochs=5, **TASK)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=train, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert_equal(*(host(net.backend, net.params) for net in nets))
    assert set(machine.made) == {0, 1}


def test_arrays_of_another_device_come_over_and_those_of_the_same_are_not_copied(machine):
    backend = nnb.get_backend("cupy", 1)
    with machine.cupy.cuda.Device(0):
        there = machine.cupy.asarray(np.ones((4, 5), "f4"))
    moved = backend.asarray(there)
    assert moved.device.id == 1
    assert there.device.id == 0
    assert backend.asarray(moved) is moved
    net = network(1, input_shape=5)
    assert net.predict(there).device.id == 1
    on_first = net.to(device=0)
    assert on_first.params["0"]["weight"].device.id == 0
    assert_equal(host(on_first.backend, on_first.params), host(net.backend, net.params))


def test_a_backend_is_pickled_with_the_number_of_its_device(machine):
    backend = nnb.get_backend("cupy", 1)
    assert pickle.loads(pickle.dumps(backend)) == backend


def test_auto_takes_the_first_device(machine):
    made = nnb.get_backend("auto")
    assert (made.name, made.device.id) == ("cupy", 0)


# What is said when it cannot be used


def complaint(device=None):
    with pytest.raises(BackendUnavailableError) as error:
        nnb.get_backend("cupy", device)
    assert "Usable here: numpy" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("device", [2, -1, "cuda:7", "9"])
def test_a_device_that_is_not_there(machine, device, monkeypatch):
    text = complaint(device)
    assert f"no CUDA device {str(device).removeprefix('cuda:')}" in text
    assert "this machine has 2, numbered from 0" in text
    assert "CUDA_VISIBLE" not in text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    assert "CUDA_VISIBLE_DEVICES=3,4 may hide some" in complaint(device)


def test_a_device_object_that_is_not_there(machine):
    assert "no CUDA device 5" in complaint(machine.cupy.cuda.Device(5))


@pytest.mark.parametrize("device", ["cuda:one", "cpu", "cuda:", "", "cuda:-1"])
def test_a_name_that_no_device_has(machine, device):
    assert f"no CUDA device is called {device!r}; say 0, 1 or 'cuda:1'" in complaint(device)


@pytest.mark.parametrize("device", [1.0, True, [0], object()])
def test_what_cannot_be_a_device(machine, device):
    with pytest.raises(
        TypeError, match=r"a number, a name like 'cuda:1' or a cupy.cuda.Device; got"
    ):
        nnb.get_backend("cupy", device)


@pytest.mark.parametrize("device", [1.0, True, [0]])
def test_what_cannot_be_a_device_of_jax(device):
    pytest.importorskip("jax")
    with pytest.raises(TypeError, match=r"a number, a name like 'cuda:1' or a jax.Device; got"):
        nnb.get_backend("jax", device)


@pytest.mark.parametrize("device", ["cpu:x", "cpu:", -1])
def test_jax_does_not_guess_a_device(device):
    pytest.importorskip("jax")
    with pytest.raises(BackendUnavailableError, match="device"):
        nnb.get_backend("jax", device)


def test_a_number_may_be_text_as_on_the_command_line():
    jax = pytest.importorskip("jax")
    assert nnb.get_backend("jax", "0").device == jax.devices()[0]
    pytest.importorskip("torch")
    with pytest.raises(BackendUnavailableError, match="the device 9 is not usable"):
        nnb.get_backend("torch", "9")


def test_there_is_no_driver(machine):
    machine.driver = 0
    machine.failure = (
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA ..."
    )
    assert "there is no NVIDIA driver here: install it" in complaint()
    assert nnb.get_backend("auto").name == "numpy"


def test_the_driver_is_too_old(machine):
    machine.driver, machine.failure = 11040, "cudaErrorInsufficientDriver: ..."
    text = complaint()
    assert "too old: it supports CUDA 11.4, and CuPy needs CUDA 12.0 or later" in text
    assert "update the driver to 525 or later" in text


def test_cupy_is_for_another_cuda_than_the_driver(machine, monkeypatch):
    packages(monkeypatch, "cupy-cuda13x")
    machine.driver, machine.runtime = 12080, 13000
    machine.failure = "cudaErrorInsufficientDriver: ..."
    text = complaint()
    assert "cupy-cuda13x is for CUDA 13, and the driver here supports CUDA 12.8" in text
    assert (
        "pip uninstall -y cupy-cuda13x, then install cupy-cuda12x by pip install 'nnbackend[cuda12]'"
        in text
    )
    assert "or update the driver to 580 or later" in text


def test_a_newer_driver_runs_an_older_cuda(machine):
    machine.driver = 13000
    assert nnb.get_backend("cupy").name == "cupy"


@pytest.mark.parametrize("failure", [None, "cudaErrorNoDevice: no CUDA-capable device is detected"])
def test_there_is_no_device(machine, failure, monkeypatch):
    machine.cards, machine.failure = 0, failure
    assert "the driver reports no CUDA device; does nvidia-smi list one?" in complaint()
    choose._status.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "reports no CUDA device; CUDA_VISIBLE_DEVICES= may hide some" in complaint()


def test_the_device_fails_in_another_way(machine):
    machine.failure = (
        "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"
    )
    assert "no CUDA device is usable: cudaErrorDevicesUnavailable" in complaint()


@pytest.mark.parametrize(
    ("name", "says", "named"),
    [("nvrtc", 'Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13',
      "libnvrtc.so.13 or libnvrtc.so.12"),
     ("cublas", "libcublas.so.12: cannot open shared object file: No such file", "libcublas.so.12")],
)  # fmt: skip
def test_a_library_of_cuda_is_missing(machine, name, says, named):
    machine.missing[name] = says
    text = complaint()
    assert f"the library {named} is not found; pip install 'nnbackend[cuda12]' brings it" in text


BANNER = """
================================================================
Failed to import CuPy.

Check the Installation Guide for details:
  https://docs.cupy.dev/en/latest/install.html

Original error:
  ImportError: {}
================================================================
"""


def import_fails(monkeypatch, error):
    monkeypatch.delitem(sys.modules, "cupy")
    find = library.importlib.import_module

    def import_module(name, *args):
        if name == "cupy":
            raise error
        return find(name, *args)

    monkeypatch.setattr(library.importlib, "import_module", import_module)


def test_importing_cupy_misses_a_library(machine, monkeypatch):
    missing = "libcudart.so.12: cannot open shared object file: No such file or directory"
    import_fails(monkeypatch, ImportError(BANNER.format(missing)))
    assert (
        "the library libcudart.so.12 is not found; pip install 'nnbackend[cuda12]'" in complaint()
    )


def test_importing_cupy_fails_in_another_way(machine, monkeypatch):
    import_fails(monkeypatch, ImportError(BANNER.format("numpy.dtype size changed")))
    assert "cannot be imported: ImportError: numpy.dtype size changed. Usable" in complaint()


def test_cupy_misses_a_package(machine, monkeypatch):
    import_fails(monkeypatch, ModuleNotFoundError("No module named 'cuda'", name="cuda"))
    assert "cupy is broken: No module named 'cuda'" in complaint()


def test_cupy_is_not_installed(machine, monkeypatch):
    import_fails(monkeypatch, ModuleNotFoundError("No module named 'cupy'", name="cupy"))
    assert "it is not installed; run: pip install 'nnbackend[cuda12]' (or cuda13" in complaint()


def test_two_cupys_that_fail_are_both_named(machine, monkeypatch):
    packages(monkeypatch, "cupy-cuda12x", "cupy-cuda13x")
    machine.driver, machine.failure = 12080, "cudaErrorInsufficientDriver: ..."
    machine.runtime = 13000
    text = complaint()
    assert "installed more than once, as cupy-cuda12x and cupy-cuda13x" in text
    assert "pip uninstall -y cupy-cuda12x cupy-cuda13x" in text


def test_two_cupys_that_work_are_warned_of(machine, monkeypatch):
    packages(monkeypatch, "cupy-cuda12x", "cupy")
    with pytest.warns(UserWarning, match="as cupy-cuda12x and cupy, and their files are mixed"):
        nnb.get_backend("cupy")


def test_the_versions_below_are_told(machine):
    assert nnb.get_backend("cupy").versions() == {"driver": "CUDA 12.4", "runtime": "CUDA 12.9"}
    one, two = nnb.get_backend("cupy").devices()
    assert (one.name, one.model, one.compute_capability) == ("cuda:0", "Make-Believe 9000", "9.0")
    assert two.total == machine.total


# Memory


def test_memory_is_counted_and_given_back(machine):
    backend = nnb.get_backend("cupy", 1)
    before = backend.memory()
    x = backend.asarray(np.ones((1000, 100)))
    now = backend.memory()
    assert now.used - before.used == now.held - before.held == 400_384  # a multiple of 512
    del x
    kept = backend.memory()
    assert kept.used == before.used
    assert kept.held == kept.peak == now.held
    assert kept.free == now.total
    backend.free_memory()
    assert backend.memory().held == 0
    assert machine.current.device == 0


def test_a_closed_network_gives_its_memory_back_and_refuses_work(machine):
    with network(input_shape=5) as net:
        net.fit(X, LABELS, **TASK)
        kept = net.state_dict()
        assert machine.held[1] > 0
    assert machine.used[1] == sum(-(-p.nbytes // 512) * 512 for p in kept.values())
    assert machine.held[1] == machine.used[1]
    net.close()
    for work in (lambda: net.predict(X), lambda: net.fit(X, LABELS, **TASK), lambda: net.params,
                 lambda: net.forward(X), lambda: net.build(5), lambda: net.state_dict(),
                 lambda: net.load_state_dict(kept), lambda: net.partial_fit(X, LABELS),
                 lambda: net.evaluate(X, LABELS, loss="mse"), lambda: net.save("nowhere"),
                 lambda: net.to("numpy"), lambda: net.__enter__()):  # fmt: skip
        with pytest.raises(ValueError, match="the network is closed: its arrays were let go of"):
            work()
    assert network(input_shape=5).load_state_dict(kept).predict(X).shape == (60, 3)


def test_a_closed_network_on_any_backend(backend):
    with nnb.Network([nnb.Dense(2)], backend=backend, input_shape=3) as net:
        y = net.predict(np.ones((2, 3)))
    assert host(backend, y).shape == (2, 2)
    with pytest.raises(ValueError, match="closed"):
        net.predict(np.ones((2, 3)))


WIDE = np.random.default_rng(1).normal(size=(2048, 64)).astype("f4")


def test_a_batch_that_does_not_fit_says_what_to_try(machine):
    machine.total = 6 << 20
    net = nnb.Network([nnb.Dense(256, "tanh"), nnb.Dense(256, "tanh"), nnb.Dense(1)],
                      backend="cupy", device=1, input_shape=64)  # fmt: skip
    net.fit(WIDE[:64], WIDE[:64, 0], verbose=0)
    before = host(net.backend, net.params)
    with pytest.raises(OutOfMemoryError) as caught:
        net.fit(WIDE, WIDE[:, 0], batch_size=3000, epochs=2, verbose=0)
    text = str(caught.value)
    assert text.startswith(
        "Make-Believe 9000 (cuda:1) has too little memory for fit with batch_size=3000"
    )
    assert "more was asked for, and" in text
    assert "of 6.29 MB was free (this process held" in text
    assert "Try batch_size=1024, or accumulate=2, which computes each batch in parts" in text
    assert "With data_on='host' the data stay in the host's memory." in text
    assert "The network keeps the weights of the last whole epoch." in text
    assert isinstance(caught.value, MemoryError)
    assert caught.value.batch_size == 1024  # of 2,048 rows
    assert_equal(host(net.backend, net.params), before)
    # Nothing is left of the attempt, though its error is at hand: neither arrays nor what pools keep.
    parameters = sum(p.size * 4 for p in net.state_dict().values())
    assert machine.used[1] < 1.1 * parameters
    net.backend.free_memory()
    assert machine.held[1] == machine.used[1]


def test_who_follows_the_advice_arrives_at_a_batch_that_fits(machine):
    machine.total = 6 << 20
    layers = [nnb.Dense(256, "tanh"), nnb.Dense(256, "tanh"), nnb.Dense(1)]
    net = nnb.Network(layers, backend="cupy", input_shape=64)
    size, parts = 2048, 1
    while not hasattr(net, "history"):
        try:
            net.history = net.fit(WIDE, WIDE[:, 0], batch_size=size, verbose=0)
        except OutOfMemoryError as error:
            size = error.batch_size
    assert 1 < size < 2048
    with pytest.raises(OutOfMemoryError, match=r"accumulate=2,"):
        net.fit(WIDE, WIDE[:, 0], batch_size=2048, data_on="host", verbose=0)
    while parts < 2048 // size:
        with contextlib.suppress(OutOfMemoryError):
            net.fit(WIDE, WIDE[:, 0], batch_size=2048, accumulate=parts, verbose=0)
            break
        parts *= 2
    assert 1 < parts <= 2048 // size
    machine.total = machine.used[0] + 2048
    with pytest.raises(OutOfMemoryError) as caught:
        net.partial_fit(WIDE[:1], WIDE[:1, 0])
    assert caught.value.batch_size is None  # less than a row there is not
    assert "Try" not in str(caught.value)


def test_weights_are_those_of_the_last_whole_epoch_when_memory_runs_out_later(machine):
    net = nnb.Network([nnb.Dense(64), nnb.Dense(1)], backend="cupy", device=1, input_shape=64)
    kept = []

    class Grow(nnb.callbacks.Callback):
        def epoch_end(self, run):
            kept.append(host(run.network.backend, run.network.params))
            if len(run.history) == 2:
                machine.total = machine.used[1]

    with pytest.raises(OutOfMemoryError, match="last whole epoch"):
        net.fit(WIDE, WIDE[:, 0], epochs=5, callbacks=[Grow()], verbose=0)
    assert len(kept) == 2
    machine.total = 1 << 30
    assert_equal(host(net.backend, net.params), kept[-1])


def test_too_many_rows_to_predict_say_how_many_to_try(machine):
    net = nnb.Network([nnb.Dense(512), nnb.Dense(1)], backend="cupy", device=1, input_shape=64)
    machine.total = machine.used[1] + (3 << 20)
    x = net.backend.asarray(WIDE)
    with pytest.raises(OutOfMemoryError) as caught:
        net.predict(x)
    assert "too little memory for predict with batch_size=4096" in str(caught.value)
    assert "The network keeps its weights." in str(caught.value)
    assert "Try batch_size=1024." in str(caught.value)  # of 2,048 rows
    assert net.predict(x, batch_size=caught.value.batch_size).shape == (2048, 1)


def test_a_network_that_does_not_fit_on_the_device(machine, tmp_path):
    net = nnb.Network([nnb.Dense(512), nnb.Dense(512)], input_shape=64)
    net.save(tmp_path / "large.safetensors")
    machine.total = 1 << 20
    path, words = (
        tmp_path / "large.safetensors",
        r"\(cuda:0\) has too little memory for the parameters:",
    )
    for work in (lambda: net.to("cupy"), lambda: nnb.load(path, backend="cupy"),
                 lambda: nnb.Network(net.layers, backend="cupy", input_shape=64)):  # fmt: skip
        with pytest.raises(OutOfMemoryError, match=words):
            work()
        assert machine.held[0] == 0


def test_a_stream_of_batches_that_do_not_fit(machine):
    machine.total = 6 << 20
    net = nnb.Network([nnb.Dense(512), nnb.Dense(1)], backend="cupy", input_shape=64)
    with pytest.raises(OutOfMemoryError, match="has too little memory for fit: ") as caught:
        net.fit(lambda: [(WIDE, WIDE[:, 0])], batch_size=None, verbose=0)
    assert caught.value.batch_size is None
    assert "Try smaller batches, or accumulate=2" in str(caught.value)


def test_data_that_do_not_fit_on_a_card_train_from_the_host(machine, monkeypatch):
    """There is not room for them twice, nor for half of the memory."""
    x = np.random.default_rng(2).normal(size=(20_000, 64)).astype("f4")  # 5 MB
    machine.total = 8 << 20
    nets = []
    for data_on in ("auto", "host"):
        net = nnb.Network([nnb.Dense(8, "tanh"), nnb.Dense(1)], backend="cupy", device=1)
        monkeypatch.setattr(type(net.backend), "block_bytes", 1 << 18)
        net.fit(x, x[:, 0], batch_size=256, epochs=2, data_on=data_on, verbose=0)
        y = net.predict(x, batch_size=1000, on_host=True)
        nets.append(net)
    assert set(machine.made) == {1}
    assert machine.held[1] < x.nbytes
    twin = nnb.Network([nnb.Dense(8, "tanh"), nnb.Dense(1)])
    twin.fit(x, x[:, 0], batch_size=256, epochs=2, verbose=0)
    for net in nets:
        assert_equal(host(net.backend, net.params), host(twin.backend, twin.params))
    np.testing.assert_allclose(y, twin.predict(x), rtol=1e-5, atol=1e-6)


def test_estimators_learn_from_data_that_do_not_fit_on_a_card(machine, monkeypatch):
    """With early stopping the rows to score stay on the host, too, and what predicts comes in parts."""
    pytest.importorskip("sklearn")
    from nnbackend.estimators import MLPRegressor

    x = np.random.default_rng(2).normal(size=(20_000, 64)).astype("f4")  # 5 MB
    machine.total = 8 << 20
    given = {"hidden_layer_sizes": (8,), "batch_size": 500, "max_iter": 1, "random_state": 0,
             "early_stopping": True, "validation_fraction": 0.5, "device": 1}  # fmt: skip
    warnings.simplefilter("ignore")  # training ends before it has converged
    for data_on in ("auto", "host"):
        mlp = MLPRegressor(**given, backend="cupy", data_on=data_on)
        monkeypatch.setattr(type(nnb.get_backend("cupy")), "block_bytes", 1 << 18)
        mlp.fit(x, x[:, 0])
        twin = MLPRegressor(**given | {"device": None}).fit(x, x[:, 0])
        np.testing.assert_array_equal(mlp.coefs_[0], twin.coefs_[0])
        assert mlp.validation_scores_ == twin.validation_scores_
        expected = twin.predict(x)
        for rows in (x, x.tolist()):  # a matrix, and what has to be validated
            np.testing.assert_allclose(mlp.predict(rows), expected, rtol=1e-5, atol=1e-6)
    assert set(machine.made) == {1}
    assert machine.held[1] < x.nbytes
    mlp = MLPRegressor(**given, backend="cupy", data_on="device")
    machine.total = x.nbytes
    with pytest.raises(MemoryError):
        mlp.fit(x, x[:, 0])


def test_errors_of_cuda_itself_are_recognized(machine):
    backend = nnb.get_backend("cupy")
    assert backend.is_out_of_memory(CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"))
    assert backend.is_out_of_memory(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"))
    assert not backend.is_out_of_memory(
        CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access")
    )


@pytest.mark.parametrize("doing", ["forward", "predict", "fit", "partial_fit", "evaluate"])
def test_running_out_is_explained_on_every_backend(backend, doing, monkeypatch):
    """By the error that the library itself raises: of memory that no machine has."""
    if backend.name == "jax" and doing != "forward":
        pytest.skip("while a program is traced nothing is allocated")
    net = nnb.Network([nnb.Dense(2)], backend=backend, input_shape=3)
    before = host(backend, net.params)
    xp, x, y = backend.xp, np.ones((4, 3)), np.ones((4, 2))
    task = {"fit": {"verbose": 0}, "evaluate": {"loss": "mse"}}.get(doing, {})

    def greedy(*_):
        return xp.zeros((1 << 46,), dtype=backend.dtype, device=backend.device)

    monkeypatch.setattr(nnb.Dense, "forward", greedy)
    with pytest.raises(OutOfMemoryError) as caught:
        getattr(net, doing)(x, *([] if doing in ("forward", "predict") else [y]), **task)
    assert f"has too little memory for {doing}" in str(caught.value)
    assert "more was asked for" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert_equal(host(backend, net.params), before)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (80 * 10**9, "80 GB"),
     (999_999_999, "1 GB")],
)  # fmt: skip
def test_bytes_in_words(count, words):
    from nnbackend.backends.memory import in_words

    assert in_words(count) == words


@pytest.mark.parametrize(("precision", "within"), [("float32", 1), ("tf32", 7)])
@pytest.mark.parametrize("before", [1, 7])
def test_products_are_as_precise_as_asked_for_and_only_inside(machine, precision, within, before):
    """7 is tf32, which CuPy also has from the environment variable CUPY_TF32."""
    seen = set()

    def look(prediction, target):
        seen.add(machine.compute_type)
        return nnb.losses.mse(prediction, target)

    machine.compute_type = before
    net = network(precision=precision)
    net.fit(X, np.eye(3)[LABELS], loss=look, verbose=0)
    assert seen == {within}
    assert machine.compute_type == before
    with pytest.raises(ValueError, match="features"):
        net.predict(X[0])
    assert machine.compute_type == before


def test_mixed_precision_on_a_card_is_that_of_numpy(machine):
    """What NumPy multiplies here for the card; the scale and all that is skipped are the backend's."""
    on_card = network(precision="float16")
    here = nnb.Network(on_card.layers, precision="float16")
    histories = [net.fit(X, LABELS, epochs=3, **TASK)["loss"] for net in (on_card, here)]
    assert histories[0] == pytest.approx(histories[1], rel=1e-6)
    assert machine.current.device == 0
    assert set(machine.made) == {1}
