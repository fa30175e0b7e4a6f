"""What each option of a generation may hold: kinds, ranges, and which exclude one another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from .errors import InputError, OptionError

WHOLE = {
    "max_new_tokens": 1,
    "min_new_tokens": 0,
    "top_k": 1,
    "seed": 0,
    "n": 1,
    "num_beams": 1,
    "logprobs": 0,
    "prompt_lookup_num_tokens": 0,
    "max_matching_ngram_size": 1,
}
"""Whole numbers, each with the least that it may be."""

NUMBERS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "temperature": ("0 or more", lambda x: x >= 0),
    "top_p": ("above 0 and at most 1", lambda x: 0 < x <= 1),
    "min_p": ("0 to 1", lambda x: 0 <= x <= 1),
    "repetition_penalty": ("above 0", lambda x: x > 0),
    "presence_penalty": ("finite", lambda x: True),
    "frequency_penalty": ("finite", lambda x: True),
    "length_penalty": ("finite", lambda x: True),
    "max_time_s": ("above 0", lambda x: x > 0),
}
"""Numbers, each with the range that it lies in."""


CONSTRAINTS = ("choices", "regex", "json_schema", "grammar")
"""Options that say what the text may be; one of them at most."""


def check_ranges(options: Any) -> None:
    """Raises InputError for a value of another kind, OptionError for one out of its range, each naming the option."""
    for name, least in WHOLE.items():
        check_whole(name, getattr(options, name), least)
    for name, (expected, fits) in NUMBERS.items():
        check_number(name, getattr(options, name), expected, fits)
    if options.logit_bias is not None:
        check_bias(options.logit_bias)
    if options.cancel is not None and not callable(getattr(options.cancel, "is_set", None)):
        raise InputError(f"cancel: is {options.cancel!r}. Pass a threading.Event, or what has its is_set().")
    if options.on_chunk is not None and not callable(options.on_chunk):
        raise InputError(f"on_chunk: is {options.on_chunk!r}. Pass a function that takes a chunk.")
    for name in ("min_new_tokens", "n", "num_beams", "length_penalty"):
        if getattr(options, name) is None:
            raise InputError(f"{name}: is None. Pass a number, or leave it out.")
    check_constraints(options)
    check_beams(options)
    if options.n > 1 and options.prompt_lookup_num_tokens:
        raise OptionError("prompt_lookup_num_tokens: drafts are for one result of a text. Leave it or n out.")


def check_bias(bias: object) -> None:
    """It is token ids with a number each; −inf bans a token."""
    if not isinstance(bias, Mapping):
        raise InputError(f"logit_bias: is {bias!r}. Pass a dict of token ids and numbers.")
    for token, value in bias.items():
        check_whole("logit_bias", token, 0)
        if not isinstance(value, Real) or isinstance(value, bool):
            raise InputError(f"logit_bias: holds {value!r} for token {token}. Pass a number.")
        if math.isnan(value) or value == math.inf:
            raise OptionError(f"logit_bias: holds {value} for token {token}. Pass a finite number, or -inf to ban it.")


def check_whole(name: str, value: object, least: int) -> None:
    """`value` is None or a whole number of at least `least`."""
    if value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InputError(f"{name}: is {value!r}. Pass a whole number.")
    if value < least:
        raise OptionError(f"{name}: is {value}. Pass a whole number of at least {least}.")


def check_number(name: str, value: object, expected: str, fits: Callable[[Any], bool]) -> None:
    """`value` is None or a finite number that `fits`."""
    if value is None:
        return
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name}: is {value!r}. Pass a number.")
    if not math.isfinite(value) or not fits(value):
        raise OptionError(f"{name}: is {value}. Pass a number that is {expected}.")


def check_beams(options: Any) -> None:
    """Beam search goes with the other options; raises OptionError, naming the one that it does not go with."""
    if options.early_stopping not in (True, False, "never"):
        raise OptionError(f'early_stopping: is {options.early_stopping!r}. Pass True, False or "never".')
    if options.num_beams == 1:
        return
    for name in ("temperature", "top_k", "top_p", "min_p", "prompt_lookup_num_tokens"):
        if getattr(options, name):
            raise OptionError(f"{name}: beam search draws and drafts nothing. Leave it or num_beams out.")
    if options.logprobs is not None:
        raise OptionError("logprobs: beam search does not keep them. Leave it or num_beams out.")
    if options.n > options.num_beams:
        raise OptionError(f"n: {options.n} results of {options.num_beams} beams. Pass as many num_beams.")


def check_constraints(options: Any) -> None:
    """At most one is there, of the right kind; raises OptionError or InputError, naming it."""
    given = [name for name in CONSTRAINTS if getattr(options, name) is not None]
    if len(given) > 1:
        raise OptionError(f"{given[0]} and {given[1]}: exclude each other. Pass one of them.")
    if options.choices is not None:
        choices = options.choices
        if (
            isinstance(choices, str)
            or not isinstance(choices, Sequence)
            or not all(isinstance(x, str) for x in choices)
        ):
            raise InputError(f"choices: is {choices!r}. Pass a list of strings.")
        if not choices or not all(choices):
            raise OptionError(
                "choices: holds no string, or an empty one. Pass at least one string, none of them empty."
            )
    for name in ("regex", "grammar"):
        if not isinstance(getattr(options, name), str | None):
            raise InputError(f"{name}: is {getattr(options, name)!r}. Pass a string.")
    if not isinstance(options.json_schema, Mapping | str | bool | None):
        raise InputError(f"json_schema: is {options.json_schema!r}. Pass a dict, or its JSON as a string.")
    if given and options.min_new_tokens:
        raise OptionError(f"min_new_tokens: {given[0]} decides where the text ends. Leave one of them out.")
