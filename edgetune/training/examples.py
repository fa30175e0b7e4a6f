"""Rows as token ids with their targets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgetune.data.rows import Conversation, LabelledText, PromptCompletion, ScoredText
from edgetune.errors import ConfigError, DataError
from edgetune.models.base import Base
from edgetune.models.suffix import suffix_ids

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """One row.

    Attributes:
        input_ids: T token ids; behind a decoder's prompt also those of a suffix, from V on.
        label: the class, for a classifier.
        value: the number, for a regression.
        tags, first: of each word its tag and the token that stands for it, -1 for a word behind a cut.
        completion: which tokens the loss is on, for a decoder: true where the model must predict that token.
        decoder_ids, targets: for an encoder–decoder, the U tokens that its decoder reads and those that follow each.
    """

    input_ids: list[int]
    label: int | None = None
    completion: tuple[bool, ...] = ()
    decoder_ids: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    value: float | None = None
    tags: tuple[int, ...] = ()
    first: tuple[int, ...] = ()


def text_limit(base: Base, virtual_tokens: int, max_length: int | None = None) -> int | None:
    """Most text tokens that fit behind the virtual ones; None for no limit."""
    if base.max_positions is None:
        return max_length
    room = base.max_positions - virtual_tokens
    if room < 2:
        raise ConfigError(
            f"{virtual_tokens} virtual tokens leave no room for text: "
            f"{base.name!r} holds {base.max_positions} positions"
        )
    return room if max_length is None else min(room, max_length)


def class_examples(base: Base, rows: Sequence[LabelledText], labels: Sequence[int], limit: int | None) -> list[Example]:
    """Texts and pairs, cut to `limit` tokens with one warning for all."""
    return [Example(ids, label=label) for ids, label in zip(text_ids(base, rows, limit), labels)]


def number_examples(base: Base, rows: Sequence[ScoredText], limit: int | None) -> list[Example]:
    """The same with a number each."""
    return [Example(ids, value=row.score) for ids, row in zip(text_ids(base, rows, limit), rows)]


def text_ids(base: Base, rows: Sequence[LabelledText] | Sequence[ScoredText], limit: int | None) -> list[list[int]]:
    pairs = [(row.text,) if row.text_pair is None else (row.text, row.text_pair) for row in rows]
    assert base.tokenizer is not None
    whole = [base.tokenizer(*pair).input_ids for pair in pairs]
    for i in warn_of_cuts([len(ids) for ids in whole], limit):
        whole[i] = base.tokenizer(*pairs[i], truncation=True, max_length=limit).input_ids
    return whole


def warn_of_cuts(lengths: Sequence[int], limit: int | None) -> list[int]:
    """The places of texts longer than `limit` tokens, with one warning for all."""
    long = [i for i, length in enumerate(lengths) if limit is not None and length > limit]
    if long:
        most = max(lengths[i] for i in long)
        log.warning(
            "%d of %d texts are longer than %d tokens (up to %d) and were cut", len(long), len(lengths), limit, most
        )
    return long


def generation_example(base: Base, row: PromptCompletion | Conversation) -> Example:
    """The prompt with the tokenizer's special tokens, the completion on its own, an end token behind it."""
    if isinstance(row, Conversation):
        return conversation_example(base, row.messages)
    tokenizer = base.tokenizer
    assert tokenizer is not None
    prompt = tokenizer(row.prompt).input_ids
    completion = tokenizer(row.completion, add_special_tokens=False).input_ids + list(base.eos_token_ids[:1])
    return Example(prompt + completion, completion=(False,) * len(prompt) + (True,) * len(completion))


def conversation_example(base: Base, messages: Sequence[Any]) -> Example:
    """A chat through the model's own template; the loss is on what follows each prompt for the assistant's turn."""
    tokenizer = base.tokenizer
    assert tokenizer is not None
    if not tokenizer.chat_template:
        raise ConfigError(f"the tokenizer of {base.name!r} has no chat template; use rows with prompt and completion")
    turns = [dict(m) for m in messages]
    last = max(i for i, turn in enumerate(turns) if turn["role"] == "assistant")
    ids: list[int] = templated(tokenizer, turns[: last + 1])
    on = [False] * len(ids)
    for i, turn in enumerate(turns[: last + 1]):
        if turn["role"] == "assistant":
            before = templated(tokenizer, turns[:i], add_generation_prompt=True)
            after = templated(tokenizer, turns[: i + 1])
            if ids[: len(after)] != after or after[: len(before)] != before:
                raise ConfigError(f"the chat template of {base.name!r} rewrites earlier turns; give one turn per row")
            on[len(before) : len(after)] = [True] * (len(after) - len(before))
    return Example(ids, completion=tuple(on))


def templated(tokenizer: Any, turns: list[dict[str, str]], **options: Any) -> list[int]:
    """Raises ConfigError with the template's own words where it refuses the turns, or is none."""
    from jinja2 import TemplateError

    try:
        return list(tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, **options)["input_ids"])
    except TemplateError as error:
        reason = str(error).strip() or type(error).__name__
        raise ConfigError(f"the chat template does not take these turns: {reason.splitlines()[0]}") from error


def generation_examples(
    base: Base, rows: Sequence[PromptCompletion | Conversation], limit: int | None, path: str, suffix: int = 0
) -> list[Example]:
    """Rows of at most `limit` tokens; the ids of a suffix of Q = `suffix` vectors come on top, behind each prompt.

    Raises:
        DataError: a row longer than the base holds (half a completion would teach the wrong end), or one without the
            one place that a suffix has.
    """
    examples = []
    for row in rows:
        try:
            examples.append(generation_example(base, row))
        except ConfigError as error:
            raise DataError(f"{path}:{row.line}: {error}") from error
    for row, example in zip(rows, examples):
        if limit is not None and len(example.input_ids) > limit:
            raise DataError(
                f"{path}:{row.line}: {len(example.input_ids)} tokens, but {base.name!r} holds "
                f"{base.max_positions} positions and the virtual tokens leave {limit}; "
                "shorten the row or use fewer virtual tokens"
            )
        if not example.completion[0:1] or example.completion[0]:
            raise DataError(f"{path}:{row.line}: the prompt gives no tokens; a completion needs something to follow")
        if suffix and False in example.completion[example.completion.index(True) :]:
            raise DataError(
                f"{path}:{row.line}: the chat has several turns to learn, and virtual tokens after the text have one "
                "place; give one turn per row"
            )
    ids = suffix_ids(suffix, base.vocab_size)
    return [behind_prompt(example, ids) for example in examples] if ids else examples


def behind_prompt(example: Example, ids: list[int]) -> Example:
    """The row with `ids` between its prompt and its completion."""
    at = example.completion.index(True)
    return replace(
        example,
        input_ids=example.input_ids[:at] + ids + example.input_ids[at:],
        completion=example.completion[:at] + (False,) * len(ids) + example.completion[at:],
    )
