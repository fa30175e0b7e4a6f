"""What the runtime hands back: plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["eos", "stop", "length"]
"""Why a generation ended: an end token, a stop string, or the most tokens allowed."""


@dataclass(frozen=True)
class AdapterInfo:
    """One task that a model can do."""

    name: str
    task: str
    """`"classify"` or `"generate"`."""
    method: str
    """How it was tuned: `"prompt"`, `"prefix"` or `"prompt+prefix"`."""
    virtual_tokens: int
    """P: positions that it takes, in front of the text and behind it."""
    labels: tuple[str, ...]
    """In the order of the head's rows; empty unless it classifies."""
    size_bytes: int
    """Of its file; 0 where it is folded into the graph."""


@dataclass(frozen=True)
class Classification:
    """The probabilities of one text's labels."""

    label: str
    """The most probable label; of equals, the first in the adapter's order."""
    score: float
    """Its probability."""
    scores: Mapping[str, float]
    """Label → probability, most probable first; cut to `top_k` entries where that was given."""


@dataclass(frozen=True)
class Timing:
    """How long one generation took, on the wall clock."""

    first_token_ms: float
    """From the call (or the start of its batch) until the first token was chosen."""
    tokens_per_second: float
    """Rate of the tokens after the first; 0.0 where there were none."""


@dataclass(frozen=True)
class Generation:
    """One finished text."""

    text: str
    """Special tokens are skipped; a stop string and all that follows it is cut off."""
    token_ids: list[int]
    """Every new token, those of a stop string included, an end token never."""
    finish_reason: FinishReason
    timing: Timing


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
