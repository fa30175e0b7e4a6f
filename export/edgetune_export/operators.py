"""Attention that emits ONNX Runtime's fused operators while a model is traced: no exporter per family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from edgetune.errors import UnsupportedModelError
from edgetune.models.attention import (
    KeyValue,
    Pass,
    causal_window,
    current,
    equal_widths,
    explicit_mask,
    own_mask,
    repeated,
    seen_by,
    with_sink,
)

ENCODER, DECODER = "edgetune_trace_encoder", "edgetune_trace_decoder"
BLOCKED = -1e9
"""Added to the scores of what a row may not see; softmax makes it exactly 0 in float32."""

HEAD_SINK = 11
"""Number of GroupQueryAttention's input of that name."""


@dataclass
class DecoderPass(Pass):
    """A traced step over fed caches: `past` is `[B, K, past, D]` a layer; `present` receives what the operators return.

    Attributes:
        seqlens_k: int32 `[B]`, positions in use after this step, minus one; a layer lacks `skipped` of them.
        total: int32 scalar, the longest row's positions after this step.
        length: the same as a number; a cache may be longer.
    """

    seqlens_k: Tensor = field(default_factory=lambda: torch.empty(0))
    total: Tensor = field(default_factory=lambda: torch.empty(0))
    length: Any = 0
    present: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def layer_seqlens_k(self) -> Tensor:
        """Of the layer under way, whose cache begins with its own positions."""
        if self.skipped is None:
            return self.seqlens_k
        return self.seqlens_k - self.skipped[:, self.calls - 1].to(torch.int32)


class FedCache:
    """Stands in for transformers' cache: the operator joins past and present, so the model sees its own step alone."""

    is_compileable = False
    is_initialized = False
    layers: tuple[()] = ()

    def __init__(self, layers: int, length: Any) -> None:
        self.count, self.length = layers, length
        self.is_sliding = self.is_linear = self.is_dummy = [False] * layers

    def update(self, key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return key, value

    def get_seq_length(self, *_: Any, **__: Any) -> Any:
        return self.length

    get_query_offset = get_seq_length

    def get_mask_sizes(self, *_: Any, **__: Any) -> tuple[Any, int]:
        return self.length, 0

    def get_max_cache_shape(self, *_: Any, **__: Any) -> int:
        return -1

    def __len__(self) -> int:
        return self.count


def flat(x: Tensor) -> Tensor:
    """`[B, N, T, D]` → `[B, T, N·D]`."""
    b, n, t, d = x.shape
    return x.transpose(1, 2).reshape(b, t, n * d)


def group_query(
    inputs: Sequence[Tensor | None],
    attributes: dict[str, Any],
    past: KeyValue,
    sinks: Tensor | None,
    shape: Sequence[Any],
) -> tuple[Tensor, Tensor, Tensor]:
    """One com.microsoft::GroupQueryAttention; `shape` is that of the query, `[B, N, T, D]`."""
    (b, n, t, d), k = shape, past[0].shape[1]
    if sinks is not None:
        inputs = [*inputs, *[None] * (HEAD_SINK - len(inputs)), sinks]
    whole = [b, k, past[0].shape[2] + t, d]
    out, present_key, present_value = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention", inputs, {"num_heads": n, "kv_num_heads": k, **attributes},
        dtypes=[past[0].dtype] * 3, shapes=[[b, t, n * d], whole, whole], version=1,
    )  # fmt: skip
    return out.reshape(b, t, n, d), present_key, present_value


def group_query_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float | None = None, dropout: float = 0.0, **extra: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """query `[B, N, T, D]`, key and value `[B, K, T, D]` → `[B, T, N, D]` as one com.microsoft::GroupQueryAttention."""
    if attention_mask is not None:
        raise own_mask(module)
    if extra.get("position_bias") is not None:
        raise UnsupportedModelError(f"{type(module).__name__} is a decoder with a relative position bias")
    state, size = current(), value.shape[-1]
    assert isinstance(state, DecoderPass)
    past = state.next_past()
    assert past is not None
    query, key, value, scale = equal_widths(query, key, value, scaling)
    attributes = {
        "scale": scale,
        "local_window_size": causal_window(module, extra) or -1,
        "softcap": float(extra.get("softcap") or 0.0),
    }
    inputs = [flat(query), flat(key), flat(value), *past, state.layer_seqlens_k, state.total]
    if (slopes := extra.get("slopes")) is not None:
        inputs += [None, None, None, linear_bias(state, slopes, query.shape[2])]
    out, *present = group_query(inputs, attributes, past, extra.get("s_aux"), query.shape)
    state.present.append((present[0], present[1]))
    return out[..., :size], None


def linear_bias(state: DecoderPass, slopes: Tensor, rows: Any) -> Tensor:
    """`[1, N, T, past + T]`, slope times position: a softmax is the same whatever is added to all of a row."""
    if "linear" not in state.masks:
        bias = slopes[:, None, None] * torch.arange(state.length)
        state.masks["linear"] = bias[None].expand(1, slopes.numel(), rows, state.length)
    return state.masks["linear"]


def multi_head_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float | None = None, dropout: float = 0.0, **extra: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """query `[B, N, T, D]` → `[B, T, N, D]` as one com.microsoft::MultiHeadAttention, a past in front where one is fed.

    The present outputs are declared though nobody reads them: without them the operator ignores its past.
    """
    state, size = current(), value.shape[-1]
    query, key, value, scale = equal_widths(query, key, value, scaling)
    attention_mask = seen_by(module, attention_mask, query.shape[2])
    assert state is not None and attention_mask is not None
    past = state.next_past()
    (b, n, t, d), length = query.shape, 0 if past is None else past[0].shape[2]
    visible = attention_mask if past is None else state.widened(attention_mask, length, causal_window(module, extra))
    own = extra.get("position_bias")
    bias = additive(state, visible, t) if own is None else state.biased(visible, own, BLOCKED)
    if (sinks := extra.get("s_aux")) is not None:
        key, value, bias = with_sink(key, value, bias, sinks, t)
    if softcap := extra.get("softcap"):
        both = zip(past or (key[:, :, :0], value[:, :, :0]), (key, value))
        key, value = (repeated(torch.cat([old.expand(b, -1, -1, -1), new], 2), n) for old, new in both)
        return capped_attention(query, key, value, bias, scale, softcap)[..., :size], None
    inputs = [flat(query), flat(repeated(key, n)), flat(repeated(value, n)), None, None, bias]
    attributes = {"num_heads": n, "scale": scale}
    operator = "com.microsoft::MultiHeadAttention"
    if past is None:
        out = torch.onnx.ops.symbolic(operator, inputs, attributes, dtype=query.dtype, shape=[b, t, n * d], version=1)
    else:
        s = key.shape[2]
        out, _, _ = torch.onnx.ops.symbolic_multi_out(
            operator,
            [*inputs, *(repeated(x, n) for x in past)],
            attributes,
            dtypes=[query.dtype] * 3,
            shapes=[[b, t, n * d], [b, n, length + s, d], [b, n, length + s, d]],
            version=1,
        )
    return out.reshape(b, t, n, d)[..., :size], None


def capped_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float, softcap: float) -> Tensor:
    """query `[B, N, T, D]` → `[B, T, N, D]` in plain operators: MultiHeadAttention knows no soft cap."""
    scores = softcap * torch.tanh(query @ key.transpose(2, 3) * (scale / softcap)) + bias
    return (scores.softmax(-1) @ value).transpose(1, 2)


def additive(state: Pass, visible: Tensor, length: Any) -> Tensor:
    """bool `[B, 1, T, S]` → float of that shape, made once for all layers that share a mask."""
    key = ("additive", id(visible))
    if key not in state.masks:
        zero = torch.zeros((), dtype=torch.float32)
        state.masks[key] = torch.where(visible, zero, zero + BLOCKED)
    return state.masks[key]


ALL_ATTENTION_FUNCTIONS.register(DECODER, group_query_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(DECODER, lambda *_, **__: None)
ALL_ATTENTION_FUNCTIONS.register(ENCODER, multi_head_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(ENCODER, explicit_mask)
