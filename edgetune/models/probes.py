"""What a model is, read off forward passes on a few tokens: no table of families."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from edgetune.errors import UnsupportedModelError
from edgetune.models import attention
from edgetune.models.layer import LayerShape
from edgetune.models.outside import brought_in


def routed(model: PreTrainedModel) -> str:
    """Sends the model's attention through ours; what a refusal says where it turns out not to go there."""
    refusal = f"the family {model.config.model_type!r} does not route its attention through transformers' interface"
    brought_in(model)
    try:
        model.set_attn_implementation(attention.NAME)
    except ValueError as error:
        raise UnsupportedModelError(f"{refusal}, so neither prompts nor prefixes can reach it") from error
    return refusal


def probed_layers(model: PreTrainedModel, ids: Tensor) -> tuple[LayerShape, ...]:
    """Shapes of every layer's keys, in the order in which layers attend."""
    refusal, state = routed(model), attention.Pass(record=True)
    with attention.active(state):
        hidden(model, ids)
    if not state.seen:
        raise UnsupportedModelError(f"{refusal}, so neither prompts nor prefixes can reach it")
    return tuple(LayerShape(key.shape[1], key.shape[3]) for key, _ in state.seen)


def hidden(model: PreTrainedModel, ids: Tensor, **inputs: Tensor) -> Tensor:
    """The backbone's last layer, `[B, T, H]`."""
    return backbone(model)(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs)[0]


def state_size(model: PreTrainedModel, ids: Tensor) -> int:
    """H of the last layer.

    Raises:
        UnsupportedModelError: states are not one a token.
    """
    states = hidden(model, ids)
    if states.shape[1] != ids.shape[1]:
        raise UnsupportedModelError(
            f"the family {model.config.model_type!r} adds a token of its own to a text: states are not one a token"
        )
    return states.shape[-1]


def backbone(model: PreTrainedModel) -> PreTrainedModel:
    """The model without its head. Where `base_model` does not find it, it is the one model inside."""
    named: Any = model.base_model
    if named is not model or model.get_output_embeddings() is None:
        return named
    inner = [x for x in model.children() if isinstance(x, PreTrainedModel)]
    return inner[0] if len(inner) == 1 else model


def takes_vectors(model: PreTrainedModel, ids: Tensor) -> bool:
    """Whether vectors of the table in the place of ids give the same: not where more than one table reads the ids
    (Gemma 3n), where vectors go unscaled (ESM), or where there is no such input (CLIP)."""
    if "inputs_embeds" not in inspect.signature(model.forward).parameters:
        return False
    table: Any = model.get_input_embeddings()
    mask, vectors = torch.ones_like(ids), table(ids)
    try:
        backbone(model)(inputs_embeds=vectors + 1, attention_mask=mask)  # Gemma 4 looks for its token
    except RuntimeError:
        return False
    return torch.allclose(backbone(model)(inputs_embeds=vectors, attention_mask=mask)[0], hidden(model, ids), atol=1e-5)


def has_indexer(model: PreTrainedModel) -> bool:
    """Sparse attention (DeepSeek 3.2): a small network chooses for each token which others it sees."""
    return any(type(x).__name__.endswith("Indexer") for x in model.modules())


def filling_size(model: PreTrainedModel, ids: Tensor, name: str) -> int:
    """Width of what goes into the output head of a masked language model.

    Raises:
        UnsupportedModelError: it has no such head, or its scores are not that layer's alone, so that words are no rows.
    """
    head, seen = model.get_output_embeddings(), []
    if not isinstance(head, torch.nn.Linear):
        raise UnsupportedModelError(
            f"{name!r} ({model.config.model_type}) has no linear output head over its vocabulary; use --head linear"
        )
    hook = head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    finally:
        hook.remove()
    if len(seen) != 1 or not torch.equal(head(seen[0]), logits):
        raise UnsupportedModelError(
            f"{name!r} ({model.config.model_type}) changes the scores of words behind its output head; "
            "use --head linear"
        )
    return seen[0].shape[-1]


def ends_in_its_head(model: PreTrainedModel, ids: Tensor) -> bool:
    """Bit for bit: a soft cap hardly changes the small logits of a random model, but it does change them."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear):
        return False
    return torch.equal(head(hidden(model, ids)), model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)


def ever_writes(model: PreTrainedModel) -> bool:
    """Whether the family has an output head over its vocabulary, be it in another class than this one. A text tower
    without one, such as CLIP's, is read like an encoder even where its tokens see earlier ones alone."""
    return model.get_output_embeddings() is not None or model.config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def sees_later_tokens(model: PreTrainedModel, ids: Tensor) -> bool:
    changed = torch.cat([ids[:, :-1], ids[:, -1:] + 1], dim=1)
    return not torch.allclose(hidden(model, ids)[:, 0], hidden(model, changed)[:, 0], atol=1e-6)


def mixes_outside_attention(model: PreTrainedModel, ids: Tensor) -> bool:
    """With attention muted, whether anything of the last token still depends on the one before it."""
    found = []
    for tokens in (ids, torch.cat([ids[:, :-2], ids[:, -2:-1] + 1, ids[:, -1:]], dim=1)):
        state = attention.Pass(record=True, muted=True)
        with attention.active(state):
            last = hidden(model, tokens)[:, -1]
        found.append([last, *(x[:, :, -1] for layer in state.seen for x in layer)])
    return not all(torch.allclose(x, y, atol=1e-6) for x, y in zip(*found))


def probing_ids(model: PreTrainedModel) -> Tensor:
    """Four tokens from the middle of the vocabulary, `[1, 4]`.

    Raises:
        UnsupportedModelError: there is no one table of the tokens' vectors.
    """
    try:
        table: Any = model.get_input_embeddings()
    except NotImplementedError:
        table = None
    if not isinstance(getattr(table, "weight", None), Tensor):
        raise UnsupportedModelError(
            f"the family {model.config.model_type!r} has no one table of its tokens' vectors, which a prompt could join"
        )
    return torch.arange(4)[None] + table.weight.shape[0] // 2


def probed_position_offset(model: PreTrainedModel, ids: Tensor) -> int:
    """The first position that gives what the family computes when it is given none: 0, or 2 for RoBERTa."""
    expected, counted = hidden(model, ids), torch.arange(ids.shape[1])[None]
    for offset in (0, 1, 2, (getattr(model.config, "pad_token_id", None) or 0) + 1):
        if torch.allclose(hidden(model, ids, position_ids=counted + offset), expected, atol=1e-5):
            return offset
    raise UnsupportedModelError(f"cannot tell how the family {model.config.model_type!r} counts positions")


def pair_separator(model: PreTrainedModel, tokenizer: Any) -> int | None:
    """The separator's id, for families that number the second text of a pair with another token type."""
    if tokenizer is None or tokenizer.sep_token_id is None or getattr(model.config, "type_vocab_size", 0) < 2:
        return None
    types = tokenizer("a", "b").get("token_type_ids", [])
    return tokenizer.sep_token_id if 1 in types else None
