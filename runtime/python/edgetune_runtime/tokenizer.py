"""Text to token ids and back, over a `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BundleError

if TYPE_CHECKING:
    import tokenizers

Text = str | tuple[str, str]
"""A text, or a text and its pair."""


class Tokenizer:
    """A tokenizer that never pads, and truncates only where a call says so. Safe to share between threads."""

    def __init__(self, inner: tokenizers.Tokenizer):
        # what the file stores for training would silently cut or pad every text
        inner.no_truncation()
        inner.no_padding()
        self._inner = inner

    def encode(self, text: Text, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text or a pair."""
        first, pair = parts_of(text)
        return self._inner.encode(first, pair, add_special_tokens=add_special_tokens).ids

    def encode_within(self, text: Text, max_tokens: int) -> tuple[list[int], int]:
        """At most `max_tokens` token ids, special ones included, and how many there were before the cut.

        A cut takes the text's last tokens and keeps the special tokens behind it; of a pair, the longer is cut first.
        """
        ids = self.encode(text)
        return (ids if len(ids) <= max_tokens else self._truncated(*parts_of(text), max_tokens)), len(ids)

    def encode_with_spans(self, text: str, max_tokens: int | None) -> tuple[list[int], list[tuple[int, int]], int]:
        """As `encode_within`, with the characters of `text` that each token covers; a special token covers none."""
        found = self._inner.encode(readable(text))
        length = len(found.ids)
        if max_tokens is not None and length > max_tokens:
            found = self._inner.encode(readable(text), add_special_tokens=False)
            room = max(max_tokens - self._inner.num_special_tokens_to_add(False), 0)
            found.truncate(min(room, len(found)))
            found = self._inner.post_process(found, None, add_special_tokens=True)
        spans = [(0, 0) if special else span for span, special in zip(found.offsets, found.special_tokens_mask)]
        return found.ids, spans, length

    def encode_parts(self, text: Text) -> tuple[list[int], list[tuple[int, int]]]:
        """As `encode`, with the first token of the text, and of its pair, and the one behind their last."""
        found = self._inner.encode(*parts_of(text))
        places = [[i for i, x in enumerate(found.sequence_ids) if x == part] for part in (0, 1)]
        return found.ids, [(x[0], x[-1] + 1) for x in places if x]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters that each token of `text` covers, without special tokens."""
        return list(self._inner.encode(readable(text), add_special_tokens=False).offsets)

    def token(self, token_id: int) -> str:
        """The text that the tokenizer takes for that token; empty for an id that it does not have."""
        return self._inner.id_to_token(token_id) or ""

    def to_json(self) -> str:
        """What `tokenizer.json` says of it, without truncation and padding."""
        return self._inner.to_str()

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of `token_ids`, without special tokens."""
        return self._inner.decode(token_ids, skip_special_tokens=True)

    def _truncated(self, first: str, pair: str | None, max_tokens: int) -> list[int]:
        a = self._inner.encode(first, add_special_tokens=False)
        b = None if pair is None else self._inner.encode(pair, add_special_tokens=False)
        room = max(max_tokens - self._inner.num_special_tokens_to_add(b is not None), 0)
        if b is None:
            a.truncate(min(room, len(a)))
        else:
            keep_a, keep_b = longest_first(len(a), len(b), room)
            a.truncate(keep_a)
            b.truncate(keep_b)
        return self._inner.post_process(a, b, add_special_tokens=True).ids


def parts_of(text: Text) -> tuple[str, str | None]:
    """A text and its pair, both fit for UTF-8."""
    return (readable(text), None) if isinstance(text, str) else (readable(text[0]), readable(text[1]))


def longest_first(a: int, b: int, room: int) -> tuple[int, int]:
    """How many tokens of a pair stay, cut from the longer one first, as the tokenizers library does it."""
    if a + b <= room:
        return a, b
    short = min(a, b)
    if 2 * short <= room:
        return (short, room - short) if a <= b else (room - short, short)
    half = room // 2
    return (half, room - half) if a <= b else (room - half, half)


def readable(text: str) -> str:
    """`text`, with lone surrogates, which no UTF-8 can hold, as U+FFFD; pairs of them become their character."""
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in the file at `path`; raises BundleError if it is none."""
    import tokenizers

    try:
        return Tokenizer(tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8")))
    except Exception as error:  # the library raises bare Exception
        raise BundleError(
            f"{path}: is not a tokenizer that this version can read ({error}). Update `tokenizers`."
        ) from None
