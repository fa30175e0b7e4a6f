"""Text from a stream of tokens, as soon as it is certain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"
LONGEST_CHARACTER = 8
"""Tokens that may wait for the rest of a character: UTF-8 needs 4 bytes, and a few tokens stand for no byte."""


class Detokenizer:
    """Joined pieces are the text of all tokens.

    A tokenizer decodes a token differently at the start of a text (SentencePiece drops a leading space) and in the
    middle of a character (half of one decodes to U+FFFD). So every piece is the difference that the new tokens make
    behind the ones before them, and a piece that ends in half a character waits for the rest.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]):
        self._decode = decode
        self._ids: list[int] = []
        """The tokens of the last piece, for context, then those that wait."""
        self._context = 0
        """How many of them are context."""
        self._before = ""
        """The text of the context."""

    def push(self, token_id: int) -> str:
        """The text that `token_id` makes certain; often none."""
        self._ids.append(token_id)
        text = self._decode(self._ids)
        waiting = len(self._ids) - self._context
        if text.endswith(REPLACEMENT) and waiting < LONGEST_CHARACTER:
            return ""
        return self._advance(text)

    def end(self) -> str:
        """The rest of the text, half a character as U+FFFD."""
        return self._advance(self._decode(self._ids)) if len(self._ids) > self._context else ""

    def _advance(self, text: str) -> str:
        if len(text) <= len(self._before):
            return ""
        piece = text[len(self._before) :]
        self._ids = self._ids[self._context :]
        self._context = len(self._ids)
        self._before = self._decode(self._ids)
        return piece
