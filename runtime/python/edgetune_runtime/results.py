"""What the runtime hands back: plain frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["eos", "stop", "length", "time", "cancelled"]
"""Why a generation ended: an end token, a stop string, the most tokens allowed, `max_time_s`, or `cancel`."""


@dataclass(frozen=True)
class AdapterInfo:
    """One task that a model can do."""

    name: str
    task: str
    """`"classify"`, `"tag"`, `"regress"` or `"generate"`."""
    method: str
    """How it was tuned: `"prompt"`, `"prefix"` or `"prompt+prefix"`."""
    virtual_tokens: int
    """P: positions that it takes, in front of the text and behind it."""
    labels: tuple[str, ...]
    """In the order of the head's rows; empty unless it classifies or tags."""
    size_bytes: int
    """Of its file; 0 where it is folded into the graph."""


@dataclass(frozen=True)
class Classification:
    """The probabilities of one text's labels."""

    label: str | None
    """The most probable label; of equals, the first in the adapter's order. None where a `threshold` was given and the
    text is out of scope: no label is as probable as that."""
    score: float
    """The probability of the most probable label."""
    scores: Mapping[str, float]
    """Label → probability, most probable first; cut to `top_k` entries where that was given."""


@dataclass(frozen=True)
class Span:
    """An entity: neighbouring words whose tags belong together."""

    label: str
    """Its kind: the tag without `B-` and `I-`."""
    text: str
    start: int
    """Its first character in the text, or, of a text that was given as words, in these with a space between two."""
    end: int
    """The character behind its last."""
    score: float
    """The mean of its words' scores."""


@dataclass(frozen=True)
class Tagging:
    """The tags of one text's words."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    """The most probable tag of each word."""
    scores: tuple[float, ...]
    """Their probabilities; 0 for a word behind the cut of a text that is too long, which is outside of every entity."""
    spans: tuple[Span, ...]
    """Where the tags are `O`, `B-…` and `I-…`; else empty."""


@dataclass(frozen=True)
class Regression:
    """The prediction for one text."""

    value: float
    """In the units of the rows that the task was tuned on."""


@dataclass(frozen=True)
class Score:
    """How probable one continuation is behind its text."""

    text: str
    """The continuation."""
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    """Of each token the natural logarithm of its probability, given the text and the tokens before it."""

    @property
    def logprob(self) -> float:
        """Of the whole: the sum over its tokens."""
        return math.fsum(self.token_logprobs)

    @property
    def logprob_per_token(self) -> float:
        """The mean: longer continuations are not at a disadvantage."""
        return self.logprob / len(self.token_ids)

    @property
    def logprob_per_byte(self) -> float:
        """The sum by the text's length in UTF-8: comparable whatever the tokenizer cuts."""
        return self.logprob / max(1, len(self.text.encode("utf-8")))

    @property
    def perplexity(self) -> float:
        """Over its tokens: 1 is certainty."""
        return math.exp(-self.logprob_per_token)


@dataclass(frozen=True)
class Timing:
    """How long one generation took, on the wall clock."""

    first_token_ms: float
    """From the call (or the start of its batch) until the first token was chosen."""
    tokens_per_second: float
    """Rate of the tokens after the first; 0.0 where there were none."""


@dataclass(frozen=True)
class TokenLogprob:
    """How probable a token was: natural logarithms of the model's own distribution at that place."""

    token_id: int
    logprob: float
    """Of the token that was chosen; at most 0."""
    top: Mapping[int, float]
    """Token id → log-probability of the most probable tokens, descending, as many as `logprobs` asked for."""


@dataclass(frozen=True)
class Generation:
    """One finished text."""

    text: str
    """Special tokens are skipped; a stop string and all that follows it is cut off."""
    token_ids: list[int]
    """Every new token, those of a stop string included, an end token never."""
    finish_reason: FinishReason
    timing: Timing
    logprobs: list[TokenLogprob] | None = None
    """One for each of `token_ids`, where they were asked for."""
    others: tuple[Generation, ...] = ()
    """The further results of the same text, where `n` asked for several."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a text on its way. The pieces of a stream, joined, are exactly what `generate` returns."""

    text: str
    token_ids: tuple[int, ...]
    """The tokens chosen since the chunk before. They may be ahead of the text: half a character is held back."""
    finish_reason: FinishReason | None = None
    """None for all chunks but the last."""
    timing: Timing | None = None
    """Of the whole generation, on the last chunk."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """One for each of `token_ids`, where they were asked for."""
    index: int = 0
    """Which result of its call: the text's place in the list times `n`, plus which of the `n`."""
