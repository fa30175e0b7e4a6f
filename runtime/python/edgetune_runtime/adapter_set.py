"""The adapters of one model: chosen by name for the rows of a call, added while other calls run."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .adapter import Adapter
from .ensemble import Ensemble, chosen_ensemble
from .errors import AdapterError, OptionError, TaskError
from .inputs import DEFAULT, Default, adapters_for
from .manifest import Manifest


class AdapterSet:
    """Adapters by name. Threads may share it."""

    def __init__(self, manifest: Manifest, adapters: Mapping[str, Adapter]):
        self._manifest = manifest
        self.by_name: Mapping[str, Adapter] = dict(adapters)
        """Replaced as a whole, never changed, so that a running call keeps the adapters it began with."""
        self._lock = threading.Lock()

    @property
    def default(self) -> str | None:
        """The adapter of calls that name none; None: the bare base."""
        folded = self._manifest.standalone
        return folded.name if folded else self._manifest.default_adapter

    def add(self, adapter: Adapter, *, replace: bool) -> None:
        """One more; raises AdapterError if its name is taken and `replace` is false."""
        name = adapter.info.name
        with self._lock:
            if name in self.by_name and not replace:
                raise AdapterError(f"an adapter {name!r} is here already. Pass another name, or replace=True.")
            self.by_name = {**self.by_name, name: adapter}

    def chosen(self, choice: Any, count: int) -> list[Adapter | None]:
        """One adapter per row; raises AdapterError for names that are not here."""
        adapters = self.by_name
        names = [self.default if isinstance(x, Default) else x for x in adapters_for(choice, count)]
        for name in names:
            if name is None and self._manifest.standalone:
                raise AdapterError(
                    "a standalone bundle has its adapter folded in: it has no bare base. Leave adapter out."
                )
            if name is not None and name not in adapters:
                raise AdapterError(f"no adapter {name!r} here. Known: {known(adapters)}. Add one with add_adapter.")
        return [None if name is None else adapters[name] for name in names]

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


def known(adapters: Mapping[str, Adapter]) -> str:
    """The names, for a message."""
    return ", ".join(map(repr, adapters)) or "none"
