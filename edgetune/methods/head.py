"""The linear head of a classifier over pooled hidden states."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edgetune.config import Pooling


def pooled(hidden: Float[Tensor, "B T H"], text_mask: Int[Tensor, "B T"], pooling: Pooling) -> Float[Tensor, "B H"]:
    """One vector a row: the mean of its text, or its first token. Virtual tokens and padding do not count."""
    if pooling == "first":
        return hidden[:, 0]
    weight = text_mask[..., None].to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1.0)


class LinearHead(torch.nn.Module):
    """`[B, H]` → `[B, C]`. It starts at zero: an untrained head prefers no class."""

    def __init__(self, hidden_size: int, classes: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(classes, hidden_size))
        self.bias = torch.nn.Parameter(torch.zeros(classes))

    def forward(self, features: Float[Tensor, "B H"]) -> Float[Tensor, "B C"]:
        return torch.nn.functional.linear(features, self.weight, self.bias)
