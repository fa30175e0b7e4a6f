"""Cross-entropy behind a frozen output head, a few rows at a time, its gradient taken on the way.

With a vocabulary of V, logits and their gradient are the largest tensors of a step. The head takes no gradient itself,
so what the hidden states receive, `(softmax − one-hot) · W`, can be had at once and the logits forgotten.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear

from edgetune.models.half import multiplier

CHUNK = 2**23
"""Logits held at a time, 32 MiB of float32."""


class FrozenHeadLoss(torch.autograd.Function):
    """`apply(hidden [M, H], weight [V, H], bias [V] or None, targets [M])` → M losses."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        rows = max(1, CHUNK // weight.shape[0])
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits, wanted = linear(hidden[part].to(weight.dtype), weight, bias).float(), targets[part, None]
            scale = logits.logsumexp(1, keepdim=True)
            losses[part] = (scale - logits.gather(1, wanted))[:, 0]
            if gradient is not None:
                chances = logits.sub_(scale).exp_()
                chances.scatter_add_(1, wanted, chances.new_full(wanted.shape, -1.0))
                gradient[part] = chances.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0][:, None].to(gradient.dtype), None, None, None


def frozen_head_losses(
    head: torch.nn.Linear, hidden: Float[Tensor, "M H"], targets: Int[Tensor, "M"]
) -> Float[Tensor, "M"]:
    """Of each of M positions; gradients reach `hidden` alone."""
    weight = multiplier(head)
    bias = None if head.bias is None else head.bias.to(weight.dtype)
    return FrozenHeadLoss.apply(hidden, weight, bias, targets)  # type: ignore[return-value]


def frozen_head_loss(
    head: torch.nn.Linear, hidden: Float[Tensor, "M H"], targets: Int[Tensor, "M"]
) -> Float[Tensor, ""]:
    """The sum of them."""
    return frozen_head_losses(head, hidden, targets).sum()
