"""The learned parts of an adapter at their first values, as a configuration asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from edgetune_runtime.spans import OUTSIDE, is_bio
from jaxtyping import Float, Int
from torch import Tensor

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError, UnsupportedModelError
from edgetune.methods.initial import (
    from_activations,
    from_embeddings,
    placed_activations,
    random_like,
    sampled_tokens,
    text_tokens,
)
from edgetune.methods.joined import Joined, Soft
from edgetune.methods.lengths import layer_lengths, refuse_exclusive
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt, tokens_before
from edgetune.methods.reparameterised import Reparameterised
from edgetune.methods.transfer import source_layers, source_vectors
from edgetune.methods.words import words_of
from edgetune.models.attention import KeyValue
from edgetune.models.base import Base
from edgetune.models.virtual import Virtual


def starting_tokens(
    base: Base, config: TrainConfig, labels: Sequence[str], length: int, generator: torch.Generator
) -> Int[Tensor, "P"]:
    """Ids `[P]` that `init` names: sampled, of a text, or of the class labels.

    Raises:
        ConfigError: a start that the task or the options do not give.
    """
    if config.init == "text":
        if not config.init_text:
            raise ConfigError("--init text needs the text: give --init-text")
        return text_tokens(base, [config.init_text], length)
    if config.init == "labels":
        if not labels:
            raise ConfigError("--init labels needs a task with labels; use text, vocab or random")
        return text_tokens(base, label_texts(labels, config), length)
    return sampled_tokens(base, length, generator)


def label_texts(labels: Sequence[str], config: TrainConfig) -> list[str]:
    """What labels are called: their words where they have some, and of tags the kinds of entities."""
    if config.task == "tag" and is_bio(labels):
        labels = list(dict.fromkeys(label[2:] for label in labels if label != OUTSIDE))
    return [word for label in labels for word in words_of(label, config.label_words)]


def starting_soft(
    base: Base,
    config: TrainConfig,
    labels: Sequence[str],
    generator: torch.Generator,
    source: Virtual | None = None,
) -> Soft:
    """The method's virtual tokens at their start; the same generator state gives the same values.

    `source` are those of another adapter, for the start `adapter` (Vu et al. 2022).

    Raises:
        ConfigError: options that exclude each other.
        UnsupportedModelError: a prompt, for a family that reads the ids of its tokens again in every layer.
    """
    if config.has_prompt and getattr(base.model.config, "hidden_size_per_layer_input", None):
        raise UnsupportedModelError(
            f"{base.model_type} looks its tokens up again in every layer, where a prompt's vectors have no entry; "
            "use --method prefix"
        )
    refuse_exclusive(base, config)
    softs: list[Prompt | Prefix] = []
    if config.has_prompt:
        before = tokens_before(config.prompt_position, config.virtual_tokens)
        softs.append(Prompt(starting_vectors(base, config, labels, generator, source), before))
    if config.has_prefix:
        placed = starting_layers(base, config, labels, generator, source)
        counts = None if base.places is None else {place: len(layers) for place, layers in placed.items()}
        layers = [layer for of_place in placed.values() for layer in of_place]
        softs.append(Prefix(layers, counts, shared=config.prefix_share == "kv"))
    kind, size = config.reparameterise, config.reparameterise_size
    parts = softs if kind == "none" else [Reparameterised(soft, kind, size, generator) for soft in softs]
    return parts[0] if len(parts) == 1 else Joined(*parts)  # type: ignore[arg-type]


def starting_vectors(
    base: Base, config: TrainConfig, labels: Sequence[str], generator: torch.Generator, source: Virtual | None
) -> Float[Tensor, "P E"]:
    """Of a prompt, whatever its position."""
    if source is not None:
        return source_vectors(source, config)
    start = from_embeddings(base, starting_tokens(base, config, labels, config.virtual_tokens, generator))
    if config.init == "random":
        table: Any = base.embeddings
        scale = base.places.embedding_scale if base.places else 1.0
        start = random_like(table.weight * scale, tuple(start.shape), generator)
    return start


def starting_layers(
    base: Base, config: TrainConfig, labels: Sequence[str], generator: torch.Generator, source: Virtual | None
) -> dict[str, list[KeyValue]]:
    """Of a prefix, by place. A layer that is shorter than the longest has the end of what real tokens leave in it."""
    if base.places is None:
        lengths = layer_lengths(config, len(base.layers))
        if source is not None:
            return source_layers(source, {"encoder": lengths})
        tokens = starting_tokens(base, config, labels, max(lengths), generator)
        placed = {"encoder": cut_layers(from_activations(base, tokens), lengths)}
    else:
        if source is not None:
            return source_layers(source, {x: [config.virtual_tokens] for x in config.places})
        tokens = starting_tokens(base, config, labels, config.virtual_tokens, generator)
        placed = placed_activations(base, tokens, config.places)
    if config.init == "random":
        return {place: [random_layer(x, generator) for x in layers] for place, layers in placed.items()}
    return placed


def cut_layers(layers: Sequence[KeyValue], lengths: Sequence[int]) -> list[KeyValue]:
    """The last P_l positions of each layer's keys and values `[K, P, D]`."""
    return [
        (key[:, key.shape[1] - length :].clone(), value[:, value.shape[1] - length :].clone())
        for (key, value), length in zip(layers, lengths)
    ]


def random_layer(layer: KeyValue, generator: torch.Generator) -> KeyValue:
    key, value = layer
    if not key.numel():
        return layer
    return random_like(key, tuple(key.shape), generator), random_like(value, tuple(value.shape), generator)
