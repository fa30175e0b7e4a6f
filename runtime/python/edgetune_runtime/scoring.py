"""Calls that say how probable a text is: logits, and the scores of given continuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from .adapter import Adapter
from .engine import ExtendableDecoder
from .errors import InputError, TaskError
from .inputs import DEFAULT, AdapterChoice, ManyTexts, OneText, Row, checked_token_ids, rows_from
from .pair_decoder import PairDecoder
from .parts import Parts
from .reading import Reading
from .results import Score
from .steps import step_logits
from .suffix import with_suffix


class Scoring(Reading):
    """A base with its adapters, as far as it reads and scores. Threads may share it."""

    def __init__(self, parts: Parts):
        super().__init__(parts)
        self.target_tokenizer = parts.target_tokenizer or parts.tokenizer
        """Of what is generated: `tokenizer`, but for encoder–decoders that write in a vocabulary of their own."""

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Tokens that end a generation."""
        return self.manifest.tokenizer.eos_token_ids

    @property
    def decoder(self) -> ExtendableDecoder:
        """The engine below `generate` and `score`; raises TaskError on an encoder."""
        if self._decoder is None:
            raise TaskError(
                "this bundle holds an encoder, which does not generate. Use classify, or a decoder's bundle."
            )
        return self._decoder

    @overload
    def score(
        self, text: OneText, continuations: OneText, *, adapter: AdapterChoice = ..., end: bool = ...
    ) -> Score: ...
    @overload
    def score(
        self, text: OneText, continuations: ManyTexts, *, adapter: AdapterChoice = ..., end: bool = ...
    ) -> list[Score]: ...
    def score(self, text: OneText, continuations: Any, *, adapter: AdapterChoice = DEFAULT, end: bool = False) -> Any:
        """How probable each continuation is behind the text: a Score for one, a list of them for a list.

        The text runs once, every continuation over its keys and values. Strings are tokenised on their own, as the
        rows of training are: without special tokens, but for encoder–decoders, whose completions are whole texts; a
        space between text and continuation belongs to the continuation. Token ids are taken as they are. With `end`
        the token that ends a generation is scored behind each string. Raises ContextLengthError, TaskError,
        AdapterError, InputError.
        """
        decoder, chosen = self.decoder, self._adapters.one(adapter)
        self._adapters.refuse_other_tasks([chosen], "generate")
        texts, is_one_text = rows_from(text, pairs=False)
        if not is_one_text:
            raise InputError("score takes one text, and this is a list. Call it for each text.")
        given, is_one = rows_from(continuations, pairs=False)
        ids = self._texts.prompt_ids(texts[0], chosen, "the text")
        rows = [self._continuation_ids(x, f"continuation {i}", end=end) for i, x in enumerate(given)]
        self._check_room(ids, rows, chosen)
        logprobs = continuation_logprobs(decoder, ids, chosen, rows, self.manifest.graph.vocab_size)
        scores = [
            Score(x if isinstance(x, str) else self.target_tokenizer.decode(row.tolist()), tuple(row.tolist()), found)
            for x, row, found in zip(given, rows, logprobs)
        ]
        return scores[0] if is_one else scores

    def logits(
        self, token_ids: Sequence[int] | np.ndarray, *, adapter: AdapterChoice = DEFAULT, keep: int = 0
    ) -> np.ndarray:
        """Logits [keep, V] of the last `keep` positions of one text [T], all for 0; float32, decoders.

        Those are [T, V], or [T + Q, V] of an adapter with Q virtual tokens behind the text.
        """
        decoder, chosen = self.decoder, self._adapters.one(adapter)
        return decoder.logits(self._texts.whole_row(token_ids, chosen, "the text"), chosen, keep)

    def step_logits(self, token_ids: Sequence[int] | np.ndarray, *, adapter: AdapterChoice = DEFAULT) -> np.ndarray:
        """The same logits [T, V] as of `logits`, token by token over the cache: as they arise while generating."""
        decoder, chosen = self.decoder, self._adapters.one(adapter)
        return step_logits(decoder, self._texts.whole_row(token_ids, chosen, "the text"), chosen)

    def completion_logits(
        self,
        token_ids: Sequence[int] | np.ndarray,
        completion: Sequence[int] | np.ndarray,
        *,
        adapter: AdapterChoice = DEFAULT,
    ) -> np.ndarray:
        """Logits [U, V] of the tokens of a completion [U] of one text [T]; float32, generators of both kinds."""
        decoder, chosen = self.decoder, self._adapters.one(adapter)
        if isinstance(decoder, PairDecoder):
            ids = self._texts.pair_row(token_ids, chosen, "the text")
            return decoder.completion_logits(ids, np.asarray(completion), chosen)
        whole = self._texts.whole_row([*token_ids, *completion], chosen, "the text")
        ids, written = np.split(whole, [len(token_ids)])
        return decoder.logits(ids, chosen, len(written) + 1, written)[:-1]

    def _continuation_ids(self, row: Row, where: str, *, end: bool) -> np.ndarray:
        """Token ids [U] of a continuation, as a row of training has them."""
        if isinstance(row, str):
            ends = self.eos_token_ids
            ids = self.target_tokenizer.encode(row, add_special_tokens=self.manifest.encoder_decoder is not None)
            ids = ids[:-1] if ids and ids[-1] in ends else ids
            row = np.array([*ids, *ends[:1]] if end else ids, np.int64)
        found = checked_token_ids(row, self.manifest.graph.vocab_size, where)
        if not len(found):
            raise InputError(f"{where} has no tokens. Pass at least one.")
        return found

    def _check_room(self, ids: np.ndarray, rows: Sequence[np.ndarray], adapter: Adapter | None) -> None:
        if self.manifest.encoder_decoder:
            self._texts.pair_row(ids, adapter, "the text")
            return
        for i, row in enumerate(rows):
            self._texts.whole_row(np.concatenate([ids, row]), adapter, f"the text with continuation {i}")


def continuation_logprobs(
    decoder: ExtendableDecoder,
    token_ids: np.ndarray,
    adapter: Adapter | None,
    continuations: Sequence[np.ndarray],
    vocab_size: int,
) -> list[tuple[float, ...]]:
    """Of each continuation [U] the natural logarithms of its tokens' probabilities behind the text [T].

    Raises ContextLengthError where a completion is longer than the base's decoder holds.
    """
    if not continuations:
        return []
    logits, state = decoder.prefill([token_ids], [adapter], max(map(len, continuations)))
    first = logits[0].copy()
    length = 1 if isinstance(decoder, PairDecoder) else len(with_suffix(token_ids, adapter, vocab_size))
    found = []
    for row in continuations:
        each = first[None]
        if len(row) > 1:
            later, state = decoder.extend(row[:-1], state, keep=0)
            each = np.concatenate([each, later])
            state = decoder.truncated(length, state)
        found.append(tuple(logprobs_of(each, row).tolist()))
    return found


def logprobs_of(logits: np.ndarray, token_ids: np.ndarray) -> np.ndarray:
    """[U] of logits [U, V]: the logarithm of each token's softmax, float64."""
    chosen = np.take_along_axis(logits, token_ids[:, None], axis=-1)[:, 0].astype(np.float64)
    peak = logits.max(-1)
    return chosen - peak - np.log(np.exp(logits - peak[:, None], dtype=np.float32).sum(-1, dtype=np.float64))
