"""What generation needs of a decoder, of either form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .adapter import Adapter

NOTHING = np.empty(0, np.int64)
"""No tokens."""


class Decoder(Protocol):
    """What the generation loop needs of either form. State goes in and comes back; the one that went in is used up."""

    def prefill(
        self, rows: Sequence[np.ndarray], adapters: Sequence[Adapter | None], reserve: int = 0
    ) -> tuple[np.ndarray, Any]:
        """Texts, B of [T] int64, each amid its adapter's virtual tokens → logits [B, V] of the last positions, state.

        `reserve` is the number of steps to come, if it is known.
        """
        ...

    def step(self, token_ids: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """One more token per row, [B] → logits [B, V], state. The logits are overwritten by the next step."""
        ...

    def with_rows(self, rows: Sequence[int], state: Any) -> Any:
        """The state whose row i is row `rows[i]` of this one; a row may go on as several, or not at all."""
        ...

    def without_row(self, row: int, state: Any) -> Any:
        """The state of one row less: the last row takes the place of `row`."""
        ...

    def logits(
        self, token_ids: np.ndarray, adapter: Adapter | None, keep: int = 0, completion: np.ndarray = NOTHING
    ) -> np.ndarray:
        """Logits [keep, V] of the last `keep` positions, all for 0; float32.

        The positions are those of one text [T], of the virtual tokens behind it, if any, and of its completion [U].
        """
        ...


class ExtendableDecoder(Decoder, Protocol):
    """A decoder whose rows can go on by several tokens at once, and back. A state of these functions has one row."""

    def extend(self, token_ids: np.ndarray, state: Any, keep: int = 1) -> tuple[np.ndarray, Any]:
        """More tokens [U] behind what the state holds, in one run → logits [keep, V] of the last `keep`, state.

        0 keeps all. Ids from V on are the vectors of the row's suffix. Raises ContextLengthError where the base cannot
        hold them.
        """
        ...

    def truncated(self, length: int, state: Any) -> Any:
        """The state after its first `length` tokens: text, ids of a suffix and steps count, virtual tokens in front
        do not. What stood behind is forgotten; raises ValueError where the state holds fewer."""
        ...

    def stored(self, state: Any, adapter: Adapter | None) -> list[np.ndarray]:
        """Keys and values of what the state has read, 2·L of [1, K, …, D], not copies; `adapter` is its row's."""
        ...

    def restored(self, stored: Sequence[np.ndarray], length: int, adapter: Adapter | None) -> Any:
        """A new state of what `stored` gave of a state with `length` tokens, behind the same adapter. It copies."""
        ...
