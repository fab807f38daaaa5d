"""Ctrl-C and SIGTERM: one line, the exit code of the signal, and what was done is kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from cli.commands import PENGUINS, done, ended, fails, run, train_json

import nnbackend as nnb

pytestmark = pytest.mark.usefixtures("importable")

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
LONG = ["train", PENGUINS, "--target", "species", "--model", "mlp", "--epochs", "10000000"]


@pytest.fixture(autouse=True)
def interrupts_arrive():
    """Take Ctrl-C also where the tests run in the background of a shell, which ignores it there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(*arguments):
    command = [sys.executable, "-m", "nnbackend", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", EXIT_CODES, ids=lambda number: number.name)
@pytest.mark.parametrize(
    "module", ["array_api_compat", "typer", "polars", "nnbackend.tables.encoding"]
)
def test_a_signal_while_something_is_imported(module, number):
    """The process sends it to itself, when it comes to import the module."""
    code = f"""if True:
        import os, sys
        class Finder:
            def find_spec(self, name, path, target=None):
                if name == {module!r}:
                    os.kill(os.getpid(), {int(number)})
        sys.meta_path.insert(0, Finder())
        sys.argv = ["nnbackend", *{LONG!r}]
        import nnbackend
        from nnbackend.cli import main
        main()
    """
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100
    )
    assert process.returncode == EXIT_CODES[number]
    assert process.stderr == "error: interrupted\n"


def test_the_module_is_known_as_the_command_line(monkeypatch):
    from nnbackend.core.early_signals import is_command_line

    for argv, orig_argv, expected in (
        (["-m"], ["python", "-m", "nnbackend", "train"], True),
        (["-m"], ["python", "-X", "dev", "-mnnbackend", "-m"], True),
        (["/usr/bin/nnbackend", "train"], ["python", "/usr/bin/nnbackend"], True),
        (["bin/nnbackend.exe"], ["bin/nnbackend.exe"], True),
        (["-m"], ["python", "-m", "pytest", "nnbackend"], False),
        (["train.py", "nnbackend"], ["python", "train.py", "nnbackend"], False),
        ([""], ["python"], False),
        ([], ["python"], False),
    ):
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(sys, "orig_argv", orig_argv)
        assert is_command_line() == expected, (argv, orig_argv)


def test_an_import_elsewhere_leaves_signals_alone():
    code = "import signal; import nnbackend.cli; print(signal.getsignal(signal.SIGINT).__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "default_int_handler\n"


def test_an_interruption_outside_training_is_one_message(monkeypatch):
    def interrupt(*_, **__):
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for place in ("rows.open_table", "arguments.get_backend", "train.build_from_options"):
        with monkeypatch.context() as patch:
            patch.setattr(f"nnbackend.cli.{place}", interrupt)
            assert fails(130, *LONG) == "error: interrupted\n"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_interruption_that_comes_out_as_another_error_is_one(monkeypatch):
    def interrupt(*_, **__):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise SystemError("initialization failed") from None

    monkeypatch.setattr("nnbackend.cli.rows.open_table", interrupt)
    assert fails(143, *LONG) == "error: interrupted\n"


def test_an_interruption_that_cannot_be_raised_comes_again(monkeypatch):
    class Freed:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def read(*_, **__):
        Freed()
        time.sleep(20)

    monkeypatch.setattr("nnbackend.cli.rows.open_table", read)
    assert fails(130, *LONG) == "error: interrupted\n"


@pytest.mark.parametrize("number", EXIT_CODES, ids=lambda number: number.name)
def test_training_keeps_the_epochs_done_and_names_the_checkpoints(number):
    process = start(*LONG, "--checkpoint", "saved")
    while len(nnb.checkpoints.files("saved")) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    output, errors = ended(process)
    assert process.returncode == EXIT_CODES[number]
    notes = [line for line in errors.splitlines() if not line.startswith("note: missing numbers")]
    assert len(notes) == 1
    assert notes[0].startswith("training was interrupted in epoch")
    assert "interrupted" not in output
    assert "Model written to model.safetensors" in output
    assert "Go on with the same command and --resume saved" in output
    saved = json.loads(done("inspect", "model.safetensors", "--json").stdout)["metadata"]
    assert 0 < saved["training"]["epochs"] < 10000000
    epochs = nnb.checkpoints.load(nnb.checkpoints.newest("saved")).state["epoch"]
    resumed = [*LONG[1:-1], str(epochs + 2), "--resume", "saved"]
    assert len(train_json(*resumed)["history"]["loss"]) == epochs + 2


def test_a_run_that_prints_nothing_names_the_checkpoints_too():
    process = start(*LONG, "--checkpoint", "my runs", "--quiet")
    while not nnb.checkpoints.files("my runs") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, errors = ended(process)
    assert (process.returncode, output) == (143, "")
    assert errors.endswith("Go on with the same command and --resume 'my runs'\n")


def test_an_interruption_after_training_names_the_checkpoints(monkeypatch):
    def interrupt(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("nnbackend.cli.train._evaluate", interrupt)
    result = run(*LONG[:-1], "2", "--checkpoint", "saved", "--quiet")
    assert result.exit_code == 130
    assert result.stderr == ("error: interrupted; Go on with the same command and --resume saved\n")


def test_folds_that_were_trained_before_an_interruption_predict(monkeypatch):
    """Ctrl-C comes in the second epoch of the second network."""

    class Interrupting(nnb.callbacks.Callback):
        runs = 0

        def start(self, run):
            self.runs += 1

        def epoch_start(self, run):
            if (self.runs, run.epoch) == (2, 2):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(
        "nnbackend.cli.call.Call.build_callbacks", lambda *_, **__: [Interrupting()]
    )
    command = ["train", PENGUINS, "--target", "species", "--folds", "3", "--epochs", "3"]
    result = run(*command, "--hidden", "8", "--json")
    assert result.exit_code == 130
    told = json.loads(result.stdout)
    assert [network["epochs"] for network in told["networks"]] == [3, 1]
    assert told["stopped"].startswith("interrupted in epoch 2")
    assert told["validation_rows"] < told["rows"] == 344
    done("predict", "model.safetensors", PENGUINS)
