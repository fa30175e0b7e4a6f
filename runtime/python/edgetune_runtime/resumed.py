"""A decoder that remembers what it has read: a text that begins in the same way goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .adapter import Adapter
from .engine import NOTHING, ExtendableDecoder
from .suffix import with_suffix


class ResumedDecoder:
    """An `ExtendableDecoder` of one row, behind one adapter, whose `prefill` computes only tokens that are new.

    The keys and values of a text's beginning do not depend on what comes behind it. So of the tokens in the cache the
    longest common beginning with the new text stays, what differs is forgotten, and the rest runs over what stayed. The
    state belongs to the decoder, not to the call; a run that fails loses it, and the next computes the whole text.
    """

    def __init__(self, inner: ExtendableDecoder, adapter: Adapter | None, vocab_size: int):
        self._inner, self.adapter, self._vocab_size = inner, adapter, vocab_size
        self._state: Any = None
        self._held: list[int] = []

    @property
    def token_ids(self) -> list[int]:
        """What the cache holds: texts, what was written behind them, and the ids of a suffix (from V on)."""
        return [] if self._state is None else list(self._held)

    def prefill(
        self, rows: Sequence[np.ndarray], adapters: Sequence[Adapter | None], reserve: int = 0
    ) -> tuple[np.ndarray, Any]:
        """See `Decoder`; one row. Its last token runs in any case: the logits are those behind it."""
        assert len(rows) == 1 and adapters[0] is self.adapter, "a cache is one row's, behind one adapter"
        ids = with_suffix(rows[0], self.adapter, self._vocab_size)
        state, self._state = self._state, None
        if state is None:
            logits, self._state = self._inner.prefill(rows, adapters, reserve)
        else:
            kept = min(common_length(self._held, ids), len(ids) - 1)
            logits, self._state = self._inner.extend(ids[kept:], self._inner.truncated(kept, state))
        self._held = ids.tolist()
        return logits, self._state

    def step(self, token_ids: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """See `Decoder`."""
        self._state = None
        logits, self._state = self._inner.step(token_ids, state)
        self._held.append(int(token_ids[0]))
        return logits, self._state

    def extend(self, token_ids: np.ndarray, state: Any, keep: int = 1) -> tuple[np.ndarray, Any]:
        """See `ExtendableDecoder`."""
        self._state = None
        logits, self._state = self._inner.extend(token_ids, state, keep)
        self._held += np.asarray(token_ids).tolist()
        return logits, self._state

    def truncated(self, length: int, state: Any) -> Any:
        """See `ExtendableDecoder`."""
        self._state = None
        self._state = self._inner.truncated(length, state)
        del self._held[length:]
        return self._state

    def with_rows(self, rows: Sequence[int], state: Any) -> Any:
        """See `Decoder`: there is one row, and it stays."""
        assert list(rows) == [0], "a cache that is gone on with has one row"
        return state

    def without_row(self, row: int, state: Any) -> Any:
        """See `Decoder`: a row that ends stays, for the next text."""
        return state

    def logits(
        self, token_ids: np.ndarray, adapter: Adapter | None, keep: int = 0, completion: np.ndarray = NOTHING
    ) -> np.ndarray:
        """See `Decoder`."""
        return self._inner.logits(token_ids, adapter, keep, completion)

    def stored(self, state: Any, adapter: Adapter | None) -> list[np.ndarray]:
        """See `ExtendableDecoder`."""
        return self._inner.stored(state, adapter)

    def restored(self, stored: Sequence[np.ndarray], length: int, adapter: Adapter | None) -> Any:
        """See `ExtendableDecoder`."""
        return self._inner.restored(stored, length, adapter)

    def held(self) -> list[np.ndarray]:
        """Keys and values of `token_ids`, 2·L of [1, K, …, D], not copies; none where nothing is held."""
        return [] if self._state is None else self._inner.stored(self._state, self.adapter)

    def hold(self, token_ids: Sequence[int], held: Sequence[np.ndarray]) -> None:
        """The cache becomes a copy of what `held` gave of another one with `token_ids`."""
        self._state = self._inner.restored(held, len(token_ids), self.adapter) if token_ids else None
        self._held = list(token_ids)

    def copy(self) -> ResumedDecoder:
        """Another one that holds the same, and shares nothing that changes."""
        other = ResumedDecoder(self._inner, self.adapter, self._vocab_size)
        other.hold(self.token_ids, self.held())
        return other


def common_length(first: Sequence[int], second: Sequence[int] | np.ndarray) -> int:
    """How many tokens two texts have in common at their beginnings."""
    count = min(len(first), len(second))
    differing = np.flatnonzero(np.asarray(first[:count], np.int64) != np.asarray(second[:count], np.int64))
    return int(differing[0]) if len(differing) else count
