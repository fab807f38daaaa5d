"""Devices: how they are named, that work stays on them, and how backends are told apart."""

from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from fake_cupy import LABELS, TASK, X, small_network
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.backends import choose
from nnbackend.backends import device as device_module
from nnbackend.backends.base import Backend
from nnbackend.errors import BackendUnavailableError

TWO_DEVICES = """
import numpy as np
import nnbackend as nnb

x, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3
layers = [nnb.Dense(8, "relu"), nnb.Dropout(0.1), nnb.Dense(3)]
nets = [nnb.Network(layers, backend="jax", device=device) for device in ("cpu:1", 0)]
task = {"loss": "softmax_cross_entropy", "batch_size": 16, "verbose": 0}
for net in nets:
    net.fit(x, y, epochs=2, metrics=["accuracy"], validation_split=0.2, **task)
    net.fit(x, y, data_on="host", class_weight="balanced", **task)
    net.partial_fit(x, y, loss="softmax_cross_entropy")
    net.evaluate(x, y)
    y_hat, backward = net.forward(x, training=True)
    dx, grads = backward(np.ones(y_hat.shape))
    for array in (y_hat, dx, grads["0"]["weight"], net.predict(x), *net.state_dict().values()):
        assert array.devices() == {net.backend.device}, array.devices()
for a, b in zip(*(net.state_dict().values() for net in nets), strict=True):
    assert np.array_equal(a, b)
print([device.name for device in net.backend.devices()])
"""


def test_networks_of_jax_keep_to_their_devices():
    pytest.importorskip("jax")
    done = subprocess.run([sys.executable, "-W", "error", "-c", TWO_DEVICES], capture_output=True,
                          text=True, check=False,
                          env={"PATH": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": ":".join(sys.path),
                               "XLA_FLAGS": "--xla_force_host_platform_device_count=2"})  # fmt: skip
    assert done.stdout == "['cpu:0', 'cpu:1']\n", done.stderr


def test_backends_are_equal_that_do_the_same(variant):
    one, other = variant.make("float32"), variant.make("float32")
    assert one == other
    assert hash(one) == hash(other)
    assert one != "numpy"
    assert repr(one).startswith("Backend(")
    if variant.float64:
        wide = variant.make("float64")
        assert wide != one
        assert one.replace(dtype="float64") == wide
        assert wide.dtype_name == "float64"


def test_a_backend_is_copied_as_itself_and_pickled_as_its_description(backend64):
    assert copy.deepcopy(backend64) is backend64
    assert copy.copy(backend64) is backend64
    assert pickle.loads(pickle.dumps(backend64)) == backend64
    own = Backend(xp=np)
    assert pickle.loads(pickle.dumps(own)) == own


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
    small_network().fit(X, LABELS, callbacks=[keep], epochs=4, resume=tmp_path, **TASK)


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
    "check_gradients": lambda net, _: nnb.testing.check_gradients(small_network(dtype="float64"), X),
    "compare_backends": lambda net, _: nnb.testing.compare_backends(net, X, "numpy"),
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_all_work_is_done_on_the_device_of_the_network(machine, entry, tmp_path):
    """From a program whose current device is another one, and stays so."""
    net = small_network(input_shape=5)
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
    nets = [small_network(0), small_network(1), nnb.Network(small_network().layers)]
    for _ in range(3):  # in turns
        for net in nets:
            net.partial_fit(X, LABELS, loss="softmax_cross_entropy", batch_size=16)
    first, second, third = (host(net.backend, net.params) for net in nets)
    assert_equal(first, third)
    assert_equal(second, third)
    assert [net.params["0"]["weight"].device.id for net in nets[:2]] == [0, 1]
    assert nets[0].backend != nets[1].backend


def test_a_network_in_each_thread(machine):
    nets, errors = [small_network(0), small_network(1)], []

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
    net = small_network(1, input_shape=5)
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


@pytest.mark.parametrize(("precision", "within"), [("float32", 1), ("tf32", 7)])
@pytest.mark.parametrize("before", [1, 7])
def test_products_are_as_precise_as_asked_for_and_only_inside(machine, precision, within, before):
    """7 is tf32, which CuPy also has from the environment variable CUPY_TF32."""
    seen = set()

    def look(prediction, target):
        seen.add(machine.compute_type)
        return nnb.losses.mse(prediction, target)

    machine.compute_type = before
    net = small_network(precision=precision)
    net.fit(X, np.eye(3)[LABELS], loss=look, verbose=0)
    assert seen == {within}
    assert machine.compute_type == before
    with pytest.raises(ValueError, match="features"):
        net.predict(X[0])
    assert machine.compute_type == before


def test_mixed_precision_on_a_card_is_that_of_numpy(machine):
    """What NumPy multiplies here for the card; the scale and all that is skipped are the backend's."""
    on_card = small_network(precision="float16")
    here = nnb.Network(on_card.layers, precision="float16")
    histories = [net.fit(X, LABELS, epochs=3, **TASK)["loss"] for net in (on_card, here)]
    assert histories[0] == pytest.approx(histories[1], rel=1e-6)
    assert machine.current.device == 0
    assert set(machine.made) == {1}


def test_the_versions_below_are_told(machine):
    assert nnb.get_backend("cupy").versions() == {"driver": "CUDA 12.4", "runtime": "CUDA 12.9"}
    one, two = nnb.get_backend("cupy").devices()
    assert (one.name, one.model, one.compute_capability) == ("cuda:0", "Make-Believe 9000", "9.0")
    assert two.total == machine.total


@pytest.mark.parametrize("name", ["torch", "jax", "cupy", "array-api-strict"])
def test_a_library_that_is_not_installed_comes_with_the_command(name, monkeypatch):
    cls = choose._class(name)
    module = name.replace("-", "_")
    for loaded in list(sys.modules):
        if loaded.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, loaded)
    find = importlib.import_module

    def missing(wanted, *args):
        if wanted.split(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return find(wanted, *args)

    monkeypatch.setattr(device_module.importlib, "import_module", missing)
    with pytest.raises(BackendUnavailableError, match="not installed; run: pip install"):
        cls()


def test_a_library_that_is_broken_says_how(monkeypatch):
    def broken(wanted, *args):
        raise ImportError("libfoo.so.3: cannot open shared object file")

    monkeypatch.setattr(device_module.importlib, "import_module", broken)
    with pytest.raises(BackendUnavailableError, match=r"installed but.*libfoo\.so\.3"):
        device_module.import_library(Backend, "foo")
