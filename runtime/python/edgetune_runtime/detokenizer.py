"""Text from a stream of tokens, as soon as it is certain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"
PATIENCE = 8
"""Tokens that wait for the rest of a character: UTF-8 needs 4 bytes, and a few tokens may stand for no byte."""
UNFINISHED = 3
"""Bytes that the beginning of a character can have, each shown as U+FFFD by some tokenizers."""


class Detokenizer:
    """Joined pieces are the text of all tokens.

    A tokenizer decodes a token differently at the start of a text (SentencePiece drops a leading space) and in the
    middle of a character (half of one decodes to U+FFFD). So every piece is the difference that the new tokens make
    behind the ones before them, and what may still become a character waits for the rest.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]):
        self._decode = decode
        self._ids: list[int] = []
        """The tokens of the last piece, for context, then those that wait."""
        self._context = 0
        """How many of them are context."""
        self._shown = ""
        """Their text as far as it has gone out."""

    def push(self, token_id: int) -> str:
        """The text that `token_id` makes certain; often none."""
        self._ids.append(token_id)
        text = self._decode(self._ids)
        waiting = unfinished(text)
        if waiting and len(self._ids) - self._context < PATIENCE:
            return ""
        # bytes that are no text at all go out, but for the last few, which may still begin a character
        return self._sent(text, min(waiting, UNFINISHED))

    def end(self) -> str:
        """The rest of the text, half a character as U+FFFD."""
        return self._sent(self._decode(self._ids), 0)

    def _sent(self, text: str, held: int) -> str:
        """What is new in `text`, the window's own, but for the last `held` characters; then the window moves on."""
        if text.startswith(self._shown):
            piece = text[len(self._shown) : len(text) - held]
        else:
            # a broken byte behind a whole character makes some tokenizers take the character back
            text = self._decode(self._ids[self._context :])
            piece = text[: len(text) - held]
        if piece or held:
            self._ids = self._ids[-PATIENCE:] if held else self._ids[self._context :]
            self._context = 0 if held else len(self._ids)
            text = self._decode(self._ids)
            self._shown = text[: len(text) - min(unfinished(text), held)]
        return piece


def unfinished(text: str) -> int:
    """How many U+FFFD the text ends in."""
    return len(text) - len(text.rstrip(REPLACEMENT))
