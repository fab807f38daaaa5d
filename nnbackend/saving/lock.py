"""A folder that one run at a time writes to."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import weakref
from pathlib import Path

__all__ = ["FolderLock"]


class FolderLock:
    """The right to write to a folder, until ``release()`` or the end of the process, in whatever way.

    The operating system locks a file in the folder, so a process that was killed holds nobody up. The
    file names the process that has the lock. A file system without locks gives no protection.

    Args:
        folder: the folder, which exists.

    Raises:
        OSError: another run has it, or the file of the lock cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / ".lock"
        file = _open_locked(path)
        while not _is_at(path, file):  # the run before removed it in this moment
            os.close(file)
            file = _open_locked(path)
        if not _is_ours(file):
            os.close(file)
            raise OSError(
                errno.EEXIST, f"{path} is not a lock of a run; move it or take another folder"
            )
        with contextlib.suppress(OSError):  # the disk may be full
            os.truncate(file, 0)
            os.write(file, f" process {os.getpid()} on {_host()}".encode())
        self.release = weakref.finalize(self, _release, path, file, os.getpid())


def _open_locked(path: Path) -> int:
    """Return the descriptor of a file that this process has locked."""
    # A link is not followed: the file may be anybody's.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    file = os.open(path, flags, 0o666)
    try:
        _lock(file)
    except OSError as error:
        os.lseek(file, 1, os.SEEK_SET)  # Windows locks the first byte
        holder = os.read(file, 300).decode(errors="replace").strip() or "another process"
        os.close(file)
        reason = f"{holder} writes there; wait for it or end it, or take another folder"
        raise OSError(errno.EBUSY, reason) from error
    return file


def _lock(file: int) -> None:
    """Lock a file.

    Raises:
        OSError: it is locked.
    """
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return


def _is_ours(file: int) -> bool:
    """Return whether a file is empty or names a process: anybody's would be overwritten and removed."""
    start = os.read(file, 9)
    os.lseek(file, 0, os.SEEK_SET)  # what is written next begins there
    return os.fstat(file).st_nlink <= 1 and start in (b"", b" process ")


def _is_at(path: Path, file: int) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _host() -> str:
    import socket  # the import of nnbackend would wait for it

    return socket.gethostname()


def _release(path: Path, file: int, process: int) -> None:
    """Remove and close the file of a lock; in a forked process it is the parent's and stays."""
    with contextlib.suppress(OSError):  # on Windows an open file cannot be removed
        if process == os.getpid() and _is_at(path, file):
            path.unlink()
    os.close(file)
