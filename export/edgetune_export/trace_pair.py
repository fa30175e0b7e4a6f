"""An encoder–decoder traced to the two graphs of the bundle's contract."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx_ir
import torch
from torch import Tensor

from edgetune.methods.places import layer_names
from edgetune.models.attention import Pass
from edgetune.models.base import Base
from edgetune.models.encoder_decoder import Places, decoded, encoded
from edgetune.models.forward import positions
from edgetune.models.forward_pairs import encoder_inputs, places_of
from edgetune.models.layer import LayerShape
from edgetune_export.needs import PLAIN, SUFFIX, Needs
from edgetune_export.pair_operators import PAIR, KeysPass, OwnCache, PairCache, PairPass
from edgetune_export.trace import (
    AUTO,
    KEEP,
    declared,
    exported,
    last_positions,
    paired,
    traced_with,
    with_default,
)

ENCODER_FILE, DECODER_FILE = "encoder.onnx", "decoder.onnx"
POSITIONS = "decoder_position_ids"
"""What some families take; the others count from the cache's length."""


class PairEncoderGraph(torch.nn.Module):
    """ids, mask, prompt, caches → keys and values of every layer's cross-attention."""

    def __init__(self, base: Base, needs: Needs) -> None:
        super().__init__()
        self.base, self.model, self.needs = base, base.model, needs

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        prompt_embeds: Tensor,
        past: list[Tensor],
        optional: list[Tensor],
    ) -> tuple[Tensor, ...]:
        length = past[0].shape[2]
        state = Pass(past=paired(past), past_visible=attention_mask[:, :length].bool())
        mask = attention_mask[:, length:]
        inputs = encoder_inputs(self.base, input_ids, prompt_embeds, self.needs.given(optional).get(SUFFIX))
        states = encoded(self.model, state, mask, **inputs)
        keys = KeysPass(order=places_of(self.base).order)
        decoded(self.model, keys, states, mask, torch.zeros_like(input_ids[:, :1]))
        return tuple(x for layer in keys.cross for x in layer)


class PairDecoderGraph(torch.nn.Module):
    """ids, masks, caches, keys and values of the cross-attention → logits of the last `keep` positions, caches."""

    def __init__(self, base: Base) -> None:
        super().__init__()
        self.base, self.model = base, base.model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, encoder_attention_mask: Tensor, past: list[Tensor],
        cross: list[Tensor], keep: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        (batch, length), total = input_ids.shape, attention_mask.shape[1]
        places, used = places_of(self.base), attention_mask.sum(1)
        state = PairPass(
            past=paired(past),
            seqlens_k=(used - 1).to(torch.int32),
            total=torch.full((), total, dtype=torch.int32),
            order=places.order,
            cross_mask=encoder_attention_mask.to(torch.int32),
            shift=total - used,
        )
        takes_positions = POSITIONS in inspect.signature(self.model.forward).parameters
        more = {POSITIONS: positions(attention_mask, length)} if takes_positions else {}
        first = total - length if places.relative or takes_positions else (used - length)[:, None]
        cache = PairCache(OwnCache(state, first, total - length), paired(cross))
        states = torch.zeros(batch, encoder_attention_mask.shape[1], self.base.hidden_size)

        def select(_: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
            return (last_positions(args[0], keep),)

        hook = self.base.output_head.register_forward_pre_hook(select)
        try:
            with positions_by_row(self.model):
                out = decoded(
                    self.model, state, states, encoder_attention_mask, input_ids, cache, attention_mask, **more
                )
        finally:
            hook.remove()
        return (out.logits, *(x for layer in state.present for x in layer))


@contextmanager
def positions_by_row(model: Any) -> Iterator[None]:
    """BART puts an axis in front of its positions for the batch; each row here has its own already."""

    def without_axis(_: torch.nn.Module, __: Any, out: Tensor) -> Tensor:
        return out[0] if out.dim() == 4 else out

    tables = [x for x in model.get_decoder().modules() if isinstance(x, torch.nn.Embedding)]
    hooks = [table.register_forward_hook(without_axis) for table in tables]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def zeros(layers: Sequence[LayerShape], batch: int, length: int) -> list[Tensor]:
    return [torch.zeros(batch, x.key_value_heads, length, x.head_size) for x in layers for _ in range(2)]


def key_value_names(base: Base, place: str, prefix: str = "") -> list[str]:
    """`past_key_values.0.decoder.key` …; with a prefix of `present` those of the outputs."""
    names = [f"{name}.{part}" for name in layer_names(base)[place] for part in ("key", "value")]
    return [name.replace("past_key_values", prefix) for name in names] if prefix else names


def cache_shapes(names: list[str], layers: Sequence[LayerShape], length: str) -> dict[str, list[str | int]]:
    both = (x for x in layers for _ in range(2))
    return {name: ["B", x.key_value_heads, length, x.head_size] for name, x in zip(names, both)}


def pair_graphs(base: Base, needs: Needs = PLAIN) -> dict[str, onnx_ir.Model]:
    """By file, the shared form of an encoder–decoder (BUNDLE.md)."""
    places = places_of(base)
    with traced_with(base, PAIR):
        return {ENCODER_FILE: encoder_side(base, places, needs), DECODER_FILE: decoder_side(base, places)}


def encoder_side(base: Base, places: Places, needs: Needs) -> onnx_ir.Model:
    names, outputs = key_value_names(base, "encoder"), key_value_names(base, "cross", "present")
    b, t, p, e = 2, 4, 3, 5
    optional = needs.inputs(base, b, 6)
    arguments = (
        torch.ones(b, t, dtype=torch.int64),
        torch.ones(b, p + e + t, dtype=torch.int64),
        torch.zeros(b, e, base.embedding_size),
        zeros(places.encoder, b, p),
        optional,
    )
    rows = {0: AUTO, 1: AUTO}
    dynamic = (rows, rows, rows, [{0: AUTO, 2: AUTO}] * len(names), needs.dynamic)
    inputs = ["input_ids", "attention_mask", "prompt_embeds", *names, *needs.names]
    model = exported(PairEncoderGraph(base, needs), arguments, inputs, outputs, dynamic)
    declared(model, {
        "input_ids": ["B", "T"],
        "attention_mask": ["B", "past + P + T"],
        "prompt_embeds": ["B", "P", base.embedding_size],
        **cache_shapes(names, places.encoder, "past"),
        **cache_shapes(outputs, places.cross, "P + T"),
        **needs.shapes(base),
    })  # fmt: skip
    return model


def decoder_side(base: Base, places: Places) -> onnx_ir.Model:
    own, present = key_value_names(base, "decoder"), key_value_names(base, "decoder", "present")
    cross = key_value_names(base, "cross")
    b, u, p, s = 2, 3, 5, 7
    arguments = (
        torch.ones(b, u, dtype=torch.int64),
        torch.ones(b, p + u, dtype=torch.int64),
        torch.ones(b, s, dtype=torch.int64),
        zeros(places.decoder, b, p),
        zeros(places.cross, b, s),
        torch.tensor(1),
    )
    rows, layer = {0: AUTO, 1: AUTO}, {0: AUTO, 2: AUTO}
    dynamic = (rows, rows, rows, [layer] * len(own), [layer] * len(cross), {})
    inputs = ["input_ids", "attention_mask", "encoder_attention_mask", *own, *cross, KEEP]
    model = exported(PairDecoderGraph(base), arguments, inputs, ["logits", *present], dynamic)
    declared(model, {
        "input_ids": ["B", "U"],
        "attention_mask": ["B", "past + U"],
        "encoder_attention_mask": ["B", "S"],
        KEEP: [],
        "logits": ["B", "kept", base.vocab_size],
        **cache_shapes(own, places.decoder, "past"),
        **cache_shapes(present, places.decoder, "present"),
        **cache_shapes(cross, places.cross, "S"),
    })  # fmt: skip
    with_default(model, KEEP, torch.tensor(1))
    return model
