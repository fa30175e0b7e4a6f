"""Prompt tuning: P learned vectors joined to the input embeddings (Lester et al. 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from edgetune.models.virtual import Virtual


class Prompt(torch.nn.Module):
    """`[P, H]` vectors in front of the text."""

    def __init__(self, start: Float[Tensor, "P H"]) -> None:
        super().__init__()
        self.embeds = torch.nn.Parameter(start.clone())

    def virtual(self) -> Virtual:
        return Virtual(prompt=self.embeds[None])
