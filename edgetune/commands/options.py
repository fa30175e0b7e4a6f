"""Command-line options made from the fields of a configuration, so that each default is written once."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import click

from edgetune.config import TrainConfig

F = TypeVar("F", bound=Callable[..., Any])


def bare_type(hint: Any) -> Any:
    """`int | None` → `int`."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(a for a in get_args(hint) if a is not type(None))
    return hint


def config_options(*left_out: str) -> Callable[[F], F]:
    """An option for each field of TrainConfig. What is not given is None, so that a file can fill it in."""
    hints = get_type_hints(TrainConfig)

    def decorate(function: F) -> F:
        for f in reversed(fields(TrainConfig)):
            if f.name in left_out:
                continue
            kind, choices = bare_type(hints[f.name]), f.metadata.get("choices")
            default = "" if f.default in ("", None) else f"  [default: {f.default}]"
            metavar = f.metadata.get("metavar")
            extra: dict[str, Any] = {"multiple": True, "metavar": metavar} if metavar else {}
            if choices:
                extra["type"] = click.Choice(choices)
            elif not metavar:
                extra["type"] = kind if kind in (int, float) else str
            flag = f"--{f.name.replace('_', '-')}"
            function = click.option(flag, f.name, default=None, help=f.metadata["help"] + default, **extra)(function)
        return function

    return decorate


def given_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, tables by name."""
    values = {name: value for name, value in given.items() if value not in (None, ())}
    for name, table_of in (("columns", named_columns), ("label_words", named_words)):
        if name in values:
            values[name] = table_of(values[name])
    return values


def named_words(pairs: tuple[str, ...]) -> dict[str, str]:
    """`("good=great,fine",)` → `{"good": "great,fine"}`."""
    found: dict[str, str] = {}
    for pair in pairs:
        label, _, words = pair.partition("=")
        if not label.strip() or not words.strip():
            raise click.BadParameter(f"{pair!r} is not LABEL=WORD, e.g. positive=great", param_hint="--label-words")
        found[label.strip()] = words.strip()
    return found


def named_columns(pairs: tuple[str, ...]) -> dict[str, str]:
    """`("label=category",)` → `{"label": "category"}`; commas separate as well."""
    found: dict[str, str] = {}
    for pair in (p for given in pairs for p in given.split(",")):
        name, _, column = pair.partition("=")
        if not name.strip() or not column.strip():
            raise click.BadParameter(f"{pair!r} is not FIELD=COLUMN, e.g. label=category", param_hint="--columns")
        found[name.strip()] = column.strip()
    return found
