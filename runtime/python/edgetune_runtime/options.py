"""The options of a generation, resolved: the call's own, else the task's, else the built-in ones."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TypedDict

from .adapter_metadata import GenerationDefaults
from .errors import ContextLengthError, InputError, OptionError

DEFAULT_MAX_NEW_TOKENS = 256
DEFAULT_LOOKUP_TOKENS = 10
"""Tokens of a draft at most, where a call says only that it wants drafts."""
DEFAULT_NGRAM_SIZE = 3
"""Tokens at the end of the text, at most, that are looked up in what stands before."""


@dataclass(frozen=True)
class Options:
    """What a caller asked for; None: the task's default, else the built-in one."""

    max_new_tokens: int | None = None
    min_new_tokens: int = 0
    """End tokens are not chosen before there are this many new ones."""
    temperature: float | None = None
    """Built-in: 0, the most probable token."""
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    """None: a fresh one. Row r of a batch uses seed + r."""
    stop: Sequence[str] | str | None = None
    prompt_lookup_num_tokens: int | None = None
    """Tokens that are drafted from the text itself at most, for one run to check; True: 10, None: none."""
    max_matching_ngram_size: int | None = None
    """The most tokens that are looked up for a draft; None: 3."""


class GenerationOptions(TypedDict, total=False):
    """The fields of `Options` as keyword arguments, for type checkers."""

    max_new_tokens: int | None
    min_new_tokens: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None
    stop: Sequence[str] | str | None
    prompt_lookup_num_tokens: int | None
    max_matching_ngram_size: int | None


@dataclass(frozen=True)
class Resolved:
    """Options of one row, complete and in range."""

    max_new_tokens: int
    min_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    stop: tuple[str, ...]
    prompt_lookup_num_tokens: int = 0
    """0: nothing is drafted."""
    max_matching_ngram_size: int = DEFAULT_NGRAM_SIZE


def checked_options(options: Options) -> Options:
    """`options` with stop strings as a tuple; raises OptionError, naming the option that is out of its range."""
    _check_whole("max_new_tokens", options.max_new_tokens, 1)
    _check_whole("min_new_tokens", options.min_new_tokens, 0)
    _check_whole("top_k", options.top_k, 1)
    _check_whole("seed", options.seed, 0)
    lookup = options.prompt_lookup_num_tokens
    lookup = DEFAULT_LOOKUP_TOKENS if lookup is True else None if lookup is False else lookup
    _check_whole("prompt_lookup_num_tokens", lookup, 0)
    _check_whole("max_matching_ngram_size", options.max_matching_ngram_size, 1)
    _check_number("temperature", options.temperature, "0 or more", lambda x: x >= 0)
    _check_number("top_p", options.top_p, "above 0 and at most 1", lambda x: 0 < x <= 1)
    stop = (options.stop,) if isinstance(options.stop, str) else options.stop
    if stop is not None and not all(isinstance(s, str) and s for s in stop):
        raise OptionError("stop: holds something else than non-empty strings. Pass a string or a list of strings.")
    return replace(
        options,
        seed=fresh_seed() if options.seed is None else options.seed,
        stop=None if stop is None else tuple(stop),
        prompt_lookup_num_tokens=lookup,
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
    return Resolved(
        max_new_tokens=wanted,
        min_new_tokens=options.min_new_tokens,
        temperature=_first(options.temperature, task.temperature, 0.0),
        top_k=_first(options.top_k, task.top_k, None) or None,
        top_p=_first(options.top_p, task.top_p, None),
        seed=((options.seed or 0) + row) & 0xFFFFFFFF,
        stop=tuple(s for s in _first(options.stop, task.stop, ()) if s),
        prompt_lookup_num_tokens=options.prompt_lookup_num_tokens or 0,
        max_matching_ngram_size=options.max_matching_ngram_size or DEFAULT_NGRAM_SIZE,
    )


def fresh_seed() -> int:
    """32 bits from the operating system."""
    return int.from_bytes(os.urandom(4), "little")


def _first(*values):
    """The first value that is not None; the last where all are."""
    return next((value for value in values if value is not None), values[-1])


def _check_whole(name: str, value: object, least: int) -> None:
    if value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InputError(f"{name}: is {value!r}. Pass a whole number.")
    if value < least:
        raise OptionError(f"{name}: is {value}. Pass a whole number of at least {least}.")


def _check_number(name: str, value: object, expected: str, fits) -> None:
    if value is None:
        return
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name}: is {value!r}. Pass a number.")
    if not math.isfinite(value) or not fits(value):
        raise OptionError(f"{name}: is {value}. Pass a number that is {expected}.")
