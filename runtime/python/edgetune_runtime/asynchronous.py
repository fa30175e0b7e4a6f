"""A stream for asynchronous code: each step runs in a worker thread."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from .options import Cancel
from .results import Chunk


class Either:
    """Is set once one of two is."""

    def __init__(self, own: threading.Event, other: Cancel | None):
        self._own, self._other = own, other

    def is_set(self) -> bool:
        """See `Cancel`."""
        return self._own.is_set() or (self._other is not None and self._other.is_set())


def asynchronous_chunks(
    stream: Callable[[Cancel], Iterator[Chunk]], options: Mapping[str, Any]
) -> AsyncIterator[Chunk]:
    """The chunks of `stream`, which is begun at once with what stops it, beside the `cancel` among `options`."""
    stopped = threading.Event()
    return _chunks(stream(Either(stopped, options.get("cancel"))), stopped)


async def _chunks(chunks: Iterator[Chunk], stopped: threading.Event) -> AsyncIterator[Chunk]:
    import asyncio

    try:
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk
    finally:
        # a task that is cancelled leaves its thread behind in a step: the step ends, and no other begins
        stopped.set()
