"""Text to token ids and back, over a `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .control_tokens import OPEN, ControlTokens
from .errors import BundleError
from .long_texts import CHARACTERS, MARGIN, beginning, most_characters, splits_at_words
from .tokenizer_limits import check_growth, encoding_of, is_panic, text_of

if TYPE_CHECKING:
    import tokenizers

Text = str | tuple[str, str]
"""A text, or a text and its pair."""


class Tokenizer:
    """A tokenizer that never pads, and truncates only where a call says so. Safe to share between threads.

    Control tokens that a text holds are characters like others, as with transformers' `split_special_tokens=True`;
    where `split_special_tokens` is false they control.
    """

    def __init__(self, inner: tokenizers.Tokenizer, *, split_special_tokens: bool = True):
        # what the file stores for training would silently cut or pad every text
        inner.no_truncation()
        inner.no_padding()
        self._inner = inner
        self._control = ControlTokens(inner)
        self._splits = split_special_tokens

    def encode(
        self, text: Text, *, add_special_tokens: bool = True, split_special_tokens: bool | None = None
    ) -> list[int]:
        """Token ids of a text or a pair; `split_special_tokens` is the tokenizer's own, if it is left out."""
        first, pair = parts_of(text)
        return self._encoded(first, pair, add_special_tokens, split_special_tokens)[1].ids

    def encode_within(self, text: Text, max_tokens: int) -> tuple[list[int], int]:
        """At most `max_tokens` token ids, special ones included, and how many there were before the cut.

        A cut takes the text's last tokens and keeps the special tokens behind it; of a pair, the longer is cut first.
        Of a text that is far too long there were more: see `beginning`.
        """
        first, pair = parts_of(self.beginning(text, max_tokens))
        inner, found = self._encoded(first, pair)
        ids = found.ids
        return (ids if len(ids) <= max_tokens else truncated(inner, first, pair, max_tokens)), len(ids)

    def encode_with_spans(self, text: str, max_tokens: int | None) -> tuple[list[int], list[tuple[int, int]], int]:
        """As `encode_within`, with the characters of `text` that each token covers; a special token covers none."""
        text = text if max_tokens is None else self.beginning(text, max_tokens)
        inner, found = self._encoded(readable(text))
        length = len(found.ids)
        if max_tokens is not None and length > max_tokens:
            found = inner.encode(readable(text), add_special_tokens=False)
            room = max(max_tokens - inner.num_special_tokens_to_add(False), 0)
            found.truncate(min(room, len(found)))
            found = inner.post_process(found, None, add_special_tokens=True)
        spans = [(0, 0) if special else span for span, special in zip(found.offsets, found.special_tokens_mask)]
        return found.ids, spans, length

    def beginning(self, text: Any, tokens: int | None) -> Any:
        """The beginning of a text that is far too long, if it alone has more than so many tokens, wherever it stands.

        They are those that the whole text begins with. A text that is not far too long, or of which that is not known,
        is itself, and so is a pair; None: there is no limit.
        """
        if not isinstance(text, str) or tokens is None or len(text) <= 2 * CHARACTERS * (tokens + MARGIN):
            return text
        if OPEN in text:  # what is hidden has other tokens than what was typed
            return text
        return beginning(self._inner, readable(text), tokens) if self._splits_at_words else text

    def exceeds(self, text: Text, tokens: int | None) -> bool:
        """Whether it is certain from its length that a text has more than so many tokens; None: there is no limit."""
        if not isinstance(text, str) or tokens is None or len(text) <= CHARACTERS * tokens:
            return False
        return self._most_characters is not None and len(text) > self._most_characters * tokens

    @cached_property
    def _splits_at_words(self) -> bool:
        return splits_at_words(self._inner)

    @cached_property
    def _most_characters(self) -> int | None:
        return most_characters(self._inner)

    def encode_parts(self, text: Text) -> tuple[list[int], list[tuple[int, int]]]:
        """As `encode`, with the first token of the text, and of its pair, and the one behind their last."""
        _, found = self._encoded(*parts_of(text))
        places = [[i for i, x in enumerate(found.sequence_ids) if x == part] for part in (0, 1)]
        return found.ids, [(x[0], x[-1] + 1) for x in places if x]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters that each token of `text` covers, without special tokens."""
        return list(self._encoded(readable(text), add_special_tokens=False)[1].offsets)

    def hidden(self, text: str) -> str:
        """`text` as it is put into a template whose control tokens are to be told from the text's own.

        It is the text itself where it has none, or where they control. What comes of it is for `encode_filled`.
        """
        return self._control.hidden(readable(text)) if self._splits else text

    def encode_filled(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a template that was filled with `hidden` texts: its own control tokens control.

        Raises InputError where the template has changed what was hidden.
        """
        return self._control.filled_encoding(readable(text), add_special_tokens=add_special_tokens).ids

    def token(self, token_id: int) -> str:
        """The text that the tokenizer takes for that token; empty for an id that it does not have."""
        return self._inner.id_to_token(token_id) or ""

    def to_json(self) -> str:
        """What `tokenizer.json` says of it, without truncation and padding."""
        return text_of(self._inner)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of `token_ids`, without special tokens."""
        return self._inner.decode(token_ids, skip_special_tokens=True)

    def _encoded(
        self, first: str, pair: str | None = None, add_special_tokens: bool = True, splits: bool | None = None
    ) -> tuple[tokenizers.Tokenizer, tokenizers.Encoding]:
        """What a text, and its pair, become, and the tokenizer that reads them so."""
        inner, found = self._inner, encoding_of(self._inner, first, pair, add_special_tokens=add_special_tokens)
        if (self._splits if splits is None else splits) and self._control.are_typed(found, first, pair):
            inner = self._control.apart
            found = encoding_of(inner, first, pair, add_special_tokens=add_special_tokens)
        return inner, found


def truncated(inner: tokenizers.Tokenizer, first: str, pair: str | None, max_tokens: int) -> list[int]:
    """At most as many token ids, special ones included."""
    a = inner.encode(first, add_special_tokens=False)
    b = None if pair is None else inner.encode(pair, add_special_tokens=False)
    room = max(max_tokens - inner.num_special_tokens_to_add(b is not None), 0)
    if b is None:
        a.truncate(min(room, len(a)))
    else:
        keep_a, keep_b = longest_first(len(a), len(b), room)
        a.truncate(keep_a)
        b.truncate(keep_b)
    return inner.post_process(a, b, add_special_tokens=True).ids


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


def read_tokenizer(path: Path, *, split_special_tokens: bool = True) -> Tokenizer:
    """The tokenizer in the file at `path`, as `Tokenizer` describes it; raises BundleError if it is none."""
    import tokenizers

    try:
        inner = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        check_growth(inner)
        return Tokenizer(inner, split_special_tokens=split_special_tokens)
    except BaseException as error:  # the library raises bare Exception, and panics
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise BundleError(
            f"{path}: is not a tokenizer that this version can read ({error}). Update `tokenizers`."
        ) from None
