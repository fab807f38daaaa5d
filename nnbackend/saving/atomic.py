"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from nnbackend.core.checks import check_path

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never a part.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and take the
    name in one step, which is flushed too. On failure the temporary file is removed and an existing
    file is untouched.

    A link is followed, and the file it points to is replaced.

    Raises:
        OSError: the folder does not exist or cannot be written, the disk is full, or ``path`` is
            a folder or a device; the message names ``path``.
    """
    import tempfile  # it imports much, for which every import of nnbackend would wait

    target = check_path("path", path).resolve()
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, f"cannot write {path}: it exists and is not a regular file")
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _permissions(target))
        os.replace(temporary, target)
        temporary = None
        _flush_folder(target.parent)
    except OSError as error:
        raise type(error)(error.errno, f"cannot write {target}: {error.strerror}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return target


def _flush_folder(folder: Path) -> None:
    """Have the new name on the disk as well, where a folder can be flushed (not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _permissions(target: Path) -> int:
    """Return the mode of the file that is replaced, or what the umask gives a new one."""
    if target.exists():
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
