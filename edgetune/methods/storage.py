"""Keys and values in fewer bits, as an adapter's file on the device holds them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

LEVELS = 127
SCALE = ".scale"
"""What ends the name of a scale: the rest names its tensor."""


def packed(tensors: Mapping[str, Tensor], storage: str) -> dict[str, Tensor]:
    """`[…, P, D]` each, as float32, float16, or int8 with a float32 scale `[…, P, 1]` for each head and token.

    What `restored` gives back is packed to the same bytes again.
    """
    if storage == "fp32":
        return dict(tensors)
    if storage == "fp16":
        return {name: x.half() for name, x in tensors.items()}
    found = {}
    for name, x in tensors.items():
        scale = (x.abs().amax(-1, keepdim=True) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        found[name], found[f"{name}{SCALE}"] = (x / scale).round().clamp(-LEVELS, LEVELS).to(torch.int8), scale
    return found


def restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a device computes with, float32."""
    return {
        name: x.float() * tensors[f"{name}{SCALE}"] if f"{name}{SCALE}" in tensors else x.float()
        for name, x in tensors.items()
        if not name.endswith(SCALE)
    }
