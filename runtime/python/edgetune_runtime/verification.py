"""The files of a bundle compared with their hashes, beside what else has to be done to open it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from .errors import BundleError, EdgetuneError
from .manifest import FILE_NAME, FileEntry, check_inside
from .stamps import Stamps

READ_BYTES = 1 << 20


class Verification:
    """Compares files with their SHA-256, in a thread of its own.

    That each is there with its size is checked before this returns: raises `error`, BundleError or a kind of it, which
    says that they are `listed_in` that file. Those of `later` are compared elsewhere, when they are read. With `stamps`
    those that carry the one they had are not read.
    """

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, FileEntry],
        *,
        later: Collection[str] = (),
        stamps: Stamps | None = None,
        listed_in: str = FILE_NAME,
        error: type[EdgetuneError] = BundleError,
    ):
        self._folder, self._stamps = folder, stamps
        self._files = {name: entry for name, entry in files.items() if name not in later}
        self._listed_in, self._kind = listed_in, error
        self._error: BaseException | None = None
        check_sizes(folder, files, listed_in=listed_in, error=error)
        self._thread = threading.Thread(target=self._run, name="edgetune-verification", daemon=True)
        self._thread.start()

    def done(self) -> None:
        """Waits for the end; raises, naming a file that was altered."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for name, entry in self._files.items():
                if self._stamps is None:
                    self._check(name, entry)
                elif not self._stamps.knows(name, entry.sha256):
                    before = self._stamps.before(name)
                    self._check(name, entry)
                    self._stamps.learn(name, entry.sha256, before)
            if self._stamps is not None:
                self._stamps.write()
        except BaseException as error:
            self._error = error

    def _check(self, name: str, entry: FileEntry) -> None:
        check_bytes(self._folder / name, entry, listed_in=self._listed_in, error=self._kind)


def check_files(
    folder: Path,
    files: Mapping[str, FileEntry],
    *,
    verify: bool = True,
    listed_in: str = FILE_NAME,
    error: type[EdgetuneError] = BundleError,
) -> None:
    """Every file of `files` is in `folder` with its size and, if `verify`, its SHA-256; raises `error` if not."""
    check_sizes(folder, files, listed_in=listed_in, error=error)
    for name, entry in files.items() if verify else ():
        check_bytes(folder / name, entry, listed_in=listed_in, error=error)


def check_sizes(folder: Path, files: Mapping[str, FileEntry], *, listed_in: str, error: type[EdgetuneError]) -> None:
    """Every file is there with its size; raises `error` if not."""
    for name, entry in files.items():
        path = folder / name
        check_inside(path, folder, error)
        if not path.is_file():
            raise error(f"{path}: is listed in {listed_in} but missing. Copy or export the bundle again.")
        size_bytes = path.stat().st_size
        if size_bytes != entry.size_bytes:
            raise error(
                f"{path}: has {size_bytes} bytes where {listed_in} lists {entry.size_bytes}: the copy is not whole, "
                "or the file was altered. Copy or export the bundle again."
            )


def check_bytes(path: Path, entry: FileEntry, *, listed_in: str, error: type[EdgetuneError]) -> None:
    """The file has its SHA-256; raises `error` if not."""
    if sha256_of(path) != entry.sha256:
        raise error(
            f"{path}: its SHA-256 is not the one in {listed_in}: it was altered. Copy or export the bundle again."
        )


def sha256_of(path: Path) -> str:
    """The file's SHA-256, in hexadecimal; raises BundleError if it cannot be read."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(READ_BYTES))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error
    return digest.hexdigest()
