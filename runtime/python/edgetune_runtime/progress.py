"""One row of a generation on its way: logits go in, pieces of text come out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .adapter import Adapter
from .constraints import Following, Grammar
from .detokenizer import Detokenizer
from .encoder_decoder import FREE, Forced
from .logprobs import token_logprob
from .options import Resolved
from .processors import processors_for
from .results import Chunk, FinishReason, Timing, TokenLogprob
from .sampler import make_sampler
from .stopping import StopStrings
from .tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Request:
    """One text to go on with."""

    token_ids: np.ndarray
    """[T] int64, T ≥ 1."""
    adapter: Adapter | None
    options: Resolved
    forced: Forced = FREE
    grammar: Grammar | None = None
    """What the text follows; None: it follows none."""

    def sample(self, number: int) -> Request:
        """The same for result `number` of the text, with a seed of its own."""
        return replace(self, options=replace(self.options, seed=(self.options.seed + number) & 0xFFFFFFFF))


class Progress:
    """One row on its way: takes logits, gives chunks."""

    def __init__(self, request: Request, tokenizer: Tokenizer, end_ids: Sequence[int], started: float):
        options = request.options
        self._options, self._forced, self._end_ids, self._started = options, request.forced, list(end_ids), started
        self._processors = processors_for(options, request.token_ids, end_ids, request.forced.never)
        self._grammar: Following | None = None
        if request.grammar is not None:
            self._grammar = Following(request.grammar, skipped=0 if request.forced.first is None else 1)
            self._processors.append(self._grammar)
        self._sample = make_sampler(options.temperature, options.top_k, options.top_p, options.min_p, options.seed)
        self._detokenizer, self._stops = Detokenizer(tokenizer.decode), StopStrings(options.stop)
        self._first_at = 0.0
        self._new_ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        """Of the new tokens that have not gone out."""
        self._taken = 0
        """Tokens chosen, an end token included."""
        self._sent = 0
        """How many of the new tokens have gone out."""
        self.last_token = 0
        """To be fed next."""

    def take(self, logits: np.ndarray) -> Chunk | None:
        """The chunk that one more token from logits [V] makes; None where its text is not certain yet.

        A chunk with a finish reason is the last. `logits` may be written to.
        """
        alternatives = self._options.logprobs
        own = logits if alternatives is None or not self._processors else logits.copy()
        for process in self._processors:
            process(logits, self._new_ids)
        given = self._given()
        token = self._sample(logits) if given is None else given
        if self._grammar is not None and given is None and token not in self._end_ids:
            left = self._options.max_new_tokens - len(self._new_ids) - (self._forced.last is not None)
            token = self._grammar.within(token, self._new_ids, left)
        self.last_token = token
        self._taken += 1
        if not self._first_at:
            self._first_at = time.perf_counter()
        if token in self._end_ids:
            return self._finished("eos" if given is None else "length", "")
        self._new_ids.append(token)
        if alternatives is not None:
            self._logprobs.append(token_logprob(own, token, alternatives))
        text, stopped = self._stops.push(self._detokenizer.push(token))
        if stopped:
            return self._finished("stop", text)
        if self._grammar is not None and self._grammar.has_ended(self._new_ids):
            return self._finished("eos", text)
        if len(self._new_ids) == self._options.max_new_tokens:
            is_whole = self._grammar is not None and self._grammar.is_whole()
            return self._finished("eos" if is_whole else "length", text)
        return self._chunk(text) if text else None

    def ended(self, reason: FinishReason) -> Chunk:
        """The last chunk, of a row that goes no further."""
        return self._finished(reason, "")

    def _given(self) -> int | None:
        """The token that this place of the text must hold."""
        count = len(self._new_ids)
        if count == self._options.max_new_tokens - 1 and self._forced.last is not None:
            return self._forced.last
        return self._forced.first if count == 0 else None

    def _finished(self, reason: FinishReason, text: str) -> Chunk:
        now = time.perf_counter()
        self._first_at = self._first_at or now
        if reason != "stop":
            rest, stopped = self._stops.push(self._detokenizer.end())
            text += rest if stopped else rest + self._stops.end()
            reason = "stop" if stopped else reason
        later_tokens = self._taken - 1
        seconds = now - self._first_at
        rate = later_tokens / seconds if later_tokens > 0 and seconds > 0 else 0.0
        return self._chunk(text, reason, Timing((self._first_at - self._started) * 1000, rate))

    def _chunk(self, text: str, reason: FinishReason | None = None, timing: Timing | None = None) -> Chunk:
        token_ids, self._sent = tuple(self._new_ids[self._sent :]), len(self._new_ids)
        if self._options.logprobs is None:
            return Chunk(text, token_ids, reason, timing)
        logprobs, self._logprobs = tuple(self._logprobs), []
        return Chunk(text, token_ids, reason, timing, logprobs)
