"""Templates of classifiers that answer with words: the text filled in, cut where it must be, the template never."""

from __future__ import annotations

import re

from .tokenizer import Text, Tokenizer, longest_first, parts_of

TEXT, PAIR, MASK = "{text}", "{text_pair}", "{mask}"
PLACES = re.compile(r"\{text\}|\{text_pair\}|\{mask\}")


def filled(template: str, text: str, pair: str = "", mask: str = "") -> str:
    """The template with its places taken; what the texts hold is left alone, but for mask tokens, which they lose."""
    told = {TEXT: text, PAIR: pair}
    if mask:
        told = {place: part.replace(mask, "") for place, part in told.items()}
    return PLACES.sub(lambda place: {**told, MASK: mask}[place.group()], template)


def encoded(tokenizer: Tokenizer, template: str, text: str, pair: str, mask: str) -> list[int]:
    """Token ids of the filled template, special ones included. Control tokens of the template control, the texts' do
    not."""
    text, pair = (part.replace(mask, "") if mask else part for part in (text, pair))
    return tokenizer.encode_filled(filled(template, tokenizer.hidden(text), tokenizer.hidden(pair), mask))


def filled_ids(tokenizer: Tokenizer, template: str, text: Text, mask: str, room: int | None) -> tuple[list[int], int]:
    """Token ids of the filled template, special ones included, and how many there are when nothing is cut.

    Of a text that leaves more than `room` the last tokens go, of a pair those of the longer first. Where the template
    alone is more than that, it is longer than `room` still.
    """
    first, second = parts_of(text)
    pair = second or ""
    ids = encoded(tokenizer, template, first, pair, mask)
    whole = len(ids)
    if room is None or whole <= room:
        return ids, whole
    ends = [[end for _, end in tokenizer.spans(part)] for part in (first, pair)]
    keep = len(ends[0]) + len(ends[1])
    while len(ids) > room and keep:
        keep = max(0, keep - (len(ids) - room))
        counts = longest_first(len(ends[0]), len(ends[1]), keep)
        cut = [part[: end[count - 1]] if count else "" for part, end, count in zip((first, pair), ends, counts)]
        ids = encoded(tokenizer, template, *cut, mask)
    return ids, whole
