"""One token from one row of logits.

The order of steps is fixed, so that every language draws the same token from the same seed. What `processors` does to
the logits comes first; then:

1. candidates in descending order of logit, of equals the lower id first; `top_k` keeps the first k
2. weights exp((logit − largest logit) / temperature) in float64; their total is that of all candidates
3. `top_p` keeps the shortest beginning whose weights sum to at least top_p · total (at least one candidate)
4. `min_p` keeps those of them whose weight is at least min_p (that of the first is 1)
5. u uniform in [0, 1) from `randomness`: the first kept candidate whose running sum exceeds u · (sum of the kept)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .randomness import uniform_numbers

Sampler = Callable[[np.ndarray], int]
"""Logits [V] → token id."""

FIRST_LOOK = 256
"""Candidates sorted at first: nearly always enough, and sorting a whole vocabulary costs as much as a small model."""
COLUMNS = 1024
"""Groups of logits at least, of each of which the largest bounds from below what has to be sorted."""

ROUNDING = 1e-4
"""More than the relative error of a total in float32: 2⁻²³ of an exponent of 87 at most, and as much again to sum."""


def make_sampler(
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    seed: int = 0,
) -> Sampler:
    """A function that draws a token id from logits [V]; it holds the state of its random numbers.

    Temperature 0 takes the most probable token, of equals the lowest id; nothing is drawn then.
    """
    if temperature == 0:
        return most_probable
    uniform, room = uniform_numbers(seed), np.empty(0, np.float32)

    def sample(logits: np.ndarray) -> int:
        nonlocal room
        if room.shape != logits.shape:
            room = np.empty(logits.shape, np.float32)
        return drawn(logits, uniform(), temperature, top_k, top_p, min_p, room)

    return sample


def most_probable(logits: np.ndarray) -> int:
    """The token id with the largest of logits [V], of equals the lowest."""
    return int(logits.argmax())


def drawn(
    logits: np.ndarray,
    u: float,
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    room: np.ndarray | None = None,
) -> int:
    """The token id that the number `u` in [0, 1) selects from logits [V]; `room` [V], float32, is written to."""
    vocabulary = logits.shape[0]
    if top_k is not None and top_k < vocabulary:
        ids = ranked(logits, top_k)
        return int(ids[_selected(_weights(logits[ids], temperature), None, u, top_p, min_p)])
    look, low, high = FIRST_LOOK, 0.0, 0.0
    if look < vocabulary:
        # where `min_p` alone cuts, what lies below does not count
        needs_total = not min_p or (top_p is not None and top_p < 1)
        if needs_total:
            low, high = _total_between(logits, temperature, room)
    while look < vocabulary:
        ids = ranked(logits, look)
        weights = _weights(logits[ids], temperature)
        place = _selected(weights, low, u, top_p, min_p)
        if low != high and place != _selected(weights, high, u, top_p, min_p):
            # a close call: what it selects grows with the total, so only the total itself can say
            low = high = float(_weights(logits, temperature).sum())
            place = _selected(weights, low, u, top_p, min_p)
        if place is not None:
            return int(ids[place])
        look *= 8
    ids = ranked(logits, vocabulary)
    return int(ids[_selected(_weights(logits[ids], temperature), None, u, top_p, min_p)])


def _total_between(logits: np.ndarray, temperature: float, room: np.ndarray | None) -> tuple[float, float]:
    """Two numbers between which the total of all weights lies, from float32: a twentieth of the time."""
    narrow = np.subtract(logits, logits.max(), out=room)
    narrow /= np.float32(temperature)
    np.exp(narrow, out=narrow)
    total = float(narrow.sum())
    if not math.isfinite(total):
        total = float(_weights(logits, temperature).sum())
        return total, total
    return total * (1 - ROUNDING), total * (1 + ROUNDING)


def ranked(logits: np.ndarray, count: int) -> np.ndarray:
    """The ids of the `count` largest logits, descending, of equals the lower id first."""
    vocabulary = logits.shape[0]
    ids = np.flatnonzero(logits >= _bound(logits, count)) if count < vocabulary else np.arange(vocabulary)
    return ids[np.argsort(-logits[ids], kind="stable")[:count]]


def _bound(logits: np.ndarray, count: int) -> np.floating:
    """A number that at least `count` of the logits [V] reach, and few more than those."""
    columns = max(COLUMNS, 4 * count)
    rows = logits.shape[0] // columns
    if rows < 2:
        return np.partition(logits, -count)[-count]
    largest = logits[: rows * columns].reshape(rows, columns).max(0)
    rest = logits[rows * columns :]
    np.maximum(largest[: len(rest)], rest, out=largest[: len(rest)])
    # that many groups have one logit each that reaches it
    return np.partition(largest, -count)[-count]


def _weights(logits: np.ndarray, temperature: float) -> np.ndarray:
    wide = logits.astype(np.float64)
    return np.exp((wide - wide.max()) / temperature)


def _selected(weights: np.ndarray, total: float | None, u: float, top_p: float | None, min_p: float | None):
    """Place of the selected candidate, or None where `weights` are a beginning that does not reach that far.

    `total` is that of all candidates; None where `weights` are all of them.
    """
    sums = weights.cumsum()
    whole, last = total is None, len(sums) - 1
    everything, cut = sums[-1] if total is None else total, False
    if top_p is not None and top_p < 1:
        end = int(sums.searchsorted(top_p * everything, side="left"))
        if end > last and not (whole or min_p):
            return None
        last, cut = min(end, last), end <= last
    if min_p:
        end = len(weights) - int(weights[::-1].searchsorted(min_p, side="left")) - 1
        last, cut = min(end, last), cut or end < len(sums) - 1
    if not (cut or whole):
        if min_p:
            return None
    else:
        everything = sums[last]
    place = int(sums[: last + 1].searchsorted(u * everything, side="right"))
    if place <= last:
        return place
    return last if cut or whole else None
