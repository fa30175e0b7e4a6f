"""Prefix tuning: learned keys and values in front of every layer's own (Li & Liang 2021; Liu et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edgetune.models.attention import KeyValue
from edgetune.models.virtual import Virtual


class Prefix(torch.nn.Module):
    """Keys and values `[K, P, D]` of every layer, as the attention sees them: positions are already in the keys."""

    def __init__(self, start: Sequence[KeyValue]) -> None:
        super().__init__()
        self.keys = torch.nn.ParameterList(key.clone() for key, _ in start)
        self.values = torch.nn.ParameterList(value.clone() for _, value in start)

    def virtual(self) -> Virtual:
        return Virtual(prefix=[(key[None], value[None]) for key, value in zip(self.keys, self.values)])
