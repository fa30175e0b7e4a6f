"""Attention of a traced encoder–decoder: fused operators in each place, and the keys that the encoder leaves to the
decoder, computed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import EncoderDecoderCache
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from edgetune.errors import UnsupportedModelError
from edgetune.models.attention import KeyValue, Pass, causal_window, current, explicit_mask, repeated, scale_of
from edgetune_export.operators import (
    DecoderPass,
    FedCache,
    additive,
    capped_attention,
    flat,
    group_query,
    multi_head_attention,
)

PAIR = "edgetune_trace_pair"


@dataclass
class KeysPass(Pass):
    """A decoder that runs for its cross-attention's keys alone; nothing else of it reaches the graph."""

    order: tuple[str, ...] = ()
    cross: list[KeyValue] = field(default_factory=list)


@dataclass
class PairPass(DecoderPass):
    """A traced step of the decoder: `past` are the caches of its own layers, `cross` is fed through the cache.

    Attributes:
        order: the place of each attention.
        own: keys and values that the layer under way computed in this step, `[B, K, U, D]`.
        cross_mask: int32 `[B, S]`, which of the encoder's states a row may see.
        shift: `[B]`, by how many columns a row is shorter than the batch's longest.
    """

    order: tuple[str, ...] = ()
    own: KeyValue | None = None
    cross_mask: Tensor = field(default_factory=lambda: torch.empty(0))
    shift: Tensor = field(default_factory=lambda: torch.empty(0))
    asked: int = 0

    def next_place(self) -> str:
        self.asked += 1
        return self.order[self.asked - 1]

    def by_row(self, bias: Tensor) -> Tensor:
        """T5's bias `[1, N, U, S]` for the longest row → `[B, N, U, S]`: it depends on the distance alone."""
        key = ("by row", id(bias))
        if key not in self.masks:
            columns = torch.arange(bias.shape[-1])[None] + self.shift[:, None]
            taken = bias[0][:, :, columns.clamp(max=bias.shape[-1] - 1)]
            self.masks[key] = bias, taken.permute(2, 0, 1, 3)
        return self.masks[key][1]


class OwnCache(FedCache):
    """The decoder's own cache. T5 sizes its bias by the keys that `update` returns: they are as long as past and step,
    and not used for anything else."""

    def __init__(self, state: PairPass, first: Any, past: Any) -> None:
        super().__init__(len(state.past), first)
        self.state, self.past = state, past

    def update(self, key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.state.own = key, value
        return torch.nn.functional.pad(key, (0, 0, self.past, 0)), value

    def get_mask_sizes(self, *_: Any, **__: Any) -> tuple[Any, int]:
        return self.past, 0

    def get_query_offset(self, *_: Any, **__: Any) -> Any:
        return self.past


class PairCache(EncoderDecoderCache):
    """What transformers' encoder–decoders take for a cache whose cross-attention has been filled."""

    def __init__(self, own: OwnCache, cross: list[KeyValue]) -> None:
        layers = [SimpleNamespace(keys=key, values=value) for key, value in cross]
        self.self_attention_cache: Any = own
        self.cross_attention_cache: Any = SimpleNamespace(layers=layers)
        self.is_updated = dict.fromkeys(range(len(cross)), True)


def pair_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float | None = None, dropout: float = 0.0, **extra: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """query `[B, N, T, D]` → `[B, T, N, D]`, by what the pass under way is for."""
    state = current()
    if isinstance(state, KeysPass):
        if state.order[state.calls] == "cross":
            state.cross.append((key, value))
        state.next_past()
        return query.transpose(1, 2), None
    if not isinstance(state, PairPass):
        return multi_head_attention(module, query, key, value, attention_mask, scaling, dropout, **extra)
    if extra.get("s_aux") is not None:
        raise UnsupportedModelError(f"{type(module).__name__} has attention sinks between encoder and decoder")
    scale = scale_of(query, scaling)
    softcap = extra.get("softcap")
    if state.next_place() == "cross":
        return cross_attention(state, query, key, value, scale, softcap), None
    window = causal_window(module, extra) or -1
    attributes = {"scale": scale, "local_window_size": window, "softcap": float(softcap or 0.0)}
    return own_attention(state, query, extra.get("position_bias"), attributes), None


def cross_attention(
    state: PairPass, query: Tensor, key: Tensor, value: Tensor, scale: float, softcap: float | None
) -> Tensor:
    """Fed keys and values `[B, K, S, D]`, taken by com.microsoft::MultiHeadAttention as they are where K is N."""
    b, n, t, d = query.shape
    key, value = repeated(key, n), repeated(value, n)
    if softcap:
        visible = state.cross_mask[:, None, None].bool()
        return capped_attention(query, key, value, additive(state, visible, t), scale, softcap)
    inputs = [flat(query), key, value, None, state.cross_mask]
    out = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention", inputs, {"num_heads": n, "scale": scale},
        dtype=query.dtype, shape=[b, t, n * d], version=1,
    )  # fmt: skip
    return out.reshape(b, t, n, d)


def own_attention(state: PairPass, query: Tensor, bias: Tensor | None, attributes: dict[str, Any]) -> Tensor:
    """com.microsoft::GroupQueryAttention over the fed cache, with T5's bias where there is one."""
    past = state.next_past()
    assert past is not None and state.own is not None
    key, value = state.own
    added = [] if bias is None else [None, None, None, state.by_row(bias)]
    inputs = [flat(query), flat(key), flat(value), *past, state.seqlens_k, state.total, *added]
    out, *present = group_query(inputs, attributes, past, None, query.shape)
    state.present.append((present[0], present[1]))
    return out


def pair_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """The encoder's mask; the decoder's operators know theirs."""
    return None if isinstance(current(), KeysPass | PairPass) else explicit_mask(*args, **kwargs)


ALL_ATTENTION_FUNCTIONS.register(PAIR, pair_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(PAIR, pair_mask)
