"""A first run of the graph that nobody waits for: what onnxruntime does once is done, and adapters are in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .adapter import Adapter
from .encoder import Encoder, EncoderRow
from .engine import Decoder
from .errors import AdapterError, OptionError
from .manifest import Manifest

TOKENS = 16
"""Of the text that the graph runs on."""


def warm(
    engine: Encoder | Decoder, manifest: Manifest, adapters: Sequence[Adapter | None], tokens: int = TOKENS
) -> None:
    """Runs the graph on a text of that many tokens, or as many as fit, and a generator a step further.

    One adapter, that with the most virtual tokens, is in front of it: all go through the same graph. Raises OptionError
    for a number of tokens below 1, AdapterError for an encoder without an adapter.
    """
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise OptionError(f"tokens: is {tokens!r}. Pass a whole number of at least 1.")
    longest = max(adapters, key=lambda x: x.info.virtual_tokens if x else 0, default=None)
    limit, taken = manifest.graph.max_positions, longest.info.virtual_tokens if longest else 0
    count = tokens if limit is None else max(1, min(tokens, limit - taken - 1))
    of = manifest.tokenizer
    ids = np.full(count, next((x for x in (of.bos_token_id, of.pad_token_id) if x is not None), 0), np.int64)
    if isinstance(engine, Encoder):
        if longest is None:
            raise AdapterError("an encoder answers with an adapter, and none is to be warmed up. Name one.")
        if of.mask_token_id is not None:
            ids[0] = of.mask_token_id
        engine.class_logits([EncoderRow(ids, longest)])
        return
    logits, state = engine.prefill([ids], [longest], 1)
    if limit is None or count + taken < limit:
        engine.step(logits.argmax(-1), state)
