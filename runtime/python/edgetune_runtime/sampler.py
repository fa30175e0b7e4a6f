"""One token from one row of logits.

The order of steps is fixed, so that every language draws the same token from the same seed:

1. candidates in descending order of logit, of equals the lower id first; `top_k` keeps the first k
2. weights exp((logit − largest logit) / temperature) in float64; their total is that of all candidates
3. `top_p` keeps the shortest beginning whose weights sum to at least top_p · total (at least one candidate)
4. u uniform in [0, 1) from `randomness`: the first kept candidate whose running sum exceeds u · (sum of the kept)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .randomness import uniform_numbers

Sampler = Callable[[np.ndarray], int]
"""Logits [V] → token id."""

FIRST_LOOK = 256
"""Candidates sorted at first: nearly always enough, and sorting a whole vocabulary costs as much as a small model."""


def make_sampler(
    temperature: float = 0.0, top_k: int | None = None, top_p: float | None = None, seed: int = 0
) -> Sampler:
    """A function that draws a token id from logits [V]; it holds the state of its random numbers.

    Temperature 0 takes the most probable token, of equals the lowest id; nothing is drawn then.
    """
    if temperature == 0:
        return most_probable
    uniform = uniform_numbers(seed)

    def sample(logits: np.ndarray) -> int:
        return drawn(logits, uniform(), temperature, top_k, top_p)

    return sample


def most_probable(logits: np.ndarray) -> int:
    """The token id with the largest of logits [V], of equals the lowest."""
    return int(logits.argmax())


def drawn(
    logits: np.ndarray, u: float, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> int:
    """The token id that the number `u` in [0, 1) selects from logits [V]."""
    vocabulary = logits.shape[0]
    if top_k is not None and top_k < vocabulary:
        ids = ranked(logits, top_k)
        return int(ids[_selected(_weights(logits[ids], temperature), None, u, top_p)])
    total = float(_weights(logits, temperature).sum()) if vocabulary > FIRST_LOOK else None
    look = FIRST_LOOK
    while look < vocabulary:
        ids = ranked(logits, look)
        place = _selected(_weights(logits[ids], temperature), total, u, top_p)
        if place is not None:
            return int(ids[place])
        look *= 8
    ids = ranked(logits, vocabulary)
    return int(ids[_selected(_weights(logits[ids], temperature), None, u, top_p)])


def ranked(logits: np.ndarray, count: int) -> np.ndarray:
    """The ids of the `count` largest logits, descending, of equals the lower id first."""
    if count < logits.shape[0]:
        least = logits[np.argpartition(logits, -count)[-count]]
        ids = np.flatnonzero(logits >= least)
    else:
        ids = np.arange(logits.shape[0])
    return ids[np.argsort(-logits[ids], kind="stable")[:count]]


def _weights(logits: np.ndarray, temperature: float) -> np.ndarray:
    wide = logits.astype(np.float64)
    return np.exp((wide - wide.max()) / temperature)


def _selected(weights: np.ndarray, total: float | None, u: float, top_p: float | None):
    """Place of the selected candidate, or None where `weights` are a beginning that does not reach that far.

    `total` is that of all candidates; None where `weights` are all of them.
    """
    sums = np.cumsum(weights)
    everything = sums[-1] if total is None else total
    if top_p is not None and top_p < 1:
        end = int(np.searchsorted(sums, top_p * everything, side="left"))
        if end >= len(sums):
            if total is not None:
                return None
            end = len(sums) - 1
        everything = sums[end]
    place = int(np.searchsorted(sums, u * everything, side="right"))
    if place < len(sums):
        return place
    return None if total is not None else len(sums) - 1
