"""The files of a bundle compared with their hashes, beside what else has to be done to open it."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

from .manifest import Manifest, check_files


class Verification:
    """Compares every file that is read at once with its SHA-256, in a thread of its own.

    That each file is there with its size is checked before this returns: raises BundleError. Files of `later`,
    adapters, are compared when they are read.
    """

    def __init__(self, folder: Path, manifest: Manifest, later: Collection[str], *, verify: bool):
        check_files(folder, manifest.files, verify=False)
        self._folder = folder
        self._files = {name: entry for name, entry in manifest.files.items() if verify and name not in later}
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="edgetune-verification", daemon=True)
        self._thread.start()

    def done(self) -> None:
        """Waits for the end; raises BundleError, naming a file that was altered."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            check_files(self._folder, self._files)
        except BaseException as error:
            self._error = error
