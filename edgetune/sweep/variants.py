"""Variants as they are asked for: every combination of some options, or one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any

from edgetune.config import METHODS, TrainConfig
from edgetune.errors import ConfigError
from edgetune.sweep.variant import SHARED

LISTS = frozenset({"prefix_layers", "prefix_lengths", "prefix_places"})
"""Options whose value may have commas."""


def changes_asked(lists: Mapping[str, str | None], variants: Sequence[str]) -> list[dict[str, Any]]:
    """What each variant changes: `lists` by option, `"10,20"`, in every combination; or what `variants` name.

    Without `method` among the lists it is all methods; an option that is None is left as it is.

    Raises:
        ConfigError: both were given, or one of them cannot be read.
    """
    given = {name: listed(name, text) for name, text in lists.items() if text is not None}
    if variants and given:
        raise ConfigError("--variants names each variant whole; leave the lists of methods, lengths and starts out")
    if variants:
        return [change_named(text) for text in variants]
    return grid(**{"method": list(METHODS), **given})


def listed(name: str, text: str) -> list[Any]:
    """`"10, 20"` → `[10, 20]` for an option that takes numbers."""
    kind = next(str(f.type) for f in fields(TrainConfig) if f.name == name)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ConfigError(f"{name}: {text!r} lists nothing; separate values with commas")
    return [value_of(part, kind) for part in parts]


def grid(**choices: Sequence[Any]) -> list[dict[str, Any]]:
    """Changes for every combination: `grid(method=["prompt", "prefix"], virtual_tokens=[10, 20])` are four."""
    return [dict(zip(choices, values)) for values in product(*choices.values())]


def change_named(text: str) -> dict[str, Any]:
    """`prefix,virtual_tokens=10,init=text` → the options that it changes.

    Raises:
        ConfigError: an option that is not known, or that all variants share.
    """
    method, *rest = (part.strip() for part in text.split(","))
    if method not in METHODS:
        raise ConfigError(f"variant {text!r} begins with no method; write {' or '.join(METHODS)}, then OPTION=VALUE")
    kinds = {f.name: str(f.type) for f in fields(TrainConfig) if f.name not in {"method", *SHARED}}
    change: dict[str, Any] = {"method": method}
    for part in with_lists(rest):
        name, _, value = (x.strip() for x in part.partition("="))
        name = name.replace("-", "_")
        if name in SHARED:
            raise ConfigError(
                f"variant {text!r} sets {name}, which all variants share; give it as an option of its own"
            )
        if name not in kinds or not value:
            raise ConfigError(f"variant {text!r}: {part!r} is not OPTION=VALUE with an option of {', '.join(kinds)}")
        change[name] = value_of(value, kinds[name])
    return change


def with_lists(parts: Sequence[str]) -> list[str]:
    """`["prefix_layers=0", "2", "seed=1"]` → `["prefix_layers=0,2", "seed=1"]`: some options are lists themselves."""
    whole: list[str] = []
    for part in parts:
        name = whole[-1].partition("=")[0].strip().replace("-", "_") if whole else ""
        if "=" not in part and name in LISTS:
            whole[-1] += f",{part}"
        else:
            whole.append(part)
    return whole


def value_of(text: str, kind: str) -> Any:
    """The text as what a field of that annotation holds; what is none of it stays a text, for TrainConfig to refuse."""
    if kind.startswith("bool"):
        return {"true": True, "false": False}.get(text.lower(), text)
    for number in (int, float) if kind.startswith(("int", "float")) else ():
        try:
            return number(text)
        except ValueError:
            pass
    return text
