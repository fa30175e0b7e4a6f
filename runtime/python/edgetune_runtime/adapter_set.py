"""The adapters of one model: chosen by name for the rows of a call, added and removed while other calls run."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .adapter import Adapter
from .adapter_memory import AdapterMemory
from .ensemble import Ensemble, chosen_ensemble
from .errors import AdapterError, OptionError, TaskError
from .inputs import DEFAULT, Default, adapters_for
from .manifest import Manifest
from .results import AdapterInfo
from .signed_files import PathOrBytes, signed_contents
from .stored_adapter import StoredAdapter, adapter_in, read_adapter, stored_adapter
from .trusted_keys import PublicKey
from .verification import sha256_of

Known = Adapter | StoredAdapter
"""An adapter in memory for good, or one that is read when it is wanted."""


class AdapterSet:
    """Adapters by name. Threads may share it."""

    def __init__(
        self,
        manifest: Manifest,
        adapters: Mapping[str, Known],
        memory: AdapterMemory | None = None,
        trusted_keys: Sequence[PublicKey] | None = None,
    ):
        self._manifest = manifest
        self.trusted_keys = trusted_keys
        """One of which must have signed what is added; None: signatures are not asked for."""
        self.by_name: Mapping[str, Known] = dict(adapters)
        """Replaced as a whole, never changed, so that a running call keeps the adapters it began with."""
        self.memory = memory or AdapterMemory()
        """Of those that are read when they are wanted."""
        self._lock = threading.Lock()

    @property
    def default(self) -> str | None:
        """The adapter of calls that name none; None: the bare base."""
        folded = self._manifest.standalone
        return folded.name if folded else self._manifest.default_adapter

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of those whose tensors are in memory: what stays there, then from the least recently used one on."""
        names = {id(x): name for name, x in self.by_name.items()}
        stay = [name for name, x in self.by_name.items() if isinstance(x, Adapter)]
        return (*stay, *(names[id(x)] for x in self.memory.held if id(x) in names))

    def add_file(
        self,
        path: Path,
        name: str | None,
        *,
        replace: bool,
        signature: PathOrBytes | None = None,
        trusted_keys: Sequence[PublicKey] | None = None,
    ) -> AdapterInfo:
        """One more, from a file: in memory for good, or under a limit read again when it is wanted.

        `trusted_keys` are for this file, in place of the set's. Raises AdapterError and BaseMismatchError as `add` and
        `stored_adapter` do, SignatureError before the file is looked into.
        """
        keys = trusted_keys or self.trusted_keys
        if keys is not None:
            return self.add_bytes(path, signed_contents(path, keys, signature)[0], name, replace=replace)
        if self.memory.limit_bytes is None:
            added: Known = read_adapter(path, self._manifest, name)
        else:
            added = stored_adapter(path, self._manifest, name, sha256_of(path))
        self.add(added, replace=replace)
        return added.info

    def add_bytes(self, path: Path, data: bytes, name: str | None, *, replace: bool) -> AdapterInfo:
        """As `add_file`, from the bytes that were read from `path` and checked: it is what they hold.

        The file is not read again, but under a limit, and is compared with them then.
        """
        if self.memory.limit_bytes is None:
            added: Known = adapter_in(path, data, self._manifest, name)
        else:
            added = stored_adapter(path, self._manifest, name, hashlib.sha256(data).hexdigest(), data)
        self.add(added, replace=replace)
        return added.info

    def add(self, adapter: Known, *, replace: bool) -> None:
        """One more; raises AdapterError if its name is taken and `replace` is false."""
        name = adapter.info.name
        with self._lock:
            before = self.by_name.get(name)
            if before is not None and not replace:
                raise AdapterError(f"an adapter {name!r} is here already. Pass another name, or replace=True.")
            self.by_name = {**self.by_name, name: adapter}
        self._forget(before)

    def remove(self, name: str) -> None:
        """One less; raises AdapterError if it is not here, or if the bundle's default or an ensemble needs it."""
        with self._lock:
            if name not in self.by_name:
                raise AdapterError(f"no adapter {name!r} here, so none to remove. Known: {known(self.by_name)}.")
            if name == self.default:
                raise AdapterError(
                    f"{name!r} is the bundle's default adapter, which calls that name none use. Keep it, or replace it "
                    "with add_adapter(..., replace=True)."
                )
            teams = [team for team, x in self._manifest.ensembles.items() if name in x.adapters]
            if teams:
                raise AdapterError(
                    f"{name!r} is a member of the bundle's ensemble {teams[0]!r}. Keep it, or replace it with "
                    "add_adapter(..., replace=True)."
                )
            before = self.by_name[name]
            self.by_name = {other: x for other, x in self.by_name.items() if other != name}
        self._forget(before)

    def _forget(self, adapter: Known | None) -> None:
        if isinstance(adapter, StoredAdapter):
            self.memory.forget(adapter)

    def chosen(self, choice: Any, count: int) -> list[Adapter | None]:
        """One adapter per row, with its tensors; raises AdapterError for names that are not here.

        Tensors that are not in memory are read now: BundleError for a file that was altered.
        """
        adapters = self.by_name
        names = [self.default if isinstance(x, Default) else x for x in adapters_for(choice, count)]
        for name in names:
            if name is None and self._manifest.standalone:
                raise AdapterError(
                    "a standalone bundle has its adapter folded in: it has no bare base. Leave adapter out."
                )
            if name is not None and name not in adapters:
                raise AdapterError(f"no adapter {name!r} here. Known: {known(adapters)}. Add one with add_adapter.")
        ready = {name: self._with_tensors(adapters[name]) for name in dict.fromkeys(names) if name is not None}
        return [None if name is None else ready[name] for name in names]

    def _with_tensors(self, adapter: Known) -> Adapter:
        return self.memory.tensors_of(adapter) if isinstance(adapter, StoredAdapter) else adapter

    def one(self, choice: Any = DEFAULT) -> Adapter | None:
        """The adapter of a single row."""
        return self.chosen(choice, 1)[0]

    def with_heads(self, choice: Any, count: int, task: str = "classify") -> list[Adapter]:
        """As `chosen`, of those that are for `task`.

        Raises AdapterError where the bare base is meant, TaskError for an adapter of another task.
        """
        found = self.chosen(choice, count)
        if None in found:
            doing = {"classify": "classifying", "tag": "tagging", "regress": "regression"}[task]
            raise AdapterError(f"{doing} needs an adapter: the base alone has no labels. Known: {known(self.by_name)}.")
        self.refuse_other_tasks(found, task)
        return [adapter for adapter in found if adapter is not None]

    def refuse_other_tasks(self, adapters: Sequence[Adapter | None], task: str) -> None:
        """Raises TaskError, naming the first that is for another task than `task`, and those that are for it."""
        for adapter in adapters:
            if adapter is not None and adapter.info.task != task:
                fitting = {name: x for name, x in self.by_name.items() if x.info.task == task}
                raise TaskError(
                    f"the adapter {adapter.info.name!r} does not {task}: it is for {adapter.info.task!r}. "
                    f"Use {adapter.info.task}, or another adapter. Of those here, {task}: {known(fitting)}."
                )

    def team(self, ensemble: Any, adapter: Any, combine: str | None = None) -> Ensemble:
        """The ensemble of a call; raises OptionError where the call names an adapter too."""
        if not isinstance(adapter, Default):
            raise OptionError("adapter and ensemble: both are given. Pass one of them.")
        return chosen_ensemble(ensemble, self._manifest.ensembles, combine)


def known(adapters: Mapping[str, Known]) -> str:
    """The names, for a message."""
    return ", ".join(map(repr, adapters)) or "none"
