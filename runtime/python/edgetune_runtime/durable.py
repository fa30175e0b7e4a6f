"""Files that are there whole or not at all, whatever happens meanwhile: written beside their place, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

PARTIAL = ".partial-"
"""In the name of a file that is being written: what is left of it, after a crash, is nobody's."""


def write_durable(path: Path, data: bytes, mode: int | None = None) -> None:
    """`path` holds all of `data` when this returns, also after the power fails; until then what it held before.

    `mode` is its permissions; None: those of any new file. Raises OSError.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}{secrets.token_hex(4)}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(partial, flags, 0o666 if mode is None else mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            partial.chmod(mode)  # the umask does not count
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Names in it are on the disk; raises OSError. Nothing where folders cannot be synced."""
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
