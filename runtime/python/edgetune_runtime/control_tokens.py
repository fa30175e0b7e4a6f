"""Control tokens, such as `<|im_end|>`, and the same characters where somebody merely typed them.

A tokenizer reads both alike. So a text that holds typed ones is read by a second tokenizer, in which the control tokens
have names that nobody can type: what is left of the old names are characters. Where a template writes control tokens
around a text, the text's are hidden while the template is filled in, and the template's take their secret names.
"""

from __future__ import annotations

import json
import re
import secrets
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .tokenizer_limits import encoding_of, text_of

if TYPE_CHECKING:
    import tokenizers

PRIVATE = "".join(chr(0xE000 + secrets.randbelow(0x1900)) for _ in range(12))
"""Characters that mean nothing to anybody, drawn anew for each process."""
OPEN, CLOSE = PRIVATE[:8], PRIVATE[8:]
HIDDEN = re.compile(f"{OPEN}([0-9.]+){CLOSE}")
RARE = "\U00013080\ua66e"
"""An Egyptian hieroglyph and a letter of one manuscript: few tokenizers know them."""
SPLIT_AS_TYPED = ("BPE", "WordPiece")
"""Models that find no control token but by its name as it stands in the text."""


class ControlTokens:
    """Those that a tokenizer's file calls special. Threads may share it."""

    def __init__(self, inner: tokenizers.Tokenizer):
        self._inner = inner
        special = {i: x for i, x in inner.get_added_tokens_decoder().items() if x.special and x.content}
        self._names = {x.content: i for i, x in special.items()}
        self._unknown = frozenset(special) & frozenset(encoding_of(inner, RARE, add_special_tokens=False).ids)
        """What stands for characters that the tokenizer does not know is no sign of a typed control token."""
        self._ids = frozenset(special) - self._unknown
        by_length = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, by_length)) or r"(?!)")
        self._beginnings = frozenset(name[:n] for name in by_length for n in range(1, len(name)))
        self._longest = max(map(len, by_length), default=0)
        self._stand_as_typed = type(inner.model).__name__ in SPLIT_AS_TYPED and not any(
            x.normalized for x in special.values()
        )

    def are_typed(self, found: tokenizers.Encoding, *texts: str | None) -> bool:
        """Whether the texts, of which `found` is the encoding, hold control tokens themselves."""
        if not self._ids.isdisjoint(ids := found.ids) and any(
            not added and token in self._ids for token, added in zip(ids, found.special_tokens_mask)
        ):
            return True
        return not self._unknown.isdisjoint(ids) and any(self._pattern.search(text) for text in texts if text)

    def hidden(self, text: str) -> str:
        """`text` with its control tokens, and what may become one with what stands behind, as numbers between marks."""
        if not self._names:
            return text
        places = [x.span() for x in self._pattern.finditer(text)]
        if not self._stand_as_typed:
            found = encoding_of(self._inner, text, add_special_tokens=False)
            places += [span for i, span in zip(found.ids, found.offsets) if i in self._ids and span not in places]
        pieces, at = [], 0
        for start, end in sorted(places):
            if start >= at:
                pieces += [text[at:start], as_numbers(text[start:end])]
                at = end
        rest = text[at:]
        tail = next((n for n in range(min(self._longest, len(rest)), 0, -1) if rest[-n:] in self._beginnings), 0)
        return "".join([*pieces, rest[: len(rest) - tail], as_numbers(rest[len(rest) - tail :])])

    def filled_encoding(self, text: str, *, add_special_tokens: bool) -> tokenizers.Encoding:
        """Of a filled template, in which what is `hidden` becomes what was typed.

        Raises InputError where the template has made something else of it, so that the two cannot be told apart.
        """
        plain = encoding_of(self._inner, text, add_special_tokens=add_special_tokens)
        if OPEN not in text and CLOSE not in text:
            return plain
        # every second part is what was typed
        parts = HIDDEN.split(text)
        parts[::2] = [self._pattern.sub(lambda x: self._secret_names[x.group()], part) for part in parts[::2]]
        parts[1::2] = ["".join(chr(int(n)) for n in part.split(".")) for part in parts[1::2]]
        whole = "".join(parts)
        found = encoding_of(self.apart, whole, add_special_tokens=add_special_tokens)
        if OPEN in whole or CLOSE in whole or self._count(found) != self._count(plain):
            raise InputError(
                "the text holds special tokens, which the template changes, so that they cannot be told from its own. "
                "Take them out of the text, or load the bundle with split_special_tokens=False."
            )
        return found

    def _count(self, found: tokenizers.Encoding) -> int:
        return sum(map(self._ids.__contains__, found.ids))

    @cached_property
    def _secret_names(self) -> dict[str, str]:
        begin = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(24))
        return {name: f"{begin}{i:06}" for i, name in enumerate(self._names)}

    @cached_property
    def apart(self) -> tokenizers.Tokenizer:
        """The same tokenizer, but that its control tokens have secret names; made when the first text asks for it."""
        import tokenizers

        data: dict[str, Any] = json.loads(text_of(self._inner))
        secret, model = self._secret_names, data["model"]
        for token in data["added_tokens"]:
            token["content"] = secret.get(token["content"], token["content"]) if token["special"] else token["content"]
        vocab = model["vocab"]
        if isinstance(vocab, dict):
            model["vocab"] = {secret.get(name, name): i for name, i in vocab.items()}
        else:
            model["vocab"] = [[secret.get(name, name), score] for name, score in vocab]
        if isinstance(model.get("unk_token"), str):
            model["unk_token"] = secret.get(model["unk_token"], model["unk_token"])
        if model.get("merges"):
            pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
            model["merges"] = [pair for pair in pairs if secret.keys().isdisjoint((*pair, "".join(pair)))]
        try:
            return tokenizers.Tokenizer.from_str(json.dumps(data))
        except Exception as error:  # the library raises bare Exception
            raise InputError(
                f"the bundle's tokenizer cannot tell typed special tokens from its own ({error}). Take them out of the "
                "text, or load the bundle with split_special_tokens=False."
            ) from None


def as_numbers(text: str) -> str:
    """The characters' numbers between two marks; nothing of nothing."""
    return f"{OPEN}{'.'.join(str(ord(c)) for c in text)}{CLOSE}" if text else ""
