"""The core trains where a browser runs Python: without threads, signals, files and safetensors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# What Pyodide leaves out or cannot do. It is refused before the package is imported.
REFUSE = """
import _signal, _thread, builtins, io, os, sys, threading

MISSING = {
    "fcntl", "termios", "resource", "multiprocessing", "ssl", "sqlite3", "lzma", "safetensors"
}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def no_thread(*args, **kwargs):
    raise RuntimeError("can't start new thread")

def no_signal(*args):
    raise ValueError("signal only works in main thread of the main interpreter")

def reads_only(open):
    def opens(file, mode="r", *args, **kwargs):
        if isinstance(mode, str) and set(mode) & set("wax+"):
            raise OSError(30, "Read-only file system", file)
        return open(file, mode, *args, **kwargs)
    return opens

import numpy  # as it comes
sys.meta_path.insert(0, Missing())
for name in MISSING:
    sys.modules.pop(name, None)
_thread.start_new_thread = threading._start_new_thread = no_thread
if hasattr(threading, "_start_joinable_thread"):
    threading._start_joinable_thread = no_thread
_signal.signal = no_signal
builtins.open = io.open = reads_only(open)
import runpy
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments, script], capture_output=True, text=True,
        check=False, timeout=120, env=os.environ | {"PYTHONPATH": str(HERE.parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_networks_train_without_threads_signals_and_files():
    script = str(HERE / "training.py")
    assert run(script, "-c", REFUSE) == run(script)


def test_what_is_refused_is_refused(tmp_path):
    """The test above would say nothing if a thread could be started after all."""
    script = tmp_path / "tries.py"
    script.write_text(
        """
import json, signal, threading
found = []
for what in (
    lambda: threading.Thread(target=print).start(),
    lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    lambda: open("written", "w"),
    lambda: __import__("safetensors"),
):
    try:
        what()
    except (RuntimeError, ValueError, OSError, ImportError) as error:
        found.append(type(error).__name__)
print(json.dumps(found))
""",
        encoding="utf-8",
    )
    assert run(str(script), "-c", REFUSE) == [
        "RuntimeError", "ValueError", "OSError", "ModuleNotFoundError",
    ]  # fmt: skip
