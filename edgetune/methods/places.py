"""What a prefix's layers are called in files and graphs, by the place that they go to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from edgetune.models.attention import KeyValue
from edgetune.models.base import Base
from edgetune.models.virtual import Virtual

PATTERNS = {
    "encoder": "encoder.past_key_values.{}",
    "decoder": "past_key_values.{}.decoder",
    "cross": "past_key_values.{}.encoder",
}
"""Of an encoder–decoder, as Optimum calls its caches: `decoder` is the decoder's own, `encoder` what it has of the
encoder's states."""

SHARED = "key_value"
"""What ends the name of a tensor that is a layer's keys and its values."""

PLAIN = "past_key_values.{}"
"""Of an encoder or a decoder."""


def layer_names(base: Base) -> dict[str, list[str]]:
    """By place; what is not an encoder–decoder has one, `encoder`, in front of the text."""
    if base.places is None:
        return {"encoder": [PLAIN.format(i) for i in range(len(base.layers))]}
    shapes = base.places.shapes
    return {place: [name.format(i) for i in range(len(shapes(place)))] for place, name in PATTERNS.items()}


def named_layers(base: Base, virtual: Virtual) -> Iterator[tuple[str, KeyValue]]:
    """The name of each layer that has a prefix, with its keys and values."""
    names = layer_names(base)
    for place, layers in (("encoder", virtual.prefix), ("decoder", virtual.decoder), ("cross", virtual.cross)):
        if layers:
            yield from zip(names[place], layers)


def layer_tensors(name: str, layer: KeyValue) -> dict[str, Tensor]:
    """A layer's tensors by their names: `.key` and `.value`, or one `.key_value` where the two are the same tensor."""
    key, value = layer
    return {f"{name}.{SHARED}": key} if key is value else {f"{name}.key": key, f"{name}.value": value}


def is_shared(tensors: Mapping[str, Any]) -> bool:
    """Keys are values too, in every layer."""
    return any(name.endswith(f".{SHARED}") for name in tensors)


def placed_layers(base: Base, tensors: Mapping[str, Any]) -> dict[str, list[tuple[Any, Any]]]:
    """By place, the keys and values that `tensors` hold under these names; places without any are left out."""
    keys, values = (SHARED, SHARED) if is_shared(tensors) else ("key", "value")
    return {
        place: [(tensors[f"{name}.{keys}"], tensors[f"{name}.{values}"]) for name in names]
        for place, names in layer_names(base).items()
        if f"{names[0]}.{keys}" in tensors
    }
