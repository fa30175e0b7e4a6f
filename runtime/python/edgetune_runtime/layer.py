"""The shape of one layer's keys and values, as the manifest lists it."""

from __future__ import annotations

from dataclasses import dataclass

from .checked import Fields


@dataclass(frozen=True)
class Layer:
    """Shape of one layer's keys and values."""

    key_value_heads: int
    """K."""
    head_size: int
    """D."""


def layers_from(fields: Fields, key: str) -> tuple[Layer, ...]:
    """The layers that `key` lists."""
    return tuple(Layer(x.positive("key_value_heads"), x.positive("head_size")) for x in fields.list_of_objects(key))
