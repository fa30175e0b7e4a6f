"""The one way in which virtual tokens, a prompt and its completion go through an encoder–decoder.

The decoder's own prefix is a past of transformers' cache: the text behind it starts at position P, and T5's bias is by
distance from there, as if the prefix were text. The encoder counts its text from 0, or behind a prompt; prefixes of
encoder and cross-attention have no place in the order and a bias of zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from edgetune.models.attention import KeyValue, Pass
from edgetune.models.encoder_decoder import Places, decoded, encoded
from edgetune.models.suffix import with_suffix, with_suffix_vectors
from edgetune.models.virtual import NOTHING, Virtual

if TYPE_CHECKING:
    from edgetune.models.base import Base


def places_of(base: Base) -> Places:
    assert base.places is not None, "only an encoder-decoder reads a prompt and writes a completion"
    return base.places


def encoder_inputs(
    base: Base, input_ids: Tensor, prompt: Tensor | None, suffix: Tensor | None = None
) -> dict[str, Tensor]:
    """Keyword arguments of the encoder: ids, or the prompt's vectors with those of the ids behind them; a suffix is the
    vectors of ids from V on."""
    if prompt is None and suffix is None:
        return {"input_ids": input_ids}
    scale = places_of(base).embedding_scale

    def table(ids: Tensor) -> Tensor:
        return base.embeddings(ids) * scale

    text = table(input_ids) if suffix is None else with_suffix_vectors(table, input_ids, suffix, base.vocab_size)
    return {"inputs_embeds": text if prompt is None else torch.cat([prompt.expand(text.shape[0], -1, -1), text], dim=1)}


def encoder_states(
    base: Base, input_ids: Tensor, mask: Tensor, virtual: Virtual = NOTHING, state: Pass | None = None
) -> tuple[Tensor, Tensor]:
    """The encoder's last layer over prompt, text and suffix, `[B, P + T + Q, H]`, and its mask; `mask` `[B, T]` is the
    text's."""
    state, batch = state or Pass(), input_ids.shape[0]
    input_ids, mask = with_suffix(input_ids, mask, virtual.suffix_length, base.vocab_size)
    if virtual.prefix:
        state.past = list(virtual.prefix)
        state.past_visible = mask.new_ones(batch, virtual.prefix_length).bool()
    seen = torch.cat([mask.new_ones(batch, virtual.prompt_length), mask], dim=1)
    return encoded(base.model, state, seen, **encoder_inputs(base, input_ids, virtual.prompt, virtual.suffix)), seen


def by_order(places: Places, cross: list[KeyValue] | None) -> list[KeyValue | None]:
    """The cross-attention's prefix where the decoder's attentions run; nothing for the decoder's own."""
    layers = iter(cross or [])
    return [next(layers) if place == "cross" else None for place in places.order] if cross else []


def cache_of(prefix: list[KeyValue] | None, batch: int) -> EncoderDecoderCache | None:
    """transformers' cache with the decoder's own prefix in it."""
    if not prefix:
        return None
    own = DynamicCache()
    for i, (key, value) in enumerate(prefix):
        own.update(key.expand(batch, -1, -1, -1), value.expand(batch, -1, -1, -1), i)
    return EncoderDecoderCache(own, DynamicCache())


def run_pair(
    base: Base,
    input_ids: Int[Tensor, "B T"],
    mask: Int[Tensor, "B T"],
    decoder_ids: Int[Tensor, "B U"],
    virtual: Virtual = NOTHING,
) -> Any:
    """The model's own output for prompts and the beginnings of their completions."""
    states, seen = encoder_states(base, input_ids, mask, virtual)
    state = Pass(past=by_order(places_of(base), virtual.cross))
    if virtual.cross:
        state.past_visible = mask.new_ones(input_ids.shape[0], virtual.cross[0][0].shape[2]).bool()
    return decoded(base.model, state, states, seen, decoder_ids, cache_of(virtual.decoder, input_ids.shape[0]))


def pair_logits_at(
    base: Base,
    input_ids: Int[Tensor, "B T"],
    mask: Int[Tensor, "B T"],
    decoder_ids: Int[Tensor, "B U"],
    at: Tensor,
    virtual: Virtual = NOTHING,
) -> Float[Tensor, "M V"]:
    """Logits at the M places of the decoder's ids where `at` (bool `[B, U]`) is true; the head runs there alone."""

    with output_head_at(base, at):
        return run_pair(base, input_ids, mask, decoder_ids, virtual).logits[0]


@contextmanager
def output_head_at(base: Base, at: Tensor) -> Iterator[None]:
    """Inside, logits are `[1, M, V]`, those of the M places where `at` (bool `[B, U]`) is true."""

    def select(_: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (args[0][at][None],)

    hook = base.output_head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()


def pair_keys_and_values(base: Base, tokens: Int[Tensor, "1 P"]) -> dict[str, list[KeyValue]]:
    """What each place keeps, `[1, K, P, D]` a layer, when both sides read the same tokens."""
    places, mask, reading, writing = places_of(base), torch.ones_like(tokens), Pass(record=True), Pass(record=True)
    states, seen = encoder_states(base, tokens, mask, state=reading)
    decoded(base.model, writing, states, seen, tokens)
    found: dict[str, list[KeyValue]] = {"encoder": reading.seen, "decoder": [], "cross": []}
    for place, layer in zip(places.order, writing.seen):
        found[place].append(layer)
    return found
