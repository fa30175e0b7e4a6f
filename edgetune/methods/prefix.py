"""Prefix tuning: learned keys and values in front of every layer's own (Li & Liang 2021; Liu et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from edgetune.models.attention import KeyValue
from edgetune.models.virtual import Virtual


class Prefix(torch.nn.Module):
    """Keys and values `[K, P_l, D]` of every layer, as the attention sees them: positions are already in the keys.

    `places` says how many layers go where, for an encoder–decoder; without it all stand in front of the text. Where
    they are `shared` a layer has one tensor, which is its keys and its values; it starts from the values.
    """

    def __init__(
        self, start: Sequence[KeyValue], places: Mapping[str, int] | None = None, *, shared: bool = False
    ) -> None:
        super().__init__()
        self.places = dict(places or {"encoder": len(start)})
        self.keys = torch.nn.ParameterList((value if shared else key).clone() for key, value in start)
        self.values = self.keys if shared else torch.nn.ParameterList(value.clone() for _, value in start)

    @property
    def parts(self) -> list[Tensor]:
        """What is learned, layer by layer, key before value."""
        if self.values is self.keys:
            return list(self.keys)
        return [x for pair in zip(self.keys, self.values) for x in pair]

    @property
    def length(self) -> int:
        """P of the longest layer."""
        return max(key.shape[1] for key in self.keys)

    def virtual(self) -> Virtual:
        return self.placed([part[None] for part in self.parts])

    def placed(self, parts: Sequence[Tensor]) -> Virtual:
        """As many tensors as `parts`, `[1, K, P_l, D]`, where they belong."""
        pairs = zip(parts, parts) if self.values is self.keys else zip(parts[0::2], parts[1::2])
        found = {place: [next(pairs) for _ in range(count)] for place, count in self.places.items()}
        return Virtual(prefix=found.get("encoder"), decoder=found.get("decoder"), cross=found.get("cross"))
