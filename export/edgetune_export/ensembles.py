"""Adapters of one task that a bundle names together (Lester et al. 2021, section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgetune_runtime.ensemble import COMBINATIONS, Ensemble

from edgetune.adapter import Adapter
from edgetune.errors import AdapterError, ConfigError
from edgetune_export.device import checked_name


def named_ensembles(given: Sequence[str], combine: str | None) -> dict[str, Ensemble]:
    """`NAME=A,B,C` → its members.

    Raises:
        ConfigError: a text of another form, a name given twice, or `combine` without an ensemble.
    """
    if combine and not given:
        raise ConfigError("--combine says how an ensemble answers; give --ensemble NAME=A,B as well")
    found: dict[str, Ensemble] = {}
    for text in given:
        name, separator, members = text.partition("=")
        names = tuple(x.strip() for x in members.split(","))
        if not separator or not all(names):
            raise ConfigError(f"--ensemble {text!r} is not NAME=A,B,C, the names of its adapters")
        if name in found:
            raise ConfigError(f"two ensembles are named {name!r}; give each its own name")
        found[checked_name(name)] = Ensemble(names, combine or COMBINATIONS[0])
    return found


def check_ensembles(ensembles: Mapping[str, Ensemble], adapters: Mapping[str, Adapter], standalone: bool) -> None:
    """Raises ConfigError or AdapterError for an ensemble that could not answer."""
    if ensembles and standalone:
        raise ConfigError("a standalone bundle holds one adapter, so it has no ensemble; leave --standalone out")
    for name, ensemble in ensembles.items():
        if unknown := sorted(set(ensemble.adapters) - set(adapters)):
            raise ConfigError(
                f"ensemble {name!r} names {', '.join(map(repr, unknown))}; the adapters are {', '.join(adapters)}"
            )
        if len(set(ensemble.adapters)) != len(ensemble.adapters):
            raise ConfigError(f"ensemble {name!r} names an adapter twice; each member has one voice")
        members = [adapters[member] for member in ensemble.adapters]
        if len({frozenset(member.labels) for member in members}) > 1:
            raise AdapterError(f"ensemble {name!r} has members with different labels; they must be of one task")
        if {member.task for member in members} - {"classify", "generate"}:
            raise AdapterError(
                f"ensemble {name!r} is of {members[0].task} adapters; classifiers and generators make one"
            )
        if ensemble.combine == "vote" and members[0].task != "classify":
            raise ConfigError("--combine vote is for classifiers; a generator's members are averaged token by token")


def described_ensembles(ensembles: Mapping[str, Ensemble]) -> dict[str, Any]:
    """The manifest's `ensembles`, absent where there are none."""
    told = {name: {"adapters": list(x.adapters), "combine": x.combine} for name, x in ensembles.items()}
    return {"ensembles": told} if told else {}
