"""The heads of all tasks of a batch as one: block by block, so that no task sees another's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .adapter import Adapter
from .adapter_metadata import ACTIVATIONS


def joined_heads(
    adapters: Sequence[Adapter], hidden_size: int, dtype: type[np.floating], *, dense: bool
) -> dict[str, np.ndarray]:
    """The graph's inputs `head.*` for these tasks, one below the other; `dense`: the graph takes hidden layers.

    The graph's heads read [H + F]: the pooled vector and, behind it, all hidden layers. A linear head reads the
    first, one with a hidden layer its own columns of the second.
    """
    hidden = [0 if a.dense_weight is None else len(a.dense_weight) for a in adapters]
    weights = [a.head_weight for a in adapters] if not any(hidden) else [blocks(adapters, hidden, hidden_size, dtype)]
    feeds = {"head.weight": joined(weights), "head.bias": joined([a.head_bias for a in adapters])}
    if dense:
        numbers = [ACTIVATIONS.index(a.metadata.activation) for a, width in zip(adapters, hidden) if width]
        feeds["head.dense.weight"] = stacked([a.dense_weight for a in adapters], (0, hidden_size))
        feeds["head.dense.bias"] = stacked([a.dense_bias for a in adapters], (0,))
        feeds["head.dense.activation"] = np.repeat(numbers, [w for w in hidden if w]).astype(np.int64)
    return {name: x if x.dtype == np.int64 else x.astype(dtype, copy=False) for name, x in feeds.items()}


def blocks(
    adapters: Sequence[Adapter], hidden: Sequence[int], hidden_size: int, dtype: type[np.floating]
) -> np.ndarray:
    """[C, H + F] of all of them, where some have hidden layers: `hidden` units each."""
    weight = np.zeros((sum(len(a.head_bias) for a in adapters), hidden_size + sum(hidden)), dtype)
    row, column = 0, hidden_size
    for adapter, width in zip(adapters, hidden):
        first = column if width else 0
        weight[row : row + len(adapter.head_bias), first : first + adapter.head_weight.shape[1]] = adapter.head_weight
        row, column = row + len(adapter.head_bias), column + width
    return weight


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One below the other; one alone is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def stacked(parts: Sequence[np.ndarray | None], empty: tuple[int, ...]) -> np.ndarray:
    """The parts that are there, one below the other; none of them: zeros of the shape `empty`."""
    return np.concatenate([np.zeros(empty, np.float32), *(x for x in parts if x is not None)])
