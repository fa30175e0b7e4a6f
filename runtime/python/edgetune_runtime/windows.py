"""Long texts by windows: overlapping pieces of the length that the base holds, and one answer from theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ContextLengthError, OptionError
from .template import encoded
from .tokenizer import Text, Tokenizer, parts_of

COMBINATIONS = ("mean", "max")
"""Of the windows' probabilities: their mean, or each label's highest, scaled to a sum of 1."""


@dataclass(frozen=True)
class Windows:
    """How a call wants long texts to be read."""

    combine: str = COMBINATIONS[0]
    stride: int | None = None
    """Tokens of the text that neighbouring windows share at least; None: a quarter of a window."""


def checked_windows(combine: Any, stride: Any) -> Windows | None:
    """What a call asks for; None where it wants none. Raises OptionError for values that are none."""
    if combine is None or combine is False:
        if stride is not None:
            raise OptionError("stride: is for windows, and none are asked for. Pass windows as well.")
        return None
    combine = COMBINATIONS[0] if combine is True else combine
    if combine not in COMBINATIONS:
        raise OptionError(f"windows: is {combine!r}. Pass {' or '.join(map(repr, COMBINATIONS))}, or leave it out.")
    if stride is not None and (isinstance(stride, bool) or not isinstance(stride, int) or stride < 0):
        raise OptionError(f"stride: is {stride!r}. Pass a whole number of tokens, 0 or more, or None.")
    return Windows(combine, stride)


def window_places(length: int, width: int, stride: int | None, where: str) -> list[tuple[int, int]]:
    """First token and the one behind the last of as few windows as there have to be over `length` tokens.

    All are `width` tokens, spread evenly; neighbours share `stride` at least. Raises ContextLengthError for a width
    below 1, OptionError for a stride that is as long as a window.
    """
    if length <= width:
        return [(0, length)]
    if width < 1:
        raise ContextLengthError(
            f"{where}: special, virtual and template tokens leave no room to a window of the text."
        )
    shared = width // 4 if stride is None else stride
    if shared >= width:
        raise OptionError(f"stride: is {shared}, and a window of {where} has {width} tokens of it. Pass a smaller one.")
    count = -(-(length - shared) // (width - shared))
    starts = [i * (length - width) // (count - 1) for i in range(count)]
    return [(start, start + width) for start in starts]


@dataclass(frozen=True)
class Window:
    """One piece of a tokenised text, special tokens around it."""

    token_ids: list[int]
    first: int
    """The place in the whole text's tokens of its first that is no special token in front."""
    end: int
    """The place behind its last."""
    shift: int
    """What to subtract from a place between the two to have its place in `token_ids`."""

    def margin(self, place: int, first: int, end: int) -> float:
        """How far a token is from the window's edge; an edge of the text, from `first` to `end`, does not count."""
        left = np.inf if self.first == first else place - self.first
        return min(left, np.inf if self.end == end else self.end - 1 - place)


def windows_of(
    ids: Sequence[int], first: int, end: int, room: int | None, stride: int | None, where: str
) -> list[Window]:
    """Pieces of the tokens `first` to `end` of `ids`, the others around each, at most `room` in all."""
    whole, around = list(ids), len(ids) - (end - first)
    width = end - first if room is None else room - around
    return [
        Window(whole[:first] + whole[first + a : first + b] + whole[end:], first + a, first + b, a)
        for a, b in window_places(end - first, width, stride, where)
    ]


def text_windows(tokenizer: Tokenizer, text: Text, room: int | None, stride: int | None, where: str) -> list[list[int]]:
    """Token ids of the windows of a text; of a pair the longer moves and the shorter is in each of them."""
    ids, parts = tokenizer.encode_parts(text)
    if room is None or len(ids) <= room or not parts:
        return [ids]
    first, end = max(parts, key=lambda part: part[1] - part[0])
    return [window.token_ids for window in windows_of(ids, first, end, room, stride, where)]


def filled_windows(
    tokenizer: Tokenizer, template: str, text: Text, mask: str, room: int | None, stride: int | None, where: str
) -> list[list[int]]:
    """The same where the template is put around each piece of the text."""
    first, second = parts_of(text)
    parts = [first, second or ""]
    ids = encoded(tokenizer, template, parts[0], parts[1], mask)
    if room is None or len(ids) <= room:
        return [ids]
    spans = [tokenizer.spans(part) for part in parts]
    moving = max((0, 1), key=lambda i: len(spans[i]))
    long, places = parts[moving], spans[moving]
    if not places:
        return [ids]
    parts[moving] = ""
    width = room - len(encoded(tokenizer, template, parts[0], parts[1], mask))
    while True:
        found = []
        for a, b in window_places(len(places), width, stride, where):
            parts[moving] = long[places[a][0] : places[b - 1][1]]
            found.append(encoded(tokenizer, template, parts[0], parts[1], mask))
        # a piece that begins within a word may have more tokens of its own
        over = max(map(len, found)) - room
        if over <= 0:
            return found
        width = min(width, len(places)) - over


def joined_logits(logits: Sequence[np.ndarray], combine: str) -> np.ndarray:
    """Logits [C] whose softmax is what the windows' probabilities are together, from logits [C] of each."""
    if len(logits) == 1:
        return logits[0]
    wide = np.stack(logits).astype(np.float64)
    weights = np.exp(wide - wide.max(-1, keepdims=True))
    each = weights / weights.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        return np.log(each.mean(0) if combine == "mean" else each.max(0))
