"""Rows of words as token ids, with the token that stands for each word: the very functions that the device runs."""

from __future__ import annotations

from collections.abc import Sequence

import edgetune_runtime.tokenizer as device
from edgetune_runtime.words import first_tokens, joined_words
from tokenizers import Tokenizer

from edgetune.data.rows import TaggedWords
from edgetune.errors import UnsupportedModelError
from edgetune.models.base import Base
from edgetune.training.examples import Example, warn_of_cuts

UNSEEN = -1
"""In place of the token of a word that the base does not see."""


def device_tokenizer(base: Base) -> device.Tokenizer:
    """The base's tokenizer as the runtime has it.

    Raises:
        UnsupportedModelError: the base has no `tokenizer.json`, so the runtime could not have it.
    """
    if not hasattr(base.tokenizer, "backend_tokenizer"):
        raise UnsupportedModelError(f"{base.name!r} has no tokenizer.json; the runtime needs a fast tokenizer")
    return device.Tokenizer(Tokenizer.from_str(base.tokenizer.backend_tokenizer.to_str()))


def tag_examples(
    base: Base, rows: Sequence[TaggedWords], tags: Sequence[Sequence[int]], limit: int | None
) -> list[Example]:
    """A space between two words; the loss is at each word's first token (Devlin et al. 2019, section 5.3).

    Rows are cut to `limit` tokens with one warning for all.
    """
    tokenizer, lengths, found = device_tokenizer(base), [], []
    for row, of_row in zip(rows, tags):
        words = joined_words(row.tokens)
        ids, spans, length = tokenizer.encode_with_spans(words.text, limit)
        first = tuple(UNSEEN if token is None else token for token in first_tokens(words, spans))
        found.append(Example(ids, tags=tuple(of_row), first=first))
        lengths.append(length)
    warn_of_cuts(lengths, limit)
    return found
