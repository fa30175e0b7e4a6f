"""What the manifest says of an encoder–decoder: its second graph, where it attends, how completions begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .checked import Fields
from .layer import Layer, layers_from


@dataclass(frozen=True)
class Forced:
    """Tokens that are chosen or left out whatever the logits say."""

    first: int | None = None
    """The first new token."""
    last: int | None = None
    """The last that the limit of new tokens allows."""
    never: tuple[int, ...] = ()
    """Tokens that are not chosen."""


FREE = Forced()
"""Nothing is."""


@dataclass(frozen=True)
class EncoderDecoder:
    """The manifest's `encoder_decoder`."""

    encoder_file: str
    encoder_layers: tuple[Layer, ...]
    """The encoder's own attention."""
    cross_layers: tuple[Layer, ...]
    """What the decoder has of the encoder's states."""
    start_token_id: int
    """What the decoder reads first."""
    forced: Forced
    target_tokenizer: str | None
    """The file of the tokenizer of completions, where it is another than that of prompts."""


def encoder_decoder_from(fields: Fields) -> EncoderDecoder:
    """The object in `fields`; raises their error for a field of the wrong type."""
    return EncoderDecoder(
        encoder_file=fields.text("encoder_file"),
        encoder_layers=layers_from(fields, "encoder_layers"),
        cross_layers=layers_from(fields, "cross_layers"),
        start_token_id=fields.whole("decoder_start_token_id"),
        forced=Forced(
            fields.optional_whole("forced_bos_token_id"),
            fields.optional_whole("forced_eos_token_id"),
            tuple(fields.wholes("suppressed_token_ids")),
        ),
        target_tokenizer=fields.optional_text("target_tokenizer_file"),
    )


def named(pattern: str, layers: Sequence[Layer]) -> list[str]:
    """`pattern` with each layer's number, key before value."""
    return [f"{pattern.format(i)}.{part}" for i in range(len(layers)) for part in ("key", "value")]


def encoder_past_names(layers: Sequence[Layer]) -> list[str]:
    """The encoder's inputs that hold its prefix; an adapter's tensors have the same names, here and below."""
    return named("encoder.past_key_values.{}", layers)


def own_names(layers: Sequence[Layer]) -> tuple[list[str], list[str]]:
    """The decoder's own cache, in and out."""
    return named("past_key_values.{}.decoder", layers), named("present.{}.decoder", layers)


def cross_names(layers: Sequence[Layer]) -> tuple[list[str], list[str]]:
    """Keys and values of the encoder's states: what the decoder takes, and what the encoder gives."""
    return named("past_key_values.{}.encoder", layers), named("present.{}.encoder", layers)
