"""Rows for an encoder–decoder: the prompt is what the encoder reads, the completion what the decoder writes."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.data.rows import Conversation, PromptCompletion
from edgetune.errors import DataError
from edgetune.models.base import Base
from edgetune.models.forward_pairs import places_of
from edgetune.training.examples import Example


def completion_ids(base: Base, text: str) -> list[int]:
    """The completion as the target tokenizer writes a whole text, an end token behind it."""
    ids, ends = base.target_tokenizer(text).input_ids, base.eos_token_ids
    return ids if ids and ids[-1] in ends else [*ids, *ends[:1]]


def pair_examples(
    base: Base, rows: Sequence[PromptCompletion | Conversation], limit: int | None, path: str
) -> list[Example]:
    """Raises DataError for a row whose prompt or completion is longer than the base holds, and for a chat."""
    start, examples = places_of(base).beginning.start, []
    for row in rows:
        if isinstance(row, Conversation):
            raise DataError(f"{path}:{row.line}: {base.name!r} is an encoder-decoder; give prompt and completion")
        prompt, target = list(base.tokenizer(row.prompt).input_ids), completion_ids(base, row.completion)
        for what, ids in (("prompt", prompt), ("completion", target)):
            if limit is not None and len(ids) > limit:
                raise DataError(
                    f"{path}:{row.line}: the {what} has {len(ids)} tokens, but {base.name!r} holds "
                    f"{base.max_positions} positions and the virtual tokens leave {limit}; "
                    "shorten the row or use fewer virtual tokens"
                )
            if not ids:
                raise DataError(f"{path}:{row.line}: the {what} gives no tokens; fill it in or leave the row out")
        examples.append(Example(prompt, decoder_ids=(start, *target[:-1]), targets=tuple(target)))
    return examples
