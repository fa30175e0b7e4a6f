"""Command-line options made from the fields of a configuration, so that each default is written once."""

from __future__ import annotations

import types
from collections.abc import Callable
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
            extra: dict[str, Any] = {"multiple": True, "metavar": "FIELD=COLUMN"} if f.name == "columns" else {}
            if choices:
                extra["type"] = click.Choice(choices)
            elif f.name != "columns":
                extra["type"] = kind if kind in (int, float) else str
            flag = f"--{f.name.replace('_', '-')}"
            function = click.option(flag, f.name, default=None, help=f.metadata["help"] + default, **extra)(function)
        return function

    return decorate


def named_columns(pairs: tuple[str, ...]) -> dict[str, str]:
    """`("label=category",)` → `{"label": "category"}`; commas separate as well."""
    found: dict[str, str] = {}
    for pair in (p for given in pairs for p in given.split(",")):
        name, _, column = pair.partition("=")
        if not name.strip() or not column.strip():
            raise click.BadParameter(f"{pair!r} is not FIELD=COLUMN, e.g. label=category", param_hint="--columns")
        found[name.strip()] = column.strip()
    return found
