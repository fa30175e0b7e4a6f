"""How long an adapter is: a prefix in each of its layers, and all that stands before and behind a text."""

from __future__ import annotations

import re

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.methods.prompt import tokens_before
from edgetune.models.base import Base

NUMBERS = re.compile(r"\d+(\s*,\s*\d+)*")


def layer_lengths(config: TrainConfig, layers: int) -> list[int]:
    """P_l of each of L layers, as `prefix_lengths`, or `virtual_tokens` in those that `prefix_layers` names.

    Raises:
        ConfigError: what is given names no layers, others than there are, or none at all.
    """
    if config.prefix_lengths is None:
        chosen = chosen_layers(config.prefix_layers, layers)
        return [config.virtual_tokens if i in chosen else 0 for i in range(layers)]
    if config.prefix_layers != TrainConfig.prefix_layers:
        raise ConfigError(
            "--prefix-lengths says how long each layer's prefix is, 0 for none; leave --prefix-layers out"
        )
    lengths = numbers_of("prefix_lengths", config.prefix_lengths)
    if len(lengths) != layers:
        raise ConfigError(f"--prefix-lengths lists {len(lengths)} layers, and the base has {layers}; give one for each")
    if not any(lengths):
        raise ConfigError("--prefix-lengths gives no layer a prefix; make one of them more than 0")
    return lengths


def chosen_layers(text: str, layers: int) -> set[int]:
    """`all`, `first:N`, `last:N` or numbers from 0 on, of L layers."""
    end, _, count = text.strip().partition(":")
    if end == "all" and not count:
        return set(range(layers))
    if end in ("first", "last") and count.isdecimal():
        if not 1 <= int(count) <= layers:
            raise ConfigError(f"--prefix-layers is {text!r}, and the base has {layers} layers; name 1 to {layers}")
        return set(range(int(count)) if end == "first" else range(layers - int(count), layers))
    chosen = set(numbers_of("prefix_layers", text))
    if max(chosen) >= layers:
        raise ConfigError(f"--prefix-layers names layer {max(chosen)}, and the base has layers 0 to {layers - 1}")
    return chosen


def numbers_of(name: str, text: str) -> list[int]:
    if not NUMBERS.fullmatch(text.strip()):
        forms = "all, first:N, last:N or numbers" if name == "prefix_layers" else "a number for each layer"
        raise ConfigError(f"--{name.replace('_', '-')} is {text!r}; give {forms}, separated by commas")
    return [int(part) for part in text.split(",")]


def suffix_length(config: TrainConfig) -> int:
    """Q: virtual tokens behind the text."""
    if not config.has_prompt:
        return 0
    return config.virtual_tokens - tokens_before(config.prompt_position, config.virtual_tokens)


def positions_taken(base: Base, config: TrainConfig) -> int:
    """Positions that an adapter of this configuration leaves no text for."""
    prompt = config.virtual_tokens if config.has_prompt else 0
    if not config.has_prefix:
        return prompt
    if base.places is None:
        return prompt + max(layer_lengths(config, len(base.layers)))
    # of an encoder–decoder a prefix takes positions in the decoder alone, a prompt in the encoder alone
    return max(prompt, config.virtual_tokens)


def refuse_exclusive(base: Base, config: TrainConfig) -> None:
    """Raises ConfigError for options that the method or the base has no use for."""
    plain = TrainConfig()
    if config.prefix_places and (base.places is None or not config.has_prefix):
        raise ConfigError("--prefix-places is for the prefix of an encoder-decoder such as T5; leave it out")
    if not config.has_prompt and config.prompt_position != plain.prompt_position:
        raise ConfigError("--prompt-position is for prompts; leave it out, or give --method prompt")
    for name in ("prefix_layers", "prefix_lengths", "prefix_share"):
        flag = f"--{name.replace('_', '-')}"
        if not config.has_prefix and getattr(config, name) != getattr(plain, name):
            raise ConfigError(f"{flag} is for prefixes; leave it out, or give --method prefix")
    if base.places and (config.prefix_layers != plain.prefix_layers or config.prefix_lengths is not None):
        raise ConfigError(
            "--prefix-layers and --prefix-lengths are for encoders and decoders; of an encoder-decoder "
            "--prefix-places chooses where a prefix goes"
        )
    if config.reparameterise == "lstm" and config.has_prefix:
        raise ConfigError("--reparameterise lstm is P-tuning's, for --method prompt; a prefix takes mlp")
    if (config.init == "adapter") != (config.init_adapter is not None):
        raise ConfigError("--init adapter and --init-adapter FOLDER go together; give both or neither")
