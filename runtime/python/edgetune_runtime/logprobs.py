"""Log-probabilities of tokens."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from .results import TokenLogprob
from .sampler import ranked


def token_logprob(logits: np.ndarray, token_id: int, count: int) -> TokenLogprob:
    """Of one token under logits [V], with those of the `count` most probable ones; computed in float64."""
    total = log_total(logits)
    top = ranked(logits, min(count, len(logits))) if count else ()
    best = {int(i): float(logits[i]) - total for i in top}
    return TokenLogprob(token_id, float(logits[token_id]) - total, MappingProxyType(best))


def log_total(logits: np.ndarray) -> float:
    """The logarithm of the sum of exp(logits [V])."""
    peak = float(logits.max())
    return peak + float(np.log(np.exp(logits.astype(np.float64) - peak).sum()))
