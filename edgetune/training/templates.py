"""Rows filled into the template of label words: the very functions that the device runs."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune_runtime.template import filled_ids

from edgetune.data.rows import LabelledText
from edgetune.errors import ConfigError, DataError
from edgetune.methods.words import LabelWords
from edgetune.models.base import Base
from edgetune.training.examples import Example, warn_of_cuts
from edgetune.training.tagging import device_tokenizer


def word_examples(
    base: Base, rows: Sequence[LabelledText], labels: Sequence[int], limit: int | None, words: LabelWords, path: str
) -> list[Example]:
    """Texts and pairs in the template; what is cut to `limit` is the text, with one warning for all.

    Raises:
        DataError: a row with a second text that the template has no place for, or without one that it has.
        ConfigError: the template alone does not fit, or it has more mask tokens than its own.
    """
    tokenizer = device_tokenizer(base)
    mask = base.tokenizer.convert_ids_to_tokens(base.mask_token_id) if base.masked else ""
    lengths, found = [], []
    for row, label in zip(rows, labels):
        if (row.text_pair is not None) != words.takes_pairs:
            does, has = ("no", "has one") if words.takes_pairs else ("a", "has no place for it")
            raise DataError(
                f"{path}:{row.line}: the row has {does} text_pair, and the template {has}: {words.template!r}"
            )
        text = row.text if row.text_pair is None else (row.text, row.text_pair)
        ids, length = filled_ids(tokenizer, words.template, text, mask, limit)
        if limit is not None and len(ids) > limit:
            raise ConfigError(f"--template {words.template!r} alone has {len(ids)} tokens, and {limit} fit; shorten it")
        if base.masked and ids.count(base.mask_token_id) != 1:
            raise ConfigError(
                f"--template {words.template!r} gives {ids.count(base.mask_token_id)} mask tokens; give it exactly one"
            )
        lengths.append(length)
        found.append(Example(ids, label=label))
    warn_of_cuts(lengths, limit)
    return found
