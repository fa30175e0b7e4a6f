"""Prompt lookup: what the text itself has said before is tried several tokens at a time, and checked in one run.

Where the last tokens of the text stand earlier in it, the tokens that followed them there are a draft (Saxena 2023,
"Prompt Lookup Decoding"). One run over the cache gives the logits behind every token of the draft, from which each next
token is chosen just as without a draft; the first that differs ends the run's use, and what was drafted behind it is
dropped from the cache. So the text is the one that is written without drafts, sampled texts included, as far as
a run over several tokens and several runs over one compute the same logits: they differ in the last bits of a float.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from .engine import ExtendableDecoder
from .limits import Limits
from .progress import Progress, Request
from .results import Chunk
from .tokenizer import Tokenizer

LONGEST_PAUSE = 16
"""Steps without a draft after drafts that failed one after another."""


class Lookup:
    """The n-grams of a text that grows, each with the place behind its last occurrence."""

    def __init__(self, token_ids: Sequence[int], max_ngram_size: int):
        self._ids: list[int] = []
        self._behind: list[dict[tuple[int, ...], int]] = [{} for _ in range(max_ngram_size)]
        self._follows: int | None = None
        """The place of the text that the last draft came from, behind what has proved right of it."""
        for token in token_ids:
            self.push(int(token))

    def push(self, token: int) -> None:
        """The text is one token longer."""
        ids, place = self._ids, len(self._ids)
        # the n-gram that ends the text is entered only now that something follows it: it is never its own match
        for size, behind in enumerate(self._behind[:place], 1):
            behind[tuple(ids[place - size :])] = place
        if self._follows is not None:
            self._follows = self._follows + 1 if ids[self._follows] == token else None
        ids.append(token)

    def draft(self, count: int) -> list[int]:
        """Up to `count` tokens that may come next: what followed the longest n-gram that ends the text; often none.

        A draft that has been right so far goes on where it came from.
        """
        if self._follows is None:
            for size in range(min(len(self._behind), len(self._ids)), 0, -1):
                self._follows = self._behind[size - 1].get(tuple(self._ids[len(self._ids) - size :]))
                if self._follows is not None:
                    break
        return [] if self._follows is None else self._ids[self._follows : self._follows + count]


class Pace:
    """How many tokens the next draft has: more while drafts are right, fewer when they are not, none for a while."""

    def __init__(self, most: int):
        self._most = most
        self._count = most
        self._pause, self._failures = 0, 0

    def next_count(self) -> int:
        """Tokens to draft for the next run; 0: none."""
        if self._pause:
            self._pause -= 1
            return 0
        return self._count

    def learn(self, drafted: int, right: int) -> None:
        """Of `drafted` tokens the first `right` were chosen."""
        if not drafted:
            return
        if right == drafted:
            self._count = min(2 * max(self._count, drafted), self._most)
        else:
            self._count = max(1, min(right + 1, self._most))
        self._failures = 0 if right else self._failures + 1
        if self._failures:
            self._pause = min(2 ** (self._failures - 1), LONGEST_PAUSE)


def speculative_chunks(
    decoder: ExtendableDecoder,
    tokenizer: Tokenizer,
    end_ids: Sequence[int],
    requests: Sequence[Request],
    started: float,
) -> Iterator[tuple[int, Chunk]]:
    """As `generated_chunks`, each request on its own, in fewer runs where its text repeats itself."""
    for row, request in enumerate(requests):
        progress = Progress(request, tokenizer, end_ids, started if row == 0 else time.perf_counter())
        chunks = _row_chunks(decoder, request, progress, Limits(request.options, started))
        yield from ((row, chunk) for chunk in chunks)


def _row_chunks(decoder: ExtendableDecoder, request: Request, progress: Progress, limits: Limits) -> Iterator[Chunk]:
    options = request.options
    if (reason := limits.reason()) is not None:
        yield progress.ended(reason)
        return
    logits, state = decoder.prefill([request.token_ids], [request.adapter], options.max_new_tokens)
    length = len(request.token_ids) + (request.adapter.suffix_tokens if request.adapter else 0)
    lookup = Lookup(request.token_ids.tolist(), options.max_matching_ngram_size)
    pace, draft, left = Pace(options.prompt_lookup_num_tokens), [], options.max_new_tokens
    while True:
        right = 0
        for row in logits:
            chunk = progress.take(row)
            if chunk is not None:
                yield chunk
                if chunk.finish_reason is not None:
                    return
            left -= 1
            lookup.push(progress.last_token)
            if right == len(draft) or progress.last_token != draft[right]:
                break
            right += 1
        if (reason := limits.reason()) is not None:
            yield progress.ended(reason)
            return
        length += right
        if right < len(draft):
            state = decoder.truncated(length, state)
        pace.learn(len(draft), right)
        draft = lookup.draft(min(pace.next_count(), left - 1))
        tokens = np.array([progress.last_token, *draft], np.int64)
        logits, state = decoder.extend(tokens, state, 0) if draft else decoder.step(tokens, state)
        length += 1
