"""Virtual tokens that start from those of another adapter: soft prompt transfer (SPoT, Vu et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.models.attention import KeyValue
from edgetune.models.virtual import Virtual


def source_vectors(source: Virtual, config: TrainConfig) -> Float[Tensor, "P E"]:
    """The source's prompt, those of its vectors that stand behind the text at the end; their place may differ.

    Raises:
        ConfigError: it has none, or of another length.
    """
    parts = [x[0].detach() for x in (source.prompt, source.suffix) if x is not None]
    if not parts:
        raise ConfigError("the adapter of --init-adapter has a prefix and no prompt: tune with --method prefix")
    found = torch.cat(parts)
    if len(found) != config.virtual_tokens:
        raise ConfigError(
            f"the prompt of --init-adapter has {len(found)} virtual tokens, not {config.virtual_tokens}: "
            f"give --virtual-tokens {len(found)}"
        )
    return found


def source_layers(source: Virtual, lengths: Mapping[str, Sequence[int]]) -> dict[str, list[KeyValue]]:
    """The source's keys and values `[K, P_l, D]` by place; `lengths` are those wanted, one for a place or each layer.

    Raises:
        ConfigError: it has none, in other places or of other lengths.
    """
    placed = {"encoder": source.prefix, "decoder": source.decoder, "cross": source.cross}
    found = {place: layers for place, layers in placed.items() if layers}
    if not found:
        raise ConfigError("the adapter of --init-adapter has a prompt and no prefix: tune with --method prompt")
    if set(found) != set(lengths):
        raise ConfigError(f"the prefix of --init-adapter is in other places: give --prefix-places {','.join(found)}")
    for place, wanted in lengths.items():
        have = [key.shape[2] for key, _ in found[place]]
        if have != (list(wanted) if len(wanted) == len(have) else [*wanted] * len(have)):
            raise ConfigError(f"the prefix of --init-adapter has other lengths: give {option_of(have)}")
    return {place: [(k[0].detach(), v[0].detach()) for k, v in found[place]] for place in lengths}


def option_of(lengths: Sequence[int]) -> str:
    """The options that ask for these lengths."""
    if len(set(lengths)) == 1:
        return f"--virtual-tokens {lengths[0]}"
    return f"--prefix-lengths {','.join(map(str, lengths))}"
