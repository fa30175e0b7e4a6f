"""Prefixes that are longer in some layers than in others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def longest_of(past: Sequence[np.ndarray]) -> int:
    """P of keys and values, 2·L of [1, K, P_l, D]: that of the longest layer; 0 for none."""
    return max((x.shape[2] for x in past), default=0)


def skipped_by(pasts: Sequence[Sequence[np.ndarray]], layers: int) -> np.ndarray:
    """[B, L] int64: of its row's P positions those that a layer lacks; `pasts` are B of 2·L, or empty."""
    found = np.zeros((len(pasts), layers), np.int64)
    for row, past in enumerate(pasts):
        for layer, key in enumerate(past[0::2]):
            found[row, layer] = longest_of(past) - key.shape[2]
    return found


def evened(past: Sequence[np.ndarray]) -> list[np.ndarray]:
    """2·L of [1, K, P, D]: as a cache holds them, each layer's own positions first."""
    longest = longest_of(past)
    return [np.pad(x, ((0, 0), (0, 0), (0, longest - x.shape[2]), (0, 0))) for x in past]
