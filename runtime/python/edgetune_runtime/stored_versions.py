"""The versions of one adapter on a device's disk: which one is in use, and the one before it."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .checked import Fields
from .durable import PARTIAL, sync_folder, write_durable
from .errors import AdapterError
from .json_text import json_from
from .signed_files import SUFFIX

logger = logging.getLogger(__name__)
FORMAT_VERSION = 1
STATE = "versions.json"
SHA256 = re.compile("[0-9a-f]{64}")
FILE = re.compile(r"([0-9]{1,18})-([0-9a-f]{64})\.safetensors")
"""A file's name: its version, and the SHA-256 of its bytes. Its signature is beside it, with `.sig` behind the name."""


@dataclass(frozen=True)
class StoredVersion:
    """One file."""

    version: int
    sha256: str

    @property
    def file_name(self) -> str:
        """In the folder of its adapter."""
        return f"{self.version}-{self.sha256}.safetensors"

    @property
    def signature_name(self) -> str:
        """Of its signature's file, if it has one."""
        return self.file_name + SUFFIX

    def is_whole(self, folder: Path) -> bool:
        """Whether the file is there with the bytes that it had."""
        try:
            return hashlib.sha256((folder / self.file_name).read_bytes()).hexdigest() == self.sha256
        except OSError:
            return False


@dataclass(frozen=True)
class StoredVersions:
    """What the folder's `versions.json` says. It is replaced as a whole: at that moment an update counts."""

    folder: Path
    kept: tuple[StoredVersion, ...] = ()
    """The one in use, then the one before it; empty: none is in use."""
    highest: int = -1
    """The highest version that was ever in use; -1: none was."""

    @property
    def active(self) -> StoredVersion | None:
        """The one in use."""
        return self.kept[0] if self.kept else None

    def path_of(self, stored: StoredVersion) -> Path:
        """Of its file."""
        return self.folder / stored.file_name

    def with_new(self, added: StoredVersion, data: bytes, signature: bytes | None = None) -> StoredVersions:
        """The same with a new version in use; its file is on the disk, what is said of it is not. Raises OSError."""
        self.folder.mkdir(exist_ok=True)
        sync_folder(self.folder.parent)
        if signature is not None:
            self.sign(added, signature)
        write_durable(self.path_of(added), data)
        return replace(self, kept=(added, *self.kept[:1]), highest=max(self.highest, added.version))

    def sign(self, stored: StoredVersion, signature: bytes) -> None:
        """Its signature is on the disk, in place of one that was there. Raises OSError."""
        write_durable(self.folder / stored.signature_name, signature)

    def rolled_back(self) -> StoredVersions:
        """The same with the version before in use; raises AdapterError where there is none."""
        if len(self.kept) < 2:
            raise AdapterError(f"{self.folder}: holds no version before the one in use. Install another one.")
        return replace(self, kept=self.kept[1:])

    def write(self) -> None:
        """From now on this counts; files that it does not name are removed. Raises OSError."""
        said = {
            "format_version": FORMAT_VERSION,
            "kept": [{"version": x.version, "sha256": x.sha256} for x in self.kept],
            "highest": self.highest,
        }
        write_durable(self.folder / STATE, (json.dumps(said) + "\n").encode())
        self.clean()

    def clean(self) -> None:
        """Removes what interrupted updates left."""
        names = {STATE, *(x.file_name for x in self.kept), *(x.signature_name for x in self.kept)}
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path.name not in names and (FILE.fullmatch(path.name.removesuffix(SUFFIX)) or PARTIAL in path.name):
                    path.unlink(missing_ok=True)


def read_versions(folder: Path) -> StoredVersions:
    """What the folder holds. A file that is not what it was is left out: the version before it is in use then.

    A `versions.json` that cannot be read is told from the files' names.
    """
    try:
        fields = Fields(json_from((folder / STATE).read_bytes()), str(folder / STATE), AdapterError)
        fields.exactly("format_version", FORMAT_VERSION)
        known = tuple(
            StoredVersion(x.whole("version"), x.matching("sha256", SHA256)) for x in fields.list_of_objects("kept")
        )
        highest = max(fields.whole("highest", 0), *(x.version for x in known), -1)
    except FileNotFoundError:
        return StoredVersions(folder)  # nothing was ever in use: what is here is of an update that was interrupted
    except (OSError, ValueError, TypeError, AttributeError, AdapterError) as error:
        logger.warning("%s cannot be read (%s): the newest whole version is used", folder / STATE, error)
        known = named_versions(folder)
        highest = max((x.version for x in known), default=-1)
    whole = tuple(x for x in known if x.is_whole(folder))
    for lost in known:
        if lost not in whole:
            logger.warning("%s: version %d is missing or was altered, and is not used", folder, lost.version)
    return StoredVersions(folder, whole[:2], highest)


def named_versions(folder: Path) -> Sequence[StoredVersion]:
    """Those whose files are there, the newest first."""
    try:
        found = [FILE.fullmatch(path.name) for path in folder.iterdir()]
    except OSError:
        return ()
    return tuple(sorted((StoredVersion(int(x[1]), x[2]) for x in found if x), key=lambda x: -x.version))
