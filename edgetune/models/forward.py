"""The one way in which virtual tokens and text go through a base, in training, evaluation and export alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from edgetune.models.attention import Pass, active
from edgetune.models.cross_entropy import frozen_head_loss
from edgetune.models.probes import backbone
from edgetune.models.suffix import with_suffix_vectors
from edgetune.models.virtual import NOTHING, Virtual

if TYPE_CHECKING:
    from edgetune.models.base import Base


def full_mask(text_mask: Int[Tensor, "B T"], virtual: Virtual) -> Int[Tensor, "B S"]:
    """`[B, T]` → `[B, P + T]`: every row sees all its virtual tokens."""
    return torch.cat([text_mask.new_ones(text_mask.shape[0], virtual.length), text_mask], dim=1)


def positions(mask: Int[Tensor, "B S"], length: int, offset: int = 0) -> Int[Tensor, "B T"]:
    """Positions of the last `length` columns of a mask: each row counts the ones before it, padding takes none."""
    return last_columns(torch.cumsum(mask, dim=1) - 1, length).clamp(min=0) + offset


def last_columns(x: Tensor, length: int) -> Tensor:
    """`[B, S]` → `[B, T]`; said to the tracer too, which does not work a difference of lengths out."""
    last = x[:, x.shape[1] - length :]
    torch._check(last.shape[1] == length)
    return last


def token_types(input_ids: Int[Tensor, "B T"], separator: int) -> Int[Tensor, "B T"]:
    """1 after the first separator, as BERT's tokenizers number the second text of a pair."""
    is_separator = (input_ids == separator).to(torch.int64)
    return ((torch.cumsum(is_separator, dim=1) - is_separator) > 0).to(torch.int64)


def text_inputs(base: Base, input_ids: Tensor, mask: Tensor, virtual: Virtual) -> dict[str, Any]:
    """Keyword arguments of the base model's forward. `mask` is `[B, past + P + T]`; virtual tokens have type 0."""
    batch, length = input_ids.shape
    inputs: dict[str, Any] = {}
    if virtual.prompt is None and virtual.suffix is None:
        inputs["input_ids"] = input_ids
    else:
        text = text_vectors(base, input_ids, virtual)
        if virtual.prompt is not None:
            text = torch.cat([virtual.prompt.expand(batch, -1, -1), text], dim=1)
        inputs["inputs_embeds"], length = text, text.shape[1]
    inputs["attention_mask"] = last_columns(mask, length)
    if base.position_offset is not None:
        inputs["position_ids"] = positions(mask, length, base.position_offset)
    if base.takes_token_types:
        types = torch.zeros_like(input_ids) if base.separator is None else token_types(input_ids, base.separator)
        if virtual.suffix is not None:
            types = types * (input_ids < base.vocab_size)
        inputs["token_type_ids"] = torch.nn.functional.pad(types, (virtual.prompt_length, 0))
    return inputs


def text_vectors(base: Base, input_ids: Tensor, virtual: Virtual) -> Tensor:
    """What the base looks up for ids of its vocabulary, and the suffix's vectors for those from V on, `[B, T, E]`."""
    if virtual.suffix is None:
        return base.embeddings(input_ids)
    return with_suffix_vectors(base.embeddings, input_ids, virtual.suffix, base.vocab_size)


@contextmanager
def given_vectors(base: Base, inputs: dict[str, Any], input_ids: Tensor) -> Iterator[dict[str, Any]]:
    """The inputs as the base takes them. One that does not do with vectors what it does with ids is given the text's
    ids, behind zeros for a prompt's, while its table gives the vectors."""
    if base.takes_vectors or "inputs_embeds" not in inputs:
        yield inputs
        return
    vectors = inputs["inputs_embeds"]
    others = {name: x for name, x in inputs.items() if name != "inputs_embeds"}
    ids = torch.where(input_ids < base.vocab_size, input_ids, 0)
    ids = torch.nn.functional.pad(ids, (vectors.shape[1] - ids.shape[1], 0))
    hook = base.embeddings.register_forward_hook(lambda *_: vectors)
    try:
        yield {"input_ids": ids, **others}
    finally:
        hook.remove()


def run(
    base: Base,
    input_ids: Tensor,
    mask: Tensor,
    virtual: Virtual = NOTHING,
    state: Pass | None = None,
    *,
    headless: bool = False,
) -> Any:
    """The base model's own output for virtual tokens and text; `mask` `[B, P + T]` covers both.

    Where there is a suffix, its ids from V on stand in `input_ids`.

    `headless` stops in front of the output head, at `.last_hidden_state`.
    """
    state = state or Pass()
    if virtual.prefix:
        state.past = virtual.prefix
        state.past_visible = mask[:, : virtual.prefix_length].bool()
        state.uneven = virtual.is_uneven
    extra = {"use_cache": False} if base.kind == "decoder" else {}
    with active(state):
        model = backbone(base.model) if headless else base.model
        with given_vectors(base, text_inputs(base, input_ids, mask, virtual), input_ids) as inputs:
            return model(**inputs, **extra)


def read_states(
    base: Base, input_ids: Tensor, mask: Tensor, virtual: Virtual = NOTHING, state: Pass | None = None
) -> Tensor:
    """What an encoder's head reads, `[B, P + T, H]` over a prompt and the text: the last layer, or of a masked
    language model what goes into its output head, which itself then runs at one position alone."""
    if not base.masked:
        return run(base, input_ids, mask, virtual, state).last_hidden_state
    seen: list[Tensor] = []

    def keep(_: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        seen.append(args[0])
        return (args[0][:, :1],)

    hook = base.output_head.register_forward_pre_hook(keep)
    try:
        run(base, input_ids, mask, virtual, state)
    finally:
        hook.remove()
    return seen[0]


def hidden_states(
    base: Base, input_ids: Int[Tensor, "B T"], mask: Int[Tensor, "B S"], virtual: Virtual = NOTHING
) -> Float[Tensor, "B T H"]:
    """What a head reads of the text; virtual tokens of a prompt are left out."""
    return read_states(base, input_ids, mask, virtual)[:, virtual.prompt_length :]


def logits_at(
    base: Base,
    input_ids: Int[Tensor, "B T"],
    mask: Int[Tensor, "B S"],
    at: Tensor,
    virtual: Virtual = NOTHING,
    state: Pass | None = None,
) -> Float[Tensor, "M V"]:
    """The decoder's logits at the M text positions where `at` (bool `[B, T]`) is true.

    The output head, most of the work under a large vocabulary, runs at these positions alone. A hook in front of it
    keeps whatever the family does to its logits afterwards (scaling, soft caps).
    """

    def select(_: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (args[0][:, virtual.prompt_length :][at][None],)

    hook = base.output_head.register_forward_pre_hook(select)
    try:
        return run(base, input_ids, mask, virtual, state).logits[0]
    finally:
        hook.remove()


def loss_at(
    base: Base,
    input_ids: Int[Tensor, "B T"],
    mask: Int[Tensor, "B S"],
    at: Bool[Tensor, "B T"],
    targets: Int[Tensor, "M"],
    virtual: Virtual = NOTHING,
) -> Float[Tensor, ""]:
    """The summed cross-entropy of `targets` under the decoder's logits where `at` is true."""
    if not base.plain_head:
        return cross_entropy(logits_at(base, input_ids, mask, at, virtual).float(), targets, reduction="sum")
    hidden = run(base, input_ids, mask, virtual, headless=True).last_hidden_state[:, virtual.prompt_length :]
    return frozen_head_loss(base.output_head, hidden[at], targets)  # type: ignore[arg-type]


def with_prompt_as_past(base: Base, virtual: Virtual) -> Virtual:
    """The same virtual tokens on a decoder: no text comes before a prompt, so one row of it serves all rows."""
    if virtual.prompt is None:
        return virtual
    in_front = replace(virtual, suffix=None)
    return Virtual(prefix=prompt_keys_and_values(base, in_front), suffix=virtual.suffix)


def prompt_keys_and_values(base: Base, virtual: Virtual) -> list[tuple[Tensor, Tensor]]:
    """Prefix and prompt as one prefix: what every layer keeps of a prompt that is run behind the prefix."""
    return keys_and_values(base, torch.zeros(1, 0, dtype=torch.int64, device=base.model.device), virtual)


def keys_and_values(base: Base, input_ids: Tensor, virtual: Virtual = NOTHING) -> list[tuple[Tensor, Tensor]]:
    """What every layer's attention keeps of a row, `[B, K, P + T, D]` each: a prefix that equals that text.

    Where layers are divided among processes their weights are brought back by the gradient of what a layer gives, which
    of the last one nothing else has.
    """
    mask = input_ids.new_ones(input_ids.shape[0], virtual.length + input_ids.shape[1])
    state = Pass(record=True)
    out, seen = run(base, input_ids, mask, virtual, state, headless=True), state.seen
    if base.divided:
        seen = [(key + 0 * out.last_hidden_state.sum(), value) for key, value in seen]
    joined = zip(virtual.prefix, seen) if virtual.prefix else (((), layer) for layer in seen)
    return [tuple(torch.cat(pair, 2) for pair in zip(old, new)) if old else new for old, new in joined]  # type: ignore[misc]
