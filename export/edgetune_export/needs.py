"""Inputs that a graph has only where an adapter of the export needs them, so that ordinary graphs stay lean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgetune.adapter import Adapter
from edgetune.models.base import Base

SUFFIX, SKIPPED = "suffix_embeds", "skipped"


@dataclass(frozen=True)
class Needs:
    """What the graph must take.

    Attributes:
        suffixes: virtual tokens behind the text, `suffix_embeds [B, Q, E]`.
        layer_lengths: prefixes that are longer in some layers than in others, `skipped [B, L]`.
    """

    suffixes: bool = False
    layer_lengths: bool = False

    @property
    def names(self) -> list[str]:
        return [name for name, has in ((SUFFIX, self.suffixes), (SKIPPED, self.layer_lengths)) if has]

    def inputs(self, base: Base, batch: int, length: int) -> list[Tensor]:
        """By `names`, for a trace; `length` is Q."""
        every = {
            SUFFIX: torch.zeros(batch, length, base.embedding_size),
            SKIPPED: torch.zeros(batch, len(base.layers), dtype=torch.int64),
        }
        return [every[name] for name in self.names]

    def given(self, optional: list[Tensor]) -> dict[str, Tensor]:
        """What a traced graph was given, by name."""
        return dict(zip(self.names, optional))

    @property
    def dynamic(self) -> list[dict[int, Any]]:
        """Axes that may be of any length: Q, not L."""
        auto = torch.export.Dim.DYNAMIC
        return [{0: auto, 1: auto} if name == SUFFIX else {0: auto} for name in self.names]

    def shapes(self, base: Base) -> dict[str, list[str | int]]:
        every: dict[str, list[str | int]] = {SUFFIX: ["B", "Q", base.embedding_size], SKIPPED: ["B", len(base.layers)]}
        return {name: every[name] for name in self.names}

    @property
    def flags(self) -> dict[str, bool]:
        """The manifest's; what is absent is false."""
        return {name: True for name in ("suffixes", "layer_lengths") if getattr(self, name)}


PLAIN = Needs()
"""An ordinary graph."""


def needs_of(adapters: Iterable[Adapter]) -> Needs:
    """What one graph for all of them takes."""
    each = list(adapters)
    return Needs(any(has_suffix(x) for x in each), any(has_layer_lengths(x) for x in each))


def has_suffix(adapter: Adapter) -> bool:
    return "suffix_embeds" in adapter.tensors


def has_layer_lengths(adapter: Adapter) -> bool:
    """Its prefix, in front of the text, is longer in some layers than in others."""
    lengths = {x.shape[1] for name, x in adapter.tensors.items() if name.startswith("past_key_values.")}
    return len(lengths) > 1
