"""Families that compute attention by themselves: what their modules compute goes through transformers' interface here.

A module keeps its own way under transformers' own names of attention, and takes ours under ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from edgetune.models import attention

Attend = Callable[..., tuple[Tensor, None]]
"""One of our attention functions, its module given: query `[B, N, T, D]`, key, value, mask → `[B, T, N, D]`."""


def inner(
    module: Any, attend: Attend, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
) -> tuple[Tensor, None]:
    """GPT-J and CodeGen: heads are ready, scores are scaled by the root of their width."""
    return attend(query, key, value, attention_mask)[0].transpose(1, 2), None


def inner_local(
    module: Any, attend: Attend, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
) -> tuple[Tensor, None]:
    """GPT-Neo: scores are not scaled; every second layer has a window."""
    window = module.config.window_size if module.attention_type == "local" else None
    if attention_mask is not None and window is not None:
        ones = torch.ones(attention_mask.shape[-2:], dtype=torch.bool, device=attention_mask.device)
        attention_mask = attention_mask & ones.tril().triu(1 - window)
    out = attend(query, key, value, attention_mask, scaling=1.0, sliding_window=window)[0]
    return out.transpose(1, 2), None


def by_distance(
    module: Any, attend: Attend, hidden_states: Tensor, attention_mask: Tensor | None = None,
    position_bias: Tensor | None = None, output_attentions: bool = False, **_: Any,
) -> tuple[Tensor]:  # fmt: skip
    """MPNet: a bias by distance, as T5's."""
    shape = (*hidden_states.shape[:-1], -1, module.attention_head_size)
    query, key, value = (f(hidden_states).view(shape).transpose(1, 2) for f in (module.q, module.k, module.v))
    out = attend(query, key, value, attention_mask, position_bias=position_bias)[0]
    return (module.o(out.flatten(2)),)


def disentangled(
    module: Any, attend: Attend, hidden_states: Tensor, attention_mask: Tensor, output_attentions: bool = False,
    query_states: Tensor | None = None, relative_pos: Tensor | None = None, rel_embeddings: Tensor | None = None,
) -> tuple[Tensor, None]:  # fmt: skip
    """DeBERTa-v2 and v3: scores of content and distance beside those of content and content (He et al. 2021)."""
    heads, asked = module.num_attention_heads, hidden_states if query_states is None else query_states
    query, key, value = (
        module.transpose_for_scores(f(x), heads)
        for f, x in ((module.query_proj, asked), (module.key_proj, hidden_states), (module.value_proj, hidden_states))
    )
    factor = 1 + ("c2p" in module.pos_att_type) + ("p2c" in module.pos_att_type)
    bias = None
    if module.relative_attention:
        bias = module.disentangled_attention_bias(query, key, relative_pos, rel_embeddings, factor)
        bias = bias.unflatten(0, (-1, heads))
    # rows of padding see what others see: a row that sees nothing would be no number
    visible = attention_mask.bool().any(2, keepdim=True).expand(-1, -1, hidden_states.shape[1], -1)
    split = (x.unflatten(0, (-1, heads)) for x in (query, key, value))
    scaling = 1 / math.sqrt(query.shape[-1] * factor)
    out = attend(*split, visible, scaling=scaling, position_bias=bias)[0]
    return out.flatten(2), None


def rotary_falcon(
    module: Any, attend: Attend, hidden_states: Tensor, alibi: Tensor | None, attention_mask: Tensor | None,
    layer_past: Any = None, position_embeddings: Any = None, **_: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Falcon with rotary positions."""
    from transformers.models.falcon.modeling_falcon import apply_rotary_pos_emb

    fused = module.query_key_value(hidden_states)
    query, key, value = (x.transpose(1, 2) for x in module._split_heads(fused))
    query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
    if layer_past is not None:
        key, value = layer_past.update(key, value, module.layer_idx)
    out = attend(query, key, value, attention_mask)[0]
    return module.dense(out.flatten(2)), None


def linear_biases(
    module: Any, attend: Attend, hidden_states: Tensor, residual: Tensor, alibi: Tensor,
    attention_mask: Tensor | None, layer_past: Any = None, **_: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """BLOOM: a bias that is linear in the distance, a slope a head (Press et al. 2022)."""
    from transformers.models.bloom.modeling_bloom import _get_alibi_slopes, dropout_add

    query, key, value = module._reshape(module.query_key_value(hidden_states))
    if layer_past is not None:
        key, value = layer_past.update(key, value, module.layer_idx)
    slopes = _get_alibi_slopes(module.num_heads, hidden_states.device)
    out = attend(query, key, value, attention_mask, slopes=slopes)[0]
    return dropout_add(module.dense(out.flatten(2)), residual, module.hidden_dropout, module.training), None


OUTSIDE: dict[str, tuple[str, Callable[..., Any]]] = {
    "BloomAttention": ("forward", linear_biases),
    "CodeGenAttention": ("_attn", inner),
    "DisentangledSelfAttention": ("forward", disentangled),
    "FalconAttention": ("forward", rotary_falcon),
    "GPTJAttention": ("_attn", inner),
    "GPTNeoSelfAttention": ("_attn", inner_local),
    "MPNetSelfAttention": ("forward", by_distance),
}
"""By the class of a module, the method that attends, and what takes its place."""


def chosen(config: Any, own: Callable[..., Any], ours: Callable[..., Any], module: Any, *args: Any, **more: Any) -> Any:
    """What the module computes under the attention that the configuration names."""
    name = config._attn_implementation
    if not str(name).startswith(attention.NAME):
        return own(*args, **more)
    return ours(module, partial(ALL_ATTENTION_FUNCTIONS[name], module), *args, **more)


def brought_in(model: PreTrainedModel) -> None:
    """Afterwards the attention of a family of `OUTSIDE` can be replaced by name, as that of the others can."""
    config: Any = model.config
    if config.model_type == "falcon" and config.alibi:
        return  # its biases are rounded to bfloat16, which no operator does
    for module in model.modules():
        method, ours = OUTSIDE.get(type(module).__name__, ("", None))
        if ours is None or isinstance(getattr(module, method), partial):
            continue
        setattr(module, method, partial(chosen, config, getattr(module, method), ours, module))
        type(model)._can_set_attn_implementation_cached_value = True  # type: ignore[attr-defined]
