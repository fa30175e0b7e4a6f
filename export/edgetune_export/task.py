"""What the base of a bundle is loaded for."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import AutoConfig

from edgetune.adapter import Adapter
from edgetune.errors import AdapterError, ConfigError
from edgetune.models.base import WORDS

SHARING = ({"classify", "regress"}, {"generate", WORDS})
"""Purposes that one base graph serves: heads over pooled texts; a decoder's text and its next word."""


def purpose_of(model: str, adapters: Sequence[Adapter], asked: str | None) -> str:
    """What the base is to be loaded for: the adapters' purpose, the one asked for, or what the checkpoint's
    architecture says.

    Raises:
        AdapterError: the adapters, or an adapter and the request, are for purposes that no base graph shares.
    """
    purposes = {adapter.purpose for adapter in adapters}
    heads = {"classify" if adapter.label_words else "" for adapter in adapters}
    if asked and asked not in heads:
        purposes.add(asked)
    if len(purposes) > 1 and not any(purposes <= sharing for sharing in SHARING):
        named = " and ".join(sorted("label words" if x == WORDS else x for x in purposes))
        raise AdapterError(f"one bundle has one base graph, but {named} were asked for; export them apart")
    if purposes:
        return min(purposes)
    try:
        config = AutoConfig.from_pretrained(model)
        architectures = config.architectures or []
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot load the base model {model!r}: {str(error).splitlines()[0]}") from error
    generates = config.is_encoder_decoder or any(
        name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures
    )
    return "generate" if generates else "classify"
