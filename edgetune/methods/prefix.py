"""Prefix tuning: learned keys and values in front of every layer's own (Li & Liang 2021; Liu et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from edgetune.models.attention import KeyValue
from edgetune.models.virtual import Virtual


class Prefix(torch.nn.Module):
    """Keys and values `[K, P, D]` of every layer, as the attention sees them: positions are already in the keys.

    `places` says how many layers go where, for an encoder–decoder; without it all stand in front of the text.
    """

    def __init__(self, start: Sequence[KeyValue], places: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.places = dict(places or {"encoder": len(start)})
        self.keys = torch.nn.ParameterList(key.clone() for key, _ in start)
        self.values = torch.nn.ParameterList(value.clone() for _, value in start)

    def virtual(self) -> Virtual:
        return self.placed([(key[None], value[None]) for key, value in zip(self.keys, self.values)])

    def placed(self, layers: Sequence[KeyValue]) -> Virtual:
        """Layers in this prefix's order, where they belong."""
        rest = iter(layers)
        found = {place: [next(rest) for _ in range(count)] for place, count in self.places.items()}
        return Virtual(prefix=found.get("encoder"), decoder=found.get("decoder"), cross=found.get("cross"))
