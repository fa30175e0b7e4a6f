"""What a tokenizer's file may make of a text, and what becomes of its library's panics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    import tokenizers

MOST_GROWTH = 64
"""How many times as long a text may become before it is tokenised. Byte-level forms need two, folded letters three."""
MOST_HOLES = 100_000
"""Ids without a token, beside as many as there are tokens."""
MOST_ADDED = 1_000
"""Characters that may be put in front of it."""


def check_growth(inner: tokenizers.Tokenizer) -> None:
    """Raises ValueError where replacements, one behind the other, make a short text a huge one."""
    parts = [json.loads(x.__getstate__()) for x in (inner.normalizer, inner.decoder) if x is not None]
    growth, added = growth_of(parts)
    if growth > MOST_GROWTH or added > MOST_ADDED:
        raise ValueError("its replacements make a short text a huge one")


def growth_of(rule: Any) -> tuple[float, int]:
    """How many times as long a text becomes at most, and what is put in front of it."""
    if isinstance(rule, dict) and rule.get("type") == "Replace":
        pattern = rule["pattern"]
        # what a regular expression matches may have one character, or none
        least = max(len(pattern["String"]), 1) if "String" in pattern else 0.5
        return max(1.0, len(rule["content"]) / least), 0
    if isinstance(rule, dict) and rule.get("type") == "Prepend":
        return 1.0, len(rule["prepend"])
    growth, added = 1.0, 0
    for part in rule.values() if isinstance(rule, dict) else rule if isinstance(rule, list) else ():
        more, front = growth_of(part)
        growth, added = min(growth * more, 1e9), added + front
    return growth, added


def text_of(inner: tokenizers.Tokenizer) -> str:
    """What `tokenizer.json` says of it. Raises InputError for ids so far apart that writing would not end."""
    ids = inner.get_vocab().values()
    if max(ids, default=0) > 2 * len(ids) + MOST_HOLES:
        raise InputError("the bundle's tokenizer has ids far beyond its vocabulary. Export it again.")
    return inner.to_str()


def encoding_of(
    inner: tokenizers.Tokenizer, text: str, pair: str | None = None, *, add_special_tokens: bool = True
) -> tokenizers.Encoding:
    """The encoding; raises InputError where the library gives up: a rule of the file that does not end, say."""
    try:
        return inner.encode(text, pair, add_special_tokens=add_special_tokens)
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise InputError(
            f"the bundle's tokenizer cannot read the text ({str(error)[:200]}). Check the file, or take another text."
        ) from None


def is_panic(error: BaseException) -> bool:
    """Whether it is what Rust's panics become, which is no Exception."""
    return type(error).__name__ == "PanicException"
