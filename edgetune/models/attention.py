"""One attention function through which every prefix reaches every model family.

transformers looks a model's attention up by name; `edgetune` is such a name. Layers are told apart by counting the
calls of a forward pass, since ALBERT runs one module L times and DistilBERT numbers nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, bidirectional_mask_function, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from edgetune.errors import UnsupportedModelError

NAME = "edgetune"
"""Of this function; the names of those that stand in for it begin with it."""

BARELY = -1e3
"""What a model adds to a score to block it is below this."""

KeyValue = tuple[Tensor, Tensor]
"""Keys and values of one layer, each `[B or 1, K, P, D]`."""


@dataclass
class Pass:
    """What one forward pass puts in front of each layer, and what it reads off.

    Attributes:
        past: keys and values of every layer, in the order in which layers attend, None for a layer that has none;
            empty where none has.
        past_visible: `[B, P]`, which of those positions a row may see.
        uneven: layers have pasts of different lengths, each of which is the end of `[B, P]`.
        skipped: `[B, L]`, how many of the positions that a row may see a layer lacks, the first ones; all pasts are as
            long as the longest then. None: none.
        muted: attention gives zeros: what is left of a model looks at one token at a time, or keeps a state of its own.
        record: when true, `seen` receives the keys and values that each layer attends to, `biases` what it adds.
    """

    past: Sequence[KeyValue | None] = ()
    past_visible: Tensor | None = None
    uneven: bool = False
    skipped: Tensor | None = None
    muted: bool = False
    record: bool = False
    seen: list[KeyValue] = field(default_factory=list)
    biases: list[Tensor | None] = field(default_factory=list)
    calls: int = 0
    masks: dict[Any, Any] = field(default_factory=dict)

    def next_past(self) -> KeyValue | None:
        index, self.calls = self.calls, self.calls + 1
        if not self.past:
            return None
        if index >= len(self.past):
            raise UnsupportedModelError(f"the model attends more than the {len(self.past)} times that were probed")
        return self.past[index]

    def widened(self, mask: Tensor, past_length: int, window: int | None) -> Tensor:
        """bool `[B or 1, 1, T, T]` → `[B, 1, T, P + T]`. A causal sliding window leaves the past as it leaves text."""
        key = (id(mask), window, self.of_layer(past_length))
        if key not in self.masks:
            visible = self.visible(past_length)[:, None, None, :]
            batch, length = visible.shape[0], mask.shape[2]
            if window is not None:
                query = past_length + torch.arange(length, device=mask.device)[:, None]
                visible = visible & (query - torch.arange(past_length, device=mask.device) < window)
            visible = visible.expand(batch, 1, length, past_length)
            self.masks[key] = torch.cat([visible, mask.expand(batch, -1, -1, -1)], dim=-1)
        return self.masks[key]

    def of_layer(self, past_length: int) -> int | None:
        """What the mask of the layer under way depends on; None: all layers have one."""
        return self.calls - 1 if self.skipped is not None else past_length if self.uneven else None

    def visible(self, past_length: int) -> Tensor:
        """`[B, P_l]`, which positions of the past of the layer under way a row may see."""
        assert self.past_visible is not None
        if self.skipped is not None:
            counted = torch.cumsum(self.past_visible.to(torch.int64), dim=1)
            return self.past_visible & (counted > self.skipped[:, self.calls - 1 : self.calls])
        if self.uneven:
            return self.past_visible[:, self.past_visible.shape[1] - past_length :]
        return self.past_visible

    def biased(self, mask: Tensor, bias: Tensor, blocked: float) -> Tensor:
        """bool `[B, 1, T, P + T]` and T5's `[1, N, T, T]` → what to add to the scores; a prefix has a bias of zero."""
        key = ("biased", id(mask), id(bias))
        if key not in self.masks:
            whole = torch.nn.functional.pad(bias, (mask.shape[-1] - bias.shape[-1], 0))
            # mask and bias stay alive with the result: another tensor must not come by their ids
            self.masks[key] = mask, bias, torch.where(mask, whole, blocked)
        return self.masks[key][2]


_active = local()


def current() -> Pass | None:
    """The pass under way in this thread, if any."""
    return getattr(_active, "value", None)


@contextmanager
def active(state: Pass) -> Iterator[Pass]:
    """Everything that attends inside belongs to `state`."""
    previous = current()
    _active.value = state
    try:
        yield state
    finally:
        _active.value = previous


def scale_of(query: Tensor, scaling: float | None) -> float:
    return query.shape[-1] ** -0.5 if scaling is None else float(scaling)


def own_mask(module: torch.nn.Module) -> UnsupportedModelError:
    """What is said of a mask that hides other things than padding and what a window leaves."""
    return UnsupportedModelError(
        f"{type(module).__name__} makes an attention mask of its own, which the exported operators do not take"
    )


def equal_widths(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Zeros behind the narrower of keys and values, where a family makes them unequal (multi-head latent attention), so
    that a cache is of one width; and the scale, which is that of the queries as they came."""
    scale = scale_of(query, scaling)
    missing = value.shape[-1] - key.shape[-1]
    if missing > 0:
        query, key = (torch.nn.functional.pad(x, (0, missing)) for x in (query, key))
    elif missing < 0:
        value = torch.nn.functional.pad(value, (0, -missing))
    return query, key, value, scale


def with_sink(key: Tensor, value: Tensor, bias: Tensor, sinks: Tensor, rows: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values `[B, K, S, D]`, a bias `[B, 1 or N, T, S]` and the heads' sinks `[N]` → one more column of each,
    whose score is the sink and whose value is zero: softmax then leaves that share of the weights out."""
    key, value = (torch.nn.functional.pad(x, (0, 0, 0, 1)) for x in (key, value))
    heads = sinks.numel()
    column = sinks.reshape(1, heads, 1, 1).expand(bias.shape[0], heads, rows, 1)
    return key, value, torch.cat([bias.expand(-1, heads, -1, -1), column.to(bias.dtype)], dim=-1)


def seen_by(module: torch.nn.Module, mask: Tensor | None, rows: Any) -> Tensor | None:
    """Who sees whom, bool `[B, 1, T, S]`, of transformers' own mask, or of one that a model makes of 0 for what is seen
    and a large negative number for the rest.

    Raises:
        UnsupportedModelError: the mask says more than that; the exported operators do not take it.
    """
    if mask is None or (mask.dtype == torch.bool and mask.shape[1] == 1):
        return mask
    plain = mask.dtype != torch.bool and mask.shape[1] == 1
    if not plain or (not torch.compiler.is_exporting() and bool(((mask != 0) & (mask > BARELY)).any())):
        raise own_mask(module)
    return (mask > BARELY).expand(-1, -1, rows, -1)


def causal_window(module: torch.nn.Module, extra: dict[str, Any]) -> int | None:
    """The sliding window of a causal layer; None where there is none or the layer looks both ways."""
    return extra.get("sliding_window") if getattr(module, "is_causal", True) else None


def repeated(x: Tensor, heads: int) -> Tensor:
    """`[B, K, T, D]` → `[B, N, T, D]`, each key/value head serving its group of query heads."""
    if x.shape[1] == heads:
        return x
    if torch.compiler.is_exporting():  # one Gather: a Reshape would take the 0 of an empty past for another dimension
        return x.index_select(1, torch.arange(heads, device=x.device) // (heads // x.shape[1]))
    return x.repeat_interleave(heads // x.shape[1], dim=1)


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **extra: Any,
) -> tuple[Tensor, None]:
    """query `[B, N, T, D]`, key and value `[B, K, T, D]`, mask bool `[B, 1, T, T]` → `[B, T, N, D]`."""
    state, bias, width = current(), extra.get("position_bias"), value.shape[-1]
    query, key, value, scale = equal_widths(query, key, value, scaling)
    attention_mask = seen_by(module, attention_mask, query.shape[2])
    if state is not None:
        if state.record:
            state.seen.append((key, value))
            state.biases.append(bias)
        if state.muted:
            return torch.zeros_like(query[..., :width]).transpose(1, 2), None
        past = state.next_past()
        if past is not None:
            assert attention_mask is not None
            batch, length = key.shape[0], past[0].shape[2]
            attention_mask = state.widened(attention_mask, length, causal_window(module, extra))
            key, value = (torch.cat([p.expand(batch, -1, -1, -1), x], 2) for p, x in zip(past, (key, value)))
    if bias is not None:
        assert attention_mask is not None
        attention_mask = (state or Pass()).biased(attention_mask, bias, -torch.inf)
    if (slopes := extra.get("slopes")) is not None:
        assert attention_mask is not None
        counted = torch.cumsum(attention_mask[:, :, -1:], dim=-1)
        attention_mask = torch.where(attention_mask, slopes[:, None, None] * counted, -torch.inf)
    if (sinks := extra.get("s_aux")) is not None:
        assert attention_mask is not None
        attention_mask = torch.where(attention_mask, 0.0, -torch.inf) if bias is None else attention_mask
        key, value, attention_mask = with_sink(key, value, attention_mask, sinks, query.shape[2])
    heads = query.shape[1]
    key, value = repeated(key, heads), repeated(value, heads)
    softcap = extra.get("softcap")
    if softcap is None:
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=scale)
    else:
        scores = query @ key.transpose(2, 3) * scale
        scores = softcap * torch.tanh(scores / softcap)
        if attention_mask is not None:
            scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
        out = scores.softmax(-1) @ value
    return out[..., :width].transpose(1, 2).contiguous(), None


def explicit_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """transformers' boolean mask, never left out: a past is joined to it column by column.

    Where all text sees all text only padding is hidden, which takes no table of rows, queries and keys to say.
    """
    padding = kwargs.get("attention_mask")
    if kwargs.get("mask_function") is bidirectional_mask_function and padding is not None:
        return padding.bool()[:, None, None, :].expand(-1, -1, kwargs["q_length"], -1)
    return sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})


ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, explicit_mask)
