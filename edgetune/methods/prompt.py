"""Prompt tuning: P learned vectors joined to the input embeddings (Lester et al. 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from edgetune.methods.initial import from_sample_of_embeddings
from edgetune.models.base import Base
from edgetune.models.virtual import Virtual


class Prompt(torch.nn.Module):
    """`[P, H]` vectors in front of the text."""

    def __init__(self, start: Float[Tensor, "P H"]) -> None:
        super().__init__()
        self.embeds = torch.nn.Parameter(start.clone())

    @classmethod
    def sampled(cls, base: Base, length: int, generator: torch.Generator) -> Prompt:
        return cls(from_sample_of_embeddings(base, length, generator))

    def virtual(self) -> Virtual:
        return Virtual(prompt=self.embeds[None])
