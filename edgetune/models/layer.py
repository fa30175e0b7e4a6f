"""The shape of what one layer's attention keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerShape:
    """Keys and values of a layer are `[B, key_value_heads, T, head_size]`."""

    key_value_heads: int
    head_size: int
