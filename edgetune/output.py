"""Results appear whole or not at all: they are written beside their place and renamed into it."""

import ctypes
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edgetune_runtime.durable import sync_folder, write_durable

from edgetune.errors import OutputExistsError

HERE, EXCHANGE = -100, 2
"""`AT_FDCWD` and `RENAME_EXCHANGE` of Linux."""
logger = logging.getLogger(__name__)


@contextmanager
def new_folder(path: str | os.PathLike[str], *, force: bool, marker: Sequence[str]) -> Iterator[Path]:
    """An empty folder to write into, which becomes `path` when the block ends and vanishes when it fails.

    An old result stays as it is until the new one is complete. With `force` it is then replaced, provided that it is a
    file or a folder with at least one file named in `marker`: a folder that is not ours is never removed.

    Raises OutputExistsError on entry, before any work is done, and again at the end where something else has taken
    the place meanwhile; that one time the finished work is kept, and the message says where.
    """
    target = Path(os.path.realpath(path))  # through a link, so that the link stays
    _check_free(target, path, force=force, marker=marker)
    _make_parents(target)
    partial = _beside(target, "partial")
    try:
        partial.mkdir()
        yield partial
        _sync_tree(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    try:
        _check_free(target, path, force=force, marker=marker)
    except OutputExistsError as error:
        raise OutputExistsError(
            f"{error}. The place was taken meanwhile: the finished result is kept in {partial}"
        ) from error
    try:
        _move_into_place(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """The file holds all of `data` or what it held before; text is written as UTF-8, line ends as given."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputExistsError(f"{path} is a folder; name a file to write")
    _make_parents(target)
    mode = target.stat().st_mode & 0o7777 if target.exists() else None
    write_durable(target, data.encode("utf-8") if isinstance(data, str) else data, mode)


def _check_free(target: Path, named: object, *, force: bool, marker: Sequence[str]) -> None:
    """The place is free, or `force` may free it."""
    if not os.path.lexists(target):
        return
    if os.path.ismount(target) or _holds_working_folder(target):
        what = "a mount point" if os.path.ismount(target) else "or holds the current folder"
        raise OutputExistsError(f"{named} is {what} and cannot be replaced. Name a new folder in it")
    if not target.is_dir():
        if not target.is_file():
            raise OutputExistsError(f"{named} is neither a file nor a folder. Name a new folder")
        if not force:
            raise OutputExistsError(f"{named} exists and is a file. Name another place, or replace it with --force")
        return
    if not any(target.iterdir()):
        return
    if not force:
        raise OutputExistsError(f"{named} exists and is not empty. Name another place, or replace it with --force")
    if not any((target / name).is_file() for name in marker):
        raise OutputExistsError(
            f"{named} is not replaced even with --force: it holds no {' or '.join(marker)}, so it is none of our "
            "results. Name another place, or remove it yourself"
        )


def _holds_working_folder(target: Path) -> bool:
    with suppress(FileNotFoundError):  # the working folder itself may be gone
        return Path.cwd().resolve().is_relative_to(target)
    return False


def _make_parents(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputExistsError(f"{target.parent} cannot be a folder: a file is in its place. Name another") from error


def _beside(target: Path, role: str) -> Path:
    """A free name in the same folder, thus on the same file system."""
    return target.with_name(f".{target.name}.{role}-{secrets.token_hex(4)}")


def _move_into_place(partial: Path, target: Path) -> None:
    """The old result is removed last. It and the new one change places at once where the system can do that; elsewhere
    the old one is moved aside first, and comes back if the new one cannot take its place."""
    if os.path.lexists(target) and exchanged(partial, target):
        sync_folder(target.parent)
        _remove(partial)
        return
    aside = _beside(target, "old")
    try:
        if os.path.lexists(target):
            os.rename(target, aside)
        os.rename(partial, target)
    except BaseException:
        if os.path.lexists(aside) and not os.path.lexists(target):
            os.rename(aside, target)
        raise
    sync_folder(target.parent)
    if os.path.lexists(aside):
        _remove(aside)


def exchanged(one: Path, other: Path) -> bool:
    """Whether the two names have changed places, at one moment: Linux can, on most file systems."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library from before 2018
        return False
    return rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0


def _remove(aside: Path) -> None:
    """What is left of the old result is no reason to fail: the new one is in place."""
    try:
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
    except OSError as error:
        logger.warning("the old result could not be removed from %s: %s", aside, error)


def _sync_tree(folder: Path) -> None:
    """All files and folders are on the disk, so a rename cannot outlive what it names."""
    for root, _, files in os.walk(folder):
        for name in files:
            _sync(Path(root, name), os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        sync_folder(Path(root))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
