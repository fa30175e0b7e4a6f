"""Adapters whose tensors are in memory: read at their first use, let go by least use under a limit."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict

from .adapter import Adapter
from .stored_adapter import StoredAdapter


class AdapterMemory:
    """Holds what was used last. Threads may share it.

    What is let go leaves the memory when the calls that use it end; until then whoever asks for it gets the same one,
    so nothing is in memory twice.
    """

    def __init__(self, limit_bytes: int | None = None):
        self.limit_bytes = limit_bytes
        """Of the tensors that are held beyond the calls that run; None: no limit."""
        self._held: OrderedDict[StoredAdapter, Adapter] = OrderedDict()
        self._in_use: weakref.WeakValueDictionary[StoredAdapter, Adapter] = weakref.WeakValueDictionary()
        self._forgotten: weakref.WeakSet[StoredAdapter] = weakref.WeakSet()
        self._held_bytes = 0
        self._lock = threading.Lock()

    @property
    def held(self) -> list[StoredAdapter]:
        """The least recently used one first."""
        with self._lock:
            return list(self._held)

    @property
    def held_bytes(self) -> int:
        """Of the tensors that are held."""
        return self._held_bytes

    def tensors_of(self, stored: StoredAdapter) -> Adapter:
        """The adapter with its tensors, read now if it has to be; raises BundleError or AdapterError if it cannot."""
        found = self._found(stored)
        if found is None:
            with stored.lock:
                # whoever had the lock before has read it
                found = self._found(stored) or self._kept(stored, stored.read())
        return found

    def forget(self, stored: StoredAdapter) -> None:
        """It is wanted no more: it goes as soon as no call uses it."""
        with self._lock:
            self._forgotten.add(stored)
            self._let_go(stored)

    def _found(self, stored: StoredAdapter) -> Adapter | None:
        with self._lock:
            found = self._held.get(stored)
            if found is not None:
                self._held.move_to_end(stored)
                return found
            found = self._in_use.get(stored)
        return None if found is None else self._kept(stored, found)

    def _kept(self, stored: StoredAdapter, adapter: Adapter) -> Adapter:
        with self._lock:
            self._in_use[stored] = adapter
            if stored not in self._held and stored not in self._forgotten:
                self._held[stored] = adapter
                self._held_bytes += adapter.size_bytes
            while self._held and self.limit_bytes is not None and self._held_bytes > self.limit_bytes:
                self._let_go(next(iter(self._held)))
        return adapter

    def _let_go(self, stored: StoredAdapter) -> None:
        adapter = self._held.pop(stored, None)
        if adapter is not None:
            self._held_bytes -= adapter.size_bytes
