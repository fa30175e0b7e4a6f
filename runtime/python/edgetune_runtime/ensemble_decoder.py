"""A decoder whose every row is several: members write one text, each behind its own virtual tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .adapter import Adapter
from .engine import NOTHING, Decoder


@dataclass(frozen=True, eq=False)
class EnsembleDecoder:
    """See `Decoder`. The members' next-token distributions are averaged at every step; a call's adapters are these.

    Row r of a batch is the rows r·N … r·N + N − 1 of the decoder below, N being the number of members.
    """

    decoder: Decoder
    members: Sequence[Adapter | None]

    def prefill(
        self, rows: Sequence[np.ndarray], adapters: Sequence[Adapter | None], reserve: int = 0
    ) -> tuple[np.ndarray, Any]:
        """See `Decoder`."""
        each = [ids for ids in rows for _ in self.members]
        logits, state = self.decoder.prefill(each, list(self.members) * len(rows), reserve)
        return self._joint(logits), state

    def step(self, token_ids: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """See `Decoder`."""
        logits, state = self.decoder.step(np.repeat(token_ids, len(self.members)), state)
        return self._joint(logits), state

    def with_rows(self, rows: Sequence[int], state: Any) -> Any:
        """See `Decoder`."""
        count = len(self.members)
        return self.decoder.with_rows([row * count + member for row in rows for member in range(count)], state)

    def without_row(self, row: int, state: Any) -> Any:
        """See `Decoder`. From the last member to the first, so that the last row's members keep their order."""
        for member in reversed(range(len(self.members))):
            state = self.decoder.without_row(row * len(self.members) + member, state)
        return state

    def logits(
        self, token_ids: np.ndarray, adapter: Adapter | None, keep: int = 0, completion: np.ndarray = NOTHING
    ) -> np.ndarray:
        """See `Decoder`. Of members whose suffixes differ in length `keep` says how many positions."""
        each = [self.decoder.logits(token_ids, member, keep, completion) for member in self.members]
        return mean_distribution(np.stack(each))

    def _joint(self, logits: np.ndarray) -> np.ndarray:
        return mean_distribution(logits.reshape(-1, len(self.members), logits.shape[-1]).swapaxes(0, 1))


def mean_distribution(logits: np.ndarray) -> np.ndarray:
    """Logits [N, B, V] → the logarithm of the mean of their softmaxes [B, V], float32."""
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    peak = wide.max(0)
    return (peak + np.log(np.exp(wide - peak).mean(0))).astype(np.float32)
