"""Several adapters of one task that answer together (Lester et al. 2021, section 6)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .checked import Fields
from .errors import AdapterError, InputError, OptionError

COMBINATIONS = ("average", "vote")
"""`average`: the mean of the members' probabilities. `vote`: the label that most members hold most probable."""


@dataclass(frozen=True)
class Ensemble:
    """Its members' names, and how a classifier's answers become one."""

    adapters: tuple[str, ...]
    combine: str = COMBINATIONS[0]


def ensembles_from(manifest: Fields, adapters: Collection[str]) -> Mapping[str, Ensemble]:
    """The manifest's ensembles, by name; each member is one of `adapters`."""
    found = {}
    for name, entry in manifest.objects("ensembles") if "ensembles" in manifest.data else ():
        members = tuple(entry.texts("adapters"))
        if not members or len(set(members)) != len(members) or not set(members) <= set(adapters):
            raise entry.fail("adapters", f"names of adapters, each once, of {sorted(adapters)}")
        combine = entry.one_of("combine", COMBINATIONS) if "combine" in entry.data else COMBINATIONS[0]
        found[name] = Ensemble(members, combine)
    return MappingProxyType(found)


def chosen_ensemble(choice: Any, known: Mapping[str, Ensemble], combine: str | None) -> Ensemble:
    """What a caller asks for: a name of the bundle's, or a list of adapters.

    Raises AdapterError for a name that is not here, InputError for what names no members, OptionError for `combine`.
    """
    if combine is not None and combine not in COMBINATIONS:
        raise OptionError(f"combine: is {combine!r}. Pass {' or '.join(map(repr, COMBINATIONS))}.")
    if isinstance(choice, str):
        if choice not in known:
            names = ", ".join(map(repr, known)) or "none"
            raise AdapterError(f"no ensemble {choice!r} here. Known: {names}. Pass a list of adapters, or one of them.")
        return Ensemble(known[choice].adapters, combine or known[choice].combine)
    if not isinstance(choice, (list, tuple)) or not choice or not all(isinstance(x, str) for x in choice):
        raise InputError(f"ensemble: is {choice!r}. Pass the name of one, or a list of adapters' names.")
    if len(set(choice)) != len(choice):
        raise InputError(f"ensemble: names an adapter twice in {list(choice)}. Each member has one voice.")
    return Ensemble(tuple(choice), combine or COMBINATIONS[0])
