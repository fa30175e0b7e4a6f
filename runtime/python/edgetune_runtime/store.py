"""Adapters that come over the air: installed, checked, in use, rolled back; one that works is never lost."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .adapter_file import NAME, read_header
from .errors import AdapterError, EdgetuneError
from .model import Model
from .stored_versions import StoredVersion, StoredVersions, read_versions

logger = logging.getLogger(__name__)
INCOMING = ".incoming.safetensors"
CANDIDATE = ".candidate"
"""Behind the name of a version that is being checked."""

Health = Callable[[Model, str], Any]
"""Takes a model and the name of an adapter. An exception or False: it is not well. A number: the higher, the better."""


class AdapterStore:
    """A folder with the last two versions of each adapter, and the model that uses the newest.

    Threads may share it; one process at a time may write to the folder.
    """

    def __init__(self, path: str | os.PathLike[str], model: Model):
        """Every adapter in the folder, which is made if it is not there, becomes one of the model's.

        Of an adapter whose newest file lost its bytes the version before is used. One that the model does not take is
        left out: see `problems`. Raises AdapterError where there can be no folder.
        """
        self._folder, self._model, self._lock = Path(path), model, threading.RLock()
        self._known: dict[str, StoredVersions] = {}
        self._problems: dict[str, EdgetuneError] = {}
        self._own = dict(model._adapters.by_name)
        """What the model had before: it comes back where the store has none of that name any more."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / INCOMING).unlink(missing_ok=True)
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
    ) -> StoredVersion:
        """One more version, from a file's path or its bytes, in use when this returns; the one before it is kept.

        It is called `name`, or as its metadata says; `version` is for a file that says none. Before it is used it is
        read whole, and `health` is asked about it, under a name of its own that other calls do not use; where that
        gives a number, about the version in use as well, and the new one's may not be lower. Whatever goes wrong, and
        at whatever moment the power fails, the version before stays in use. What is in use is not installed again.
        Raises AdapterError, also for a version that is not above all that were in use, and BaseMismatchError.
        """
        with self._lock:
            data, metadata_name, stated = self._read(adapter)
            name = checked_name(metadata_name if name is None else name)
            known = self._known.get(name) or StoredVersions(self._folder / name)
            number = checked_version(name, stated, version)
            added = StoredVersion(number, hashlib.sha256(data).hexdigest())
            if known.active == added:
                return added
            if number <= known.highest:
                raise AdapterError(
                    f"{name!r}: version {number} is not above {known.highest}, which was in use already. Give what is "
                    "to be installed a higher version."
                )
            try:
                changed = known.with_new(added, data)
                self._check(changed.path_of(added), name, health)
                changed.write()
            except OSError as error:
                known.clean()
                raise AdapterError(f"{name!r} cannot be written to {self._folder} ({error}). Make room.") from error
            except BaseException:
                known.clean()
                raise
            self._use(name, changed)
            return added

    def rollback(self, name: str) -> StoredVersion:
        """The version before is in use again, and the other one is gone; it is not installed again, a higher one is.

        Raises AdapterError where there is none before it.
        """
        with self._lock:
            changed = self._held(name).rolled_back()
            self._write(name, changed)
            self._use(name, changed)
            assert changed.active is not None
            return changed.active

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
                self._model.add_adapter(known.path_of(stored), name, replace=True)
            except EdgetuneError as error:
                logger.warning("version %d of the adapter %r is not used: %s", stored.version, name, error)
                self._problems.setdefault(name, error)
                continue
            if stored != known.active:
                self._known[name] = known.rolled_back()
            return

    def _read(self, adapter: bytes | str | os.PathLike[str]) -> tuple[bytes, str, int | None]:
        """The file's bytes, and the name and the version that it says."""
        incoming = self._folder / INCOMING
        try:
            data = adapter if isinstance(adapter, bytes) else Path(adapter).read_bytes()
            incoming.write_bytes(data)  # for its header alone: it is gone before this returns
            metadata = read_header(incoming).metadata
        except OSError as error:
            raise AdapterError(f"the adapter cannot be read or written ({error}). Copy it again.") from error
        finally:
            incoming.unlink(missing_ok=True)
        return data, metadata.name, metadata.version

    def _check(self, path: Path, name: str, health: Health | None) -> None:
        candidate = name + CANDIDATE
        self._model.add_adapter(path, candidate, replace=True)
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

    def _use(self, name: str, versions: StoredVersions) -> None:
        assert versions.active is not None
        self._known[name] = versions
        self._problems.pop(name, None)
        self._model.add_adapter(versions.path_of(versions.active), name, replace=True)


def checked_name(name: str) -> str:
    """Raises AdapterError for a name that is not safe as a folder's on every system."""
    if not NAME.fullmatch(name) or name.endswith(CANDIDATE):
        raise AdapterError(f"{name!r} cannot name an adapter in a store: use letters, digits, '.', '_' and '-'.")
    return name


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
