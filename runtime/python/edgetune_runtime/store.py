"""Adapters that come over the air: installed, checked, in use, rolled back; one that works is never lost."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .adapter_file import NAME, header_in, read_bytes
from .adapter_metadata import AdapterMetadata
from .errors import AdapterError, EdgetuneError, SignatureError
from .model import Model
from .signed_files import SUFFIX, PathOrBytes, signature_bytes, signed_bytes, signed_contents
from .stored_versions import StoredVersion, StoredVersions, read_versions
from .trusted_keys import TrustedKey, trusted_keys_from

logger = logging.getLogger(__name__)
CANDIDATE = ".candidate"
"""Behind the name of a version that is being checked."""

Health = Callable[[Model, str], Any]
"""Takes a model and the name of an adapter. An exception or False: it is not well. A number: the higher, the better."""


class AdapterStore:
    """A folder with the last two versions of each adapter, and the model that uses the newest.

    Threads may share it; one process at a time may write to the folder.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: Model,
        *,
        trusted_keys: TrustedKey | Sequence[TrustedKey] | None = None,
    ):
        """Every adapter in the folder, which is made if it is not there, becomes one of the model's.

        With `trusted_keys`, left out those of the model's `load`, one of them must have signed each, and name and
        version are those that are signed. Of an adapter whose newest file lost its bytes the version before is used.
        One that the model does not take, or that is not signed, is left out: see `problems`. Raises AdapterError where
        there can be no folder, OptionError for a key that is none.
        """
        self._folder, self._model, self._lock = Path(path), model, threading.RLock()
        self._keys = model._adapters.trusted_keys if trusted_keys is None else trusted_keys_from(trusted_keys)
        self._known: dict[str, StoredVersions] = {}
        self._problems: dict[str, EdgetuneError] = {}
        self._own = dict(model._adapters.by_name)
        """What the model had before: it comes back where the store has none of that name any more."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            names = sorted(x.name for x in self._folder.iterdir() if x.is_dir() and NAME.fullmatch(x.name))
        except OSError as error:
            raise AdapterError(f"{path}: cannot be a store of adapters ({error}). Choose another folder.") from error
        for name in names:
            self._open(name)

    @property
    def versions(self) -> Mapping[str, tuple[StoredVersion, ...]]:
        """Of each adapter in use the version in use, and the one that a rollback would bring back."""
        return MappingProxyType({name: x.kept for name, x in self._known.items() if x.kept})

    @property
    def problems(self) -> Mapping[str, EdgetuneError]:
        """Why the model does not use what the folder holds of these adapters."""
        return MappingProxyType(dict(self._problems))

    def install(
        self,
        adapter: bytes | str | os.PathLike[str],
        name: str | None = None,
        *,
        version: int | None = None,
        health: Health | None = None,
        signature: PathOrBytes | None = None,
    ) -> StoredVersion:
        """One more version, from a file's path or its bytes, in use when this returns; the one before it is kept.

        It is called `name`, or as its metadata says; `version` is for a file that says none. `signature` is a path or
        the bytes; left out, it is beside the file, under its name with `.sig`. Before it is used it is read whole, and
        `health` is asked about it, under a name of its own that other calls do not use; where that gives a number,
        about the version in use as well, and the new one's may not be lower. Whatever goes wrong, and at whatever
        moment the power fails, the version before stays in use. What is in use is not installed again, but takes a new
        signature. Raises AdapterError, also for a version that is not above all that were in use, and its kinds
        BaseMismatchError and, before the file is looked into, SignatureError.
        """
        with self._lock:
            data, signed = self._read(adapter, signature)
            metadata = header_in(Path("the adapter") if isinstance(adapter, bytes) else Path(adapter), data).metadata
            name = checked_name(metadata.name if name is None else name)
            known = self._known.get(name) or StoredVersions(self._folder / name)
            if self._keys is not None:
                check_said(metadata, name, metadata.version)
            number = checked_version(name, metadata.version, version)
            added = StoredVersion(number, hashlib.sha256(data).hexdigest())
            if known.active == added:
                self._sign(known, added, signed)
                if name in self._problems:  # the new signature may have been what it lacked
                    self._use(name, known, data)
                return added
            if number <= known.highest:
                raise AdapterError(
                    f"{name!r}: version {number} is not above {known.highest}, which was in use already. Give what is "
                    "to be installed a higher version."
                )
            try:
                changed = known.with_new(added, data, signed)
                self._check(changed.path_of(added), data, name, health)
                changed.write()
            except OSError as error:
                known.clean()
                raise AdapterError(f"{name!r} cannot be written to {self._folder} ({error}). Make room.") from error
            except BaseException:
                known.clean()
                raise
            self._use(name, changed, data)
            return added

    def rollback(self, name: str) -> StoredVersion:
        """The version before is in use again, and the other one is gone; it is not installed again, a higher one is.

        Raises AdapterError where there is none before it, or where that one cannot be used: the one in use stays.
        """
        with self._lock:
            changed = self._held(name).rolled_back()
            before = changed.kept[0]
            data = self._contents(changed, before)
            self._check(changed.path_of(before), data, name, None)
            self._write(name, changed)
            self._use(name, changed, data)
            return before

    def remove(self, name: str) -> None:
        """Neither the folder nor the model has it any more; an adapter that the bundle has under that name is back.

        Raises AdapterError where the store has none of the name.
        """
        with self._lock:
            known = self._held(name)
            gone = StoredVersions(known.folder, (), known.highest)
            self._write(name, gone)
            self._known[name] = gone
            if name in self._own:
                self._model._adapters.add(self._own[name], replace=True)
            else:
                self._model.remove_adapter(name)

    def _open(self, name: str) -> None:
        known = self._known[name] = read_versions(self._folder / name)
        known.clean()
        for stored in known.kept:
            try:
                self._add(known.path_of(stored), self._contents(known, stored), name)
            except EdgetuneError as error:
                logger.warning("version %d of the adapter %r is not used: %s", stored.version, name, error)
                self._problems.setdefault(name, error)
                continue
            if stored != known.active:
                self._known[name] = known.rolled_back()
            return

    def _read(self, adapter: PathOrBytes, signature: PathOrBytes | None) -> tuple[bytes, bytes | None]:
        """The file's bytes and those of its signature, which is one of a trusted key's where the store has some."""
        try:
            data = adapter if isinstance(adapter, bytes) else Path(adapter).read_bytes()
        except OSError as error:
            raise AdapterError(f"the adapter cannot be read ({error}). Copy it again.") from error
        where = "the adapter" if isinstance(adapter, bytes) else str(adapter)
        if signature is None and not isinstance(adapter, bytes):
            beside = Path(f"{where}{SUFFIX}")
            signature = beside if self._keys is not None or beside.is_file() else None
        signed = None if signature is None else signature_bytes(signature)
        if self._keys is not None:
            if signed is None:
                raise SignatureError("signature: is missing, and only what is signed is installed. Pass it as well.")
            signed_bytes(data, signed, self._keys, where, f"the signature of {where}")
        return data, signed

    def _add(self, path: Path, data: bytes, name: str) -> None:
        self._model._refuse_folded()
        self._model._adapters.add_bytes(path, data, name, replace=True)

    def _contents(self, known: StoredVersions, stored: StoredVersion) -> bytes:
        """The bytes of a file on the disk, read once: what is checked here is what is used.

        They are those that were installed; with keys they are signed, and so are name and version.
        """
        path = known.path_of(stored)
        data = read_bytes(path) if self._keys is None else signed_contents(path, self._keys)[0]
        if hashlib.sha256(data).hexdigest() != stored.sha256:
            raise AdapterError(f"{path}: was altered. Install it again.")
        if self._keys is not None:
            check_said(header_in(path, data).metadata, known.folder.name, stored.version)
        return data

    def _sign(self, known: StoredVersions, stored: StoredVersion, signature: bytes | None) -> None:
        """A version that is in use has this signature from now on."""
        try:
            if signature is not None:
                known.sign(stored, signature)
        except OSError as error:
            raise AdapterError(f"a signature cannot be written to {known.folder} ({error}). Make room.") from error

    def _check(self, path: Path, data: bytes, name: str, health: Health | None) -> None:
        candidate = name + CANDIDATE
        self._add(path, data, candidate)
        try:
            self._model.warm_up([candidate])
            if health is None:
                return
            try:
                found = health(self._model, candidate)
                before = health(self._model, name) if is_score(found) and name in self._model.adapters else None
            except Exception as error:
                raise AdapterError(f"{name!r} failed its health check: {error!r}. The one in use stays.") from error
            if found is False:
                raise AdapterError(f"{name!r} failed its health check. The one in use stays.")
            if is_score(found) and before is not None and not found >= before:
                raise AdapterError(
                    f"{name!r} scores {found} in its health check, and the version in use {before}. That one stays."
                )
        finally:
            self._model.remove_adapter(candidate)

    def _held(self, name: str) -> StoredVersions:
        known = self._known.get(name)
        if known is None or not known.kept:
            raise AdapterError(f"the store has no adapter {name!r}. It has: {', '.join(self.versions) or 'none'}.")
        return known

    def _write(self, name: str, changed: StoredVersions) -> None:
        try:
            changed.write()
        except OSError as error:
            raise AdapterError(f"{name!r} cannot be changed in {self._folder} ({error}).") from error

    def _use(self, name: str, versions: StoredVersions, data: bytes) -> None:
        assert versions.active is not None
        self._known[name] = versions
        self._add(versions.path_of(versions.active), data, name)
        self._problems.pop(name, None)


def checked_name(name: str) -> str:
    """Raises AdapterError for a name that is not safe as a folder's on every system."""
    if not NAME.fullmatch(name) or name.endswith(CANDIDATE):
        raise AdapterError(f"{name!r} cannot name an adapter in a store: use letters, digits, '.', '_' and '-'.")
    return name


def check_said(metadata: AdapterMetadata, name: str, version: int | None) -> None:
    """What is signed says this name and this version; raises SignatureError."""
    if metadata.name != name:
        raise SignatureError(
            f"{name!r}: what is signed is an adapter {metadata.name!r}, and is not used under another name."
        )
    if version is None or metadata.version != version:
        said = "no version" if metadata.version is None else f"version {metadata.version}"
        raise SignatureError(
            f"{name!r}: what is signed says {said}, and a version counts where it is signed. Write it with "
            "`edgetune add-adapter --adapter-version`, and sign the file."
        )


def checked_version(name: str, stated: int | None, given: int | None) -> int:
    """The version of a file that states one, or for which one is given; raises AdapterError unless it is one."""
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 10**18):
        raise AdapterError(f"version: is {given!r}. Pass a whole number from 0 on.")
    if stated is None and given is None:
        raise AdapterError(
            f"{name!r} says no version. Pass version=, or write it with `edgetune add-adapter --adapter-version`."
        )
    if stated is not None and given not in (None, stated):
        raise AdapterError(
            f"{name!r} says that it is version {stated}, and version={given} is asked for. Leave it out."
        )
    return int(given if stated is None else stated)  # type: ignore[arg-type]


def is_score(found: Any) -> bool:
    """A number that says how well an adapter does."""
    return not isinstance(found, bool) and isinstance(found, (int, float))
