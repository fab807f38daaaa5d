"""A list of launches as one CUDA graph.

Each launch costs the host a few microseconds, which is more than a small kernel takes on the device.
A stream that is *captured* does not run what is queued on it: the driver writes it down, addresses and
all, as a graph. The graph is launched as a whole, again and again, for about the cost of one launch.

So what is captured must do the same thing in the same memory every time. What changes from run to run
(the number of the step, the batch, learning rates) must be read from the device's memory, and nothing
may be allocated, read back or waited for.

Reference: NVIDIA, CUDA C++ Programming Guide, "CUDA Graphs"; CuPy, ``cupy.cuda.Stream.begin_capture``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

__all__ = ["Captured"]


class Captured:
    """Launches that are captured on their second run, and from then on launched as one graph.

    A capture runs nothing. So it cannot go wrong halfway: when it fails, the same launches follow one by
    one, as they do from then on, and :attr:`refused` says why.

    Everything is queued on the stream that is current when :meth:`replay` is called, behind what is
    there and before what comes after; nothing is waited for. The device must be the current one.

    Args:
        cupy: the module.
        launch_all: ``launch_all(stream)`` queues the launches on a ``cupy.cuda.Stream``, which is also
            the current one, and on no other: what goes elsewhere is not captured, it runs. It allocates
            no device memory, and keeps all memory that it uses alive.

    Attributes:
        refused: why there is no graph; "" as long as nothing speaks against one.
    """

    def __init__(self, cupy: Any, launch_all: Callable[[Any], None]) -> None:
        self.refused = ""
        self._cupy, self._launch_all = cupy, launch_all
        self._graph: Any = None
        self._ran = False

    def replay(self) -> None:
        """Run the launches.

        The first run is never captured: it compiles kernels and loads them, which is not possible in a
        capture.
        """
        stream = self._cupy.cuda.get_current_stream()
        if self._ran and self._graph is None and not self.refused:
            self._capture()
        if self._graph is None:
            self._launch_all(stream)
            self._ran = True
        else:
            self._graph.launch(stream)

    def _capture(self) -> None:
        """Make the graph, or say why there is none."""
        cuda = self._cupy.cuda
        try:
            # The default stream cannot be captured, so a separate one is.
            stream = cuda.Stream(non_blocking=True)
            with stream, cuda.using_allocator(_no_memory):
                # Relaxed: other threads, and what is garbage-collected in this one, may allocate and
                # release memory meanwhile. That launch_all does not is seen to by _no_memory.
                stream.begin_capture(cuda.runtime.streamCaptureModeRelaxed)
                try:
                    self._launch_all(stream)
                except BaseException:
                    with contextlib.suppress(Exception):  # the capture may be broken; it ends here
                        stream.end_capture()
                    raise
                graph = stream.end_capture()
            graph.upload(stream)  # now, rather than with the first launch
        except Exception as error:
            # Whatever it is: if it was not the capture's fault, the run that follows raises it.
            self.refused = f"{type(error).__name__}: {error}"
        else:
            self._graph = graph


def _no_memory(size: int) -> Any:
    """Refuse to allocate: a graph would go on using the memory after it was given back."""
    raise RuntimeError(f"{size} bytes of device memory were requested during a capture")
