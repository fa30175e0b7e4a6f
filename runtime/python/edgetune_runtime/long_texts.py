"""Beginnings of long texts: where it is certain that what stands behind changes no token of what stands before.

Tokenizers take seconds and hundreds of megabytes for each megabyte, and a base has room for some thousand tokens. Most
split a text into words first, and a word's tokens are its own. So a text may be cut between a letter and the white
space or punctuation behind it: the beginning's tokens are those that the whole text begins with.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers

CHARACTERS = 16
"""Of a beginning, for each token that is looked for; three times as many where those do not hold enough."""
MARGIN = 64
"""Tokens more than are looked for: the first word's may be others where something stands in front of it."""
LETTERS = (
    "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017f\u0391-\u03a1\u03a3-\u03c9\u0410-\u044f\u05d0-\u05ea\u0621-\u063a"
)
SYLLABLES = "\u0904-\u0939\u0e01-\u0e2e\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3"
"""Letters that every version of Unicode knows as such."""
WORD_END = re.compile(f"(?<=[{LETTERS}{SYLLABLES}])(?=[ \\n\\t,.;:!?\u3001\u3002\uff0c])")
LOCAL = ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer")
"""Normalizers that look at no more than a letter and the marks on it."""
AT_WORDS = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
"""What splits at white space, whatever else it does."""
FURTHER = ("Digits", "Punctuation")
"""What splits further."""
KEEPING = ("Split", "ByteLevel", "Digits")
"""What loses nothing of a text."""
BEHIND = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + BEHIND,
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + BEHIND,
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
)
"""Of GPT-2, Llama 3 and Qwen, whose words of letters have at most one character in front, and none behind."""


def splits_at_words(inner: tokenizers.Tokenizer) -> bool:
    """Whether a text's words have tokens of their own, whatever stands behind them; of few others it is not known."""
    normalizer, splitter = (
        json.loads(x.__getstate__()) if x else None for x in (inner.normalizer, inner.pre_tokenizer)
    )
    plain = all(not any(map(str.isspace, x.content)) for x in inner.get_added_tokens_decoder().values())
    kinds = [is_splitting(x) for x in parts_of(splitter, "pretokenizers")]
    local = all(x["type"] in LOCAL for x in parts_of(normalizer, "normalizers"))
    return plain and local and None not in kinds and any(kinds)


def parts_of(rule: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """The rules in a sequence, or the one that there is."""
    if rule is None:
        return []
    return [y for x in rule[name] for y in parts_of(x, name)] if rule["type"] == "Sequence" else [rule]


def is_splitting(rule: dict[str, Any]) -> bool | None:
    """Whether it splits at the end of each word; None: it may put words together, or is not known."""
    kind = rule["type"]
    if kind == "Split":
        known = rule["pattern"].get("Regex") in PATTERNS and rule["behavior"] == "Isolated" and not rule["invert"]
        return True if known else None
    if kind == "ByteLevel":
        return bool(rule.get("use_regex", True))
    return True if kind in AT_WORDS else False if kind in FURTHER else None


def beginning(inner: tokenizers.Tokenizer, text: str, tokens: int) -> str:
    """Of a long text the beginning, if that alone has more than so many tokens wherever it stands; else all of it."""
    size = CHARACTERS * (tokens + MARGIN)
    while len(text) > 2 * size:
        first, last = WORD_END.search(text, 0, size), WORD_END.search(text, size, 2 * size)
        if first is None or last is None:
            return text
        if len(inner.encode(text[first.start() : last.start()], add_special_tokens=False).ids) > tokens + MARGIN:
            return text[: last.start()]
        size *= 3
    return text


def most_characters(inner: tokenizers.Tokenizer) -> int | None:
    """Characters that one token stands for at most; None: there is no such number, or it is not known.

    It is that of byte-level tokenizers alone: others have one token for words that they do not know, however long.
    """
    normalizer, splitter = (
        json.loads(x.__getstate__()) if x else None for x in (inner.normalizer, inner.pre_tokenizer)
    )
    kinds = {x["type"] for x in parts_of(normalizer, "normalizers")}
    split = parts_of(splitter, "pretokenizers")
    keeps = all(x["type"] in KEEPING and x.get("behavior", "Isolated") == "Isolated" for x in split)
    widening = any(x.lstrip or x.rstrip for x in inner.get_added_tokens_decoder().values())
    bytewise = type(inner.model).__name__ == "BPE" and any(x["type"] == "ByteLevel" for x in split)
    if not bytewise or not keeps or widening or not kinds <= {"NFC"}:
        return None
    # a composed character may be made of four
    return max(map(len, inner.get_vocab())) * (4 if kinds else 1)
