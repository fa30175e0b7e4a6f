"""What callers may pass as a text: strings, pairs and token ids, one or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypeGuard

import numpy as np

from .errors import InputError
from .tokenizer import readable
from .words import Words, joined_words, words_of

Row = str | tuple[str, str] | np.ndarray
"""One text: a string, a pair of strings, or token ids [T]."""


OneText = str | tuple[str, str] | Sequence[int] | np.ndarray
"""What a caller may pass as one text. A [B, T] array is a list of B."""

ManyTexts = list[str] | list[tuple[str, str]] | list[str | tuple[str, str]] | list[list[int]] | list[np.ndarray]
"""What a caller may pass as a batch; its texts may be of different kinds."""


class Default:
    """The type of `DEFAULT`."""

    def __repr__(self) -> str:
        return "DEFAULT"


@dataclass(frozen=True)
class GivenWords:
    """A text to be tagged: a string, or its words."""

    text: str = ""
    words: tuple[str, ...] | None = None

    def split(self, how: str) -> Words:
        """The words; a string is split as one of `SPLITS` says."""
        return words_of(self.text, how) if self.words is None else joined_words(self.words)


DEFAULT = Default()
"""Stands for the bundle's default adapter; None stands for no adapter at all."""

AdapterChoice = str | None | Default


def rows_from(texts: Any, *, pairs: bool) -> tuple[list[Row], bool]:
    """The rows in `texts`, and whether it was one text rather than a list of them.

    A list of whole numbers is one text of token ids; a list of anything else is a batch. Pairs, tuples of two
    strings, are taken if `pairs`. Raises InputError, saying which text is none.
    """
    if isinstance(texts, (str, tuple)) or _is_token_ids(texts):
        return [_row_from(texts, place(0, True), pairs)], True
    if isinstance(texts, (list, np.ndarray)):
        return [_row_from(text, place(i), pairs) for i, text in enumerate(texts)], False
    raise InputError(
        f"the text is {_described(texts)}. Pass a string, token ids, or a list of texts (list(...) of an iterator)."
    )


def words_from(texts: Any) -> tuple[list[GivenWords], bool]:
    """The texts of a call that tags, and whether it was one text rather than a list of them.

    A tuple of strings is the words of one text; a list is a batch of texts. Raises InputError, saying which is none.
    """
    if isinstance(texts, (str, tuple)):
        return [_words_of_one(texts, place(0, True))], True
    if isinstance(texts, list):
        return [_words_of_one(text, place(i)) for i, text in enumerate(texts)], False
    raise InputError(
        f"the text is {_described(texts)}. Pass a string, its words as a tuple of strings, or a list of such texts."
    )


def _words_of_one(text: Any, where: str) -> GivenWords:
    if isinstance(text, str):
        return GivenWords(text=readable(text))
    if isinstance(text, (list, tuple)) and all(isinstance(word, str) for word in text):
        return GivenWords(words=tuple(map(readable, text)))
    raise InputError(f"{where} is {_described(text)}. Pass a string, or its words as a tuple of strings.")


def place(index: int, is_one: bool = False) -> str:
    """What a message calls the text at `index`."""
    return "the text" if is_one else f"text {index}"


def adapters_for(choice: Any, count: int) -> list[AdapterChoice]:
    """One adapter choice per row; raises InputError if a list of choices is not as long as the list of texts."""
    if isinstance(choice, (str, Default)) or choice is None:
        return [choice] * count
    if not isinstance(choice, (list, tuple)) or not all(isinstance(x, (str, Default)) or x is None for x in choice):
        raise InputError(f"adapter: is {_described(choice)}. Pass a name, None, or a list with one of them per text.")
    if len(choice) != count:
        raise InputError(f"adapter: lists {len(choice)} names for {count} texts. Pass one per text.")
    return list(choice)


def checked_token_ids(token_ids: Any, vocab_size: int, where: str) -> np.ndarray:
    """Token ids [T] as int64; raises InputError, naming the first that is not of the vocabulary."""
    ids = np.asarray(token_ids)
    if ids.size == 0:
        return np.empty(0, np.int64)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise InputError(
            f"{where}: token ids of the shape {list(ids.shape)} and type {ids.dtype}. Pass whole numbers, [T]."
        )
    wrong = np.flatnonzero((ids < 0) | (ids >= vocab_size))
    if wrong.size:
        raise InputError(
            f"{where}: token id {ids[wrong[0]]} is not of the vocabulary of {vocab_size}. Check the tokenizer."
        )
    return ids.astype(np.int64)


def _row_from(text: Any, where: str, pairs: bool) -> Row:
    if isinstance(text, str):
        return text
    if isinstance(text, tuple) and any(isinstance(part, str) for part in text):
        if pairs and len(text) == 2 and all(isinstance(part, str) for part in text):
            return text  # type: ignore[return-value]
        raise InputError(
            f"{where} is {_described(text)}. "
            + ("A pair is two strings." if pairs else "Only a classifier takes pairs.")
        )
    if _is_token_ids(text) or (isinstance(text, (list, tuple)) and len(text) == 0):
        return np.asarray(text, None if len(text) else np.int64)
    raise InputError(f"{where} is {_described(text)}. Pass a string or token ids.")


def _is_token_ids(value: Any) -> TypeGuard[Sequence[int] | np.ndarray]:
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.dtype.kind in "iu"
    if not isinstance(value, (list, tuple, range, memoryview)) or len(value) == 0:
        return isinstance(value, range)
    return all(isinstance(x, Integral) and not isinstance(x, bool) for x in value)


def _described(value: Any) -> str:
    if isinstance(value, (list, tuple)) and value:
        kinds = sorted({type(x).__name__ for x in value})
        return f"a {type(value).__name__} of {', '.join(kinds)}"
    if isinstance(value, np.ndarray):
        return f"an array {list(value.shape)} of {value.dtype}"
    return f"{type(value).__name__} {value!r}"[:80]
