"""The command line.

Before it, ``at PROCESS WORD`` gives one process another argument, ``without`` takes mpi4py away, and
``sample ROWS`` lets streams take a smaller sample.
"""

from __future__ import annotations

import sys

from nnbackend.cli import main
from nnbackend.cli.streaming import TableStream
from nnbackend.core.launcher import launched_rank

if sys.argv[1] == "at":
    if launched_rank() == int(sys.argv[2]):
        sys.argv.append(sys.argv[3])
    del sys.argv[1:4]
if sys.argv[1] == "without":
    sys.modules["mpi4py"] = None  # type: ignore[assignment]
    del sys.argv[1]
if sys.argv[1] == "sample":
    TableStream.__init__.__defaults__ = None, 0, int(sys.argv[2])
    del sys.argv[1:3]
main()
