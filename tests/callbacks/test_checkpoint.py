"""The callback that writes checkpoints: when, under which names, and what happens if it cannot."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from saving.runs import Odd, X, Y, exact, network, weights
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import Callback, Checkpoint, JSONLines, Lambda
from nnbackend.errors import DivergenceError, ModelFileError
from nnbackend.saving import checkpoint as checkpoints
from nnbackend.saving.schema import record, whole


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_files_are_numbered_and_the_newest_are_kept(tmp_path):
    checkpoint = Checkpoint(tmp_path / "new" / "folder", every=2, keep=2)
    network().fit(X, Y, epochs=7, callbacks=[checkpoint])
    # That of the last epoch is written whatever its number.
    assert names(checkpoint.directory) == [
        "000004-epoch-0006.safetensors",
        "000005-epoch-0007.safetensors",
    ]
    assert checkpoint.latest == checkpoints.newest(checkpoint.directory)
    network().fit(X, Y, epochs=2, callbacks=[Checkpoint(tmp_path / "all", keep=None)])
    assert [name.partition("-")[2] for name in names(tmp_path / "all")] == [
        f"epoch-{n:04}.safetensors" for n in range(3)
    ]


def test_steps_within_an_epoch_are_counted_in_it(tmp_path):
    network().fit(X, Y, epochs=2, batch_size=5,
                  callbacks=[Checkpoint(tmp_path, keep=None, every_steps=2)])  # fmt: skip
    assert [name[7:-12] for name in names(tmp_path)] == [
        "epoch-0000", "epoch-0000-step-000002", "epoch-0000-step-000004", "epoch-0001",
        "epoch-0001-step-000002", "epoch-0001-step-000004", "epoch-0002",
    ]  # fmt: skip


def test_best_only_writes_when_the_figure_is_better_than_ever(tmp_path):
    checkpoint = Checkpoint(tmp_path, best_only=True, keep=None)
    history = network().fit(X, Y, epochs=30, optimizer=nnb.SGD(0.3), batch_size=5,
                            validation_split=0.3, callbacks=[checkpoint])  # fmt: skip
    losses = history["validation_loss"]
    best = [e for e, loss in enumerate(losses, 1) if loss < min([*losses[: e - 1], np.inf])]
    assert 1 < len(best) < 30
    assert [int(name[13:17]) for name in names(tmp_path)] == best


def test_a_new_run_in_the_same_folder_leaves_the_files_of_the_old_one(tmp_path):
    network().fit(X, Y, epochs=5, callbacks=[Checkpoint(tmp_path, keep=1)])
    again = Checkpoint(tmp_path, keep=1)
    network().fit(X, Y, epochs=2, callbacks=[again])
    assert [name[7:17] for name in names(tmp_path)] == ["epoch-0005", "epoch-0002"]
    # The newest is that of the new run; going on with it, its file is replaced and no other.
    network().fit(X, Y, epochs=3, callbacks=[Checkpoint(tmp_path, keep=1)], resume=tmp_path)
    assert [name[7:17] for name in names(tmp_path)] == ["epoch-0005", "epoch-0003"]


def test_best_only_leaves_an_epoch_that_is_cut_short_alone(tmp_path):
    stop = Lambda(batch_end=lambda run: run.step == 2 and run.stop("enough", at_once=True))
    network().fit(X, Y, epochs=3, batch_size=5,
                  callbacks=[stop, Checkpoint(tmp_path, best_only=True, monitor="loss")])  # fmt: skip
    assert not names(tmp_path)


def fills_up(monkeypatch, after):
    """Let the disk be full after some files."""
    count = 0

    def fsync(descriptor):
        nonlocal count
        count += stat.S_ISREG(os.fstat(descriptor).st_mode)  # a folder is flushed, too
        if count > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_ends_the_run_with_a_clear_message(backend, tmp_path, monkeypatch):
    net, whole = network(backend), network(backend)
    whole.fit(X, Y, epochs=5, batch_size=5)
    with monkeypatch.context() as patch:
        fills_up(patch, 3)  # what is written at the start, and after two epochs
        with pytest.raises(OSError, match=r"cannot write .*epoch-0003.*No space left") as caught:
            net.fit(X, Y, epochs=5, batch_size=5, callbacks=[Checkpoint(tmp_path)])
    assert caught.value.__notes__ == [
        "raised by the callback Checkpoint at the epoch end of epoch 3",
        f"the run can be resumed from {checkpoints.newest(tmp_path)}",
    ]
    assert len(names(tmp_path)) == 3
    again = network(backend)
    again.fit(X, Y, epochs=5, batch_size=5, resume=tmp_path)
    assert_equal(weights(again), weights(whole))


def test_a_full_disk_may_cost_no_more_than_a_warning(backend, tmp_path, monkeypatch):
    net, whole = network(backend), network(backend)
    whole.fit(X, Y, epochs=5, batch_size=5)
    with monkeypatch.context() as patch:
        fills_up(patch, 3)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = net.fit(X, Y, epochs=5, batch_size=5,
                              callbacks=[Checkpoint(tmp_path, on_error="warn")])  # fmt: skip
    assert len(history) == 5
    assert_equal(weights(net), weights(whole))
    (warning,) = caught  # once
    assert "the training continues without" in str(warning.message)
    assert "No space left" in str(warning.message)
    assert "epoch-0002" in str(warning.message)
    assert checkpoints.load(checkpoints.newest(tmp_path)).state["epoch"] == 2


def test_a_disk_that_has_room_again_gets_checkpoints_again(tmp_path, monkeypatch):
    """Also the files that went wrong leave no rests behind."""
    real = os.write, os.fsync
    full = [2, 3]  # in these epochs

    class Fill(Callback):
        def epoch_end(self, run):
            run.full = run.epoch in full
            os.fsync = failing if run.full else real[1]

    def failing(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", real[1])
    with pytest.warns(UserWarning, match="No space left"):
        network().fit(X, Y, epochs=5,
                      callbacks=[Fill(), Checkpoint(tmp_path, keep=None, on_error="warn")])  # fmt: skip
    assert [name[7:17] for name in names(tmp_path)] == [f"epoch-{n:04}" for n in (0, 1, 4, 5)]


FULL = """
import resource, signal, sys, warnings
import numpy as np
import nnbackend as nnb

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
x = np.linspace(-1, 1, 60).reshape(20, 3)
net = nnb.Network([nnb.Dense(8, "tanh"), nnb.Dense(1)])
def limit(run):
    if run.epoch == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
checkpoint = nnb.callbacks.Checkpoint(sys.argv[1], on_error=sys.argv[2])
net.fit(x, x[:, 0], epochs=5, callbacks=[limit, checkpoint])
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_write_that_the_system_cuts_short_leaves_no_part_of_a_file(on_error, tmp_path):
    path = str(Path(nnb.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), on_error],
                          capture_output=True, text=True, timeout=100,
                          env=os.environ | {"PYTHONPATH": path})  # fmt: skip
    assert (done.returncode == 0) == (on_error == "warn")
    assert ("done" in done.stdout) == (on_error == "warn")
    assert "File too large" in done.stderr
    assert [name[7:17] for name in names(tmp_path)] == [f"epoch-{n:04}" for n in range(3)]
    assert all(checkpoints.load(path) for path in checkpoints.files(tmp_path))


class Counting(Callback):
    """A user's callback with a state."""

    def __init__(self, kept="rises"):
        self.rises, self.kept = 2, kept

    def state(self):
        return {self.kept: self.rises}

    def restore(self, state):
        self.rises = state["rises"] + 1


class Checked(Counting):
    schema = record({"rises": whole()})

    def state(self):
        return super().state()


def test_a_users_callback_may_say_what_its_state_has_to_be(tmp_path):
    for kind, words in (
        (Counting, "Counting cannot go on from its state in the checkpoint: KeyError: 'rises'"),
        (Checked, "cannot be resumed from: the state of its Checked lacks rises"),
    ):
        folder, again, net = tmp_path / kind.__name__, kind(), network()
        net.fit(X, Y, callbacks=[kind(), Checkpoint(folder)])
        net.fit(X, Y, epochs=2, callbacks=[again], resume=folder)
        assert again.rises == 3
        network().fit(X, Y, callbacks=[kind("other"), Checkpoint(folder)])
        with pytest.raises(ModelFileError, match=words):
            network().fit(X, Y, epochs=2, callbacks=[again], resume=folder)


def test_a_second_run_in_the_same_folder_is_refused_and_disturbs_nothing(tmp_path):
    half = tmp_path / ".000001-epoch-0001.safetensors.abcdefgh"  # the first is writing it

    def second(run):
        half.write_text("half")
        steps = []
        with pytest.raises(
            OSError, match=rf"process {os.getpid()} on .* writes there; wait"
        ) as caught:
            network().fit(X, Y, callbacks=[Checkpoint(tmp_path), Lambda(batch_end=steps.append)])
        assert str(tmp_path) in str(caught.value)
        assert not steps
        with pytest.warns(UserWarning, match=f"process {os.getpid()} on .* writes there"):
            network().fit(X, Y, epochs=3, callbacks=[Checkpoint(tmp_path, on_error="warn")])
        assert half.read_text() == "half"
        half.unlink()

    network().fit(X, Y, epochs=2, callbacks=[Checkpoint(tmp_path), second])
    assert [name[7:17] for name in names(tmp_path)] == [f"epoch-{n:04}" for n in range(3)]
    network().fit(X, Y, epochs=3, callbacks=[Checkpoint(tmp_path)], resume=tmp_path)


LOCKS = """
import os, signal, sys
from pathlib import Path
from nnbackend.saving.lock import FolderLock

lock = FolderLock(Path(sys.argv[1]))
print(os.getpid(), flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_process_that_lives_keeps_the_folder_and_one_that_is_dead_does_not(tmp_path):
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True,
             "env": os.environ | {"PYTHONPATH": str(Path(nnb.__file__).parent.parent)}}  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", LOCKS, tmp_path, "alive"], **given) as process:
        number = int(process.stdout.readline())
        with pytest.raises(OSError, match=f"process {number} on "):
            network().fit(X, Y, callbacks=[Checkpoint(tmp_path)])
        process.communicate("")
    assert not names(tmp_path)
    for _ in range(2):  # the second finds the lock of the first
        with subprocess.Popen(
            [sys.executable, "-c", LOCKS, tmp_path, "killed"], **given
        ) as process:
            assert process.communicate()[0]
    assert names(tmp_path) == [".lock"]
    assert (tmp_path / ".lock").read_bytes().startswith(b" process ")
    network().fit(X, Y, callbacks=[Checkpoint(tmp_path)])
    assert [name[7:17] for name in names(tmp_path)] == ["epoch-0000", "epoch-0001"]


def test_the_lock_of_a_folder_follows_no_link(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="folder cannot be a folder of checkpoints"):
        network().fit(X, Y, callbacks=[Checkpoint(tmp_path / "folder")])
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "link"), reason="files have one name there")
@pytest.mark.parametrize("linked", [True, False])
def test_a_file_of_somebody_elses_in_the_place_of_the_lock_stays(linked, tmp_path):
    (tmp_path / "folder").mkdir()
    own = tmp_path / "folder" / ".lock"
    if linked:
        (tmp_path / "other").write_text(" process 1 on earth")
        os.link(tmp_path / "other", own)
    else:
        own.write_text("precious")
    before = own.read_text()
    with pytest.raises(OSError, match=r"\.lock is not a lock of a run"):
        network().fit(X, Y, callbacks=[Checkpoint(tmp_path / "folder")])
    assert own.read_text() == before


def test_a_folder_with_the_name_of_a_half_written_checkpoint_is_left_alone(tmp_path):
    (tmp_path / ".000002-epoch-0001.safetensors.abcdefgh").mkdir()
    network().fit(X, Y, callbacks=[Checkpoint(tmp_path)])
    assert len(names(tmp_path)) == 3


def test_a_folder_removed_while_training_is_not_offered_for_resuming(tmp_path):
    checkpoint = Checkpoint(tmp_path / "folder")

    def remove(run):
        if run.epoch == 2:
            shutil.rmtree(checkpoint.directory)
            raise Odd("enough")

    with pytest.raises(Odd) as caught:
        network().fit(X, Y, epochs=3, callbacks=[checkpoint, Lambda(epoch_start=remove)])
    assert not any("resumed from" in note for note in caught.value.__notes__)
    assert checkpoint.latest is None


@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_folder_removed_while_training_is_named_or_made_again(on_error, tmp_path):
    checkpoint = Checkpoint(tmp_path / "folder", on_error=on_error)

    def remove(run):
        if run.epoch == 2:
            shutil.rmtree(checkpoint.directory)

    def fit():
        network().fit(X, Y, epochs=4, callbacks=[checkpoint, Lambda(epoch_start=remove)])

    if on_error == "raise":
        with pytest.raises(FileNotFoundError, match="folder was removed meanwhile") as caught:
            fit()
        assert not any("resumed from" in note for note in caught.value.__notes__)
        assert not list(tmp_path.iterdir())
    else:
        with pytest.warns(
            UserWarning, match="folder was removed meanwhile .there is none from before"
        ):
            fit()
        assert [name[7:17] for name in names(checkpoint.directory)] == ["epoch-0003", "epoch-0004"]


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    steps = []
    with pytest.raises(OSError, match="file cannot be a folder of checkpoints: "):
        network().fit(X, Y, callbacks=[Lambda(batch_end=steps.append),
                                       Checkpoint(tmp_path / "file")])  # fmt: skip
    assert not steps


def breaks(event, epoch, step=None):
    """Return a callback called Lambda that fails."""

    def fail(run):
        if (run.epoch, run.step if step else None) == (epoch, step):
            raise Odd("by accident")

    return Lambda(**{event: fail})


@pytest.mark.parametrize(
    ("event", "epoch", "step"),
    [
        ("epoch_start", 2, None),
        ("epoch_start", 1, None),
        ("batch_end", 3, 2),
        ("batch_end", 2, 5),
        ("epoch_end", 3, None),
        ("epoch_end", 1, None),
    ],
)
def test_when_a_callback_fails_its_name_is_told_and_its_moment_saved(
    event, epoch, step, backend, variant, tmp_path
):
    """The callbacks after it have had their event, and the run goes on from there exactly."""
    task = {"epochs": 4, "batch_size": 5, "metrics": ["mae"]}
    silent = breaks(event, 9, step)
    whole, net, again = (network(backend) for _ in range(3))
    expected = whole.fit(X, Y, callbacks=[silent], **task)
    log = JSONLines(tmp_path / "log.jsonl")
    checkpoint = Checkpoint(tmp_path / "saved", every=100)
    with pytest.raises(Odd, match="by accident") as caught:
        net.fit(X, Y, callbacks=[breaks(event, epoch, step), log, checkpoint], **task)
    when = f"{event.replace('_', ' ')} of epoch {epoch}"
    notes = caught.value.__notes__
    assert notes[0] == f"raised by the callback Lambda at the {when}"
    assert notes[1:] == [f"the run can be resumed from {checkpoint.latest}"]
    state = checkpoints.load(checkpoint.latest).state
    done = epoch - (event != "epoch_end")
    assert (state["epoch"], state["batch"]) == (done, step or 0)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == done
    assert np.isfinite(host(backend, net.predict(X))).all()
    history = again.fit(X, Y, callbacks=[silent], resume=checkpoint.directory, **task)
    compare = assert_equal if exact(variant) else lambda a, b: assert_close(a, b, 1e-6)
    compare(weights(again), weights(whole))
    compare(np.asarray(history["mae"]), np.asarray(expected["mae"]))


def test_when_two_callbacks_fail_both_are_told():
    with pytest.raises(Odd) as caught:
        network().fit(X, Y, callbacks=[breaks("epoch_end", 1), breaks("stop", 1),
                                       breaks("epoch_end", 1)])  # fmt: skip
    text = "\n".join(caught.value.__notes__)
    assert text.count("raised by the callback Lambda at the epoch end of epoch 1") == 2
    assert "Odd: by accident; raised by the callback Lambda at the stop of epoch 1" in text


def test_a_loss_that_is_no_number_costs_no_checkpoint(tmp_path):
    """Those that would hold NaN are not written, so that they push out no good one."""
    net = network()
    with pytest.raises(DivergenceError), np.errstate(all="ignore"):
        net.fit(X * 1e3, Y, epochs=50, batch_size=5, optimizer=nnb.SGD(1e12),
                callbacks=[Checkpoint(tmp_path, every_steps=1)])  # fmt: skip
    loaded = nnb.load(checkpoints.newest(tmp_path))
    assert all(np.isfinite(w).all() for w in weights(loaded).values())


def test_ctrl_c_leaves_the_last_checkpoint(backend, tmp_path, capsys):
    def press(run):
        if (run.epoch, run.step) == (3, 2):
            raise KeyboardInterrupt

    task = {"epochs": 5, "batch_size": 5}
    whole, net, again = (network(backend) for _ in range(3))
    whole.fit(X, Y, callbacks=[Lambda(batch_end=lambda run: None)], **task)
    net.fit(X, Y, callbacks=[Checkpoint(tmp_path), Lambda(batch_end=press)], **task)
    again.fit(X, Y, callbacks=[Lambda(batch_end=lambda run: None)], resume=tmp_path, **task)
    assert_equal(weights(again), weights(whole))
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("at_once", [True, False])
def test_a_run_that_is_asked_to_stop_leaves_its_last_moment(at_once, backend, tmp_path):
    def enough(run):
        if (run.epoch, run.step) == (2, 3):
            run.stop("enough", at_once=at_once)

    task = {"epochs": 4, "batch_size": 5}
    nothing = Lambda(batch_end=lambda run: None)
    whole, net, again = (network(backend) for _ in range(3))
    whole.fit(X, Y, callbacks=[nothing], **task)
    checkpoint = Checkpoint(tmp_path, every=100)
    history = net.fit(X, Y, callbacks=[Lambda(batch_end=enough), checkpoint], **task)
    assert history.stopped == "enough"
    assert len(history) == 2 - at_once
    assert checkpoint.latest.name[7:-12] == ("epoch-0001-step-000003" if at_once else "epoch-0002")
    assert_equal(weights(net), weights(nnb.load(checkpoint.latest, backend=backend)))
    again.fit(X, Y, callbacks=[nothing], resume=tmp_path, **task)
    assert_equal(weights(again), weights(whole))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every": 0}, "every must be"),
        ({"keep": 0}, "keep must be"),
        ({"every_steps": 1.5}, "every_steps must be"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'warn'"),
        ({"best_only": True, "every_steps": 3}, "whole epochs"),
        ({"best_only": 1}, "best_only must be True or False"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        Checkpoint(tmp_path, **arguments)
