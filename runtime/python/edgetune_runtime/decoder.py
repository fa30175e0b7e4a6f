"""The decoder of the shared form: one graph, any adapter per row, a cache that grows in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from .adapter import Adapter
from .cache import STEP, KeyValueCache, capacity_for
from .engine import NOTHING
from .layer_lengths import evened, longest_of
from .manifest import Graph
from .optional_inputs import optional_feeds
from .session import element_type, past_names, present_names
from .suffix import with_suffix


class SharedState:
    """The cache of one batch with its bindings. It belongs to one call, so calls from several threads do not meet."""

    def __init__(
        self,
        cache: KeyValueCache,
        session: ort.InferenceSession,
        vocab_size: int,
        dtype: type[np.floating],
        of_rows: dict[str, np.ndarray],
    ):
        self.cache = cache
        self.of_rows = of_rows
        """Inputs [B, …] that stay the same from step to step; they are the state's own."""
        self.binding = session.io_binding()
        self.input_ids = np.zeros((cache.rows, 1), np.int64)
        self.logits = np.empty((cache.rows, 1, vocab_size), dtype)
        self.columns = np.arange(cache.capacity)
        self.mask = np.ones(cache.rows * cache.capacity, np.int64)
        self._mask_address = self.mask.ctypes.data
        self._wide: ort.IOBinding | None = None

    def fit_to_cache(self, names: tuple[list[str], list[str]]) -> None:
        """Binds everything that stays the same from step to step, for the cache's rows and capacity."""
        rows, capacity = self.cache.rows, self.cache.capacity
        self.input_ids, self.logits = self.input_ids[:rows], self.logits[:rows]
        if len(self.columns) != capacity:
            self.columns = np.arange(capacity)
            self.mask = np.ones(rows * capacity, np.int64)
            self._mask_address = self.mask.ctypes.data
        elif rows == 1:
            self.mask[:] = 1
        self._wide = None
        bind_cache(self.binding, names, self.cache.buffers)
        for name, array in self.of_rows.items():
            self.of_rows[name] = array[:rows]
            bind_input(self.binding, name, self.of_rows[name])
        bind_input(self.binding, "input_ids", self.input_ids)
        bind_output(self.binding, "logits", self.logits)

    def drop(self, row: int) -> None:
        """The batch becomes one row smaller: the last row takes the place of `row`."""
        for array in self.of_rows.values():
            array[row] = array[self.cache.rows - 1]
        self.cache.drop(row)

    def take(self, rows: Sequence[int], names: tuple[list[str], list[str]]) -> None:
        """Row i becomes what row `rows[i]` was; there are as many rows as that."""
        before, count = self.cache.rows, len(rows)
        self.cache.take(rows)
        for name, array in self.of_rows.items():
            if count == before:
                array[:] = array[list(rows)]
            else:
                self.of_rows[name] = array[list(rows)]
        if count > before:
            self.input_ids = np.zeros((count, 1), np.int64)
            self.logits = np.empty((count, *self.logits.shape[1:]), self.logits.dtype)
            self.mask = np.ones(count * self.cache.capacity, np.int64)
            self._mask_address = self.mask.ctypes.data
        if count != before:
            self.fit_to_cache(names)

    def bind_tokens(
        self, input_ids: np.ndarray, keep: np.ndarray, names: tuple[list[str], list[str]], session: ort.InferenceSession
    ) -> ort.IOBinding:
        """A binding for ids [1, U] over the cache, beside that of the steps; its first output is logits [1, keep, V].

        Its cache stays bound until `fit_to_cache`.
        """
        if self._wide is None:
            self._wide = session.io_binding()
            self._wide.bind_output("logits", "cpu")
            bind_cache(self._wide, names, self.cache.buffers)
            for name, array in self.of_rows.items():
                bind_input(self._wide, name, array)
        # room for onnxruntime to fill, anew each time: into a given array it writes one position, as the graph declares
        self._wide.bind_output("logits", "cpu")
        bind_input(self._wide, "input_ids", input_ids)
        bind_input(self._wide, "attention_mask", self.mask[: self.cache.lengths[0]].reshape(1, -1))
        bind_input(self._wide, "num_logits_to_keep", keep)
        return self._wide

    def bind_mask(self, width: int) -> None:
        """Binds the mask [B, width of the longest row], right-padded, over the one array that all steps share."""
        rows = self.cache.rows
        if rows > 1:
            mask = self.mask[: rows * width].reshape(rows, width)
            np.less(self.columns[:width], self.cache.lengths[:, None], out=mask, casting="unsafe")
        self.binding.bind_input("attention_mask", "cpu", 0, np.int64, [rows, width], self._mask_address)


class SharedDecoder:
    """Runs rows with different adapters in one batch. It holds no state of a call: see `Decoder` for its functions."""

    def __init__(self, session: ort.InferenceSession, graph: Graph):
        self._session, self._graph = session, graph
        self._names = past_names(len(graph.layers)), present_names(len(graph.layers))
        self._cache_dtype = element_type(session, self._names[0][0])
        self._logits_dtype = element_type(session, "logits")

    def prefill(
        self, rows: Sequence[np.ndarray], adapters: Sequence[Adapter | None], reserve: int = 0
    ) -> tuple[np.ndarray, SharedState]:
        """See `Decoder`. Rows go one by one, as the operator wants it, each into its own row of the buffers."""
        pasts = [adapter.past if adapter else () for adapter in adapters]
        rows = [with_suffix(ids, adapter, self._graph.vocab_size) for ids, adapter in zip(rows, adapters)]
        longest = max(len(ids) + longest_of(past) for ids, past in zip(rows, pasts))
        limit = self._graph.max_positions
        # most texts end long before the most tokens that they may have
        soon = longest + min(reserve, STEP)
        capacity = capacity_for(max(longest, soon if limit is None else min(soon, limit)), limit)
        cache = KeyValueCache(self._graph.layers, len(rows), capacity, self._cache_dtype)
        of_rows = optional_feeds(adapters, self._graph, self._cache_dtype)
        state = SharedState(cache, self._session, self._graph.vocab_size, self._logits_dtype, of_rows)
        state.fit_to_cache(self._names)
        for row, (ids, past) in enumerate(zip(rows, pasts)):
            cache.put_prefix(row, past)
            cache.lengths[row] += len(ids)
            self._prefill_row(np.ascontiguousarray(ids, np.int64)[None], row, state)
        return self._float32(state.logits), state

    def step(self, token_ids: np.ndarray, state: SharedState) -> tuple[np.ndarray, SharedState]:
        """See `Decoder`. Raises ContextLengthError where the base is full."""
        longest = self._make_room(1, state)
        state.cache.lengths += 1
        state.input_ids[:, 0] = token_ids
        state.bind_mask(longest)
        self._session.run_with_iobinding(state.binding)
        return self._float32(state.logits), state

    def extend(self, token_ids: np.ndarray, state: SharedState, keep: int = 1) -> tuple[np.ndarray, SharedState]:
        """See `ExtendableDecoder`."""
        input_ids = np.ascontiguousarray(token_ids, np.int64)[None]
        count = input_ids.shape[1]
        self._make_room(count, state)
        state.cache.lengths += count
        kept = np.array(keep, np.int64)
        binding = state.bind_tokens(input_ids, kept, self._names, self._session)
        self._session.run_with_iobinding(binding)
        logits = binding.get_outputs_as_ortvaluevector()[0].numpy()
        return logits[0].astype(np.float32, copy=False), state

    def truncated(self, length: int, state: SharedState) -> SharedState:
        """See `ExtendableDecoder`. Nothing is copied."""
        state.cache.truncate(length)
        return state

    def stored(self, state: SharedState, adapter: Adapter | None) -> list[np.ndarray]:
        """See `ExtendableDecoder`. Without those of the virtual tokens, which the adapter has."""
        return state.cache.text_behind(adapter.past if adapter else ())

    def restored(self, stored: Sequence[np.ndarray], length: int, adapter: Adapter | None) -> SharedState:
        """See `ExtendableDecoder`."""
        past = adapter.past if adapter else ()
        capacity = capacity_for(longest_of(past) + length, self._graph.max_positions)
        cache = KeyValueCache(self._graph.layers, 1, capacity, self._cache_dtype)
        cache.put_prefix(0, past)
        cache.put_text(past, stored)
        of_rows = optional_feeds([adapter], self._graph, self._cache_dtype)
        state = SharedState(cache, self._session, self._graph.vocab_size, self._logits_dtype, of_rows)
        state.fit_to_cache(self._names)
        return state

    def with_rows(self, rows: Sequence[int], state: SharedState) -> SharedState:
        """See `Decoder`. Rows that become others are copied."""
        state.take(rows, self._names)
        return state

    def without_row(self, row: int, state: SharedState) -> SharedState:
        """See `Decoder`. One row of the buffers is copied."""
        state.drop(row)
        if state.cache.rows:
            state.fit_to_cache(self._names)
        return state

    def logits(
        self, token_ids: np.ndarray, adapter: Adapter | None, keep: int = 0, completion: np.ndarray = NOTHING
    ) -> np.ndarray:
        """See `Decoder`."""
        past = evened(adapter.past) if adapter and adapter.past else self._empty_past()
        token_ids = np.concatenate([with_suffix(token_ids, adapter, self._graph.vocab_size), completion])
        feeds: dict[str, np.ndarray] = {
            name: x.astype(self._cache_dtype, copy=False) for name, x in zip(self._names[0], past)
        }
        feeds["input_ids"] = np.ascontiguousarray(token_ids, np.int64)[None]
        feeds["attention_mask"] = np.ones((1, past[0].shape[2] + len(token_ids)), np.int64)
        feeds["num_logits_to_keep"] = np.array(keep, np.int64)
        feeds |= optional_feeds([adapter], self._graph, self._cache_dtype)
        return np.asarray(self._session.run(["logits"], feeds)[0], np.float32)[0]

    def _make_room(self, count: int, state: SharedState) -> int:
        """The cache can take `count` more tokens of every row: the length of the longest row then.

        Raises ContextLengthError where the base cannot.
        """
        cache, limit = state.cache, self._graph.max_positions
        longest = int(cache.lengths.max()) + count
        if longest > cache.capacity:
            # by half again, so that a long text is not copied every few tokens
            ahead = longest + cache.capacity // 2
            cache.grow(capacity_for(max(longest, ahead if limit is None else min(ahead, limit)), limit))
            state.fit_to_cache(self._names)
        return longest

    def _prefill_row(self, input_ids: np.ndarray, row: int, state: SharedState) -> None:
        width = int(state.cache.lengths[row])
        if state.cache.rows == 1:
            # the binding of the steps, for one run with more tokens
            bind_input(state.binding, "input_ids", input_ids)
            state.bind_mask(width)
            self._session.run_with_iobinding(state.binding)
            bind_input(state.binding, "input_ids", state.input_ids)
            return
        binding = self._session.io_binding()
        bind_cache(binding, self._names, state.cache.row(row))
        bind_input(binding, "input_ids", input_ids)
        mask = np.ones((1, width), np.int64)
        bind_input(binding, "attention_mask", mask)
        for name, array in state.of_rows.items():
            bind_input(binding, name, array[row : row + 1])
        bind_output(binding, "logits", state.logits[row : row + 1])
        self._session.run_with_iobinding(binding)

    def _empty_past(self) -> list[np.ndarray]:
        shapes = [(1, layer.key_value_heads, 0, layer.head_size) for layer in self._graph.layers]
        return [np.zeros(shape, self._cache_dtype) for shape in shapes for _ in range(2)]

    def _float32(self, logits: np.ndarray) -> np.ndarray:
        """[B, 1, V] → [B, V]; not a copy unless the graph computes in float16."""
        return logits[:, 0].astype(np.float32, copy=False)


def bind_cache(binding: ort.IOBinding, names: tuple[list[str], list[str]], buffers: Sequence[np.ndarray]) -> None:
    """Each buffer is both the past and the present of its layer: nothing is copied."""
    for past, present, buffer in zip(*names, buffers):
        bind_input(binding, past, buffer)
        bind_output(binding, present, buffer)


def bind_input(binding: ort.IOBinding, name: str, array: np.ndarray) -> None:
    """Binds the memory of a contiguous array, which must outlive the next run."""
    binding.bind_input(name, "cpu", 0, array.dtype.type, list(array.shape), array.ctypes.data)


def bind_output(binding: ort.IOBinding, name: str, array: np.ndarray) -> None:
    """Binds the memory of a contiguous array, which must outlive the next run."""
    binding.bind_output(name, "cpu", 0, array.dtype.type, list(array.shape), array.ctypes.data)
