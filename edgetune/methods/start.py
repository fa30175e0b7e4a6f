"""The learned parts of an adapter at their first values, as a configuration asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from edgetune_runtime.spans import OUTSIDE, is_bio

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
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.reparameterised import Reparameterised
from edgetune.methods.words import words_of
from edgetune.models.base import Base


def starting_tokens(base: Base, config: TrainConfig, labels: Sequence[str], generator: torch.Generator) -> torch.Tensor:
    """Ids `[P]` that `init` names: sampled, of a text, or of the class labels.

    Raises:
        ConfigError: a start that the task or the options do not give.
    """
    if config.init == "text":
        if not config.init_text:
            raise ConfigError("--init text needs the text: give --init-text")
        return text_tokens(base, [config.init_text], config.virtual_tokens)
    if config.init == "labels":
        if not labels:
            raise ConfigError("--init labels needs a task with labels; use text, vocab or random")
        return text_tokens(base, label_texts(labels, config), config.virtual_tokens)
    return sampled_tokens(base, config.virtual_tokens, generator)


def label_texts(labels: Sequence[str], config: TrainConfig) -> list[str]:
    """What labels are called: their words where they have some, and of tags the kinds of entities."""
    if config.task == "tag" and is_bio(labels):
        labels = list(dict.fromkeys(label[2:] for label in labels if label != OUTSIDE))
    return [word for label in labels for word in words_of(label, config.label_words)]


def like(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return random_like(x, tuple(x.shape), generator)


def starting_soft(
    base: Base, config: TrainConfig, labels: Sequence[str], generator: torch.Generator
) -> Prompt | Prefix | Reparameterised:
    """The method's virtual tokens at their start; the same generator state gives the same values.

    Raises:
        ConfigError: options that exclude each other.
        UnsupportedModelError: a prompt, for a family that reads the ids of its tokens again in every layer.
    """
    if config.method == "prompt" and getattr(base.model.config, "hidden_size_per_layer_input", None):
        raise UnsupportedModelError(
            f"{base.model_type} looks its tokens up again in every layer, where a prompt's vectors have no entry; "
            "use --method prefix"
        )
    if config.prefix_places and (base.places is None or config.method != "prefix"):
        raise ConfigError("--prefix-places is for the prefix of an encoder-decoder such as T5; leave it out")
    tokens = starting_tokens(base, config, labels, generator)
    soft: Prompt | Prefix
    if config.method == "prompt":
        start = from_embeddings(base, tokens)
        if config.init == "random":
            table: Any = base.embeddings
            scale = base.places.embedding_scale if base.places else 1.0
            start = random_like(table.weight * scale, tuple(start.shape), generator)
        soft = Prompt(start)
    else:
        if base.places is None:
            counts, layers = None, from_activations(base, tokens)
        else:
            placed = placed_activations(base, tokens, config.places)
            counts = {place: len(of_place) for place, of_place in placed.items()}
            layers = [layer for of_place in placed.values() for layer in of_place]
        if config.init == "random":
            layers = [(like(key, generator), like(value, generator)) for key, value in layers]
        soft = Prefix(layers, counts)
    if config.reparameterise == "none":
        return soft
    if config.reparameterise == "lstm" and config.method != "prompt":
        raise ConfigError("--reparameterise lstm is P-tuning's, for --method prompt; a prefix takes mlp")
    return Reparameterised(soft, config.reparameterise, config.reparameterise_size, generator)
