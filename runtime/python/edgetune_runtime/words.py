"""Words of a text and the token that stands for each: what token labelling reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

SPLITS = ("space", "punctuation")
"""How a plain text becomes words: at white space alone, or with punctuation at a word's edges on its own too."""

Place = tuple[int, int]
"""First character and the one behind the last."""


@dataclass(frozen=True)
class Words:
    """The words of one text."""

    text: str
    places: tuple[Place, ...]
    """Of each word in `text`."""

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.text[start:end] for start, end in self.places)

    @property
    def spaced(self) -> Words:
        """The same words with one space between two: the form in which the model reads them."""
        return joined_words(self.words)


def joined_words(words: Sequence[str]) -> Words:
    """Words one behind the other, a space between two."""
    places, at = [], 0
    for word in words:
        places.append((at, at + len(word)))
        at += len(word) + 1
    return Words(" ".join(words), tuple(places))


def words_of(text: str, split: str) -> Words:
    """The words of a plain text, split as one of `SPLITS` says."""
    places, start = [], None
    for i, character in enumerate(f"{text} "):
        if character.isspace() == (start is None):
            continue
        if start is None:
            start = i
        else:
            places += peeled(text, start, i) if split == "punctuation" else [(start, i)]
            start = None
    return Words(text, tuple(places))


def peeled(text: str, start: int, end: int) -> list[Place]:
    """A piece without white space as a word with the marks at its edges apart: `"(U.S.)"` is `(`, `U.S`, `.`, `)`."""
    first, last = start, end
    while first < last and is_mark(text[first]):
        first += 1
    while last > first and is_mark(text[last - 1]):
        last -= 1
    marks = [*range(start, first), *range(last, end)]
    word = [(first, last)] if first < last else []
    return sorted([*((i, i + 1) for i in marks), *word])


def is_mark(character: str) -> bool:
    """Punctuation, as Unicode has it."""
    return unicodedata.category(character).startswith("P")


def split_of(words: Iterable[Sequence[str]]) -> str:
    """Which of `SPLITS` these rows of words were made with: "punctuation" if no word of two or more has one behind it.

    A row of words that nowhere has punctuation says nothing, and is taken to be split at white space.
    """
    attached = alone = False
    for word in chain.from_iterable(words):
        attached = attached or (len(word) > 1 and is_mark(word[-1]) and not is_mark(word[0]))
        alone = alone or (len(word) == 1 and is_mark(word))
    return "punctuation" if alone and not attached else "space"


def first_tokens(words: Words, offsets: Sequence[Place]) -> list[int | None]:
    """The first token of each word, by the characters that tokens cover; None for a word that has none."""
    found: list[int | None] = []
    at = 0
    for start, end in words.places:
        while at < len(offsets) and (offsets[at][1] <= start or offsets[at][0] == offsets[at][1]):
            at += 1
        found.append(at if at < len(offsets) and offsets[at][0] < end else None)
    return found
