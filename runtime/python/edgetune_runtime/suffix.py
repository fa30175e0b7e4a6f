"""Virtual tokens behind the text: ids from V on, V being the vocabulary's size, that select an adapter's vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .adapter import Adapter


def with_suffix(token_ids: Sequence[int] | np.ndarray, adapter: Adapter | None, vocab_size: int) -> np.ndarray:
    """Token ids [T] with those of the adapter's suffix behind them, [T + Q] int64."""
    ids = np.asarray(token_ids, np.int64)
    if adapter is None or not adapter.suffix_tokens:
        return ids
    return np.concatenate([ids, vocab_size + np.arange(adapter.suffix_tokens)])


def joined_suffixes(adapters: Sequence[Adapter | None], size: int, dtype: type[np.floating]) -> np.ndarray:
    """[B, Q, size], shorter suffixes at the beginning of their rows; Q is 1 at least, for a graph to have an entry."""
    longest = max(1, *(adapter.suffix_tokens if adapter else 0 for adapter in adapters))
    joined = np.zeros((len(adapters), longest, size), dtype)
    for row, adapter in enumerate(adapters):
        if adapter is not None and adapter.suffix is not None:
            joined[row, : adapter.suffix_tokens] = adapter.suffix[0]
    return joined
