"""The head of a regression: it learns standardised targets and answers in the data's units."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from statistics import fmean, pstdev

import torch
from jaxtyping import Float
from torch import Tensor

from edgetune.methods.head import LinearHead


class ScaledHead(torch.nn.Module):
    """`[B, H]` → `[B, 1]`: a head whose answer 0 is the mean of the targets and 1 their deviation above it.

    An untrained one answers the mean, and the learning rate does not depend on the data's units.
    """

    def __init__(self, inner: LinearHead, mean: float, deviation: float) -> None:
        super().__init__()
        self.inner, self.mean, self.deviation = inner, mean, deviation

    def forward(self, features: Float[Tensor, "B H"]) -> Float[Tensor, "B 1"]:
        return self.inner(features) * self.deviation + self.mean

    @torch.no_grad()
    def folded(self) -> LinearHead:
        """A head of the same answers without a scale behind it."""
        plain = copy.deepcopy(self.inner)
        plain.weight.mul_(self.deviation)
        plain.bias.mul_(self.deviation).add_(self.mean)
        return plain


def scale_of(targets: Sequence[float]) -> tuple[float, float]:
    """Mean and deviation; the deviation is 0 where nothing varies."""
    return fmean(targets), pstdev(targets)
