"""Beam search: the most probable texts, several kept at a time.

The rules are those of transformers, so that the texts are the same. Of B beams:

1. the score of a candidate is the sum of its tokens' log-probabilities: log-softmax of the logits, in float32, on which
   the row's `processors` have run
2. of all continuations of all beams the K = max(2, 1 + end tokens) · B with the highest scores are candidates
3. candidates that end (an end token, a stop string, the most tokens) leave; among the first B of the K they become
   results, with the score divided by (tokens, an end token included) ** `length_penalty`; the best B results stay
4. the best B candidates that do not end go on
5. it is over when no beam can go on; with `early_stopping` True when there are B results; else when there are, and
   the best beam's score, divided by its length ** `length_penalty` (of "never" and a positive penalty: by
   `max_new_tokens` ** it), is below all of theirs
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .constraints import Following
from .engine import Decoder
from .limits import Limits
from .logprobs import log_total
from .processors import processors_for
from .progress import Request
from .results import Chunk, FinishReason, Timing
from .sampler import ranked
from .stopping import first_stop
from .tokenizer import Tokenizer


@dataclass(frozen=True)
class Beam:
    """A text on its way, or at its end."""

    score: float
    token_ids: tuple[int, ...]
    """The new tokens, an end token included."""
    source: int = 0
    """The row of the batch that it goes on from."""
    reason: FinishReason | None = None
    """Why it ended; None: it goes on."""


class Search:
    """The beams of one request and what has ended; logits go in, the tokens to be fed next come out."""

    def __init__(self, request: Request, tokenizer: Tokenizer, end_ids: Sequence[int]):
        self._request, self._tokenizer, self._end_ids = request, tokenizer, list(end_ids)
        self._options, self._width = request.options, request.options.num_beams
        self._is_plain = request.grammar is None and not self._processors()
        self._kept = max(2, 1 + len(self._end_ids)) * self._width
        self._could_improve = True
        self.running = [Beam(0.0, ())]
        self.results: list[Beam] = []
        """The best that have ended, the best first."""
        self.is_over = False

    def take(self, logits: np.ndarray) -> None:
        """One more token: logits [B, V], of the running beams' rows, are written to."""
        scores = np.stack([self._scores(row, beam) for row, beam in zip(logits, self.running)])
        vocabulary = scores.shape[1]
        best = ranked(scores.ravel(), min(self._kept, scores.size))
        candidates = [self._candidate(float(scores.flat[i]), *divmod(int(i), vocabulary)) for i in best]
        ended = [self._with_penalty(x) for x in candidates[: self._width] if x.reason is not None]
        is_full = len(self.results) == self._width
        if self._could_improve and not (is_full and self._options.early_stopping is True):
            self.results = sorted([*self.results, *ended], key=lambda x: -x.score)[: self._width]
        going = [x for x in candidates if x.reason is None and x.score > -np.inf]
        self.running = going[: self._width]
        self._could_improve = self._could_improve and bool(self.running) and self._can_improve()
        is_full = len(self.results) == self._width
        self.is_over = not self._could_improve or (is_full and self._options.early_stopping is True)

    def texts(self, reason: FinishReason | None) -> list[Beam]:
        """As many of the best as were asked for; where too few have ended, beams that end here, for `reason`."""
        left = [Beam(x.score, x.token_ids, x.source, reason or "length") for x in self.running]
        return [*self.results, *left, *[Beam(0.0, (), 0, reason or "length")] * self._options.n][: self._options.n]

    def _processors(self) -> list:
        return processors_for(self._options, self._request.token_ids, self._end_ids, self._request.forced.never)

    def _scores(self, logits: np.ndarray, beam: Beam) -> np.ndarray:
        """The scores [V] of a beam's continuations; ids that must come now are the only ones."""
        forced, count = self._request.forced, len(beam.token_ids)
        only = forced.first if count == 0 else None
        only = forced.last if count == self._options.max_new_tokens - 1 and forced.last is not None else only
        if only is not None:
            scores = np.full(len(logits), -np.inf, np.float32)
            scores[only] = beam.score
            return scores
        logits -= np.float32(log_total(logits))
        if not self._is_plain:
            for process in self._processors():
                process(logits, beam.token_ids)
            if self._request.grammar is not None:
                Following(self._request.grammar, 0 if forced.first is None else 1)(logits, beam.token_ids)
        logits += np.float32(beam.score)
        return logits

    def _candidate(self, score: float, source: int, token: int) -> Beam:
        ids = (*self.running[source].token_ids, token)
        return Beam(score, ids, source, self._reason(ids))

    def _reason(self, ids: tuple[int, ...]) -> FinishReason | None:
        if ids[-1] in self._end_ids:
            is_forced = len(ids) == self._options.max_new_tokens and ids[-1] == self._request.forced.last
            return "length" if is_forced else "eos"
        if self._options.stop and cut_at(self._tokenizer.decode(ids), self._options.stop)[1]:
            return "stop"
        return "length" if len(ids) == self._options.max_new_tokens else None

    def _with_penalty(self, beam: Beam) -> Beam:
        score = beam.score / len(beam.token_ids) ** self._options.length_penalty
        return Beam(score, beam.token_ids, beam.source, beam.reason)

    def _can_improve(self) -> bool:
        if len(self.results) < self._width:
            return True
        penalty, length = self._options.length_penalty, len(self.running[0].token_ids)
        if self._options.early_stopping == "never" and penalty > 0:
            length = self._options.max_new_tokens
        return self.running[0].score / length**penalty > self.results[-1].score


def beam_chunks(
    decoder: Decoder, tokenizer: Tokenizer, end_ids: Sequence[int], requests: Sequence[Request], started: float
) -> Iterator[tuple[int, Chunk]]:
    """As `generated_chunks`, one text after the other: each result is one chunk."""
    for row, request in enumerate(requests):
        began, limits = started if row == 0 else time.perf_counter(), Limits(request.options, started)
        search = Search(request, tokenizer, end_ids)
        first_at, steps, reason = 0.0, 0, limits.reason()
        if reason is None:
            logits, state = decoder.prefill([request.token_ids], [request.adapter], request.options.max_new_tokens)
            while True:
                search.take(logits)
                first_at, steps = first_at or time.perf_counter(), steps + 1
                if search.is_over or (reason := limits.reason()) is not None:
                    break
                state = decoder.with_rows([beam.source for beam in search.running], state)
                logits, state = decoder.step(np.array([beam.token_ids[-1] for beam in search.running]), state)
        now = time.perf_counter()
        rate = (steps - 1) / (now - first_at) if steps > 1 else 0.0
        timing = Timing(((first_at or now) - began) * 1000, rate)
        for i, beam in enumerate(search.texts(reason)):
            ids = beam.token_ids[:-1] if beam.token_ids and beam.token_ids[-1] in end_ids else beam.token_ids
            text, _ = cut_at(tokenizer.decode(ids), request.options.stop)
            yield row * request.options.n + i, Chunk(text, ids, beam.reason, timing)


def cut_at(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text up to the first of the strings `stop`, and whether there is one."""
    start = first_stop(text, stop)
    return (text, False) if start is None else (text[:start], True)
