"""PEFT's layout of a prefix: one row a virtual token, in it key and value of every layer at one common shape.

Where layers differ (Gemma 4) the common shape is that of the layers with the largest heads, and every other layer uses
the corner of it that it needs; layers that attend to another layer's keys use that layer's. PEFT leaves layers that are
wider than the common shape without a prefix.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from edgetune.errors import AdapterError
from edgetune.models.attention import KeyValue
from edgetune.models.base import Base, LayerShape
from edgetune.models.forward import keys_and_values


def common_shape(base: Base) -> LayerShape:
    """The shape that PEFT gives every layer of a prefix.

    Raises:
        AdapterError: it does not hold every layer.
    """
    size = max(layer.head_size for layer in base.layers)
    common = min((x for x in base.layers if x.head_size == size), key=lambda x: x.key_value_heads)
    if wider := wider_layers(base, common):
        raise AdapterError(f"this adapter cannot become PEFT's: {unreached(base, wider)}")
    return common


def wider_layers(base: Base, common: LayerShape) -> list[int]:
    """Layers that the common shape does not hold."""
    return [
        i
        for i, layer in enumerate(base.layers)
        if layer.key_value_heads > common.key_value_heads or layer.head_size > common.head_size
    ]


def unreached(base: Base, wider: list[int]) -> str:
    layers = ", ".join(map(str, wider))
    return (
        f"PEFT gives no prefix to layers {layers} of {base.name!r}, whose heads are more than those of the largest size"
    )


@torch.no_grad()
def sources(base: Base) -> list[int]:
    """Of every layer the first that attends to the same keys: itself, unless layers share them (Gemma 4)."""
    first: dict[int, int] = {}
    seen = keys_and_values(base, torch.arange(4)[None] + base.vocab_size // 2)
    return [first.setdefault(key.data_ptr(), i) for i, (key, _) in enumerate(seen)]


def prefix_from_rows(rows: Float[Tensor, "P width"], common: LayerShape, base: Base) -> list[KeyValue]:
    """Keys and values `[K, P, D]` of every layer; `width` is L * 2 times the common shape."""
    heads, size = common.key_value_heads, common.head_size
    wide = rows.view(len(rows), len(base.layers), 2, heads, size).permute(1, 2, 3, 0, 4)
    return [
        (wide[source, 0, : layer.key_value_heads, :, : layer.head_size].contiguous(),
         wide[source, 1, : layer.key_value_heads, :, : layer.head_size].contiguous())
        for source, layer in zip(sources(base), base.layers)
    ]  # fmt: skip


def rows_from_prefix(prefix: list[KeyValue], base: Base) -> Float[Tensor, "P width"]:
    """The inverse of `prefix_from_rows`; what PEFT does not read is 0.

    Raises:
        AdapterError: lengths differ, layers that share keys have prefixes of their own, or shapes do not fit.
    """
    common, length = common_shape(base), prefix[0][0].shape[1]
    if any(x.shape[1] != length for pair in prefix for x in pair):
        raise AdapterError("PEFT cannot express this adapter: its layers have prefixes of different lengths")
    for i, source in enumerate(sources(base)):
        if not all(torch.equal(own, shared) for own, shared in zip(prefix[i], prefix[source])):
            raise AdapterError(
                f"PEFT cannot express this adapter: layer {i} shares the keys of layer {source} but has its own prefix"
            )
    wide = prefix[0][0].new_zeros(len(prefix), 2, common.key_value_heads, length, common.head_size)
    for i, pair in enumerate(prefix):
        for part, x in enumerate(pair):
            wide[i, part, : x.shape[0], :, : x.shape[2]] = x
    return wide.permute(3, 0, 1, 2, 4).reshape(length, -1)
