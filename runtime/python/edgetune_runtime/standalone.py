"""The decoder of the standalone form: an ordinary graph whose past goes in and comes back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from .adapter import Adapter
from .engine import NOTHING
from .manifest import Graph
from .session import element_type, past_names, present_names


@dataclass(frozen=True, eq=False)
class RowState:
    """The past of one row, in onnxruntime's own memory."""

    past: tuple[ort.OrtValue, ...]
    """2·L of [1, K, P + length, D], or of length 0 at first."""
    length: int
    """Tokens of text; the virtual tokens do not count."""


class StandaloneDecoder:
    """Runs rows one by one, so that each has its own length; see `Decoder`. A call's adapters are not looked at."""

    def __init__(self, session: ort.InferenceSession, graph: Graph):
        self._session, self._graph = session, graph
        self._past, self._outputs = past_names(len(graph.layers)), ["logits", *present_names(len(graph.layers))]
        self._cache_dtype = element_type(session, self._past[0])

    def prefill(
        self, rows: Sequence[np.ndarray], adapters: Sequence[Adapter | None], reserve: int = 0
    ) -> tuple[np.ndarray, list[RowState]]:
        """See `Decoder`."""
        results = [self._run(ids, self._empty()) for ids in rows]
        return np.stack([logits[-1] for logits, _ in results]), [state for _, state in results]

    def step(self, token_ids: np.ndarray, state: list[RowState]) -> tuple[np.ndarray, list[RowState]]:
        """See `Decoder`."""
        results = [self._run(token_ids[r : r + 1], row) for r, row in enumerate(state)]
        return np.stack([logits[-1] for logits, _ in results]), [row for _, row in results]

    def extend(self, token_ids: np.ndarray, state: list[RowState], keep: int = 1) -> tuple[np.ndarray, list[RowState]]:
        """See `ExtendableDecoder`."""
        logits, row = self._run(token_ids, state[0])
        return logits[-keep:], [row]

    def truncated(self, length: int, state: list[RowState]) -> list[RowState]:
        """See `ExtendableDecoder`. What stays is copied."""
        dropped = state[0].length - length
        if not 0 <= length <= state[0].length:
            raise ValueError(f"a row of {state[0].length} tokens cannot be cut to {length}")
        if not dropped:
            return state
        if not length:
            return [self._empty()]
        return [RowState(copied(x.numpy()[:, :, : x.shape()[2] - dropped] for x in state[0].past), length)]

    def stored(self, state: list[RowState], adapter: Adapter | None) -> list[np.ndarray]:
        """See `ExtendableDecoder`. With those of the virtual tokens, which only the graph has."""
        return [x.numpy() for x in state[0].past]

    def restored(self, stored: Sequence[np.ndarray], length: int, adapter: Adapter | None) -> list[RowState]:
        """See `ExtendableDecoder`."""
        return [RowState(copied(stored), length)]

    def with_rows(self, rows: Sequence[int], state: list[RowState]) -> list[RowState]:
        """See `Decoder`. Nothing is copied."""
        return [state[row] for row in rows]

    def without_row(self, row: int, state: list[RowState]) -> list[RowState]:
        """See `Decoder`."""
        kept = list(state)
        kept[row] = kept[-1]
        return kept[:-1]

    def logits(
        self, token_ids: np.ndarray, adapter: Adapter | None, keep: int = 0, completion: np.ndarray = NOTHING
    ) -> np.ndarray:
        """See `Decoder`."""
        return self._run(np.concatenate([token_ids, completion]), self._empty())[0][-keep:]

    def _run(self, token_ids: np.ndarray, row: RowState) -> tuple[np.ndarray, RowState]:
        """Tokens [T] behind the row's past → logits [T, V] float32 and the row's next state."""
        length = row.length + len(token_ids)
        feeds = dict(zip(self._past, row.past))
        feeds["input_ids"] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(token_ids, np.int64)[None])
        feeds["attention_mask"] = ort.OrtValue.ortvalue_from_numpy(np.ones((1, length), np.int64))
        logits, *present = self._session.run_with_ort_values(self._outputs, feeds)
        return logits.numpy()[0].astype(np.float32, copy=False), RowState(tuple(present), length)

    def _empty(self) -> RowState:
        shapes = [(1, x.key_value_heads, 0, x.head_size) for x in self._graph.layers for _ in range(2)]
        return RowState(tuple(ort.OrtValue.ortvalue_from_numpy(np.zeros(s, self._cache_dtype)) for s in shapes), 0)


def copied(arrays: Iterable[np.ndarray]) -> tuple[ort.OrtValue, ...]:
    """Values with memory of their own: a view of another value's would not keep that one's memory."""
    return tuple(ort.OrtValue.ortvalue_from_numpy(np.array(x)) for x in arrays)
