"""Logits of a text as they arise while generating: token by token over the cache."""

from __future__ import annotations

import numpy as np

from .adapter import Adapter
from .engine import Decoder
from .errors import TaskError


def step_logits(decoder: Decoder, token_ids: np.ndarray, adapter: Adapter | None) -> np.ndarray:
    """Logits [T, V] of one text [T], token by token over the cache.

    Raises TaskError for an adapter whose virtual tokens stand behind the text: every token would push them on.
    """
    if adapter is not None and adapter.suffix_tokens:
        raise TaskError(
            f"the adapter {adapter.info.name!r} has virtual tokens behind the text, so a text has no steps. "
            "Use logits, or completion_logits."
        )
    logits, state = decoder.prefill([token_ids[:1]], [adapter], len(token_ids))
    rows = [logits[0].copy()]
    for i in range(1, len(token_ids)):
        logits, state = decoder.step(token_ids[i : i + 1], state)
        rows.append(logits[0].copy())
    return np.stack(rows)
