"""Products of a frozen base in bf16, everything between them in fp32.

torch's autocast rounds a frozen weight anew at each use and keeps activations in bf16, attention among them, which is
slow on processors. Here each weight is rounded once, and only what enters and leaves a product is rounded with it.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D


class Product(torch.autograd.Function):
    """`apply(x [..., K], weight bf16 [N, K])` → `[..., N]` in the dtype of `x`; gradients reach `x` alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.weight = weight
        return linear(x.to(weight.dtype), weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return (gradient.to(ctx.weight.dtype) @ ctx.weight).to(gradient.dtype), None


class HalfLayer:
    """Stands in for the forward of a linear layer; `weight` is its own, rounded, `[N, K]`."""

    def __init__(self, layer: torch.nn.Linear | Conv1D) -> None:
        weight = layer.weight.detach()
        self.weight = (weight.T if isinstance(layer, Conv1D) else weight).to(torch.bfloat16).contiguous()
        self.bias = layer.bias

    def __call__(self, x: Tensor) -> Tensor:
        out = Product.apply(x, self.weight)
        return out if self.bias is None else out + self.bias  # type: ignore[operator]


class HalfProducts:
    """`with HalfProducts(model):` the model's frozen linear layers multiply in bf16.

    Weights are rounded on first use and kept, half the bytes of fp32 more; the model itself keeps its own.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.layers: dict[torch.nn.Module, HalfLayer] = {}

    def __enter__(self) -> None:
        if not self.layers:
            self.layers = {layer: HalfLayer(layer) for layer in self.model.modules() if is_frozen_product(layer)}
        for layer, half in self.layers.items():
            layer.forward = half

    def __exit__(self, *_: object) -> None:
        for layer in self.layers:
            del layer.forward


def is_frozen_product(layer: torch.nn.Module) -> TypeGuard[torch.nn.Linear | Conv1D]:
    return type(layer) in (torch.nn.Linear, Conv1D) and not layer.weight.requires_grad


def multiplier(layer: torch.nn.Linear) -> Tensor:
    """`[N, K]`, what the layer multiplies by at the moment: its weight, or that in bf16."""
    return layer.forward.weight if isinstance(layer.forward, HalfLayer) else layer.weight
