"""What virtual tokens start from: the vocabulary's vectors, and the keys and values that real tokens leave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edgetune.errors import ConfigError
from edgetune.models.attention import KeyValue
from edgetune.models.base import Base
from edgetune.models.forward import keys_and_values
from edgetune.models.forward_pairs import pair_keys_and_values


def sampled_tokens(base: Base, length: int, generator: torch.Generator) -> Int[Tensor, "P"]:
    """Ids drawn from the vocabulary, no special tokens, no repeats while they last (Lester et al. 2021, §3.2)."""
    special = set(base.tokenizer.all_special_ids) if base.tokenizer is not None else set()
    order = torch.randperm(base.vocab_size, generator=generator).tolist()
    return repeated([i for i in order if i not in special], length)


def text_tokens(base: Base, texts: Sequence[str], length: int) -> Int[Tensor, "P"]:
    """Ids of texts one behind the other, without special tokens, cut or repeated to `length`.

    Raises:
        ConfigError: the texts give no tokens.
    """
    return repeated([i for text in texts for i in base.tokenizer(text, add_special_tokens=False).input_ids], length)


def repeated(ids: list[int], length: int) -> Int[Tensor, "P"]:
    if not ids:
        raise ConfigError("there are no tokens to start the virtual tokens from; give a text, or --init random")
    return torch.tensor((ids * (length // len(ids) + 1))[:length])


@torch.no_grad()
def from_embeddings(base: Base, tokens: Int[Tensor, "P"]) -> Float[Tensor, "P E"]:
    """The vectors of real tokens: a prompt that starts as that text."""
    scale = base.places.embedding_scale if base.places else 1.0
    return base.embeddings(tokens[None].to(base.model.device))[0].clone() * scale


@torch.no_grad()
def from_activations(base: Base, tokens: Int[Tensor, "P"]) -> list[KeyValue]:
    """Keys and values `[K, P, D]` that real tokens leave in every layer: a prefix that equals that text.

    Li & Liang 2021, section 7.4: the start that helps most where data are few.
    """
    return [
        (key[0].clone(), value[0].clone()) for key, value in keys_and_values(base, tokens[None].to(base.model.device))
    ]


@torch.no_grad()
def placed_activations(base: Base, tokens: Int[Tensor, "P"], places: Sequence[str]) -> dict[str, list[KeyValue]]:
    """The same for each place of an encoder–decoder: both sides read the tokens, and the cross-attention has their
    encoder states."""
    found = pair_keys_and_values(base, tokens[None].to(base.model.device))
    return {place: [(key[0].clone(), value[0].clone()) for key, value in found[place]] for place in places}


def random_like(
    x: Float[Tensor, "*rows D"], shape: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, "*shape D"]:
    """Normal values with the mean and the deviation of each of the columns D of `x`."""
    columns = x.detach().reshape(-1, x.shape[-1])
    return columns.mean(0) + columns.std(0, unbiased=False) * torch.randn(shape, generator=generator).to(x.device)
