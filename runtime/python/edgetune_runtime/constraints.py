"""Output that follows a grammar: a choice of strings, a regular expression, a JSON schema, a Lark grammar.

Before each token is chosen, every token that no text of the grammar can go on with gets the logit −inf; end tokens are
left only where the text is whole. So a text that ends always parses, and near `max_new_tokens` it is brought to an end,
see closing.py. One that is cut by `max_time_s` or `cancel`, or for which no end was found in time, says so in its
`finish_reason` and is a beginning only. The grammars are llguidance's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .closing import CLOSERS, Closing
from .errors import MissingExtraError, OptionError, TaskError
from .options import Options
from .tokenizer import Tokenizer


@dataclass(frozen=True)
class Grammar:
    """A grammar, compiled for a tokenizer. Threads may share it."""

    matcher: Any
    """llguidance's, at the grammar's start; nobody alters it."""
    closers: tuple[int, ...]
    """The tokens that bring a text to an end, by preference."""
    end: int
    """An end token."""


class Constraints:
    """Compiles grammars for one tokenizer, whose vocabulary is read at the first. Threads may share it."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, end_ids: Sequence[int]):
        self._tokenizer, self._vocab_size, self._end_ids = tokenizer, vocab_size, list(end_ids)
        self._lock, self._vocabulary = threading.Lock(), None

    def grammar(self, options: Options) -> Grammar | None:
        """The grammar that the options ask for; None: they ask for none.

        Raises MissingExtraError without llguidance, OptionError, naming the option, for a grammar that is none,
        TaskError for a tokenizer that llguidance cannot read.
        """
        kind = options.constraint
        if kind is None:
            return None
        library = llguidance()
        if not self._end_ids:
            raise OptionError(f"{kind}: this base has no end token, so its output could not end. Leave it out.")
        try:
            grammar = grammar_of(kind, getattr(options, kind), library.LLMatcher)
        except ValueError as error:
            raise OptionError(f"{kind}: {error}. Correct it.") from None
        tokens = self._tokens(library)
        matcher = library.LLMatcher(tokens, grammar, log_level=0)
        if matcher.is_error():
            raise OptionError(f"{kind}: {matcher.get_error().splitlines()[0]}. Correct it.")
        return Grammar(matcher, tuple(tokens.tokenize_str(x)[0] for x in CLOSERS), self._end_ids[0])

    def _tokens(self, library: Any) -> Any:
        with self._lock:
            if self._vocabulary is None:
                known = self._tokenizer.to_json()
                try:
                    self._vocabulary = library.LLTokenizer(known, n_vocab=self._vocab_size, eos_token=self._end_ids)
                except ValueError as error:
                    raise TaskError(
                        f"llguidance cannot read this bundle's tokenizer ({error}), so its output has no bounds. "
                        "Byte-level BPE and SentencePiece tokenizers can be read."
                    ) from None
            return self._vocabulary


def llguidance() -> Any:
    """The library; raises MissingExtraError where it is not installed."""
    try:
        import llguidance
    except ImportError:
        raise MissingExtraError(
            "choices, regex, json_schema and grammar need llguidance. pip install edgetune-runtime[constrained]"
        ) from None
    return llguidance


def grammar_of(kind: str, value: Any, compiler: Any) -> str:
    """llguidance's form of it; raises ValueError for a schema that is no JSON."""
    if kind == "choices":
        return compiler.grammar_from_lark("start: " + " | ".join(json.dumps(x, ensure_ascii=False) for x in value))
    if kind == "regex":
        return compiler.grammar_from_regex(value)
    if kind == "grammar":
        return compiler.grammar_from_lark(value)
    # white space that may go on for ever would, with some models
    compact: Any = {"whitespace_flexible": False}
    return compiler.grammar_from_json_schema(value if isinstance(value, str) else json.dumps(value), overrides=compact)


class Following:
    """A processor that leaves the tokens with which a grammar can go on. It belongs to one row."""

    def __init__(self, grammar: Grammar, skipped: int = 0):
        """The first `skipped` new tokens are not the grammar's."""
        self._grammar, self._matcher, self._read = grammar, grammar.matcher.deep_copy(), skipped
        self._closing: Closing | None = None

    def __call__(self, logits: np.ndarray, new_ids: Sequence[int]) -> None:
        """See `Processor`. Raises OptionError where the other options leave no token, or the grammar is too large."""
        self._consume(new_ids)
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        allowed = np.unpackbits(bits, count=len(logits), bitorder="little")
        logits[allowed == 0] = -np.inf
        if logits.max() == -np.inf:
            raise OptionError("logit_bias: bans every token with which the grammar can go on. Ban fewer tokens.")

    def within(self, token: int, new_ids: Sequence[int], left: int) -> int:
        """`token`, or the one to take in its place so that the text can be whole.

        `left` tokens may follow `new_ids`, an end token beside them.
        """
        self._consume(new_ids)
        if self._closing is None:
            grammar = self._grammar
            self._closing = Closing(grammar.matcher, grammar.closers, grammar.end, len(new_ids) + left)
        return self._closing.within(self._matcher, token, left)

    def has_ended(self, new_ids: Sequence[int]) -> bool:
        """Nothing can follow the new tokens."""
        self._consume(new_ids)
        return self._matcher.is_stopped()

    def is_whole(self) -> bool:
        """What was read last is a text of the grammar."""
        return self._matcher.is_accepting()

    def _consume(self, new_ids: Sequence[int]) -> None:
        fresh, self._read = list(new_ids[self._read :]), max(len(new_ids), self._read)
        if fresh:
            self._matcher.consume_tokens(fresh)
            self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = self._matcher.get_error().splitlines()[0]
            raise OptionError(f"the grammar cannot be followed any further ({reason}). Simplify it.")
