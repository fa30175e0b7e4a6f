"""What virtual tokens start from: the vocabulary's own vectors, and the keys and values that real tokens leave."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edgetune.models.attention import KeyValue
from edgetune.models.base import Base
from edgetune.models.forward import keys_and_values


def sampled_tokens(base: Base, length: int, generator: torch.Generator) -> Int[Tensor, "P"]:
    """Ids drawn from the vocabulary without repeats, special tokens left out."""
    special = set(base.tokenizer.all_special_ids) if base.tokenizer is not None else set()
    order = torch.randperm(base.vocab_size, generator=generator).tolist()
    chosen = [i for i in order if i not in special][:length]
    return torch.tensor((chosen * (length // max(len(chosen), 1) + 1))[:length])


@torch.no_grad()
def from_sample_of_embeddings(base: Base, length: int, generator: torch.Generator) -> Float[Tensor, "P H"]:
    """Vectors of sampled vocabulary (Lester et al. 2021, section 3.2)."""
    return base.embeddings(sampled_tokens(base, length, generator)[None])[0].clone()


@torch.no_grad()
def from_activations(base: Base, tokens: Int[Tensor, "P"]) -> list[KeyValue]:
    """Keys and values `[K, P, D]` that real tokens leave in every layer (Li & Liang 2021, section 7.4)."""
    return [(key[0].clone(), value[0].clone()) for key, value in keys_and_values(base, tokens[None])]
