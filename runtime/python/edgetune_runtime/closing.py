"""How a text that follows a grammar comes to an end: the tokens that bring it there soon, and when they must be taken.

A model may go on for ever where a grammar lets it: decimals of a number, elements of an array. Near the most tokens
that a text may have, a token is only taken if from there a short way to the end is known that still fits; else the way
that is known is followed. A way is found by taking, at each place, what closes something: the end, then brackets,
quotes and commas, then the simplest value. For JSON that is short, not always the shortest; in other grammars there may
be none to find, and the text is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

CLOSERS = '}]",:0n[{tf1 z'
"""What brings JSON to an end, the first that is allowed; in a string, where brackets are characters, the quote."""
QUOTE, CHARACTER = 2, 13
"""Their places: the quote, and what is allowed in strings alone."""
MARGIN = 64
"""Tokens left, beside twice what the whole text needs at least, from which on each token's way to the end is known."""


class Closing:
    """The ends of one row's text."""

    def __init__(self, matcher: Any, closers: Sequence[int], end: int, most: int):
        """`matcher` stands at the grammar's start and is not altered; `closers` are tokens by preference.

        The text may have `most` tokens and then an `end`.
        """
        self._closers, self._end = closers, end
        self._near = MARGIN + 2 * len(shortest_way(matcher, closers, most) or ())
        self._way: list[int] | None = None

    def within(self, matcher: Any, token: int, left: int) -> int:
        """`token`, or another with which a text can be whole that has `left` tokens left, that one included.

        `matcher` stands in front of the token and is not altered.
        """
        if left > self._near:
            self._way = None
            return token
        if self._way is None:
            self._way = shortest_way(matcher, self._closers, left)
        if self._way is None:
            return token
        if self._way[:1] != [token]:
            ahead = matcher.deep_copy()
            other = shortest_way(ahead, self._closers, left - 1) if ahead.try_consume_tokens([token]) else None
            if other is not None:
                self._way = [token, *other]
        if not self._way:
            return self._end
        token, *self._way = self._way
        return token


def shortest_way(matcher: Any, closers: Sequence[int], most: int) -> list[int] | None:
    """At most `most` tokens that make the text whole; None where none are found."""
    ahead, way = matcher.deep_copy(), []
    while not ahead.is_accepting():
        tokens = ahead.compute_ff_tokens() or _closer(ahead, closers)
        way += tokens
        if not tokens or len(way) > most or ahead.try_consume_tokens(tokens) < len(tokens):
            return None
    return way


def _closer(matcher: Any, closers: Sequence[int]) -> list[int]:
    """One token, if one is allowed: a closer, else the first."""
    bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)

    def is_allowed(token: int) -> bool:
        return bool(bits[token >> 3] >> (token & 7) & 1)

    if closers and is_allowed(closers[QUOTE]) and is_allowed(closers[CHARACTER]):
        return [closers[QUOTE]]
    for token in filter(is_allowed, closers):
        return [token]
    places = np.flatnonzero(bits)[:1].tolist()
    return [8 * place + int(np.flatnonzero(np.unpackbits(bits[place], bitorder="little"))[0]) for place in places]
