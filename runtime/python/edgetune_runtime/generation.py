"""The generation loop: rows of a batch, each with its own adapter and options, token by token."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .adapter import Adapter
from .detokenizer import Detokenizer
from .encoder_decoder import FREE, Forced
from .engine import Decoder
from .options import Resolved
from .results import Chunk, FinishReason, Generation, Timing
from .sampler import make_sampler
from .stopping import StopStrings
from .tokenizer import Tokenizer

MAX_ROWS = 16
"""Rows that decode together; each holds a cache of its own."""


@dataclass(frozen=True, eq=False)
class Request:
    """One text to go on with."""

    token_ids: np.ndarray
    """[T] int64, T ≥ 1."""
    adapter: Adapter | None
    options: Resolved
    forced: Forced = FREE


class Progress:
    """One row on its way: takes logits, gives chunks."""

    def __init__(
        self,
        options: Resolved,
        tokenizer: Tokenizer,
        end_ids: Sequence[int],
        started: float,
        forced: Forced = FREE,
    ):
        self._options, self._end_ids, self._started = options, list(end_ids), started
        self._forced, self._never = forced, list(forced.never)
        self._sample = make_sampler(options.temperature, options.top_k, options.top_p, options.seed)
        self._detokenizer, self._stops = Detokenizer(tokenizer.decode), StopStrings(options.stop)
        self._first_at = 0.0
        self._count = 0
        self._unsent: list[int] = []
        self.last_token = 0
        """To be fed next."""

    def take(self, logits: np.ndarray) -> Chunk | None:
        """The chunk that one more token from logits [V] makes; None where its text is not certain yet.

        A chunk with a finish reason is the last. `logits` may be written to.
        """
        if self._count < self._options.min_new_tokens:
            logits[self._end_ids] = -np.inf
        if self._never:
            logits[self._never] = -np.inf
        given = self._given()
        token = self.last_token = self._sample(logits) if given is None else given
        if not self._first_at:
            self._first_at = time.perf_counter()
        if token in self._end_ids:
            return self._finished("eos" if given is None else "length", "")
        self._count += 1
        self._unsent.append(token)
        text, stopped = self._stops.push(self._detokenizer.push(token))
        if stopped:
            return self._finished("stop", text)
        if self._count == self._options.max_new_tokens:
            return self._finished("length", text)
        return self._chunk(text) if text else None

    def _given(self) -> int | None:
        """The token that this place of the text must hold."""
        if self._count == self._options.max_new_tokens - 1 and self._forced.last is not None:
            return self._forced.last
        return self._forced.first if self._count == 0 else None

    def _finished(self, reason: FinishReason, text: str) -> Chunk:
        now = time.perf_counter()
        if reason != "stop":
            rest, stopped = self._stops.push(self._detokenizer.end())
            text += rest if stopped else rest + self._stops.end()
            reason = "stop" if stopped else reason
        later_tokens = self._count - (0 if reason == "eos" else 1)
        seconds = now - self._first_at
        rate = later_tokens / seconds if later_tokens > 0 and seconds > 0 else 0.0
        return self._chunk(text, reason, Timing((self._first_at - self._started) * 1000, rate))

    def _chunk(self, text: str, reason: FinishReason | None = None, timing: Timing | None = None) -> Chunk:
        token_ids, self._unsent = tuple(self._unsent), []
        return Chunk(text, token_ids, reason, timing)


def generated_chunks(
    decoder: Decoder, tokenizer: Tokenizer, end_ids: Sequence[int], requests: Sequence[Request], started: float
) -> Iterator[tuple[int, Chunk]]:
    """Chunks of all requests with the place of theirs among them, each as soon as it is certain.

    `started` is when the call began, in `time.perf_counter` seconds. A row that ends leaves the batch.
    """
    for start in range(0, len(requests), MAX_ROWS):
        group = requests[start : start + MAX_ROWS]
        for row, chunk in _batch_chunks(
            decoder, tokenizer, end_ids, group, started if start == 0 else time.perf_counter()
        ):
            yield start + row, chunk


def _batch_chunks(
    decoder: Decoder, tokenizer: Tokenizer, end_ids: Sequence[int], requests: Sequence[Request], started: float
) -> Iterator[tuple[int, Chunk]]:
    reserve = max(request.options.max_new_tokens for request in requests)
    logits, state = decoder.prefill([r.token_ids for r in requests], [r.adapter for r in requests], reserve)
    rows = [(i, Progress(r.options, tokenizer, end_ids, started, r.forced)) for i, r in enumerate(requests)]
    while True:
        # from the last row to the first: when a row leaves, the row that takes its place has had its turn
        for place in reversed(range(len(rows))):
            index, progress = rows[place]
            chunk = progress.take(logits[place])
            if chunk is None:
                continue
            yield index, chunk
            if chunk.finish_reason is not None:
                state = decoder.without_row(place, state)
                rows[place] = rows[-1]
                rows.pop()
        if not rows:
            return
        logits, state = decoder.step(np.array([progress.last_token for _, progress in rows], np.int64), state)


def generation_from(chunks: Sequence[Chunk]) -> Generation:
    """All chunks of one row, joined."""
    last = chunks[-1]
    assert last.finish_reason is not None and last.timing is not None, "the last chunk carries how the text ended"
    text, token_ids = "".join(c.text for c in chunks), [t for c in chunks for t in c.token_ids]
    return Generation(text, token_ids, last.finish_reason, last.timing)
