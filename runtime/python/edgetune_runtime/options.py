"""The options of a generation, resolved: the call's own, else the task's, else the built-in ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from .adapter_metadata import GenerationDefaults
from .errors import ContextLengthError, InputError, OptionError
from .option_checks import CONSTRAINTS, check_ranges

if TYPE_CHECKING:
    from .results import Chunk

DEFAULT_MAX_NEW_TOKENS = 256
DEFAULT_LOOKUP_TOKENS = 10
"""Tokens of a draft at most, where a call says only that it wants drafts."""
DEFAULT_NGRAM_SIZE = 3
"""Tokens at the end of the text, at most, that are looked up in what stands before."""


class Cancel(Protocol):
    """What can say that a generation is no longer wanted, such as a `threading.Event`."""

    def is_set(self) -> bool:
        """Whether it is to stop."""
        ...


class GenerationOptions(TypedDict, total=False):
    """What `generate` and `stream` take by name. The fields of `Options` say what each means."""

    max_new_tokens: int | None
    min_new_tokens: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: Mapping[int, float] | None
    seed: int | None
    n: int
    num_beams: int
    length_penalty: float
    early_stopping: bool | str
    stop: Sequence[str] | str | None
    max_time_s: float | None
    cancel: Cancel | None
    on_chunk: Callable[[Chunk], object] | None
    logprobs: int | None
    choices: Sequence[str] | None
    regex: str | None
    json_schema: Mapping[str, Any] | str | bool | None
    grammar: str | None
    prompt_lookup_num_tokens: int | None
    max_matching_ngram_size: int | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a caller asked for; None: the task's default, else the built-in one."""

    max_new_tokens: int | None = None
    """Built-in: 256, or as many as fit."""
    min_new_tokens: int = 0
    """End tokens are not chosen before there are this many new ones."""
    temperature: float | None = None
    """Built-in: 0, the most probable token."""
    top_k: int | None = None
    """Tokens are drawn from the k most probable."""
    top_p: float | None = None
    """Tokens are drawn from the fewest most probable ones whose probabilities sum to this much."""
    min_p: float | None = None
    """Tokens are drawn from those at least this much as probable as the most probable one."""
    repetition_penalty: float | None = None
    """Logits of tokens of the text so far, prompt included, are divided by this where positive, else multiplied."""
    presence_penalty: float | None = None
    """Taken off the logit of each token that is among the new ones."""
    frequency_penalty: float | None = None
    """Taken off the logit of a token as many times as it is among the new ones."""
    logit_bias: Mapping[int, float] | None = None
    """Token id → what is added to its logit; −inf bans it."""
    seed: int | None = None
    """None: a fresh one. Result i of text r of a list is drawn with seed + r · n + i."""
    n: int = 1
    """Results of each text. The text is computed once."""
    num_beams: int = 1
    """Above 1: beam search, as `beams` describes it. Nothing is drawn, and the `n` best are the results."""
    length_penalty: float = 1.0
    """Of beams: above 0 long texts are at an advantage, below 0 short ones."""
    early_stopping: bool | str = False
    """Of beams: True stops at the first `num_beams` results, "never" only where no better one can come."""
    stop: Sequence[str] | str | None = None
    """The text ends before the first of these strings."""
    max_time_s: float | None = None
    """Seconds after the call's start from which no step begins; what there is by then is returned."""
    cancel: Cancel | None = None
    """Once its `is_set()` is true no step begins; what there is by then is returned. A `threading.Event` will do."""
    on_chunk: Callable[[Chunk], object] | None = None
    """Called with each chunk as soon as there is one, in the thread of the call."""
    logprobs: int | None = None
    """Each token's log-probability is returned, with this many of the most probable tokens'; 0: its own alone."""
    choices: Sequence[str] | None = None
    """The text is one of these strings. This and the next three need llguidance, and exclude one another."""
    regex: str | None = None
    """The whole text matches this regular expression: Rust's syntax."""
    json_schema: Mapping[str, Any] | str | bool | None = None
    """The text is JSON that fits this schema."""
    grammar: str | None = None
    """The text follows this grammar: Lark's syntax as llguidance reads it."""
    prompt_lookup_num_tokens: int | None = None
    """Tokens that are drafted from the text itself at most, for one run to check; True: 10, None: none."""
    max_matching_ngram_size: int | None = None
    """The most tokens that are looked up for a draft; None: 3."""

    @property
    def constraint(self) -> str | None:
        """Which of the options that constrain the text is given."""
        return next((name for name in CONSTRAINTS if getattr(self, name) is not None), None)


@dataclass(frozen=True, kw_only=True)
class Resolved(Options):
    """Options of one row, complete and in range."""

    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    prompt_lookup_num_tokens: int = 0
    """0: nothing is drafted."""
    max_matching_ngram_size: int = DEFAULT_NGRAM_SIZE


def options_from(given: Mapping[str, Any]) -> Options:
    """Options by name, in range, stop strings as a tuple.

    Raises InputError, a TypeError, for an option that there is not and for a value of another kind, OptionError for one
    out of its range; each names the option.
    """
    known = [f.name for f in fields(Options)]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise InputError(
                f"no option {name!r}. " + (f"Is it {near[0]!r}?" if near else f"There are {', '.join(known)}.")
            )
    return checked_options(Options(**given))


def checked_options(options: Options) -> Options:
    """`options` with stop strings as a tuple; raises OptionError, naming the option that is out of its range."""
    lookup = options.prompt_lookup_num_tokens
    lookup = DEFAULT_LOOKUP_TOKENS if lookup is True else None if lookup is False else lookup
    options = replace(options, prompt_lookup_num_tokens=lookup)
    check_ranges(options)
    stop = (options.stop,) if isinstance(options.stop, str) else options.stop
    if stop is not None and not all(isinstance(s, str) and s for s in stop):
        raise OptionError("stop: holds something else than non-empty strings. Pass a string or a list of strings.")
    return replace(
        options,
        seed=fresh_seed() if options.seed is None else options.seed,
        stop=None if stop is None else tuple(stop),
    )


def resolved(
    options: Options, task: GenerationDefaults, row: int, used: int, max_positions: int | None, where: str = "the text"
) -> Resolved:
    """Options of row `row`, whose virtual tokens and text take `used` positions of `max_positions`.

    `options` have passed `checked_options`. Raises ContextLengthError if they do not fit, naming the numbers.
    """
    room = None if max_positions is None else max_positions - used
    if room is not None and room < 1:
        raise ContextLengthError(
            f"{where} takes {used} positions with its virtual tokens, and the base holds {max_positions}, one of "
            "them for a new token. Shorten the text."
        )
    wanted = _first(options.max_new_tokens, task.max_new_tokens, DEFAULT_MAX_NEW_TOKENS)
    if room is not None and wanted > room:
        if options.max_new_tokens is not None:
            raise ContextLengthError(
                f"{where} takes {used} positions with its virtual tokens, and {wanted} new tokens make "
                f"{used + wanted}; the base holds {max_positions}. Ask for at most {room}, or shorten the text."
            )
        wanted = room
    wanted = max(wanted, 1)
    if options.min_new_tokens > wanted:
        raise OptionError(
            f"min_new_tokens: {options.min_new_tokens} is more than the {wanted} new tokens that are allowed."
        )
    own = {f.name: getattr(options, f.name) for f in fields(Options)}
    filled_in = {
        "max_new_tokens": wanted,
        "temperature": 0.0 if options.num_beams > 1 else _first(options.temperature, task.temperature, 0.0),
        "top_k": _first(options.top_k, task.top_k, None) or None,
        "top_p": _first(options.top_p, task.top_p, None),
        "seed": ((options.seed or 0) + row * options.n) & 0xFFFFFFFF,
        # a task's own stop strings would cut what a grammar has yet to end
        "stop": tuple(s for s in _first(options.stop, None if options.constraint else task.stop, ()) if s),
        "prompt_lookup_num_tokens": options.prompt_lookup_num_tokens or 0,
        "max_matching_ngram_size": options.max_matching_ngram_size or DEFAULT_NGRAM_SIZE,
    }
    return Resolved(**{**own, **filled_in})


def fresh_seed() -> int:
    """32 bits from the operating system."""
    return int.from_bytes(os.urandom(4), "little")


def _first(*values):
    """The first value that is not None; the last where all are."""
    return next((value for value in values if value is not None), values[-1])
