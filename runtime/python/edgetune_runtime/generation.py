"""The generation loop: rows of a batch, each with its own adapter and options, token by token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from .engine import Decoder
from .limits import Limits
from .progress import Progress, Request
from .results import Chunk, Generation
from .tokenizer import Tokenizer

MAX_ROWS = 16
"""Rows that decode together; each holds a cache of its own."""


def generated_chunks(
    decoder: Decoder,
    tokenizer: Tokenizer,
    end_ids: Sequence[int],
    requests: Sequence[Request],
    started: float,
    groups: Sequence[range],
) -> Iterator[tuple[int, Chunk]]:
    """Chunks of all requests, each as soon as it is certain, with the place of its result: `n` for each request.

    `started` is when the call began, in `time.perf_counter` seconds. The requests of one of `groups` decode together,
    and a row that ends leaves the batch.
    """
    if not requests:
        return
    results, limits = requests[0].options.n, Limits(requests[0].options, started)
    for places in groups:
        group, began = requests[places.start : places.stop], started if places.start == 0 else time.perf_counter()
        rows = [Progress(r.sample(i), tokenizer, end_ids, began) for r in group for i in range(results)]
        for row, chunk in _batch_chunks(decoder, group, rows, limits):
            yield places.start * results + row, chunk


def _batch_chunks(
    decoder: Decoder, requests: Sequence[Request], rows: Sequence[Progress], limits: Limits
) -> Iterator[tuple[int, Chunk]]:
    going, reason = list(enumerate(rows)), limits.reason()
    if reason is None:
        reserve = max(request.options.max_new_tokens for request in requests)
        logits, state = decoder.prefill([r.token_ids for r in requests], [r.adapter for r in requests], reserve)
        if len(rows) > len(requests):
            sources = [i for i in range(len(requests)) for _ in range(len(rows) // len(requests))]
            logits, state = logits[sources], decoder.with_rows(sources, state)
        while True:
            # from the last row to the first: when a row leaves, the row that takes its place has had its turn
            for place in reversed(range(len(going))):
                index, progress = going[place]
                chunk = progress.take(logits[place])
                if chunk is None:
                    continue
                yield index, chunk
                if chunk.finish_reason is not None:
                    state = decoder.without_row(place, state)
                    going[place] = going[-1]
                    going.pop()
            if not going or (reason := limits.reason()) is not None:
                break
            logits, state = decoder.step(np.array([progress.last_token for _, progress in going], np.int64), state)
    for index, progress in going:
        yield index, progress.ended(reason or "cancelled")


def generation_from(chunks: Sequence[Chunk]) -> Generation:
    """All chunks of one row, joined."""
    last = chunks[-1]
    assert last.finish_reason is not None and last.timing is not None, "the last chunk carries how the text ended"
    text, token_ids = "".join(c.text for c in chunks), [t for c in chunks for t in c.token_ids]
    logprobs = None if last.logprobs is None else [x for c in chunks for x in c.logprobs or ()]
    return Generation(text, token_ids, last.finish_reason, last.timing, logprobs)


def generations_from(chunks: Sequence[Sequence[Chunk]], results: int) -> list[Generation]:
    """One for each text, of the chunks of as many rows as `results` for each; the first holds the others."""
    found = [generation_from(x) for x in chunks]
    return [replace(found[i], others=tuple(found[i + 1 : i + results])) for i in range(0, len(found), results)]


def told(on_chunk: Callable[[Chunk], object], chunks: Iterable[tuple[int, Chunk]]) -> Iterator[tuple[int, Chunk]]:
    """The same chunks; each is handed to `on_chunk` on its way, with the place of its result."""
    for row, chunk in chunks:
        on_chunk(replace(chunk, index=row))
        yield row, chunk
