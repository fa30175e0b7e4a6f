"""Keys and values of a batch, in buffers that onnxruntime reads and writes in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import ContextLengthError
from .layer import Layer
from .layer_lengths import longest_of

STEP = 256
"""Positions by which a buffer grows at least."""


class KeyValueCache:
    """One buffer [B, K, S, D] per layer and key or value; row r uses its first `lengths[r]` positions."""

    def __init__(self, layers: Sequence[Layer], rows: int, capacity: int, dtype: type[np.floating]):
        self._buffers = [
            np.zeros((rows, layer.key_value_heads, capacity, layer.head_size), dtype)
            for layer in layers
            for _ in range(2)
        ]
        self.rows = rows
        """B."""
        self.capacity = capacity
        """S."""
        self.lengths = np.zeros(rows, np.int64)
        """Positions in use, [B]."""
        self.virtual = np.zeros(rows, np.int64)
        """Those of them that the virtual tokens in front take, [B]."""

    @property
    def buffers(self) -> list[np.ndarray]:
        """2·L of [B, K, S, D], contiguous."""
        return [buffer[: self.rows] for buffer in self._buffers]

    def row(self, row: int) -> list[np.ndarray]:
        """2·L of [1, K, S, D]: one row of the buffers, contiguous, not a copy."""
        return [buffer[row : row + 1] for buffer in self._buffers]

    def put_prefix(self, row: int, past: Sequence[np.ndarray]) -> None:
        """The row begins with keys and values `past`, 2·L of [1, K, P_l, D], or with nothing.

        A layer that has fewer than the longest is in use up to as many positions less.
        """
        for buffer, x in zip(self._buffers, past):
            buffer[row, :, : x.shape[2]] = x[0]
        self.lengths[row] = self.virtual[row] = longest_of(past)

    def text_behind(self, past: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the first row holds behind its virtual tokens `past`, 2·L of [1, K, n, D], not copies."""
        count = int(self.lengths[0] - self.virtual[0])
        firsts = [x.shape[2] for x in past] or [0] * len(self._buffers)
        return [buffer[:1, :, first : first + count] for buffer, first in zip(self._buffers, firsts)]

    def put_text(self, past: Sequence[np.ndarray], text: Sequence[np.ndarray]) -> None:
        """The first row goes on behind its virtual tokens `past` with what `text_behind` gave."""
        self.lengths[0] = self.virtual[0] + text[0].shape[2]
        for buffer, x in zip(self.text_behind(past), text):
            buffer[:] = x

    def truncate(self, length: int) -> None:
        """Each row keeps its virtual tokens and `length` positions behind; raises ValueError where it has fewer."""
        kept = self.virtual + length
        if length < 0 or (kept > self.lengths).any():
            raise ValueError(f"a row of {int((self.lengths - self.virtual).min())} tokens cannot be cut to {length}")
        self.lengths[:] = kept

    def take(self, rows: Sequence[int]) -> None:
        """Row i becomes what row `rows[i]` was; there are as many rows as that. What is in use is copied."""
        used, count = int(self.lengths.max(initial=0)), len(rows)
        moved = [i for i, row in enumerate(rows) if i != row]
        source = [rows[i] for i in moved]
        for i, old in enumerate(self._buffers):
            if count > len(old):
                self._buffers[i] = np.zeros((count, *old.shape[1:]), old.dtype)
                self._buffers[i][:, :, :used] = old[list(rows), :, :used]
            elif moved:
                old[moved, :, :used] = old[source, :, :used]
        self.rows = count
        self.lengths, self.virtual = self.lengths[list(rows)], self.virtual[list(rows)]

    def grow(self, capacity: int) -> None:
        """S becomes `capacity`; what is in use is copied once."""
        used = int(self.lengths.max(initial=0))
        for i, old in enumerate(self._buffers):
            # one buffer at a time: never twice the whole cache in memory
            self._buffers[i] = np.zeros((self.rows, old.shape[1], capacity, old.shape[3]), old.dtype)
            self._buffers[i][:, :, :used] = old[: self.rows, :, :used]
        self.capacity = capacity

    def drop(self, row: int) -> None:
        """The batch becomes one row smaller: the last row takes the place of `row`."""
        last = self.rows - 1
        if row != last:
            used = self.lengths[last]
            for buffer in self._buffers:
                buffer[row, :, :used] = buffer[last, :, :used]
            self.lengths[row], self.virtual[row] = used, self.virtual[last]
        self.rows = last
        self.lengths, self.virtual = self.lengths[:last], self.virtual[:last]


def capacity_for(positions: int, max_positions: int | None) -> int:
    """S for at least `positions`: the next multiple of 256, or the base's limit.

    Raises ContextLengthError where the base cannot hold that many.
    """
    if max_positions is not None and positions > max_positions:
        raise ContextLengthError(
            f"{positions} positions are needed, and the base holds {max_positions}. Shorten the text."
        )
    capacity = -(-positions // STEP) * STEP
    return capacity if max_positions is None else min(capacity, max_positions)
