"""The command line; ``at PROCESS WORD`` before it gives one process another argument."""

from __future__ import annotations

import sys

from nnbackend.cli import main
from nnbackend.core.launcher import launched_rank

if sys.argv[1] == "at":
    if launched_rank() == int(sys.argv[2]):
        sys.argv.append(sys.argv[3])
    del sys.argv[1:4]
if sys.argv[1] == "without":
    sys.modules["mpi4py"] = None  # type: ignore[assignment]
    del sys.argv[1]
main()
