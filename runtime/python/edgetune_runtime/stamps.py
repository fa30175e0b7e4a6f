"""Files that were compared with their hashes are not read again while they carry the same stamp.

A stamp is a file's size, inode and times of change. What writes to a file in the ordinary way changes it; who can write
to the file *and* set the clock, or to the disk below the file system, can keep it. See runtime/python/SIGNATURES.md.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .durable import write_durable

logger = logging.getLogger(__name__)
FORMAT_VERSION = 1
SETTLED_NS = 2_000_000_000
"""A file that changed more recently than this could change again within a tick of the file system's clock."""


def stamp_of(path: Path, now_ns: int | None = None) -> list[int] | None:
    """Size, inode and times of change; None for a file that is not there, or that changed a moment ago."""
    try:
        found = path.stat()
    except OSError:
        return None
    now = time.time_ns() if now_ns is None else now_ns
    if now - max(found.st_mtime_ns, found.st_ctime_ns) < SETTLED_NS:
        return None
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


class Stamps:
    """What is known of the files of one bundle, in a file of the folder `cache`, which the app alone writes to."""

    def __init__(self, cache: str | os.PathLike[str], bundle: Path):
        place = os.path.realpath(bundle)
        self._path = Path(cache) / f"stamps-{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.json"
        self._bundle = Path(place)
        self._known, self._found = self._read(), dict[str, Any]()

    def knows(self, name: str, sha256: str) -> bool:
        """Whether the file had this hash, and carries the stamp that it had then."""
        entry = self._known.get(name)
        if not isinstance(entry, dict) or entry.get("sha256") != sha256:
            return False
        stamp = stamp_of(self._bundle / name)
        if stamp is None or entry.get("stamp") != stamp:
            return False
        self._found[name] = entry
        return True

    def before(self, name: str) -> list[int] | None:
        """The stamp of a file that is about to be read."""
        return stamp_of(self._bundle / name)

    def learn(self, name: str, sha256: str, before: list[int] | None) -> None:
        """The file was read and has this hash; it is forgotten if it changed meanwhile, or a moment before."""
        if before is not None and stamp_of(self._bundle / name) == before:
            self._found[name] = {"sha256": sha256, "stamp": before}

    def write(self) -> None:
        """Kept for the next start. Where that fails, the next start reads the files again, and the log says why."""
        if self._found == self._known:
            return
        said = {"format_version": FORMAT_VERSION, "bundle": str(self._bundle), "files": self._found}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_durable(self._path, (json.dumps(said) + "\n").encode(), 0o600)
        except OSError as error:
            logger.warning("%s cannot be written (%s): files are read again at the next start", self._path, error)

    def _read(self) -> Mapping[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
            if found["format_version"] == FORMAT_VERSION and found["bundle"] == str(self._bundle):
                return dict(found["files"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            logger.warning("%s cannot be read (%s): all files are read", self._path, error)
        return {}
