"""The generation loop: rows of a batch, each with its own adapter and options, token by token."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from .engine import Decoder
from .progress import Progress, Request
from .results import Chunk, Generation
from .tokenizer import Tokenizer

MAX_ROWS = 16
"""Rows that decode together; each holds a cache of its own."""


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
    rows = [(i, Progress(r, tokenizer, end_ids, started)) for i, r in enumerate(requests)]
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
