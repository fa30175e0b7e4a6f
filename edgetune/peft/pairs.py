"""PEFT's prompts and prefixes of encoder–decoders, as PEFT runs them.

A prompt goes in front of the encoder's text; of the rows that PEFT stores for both sides only the first P are used. A
prefix reaches the decoder's own attention alone: PEFT repeats the stored layers and deals them out to self- and
cross-attention in turn, then drops the cross-attention's, so that half of its parameters do nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgetune.adapter import Adapter, adapter_from, tuned_from
from edgetune.errors import AdapterError
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.attention import KeyValue
from edgetune.models.base import Base
from edgetune.models.forward_pairs import places_of
from edgetune.models.layer import LayerShape
from edgetune.peft.stored import CONFIG, PAIR_TASK, TENSORS, Stored, whole_number

KINDS = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")
"""Those that PEFT runs by forward and generate alike on an encoder–decoder."""


def pair_adapter_on(stored: Stored, base: Base) -> Adapter:
    """An adapter that was read, on its encoder–decoder.

    Raises:
        AdapterError: it does not fit the base, or PEFT runs it as edgetune does not.
    """
    path, task = stored.folder / CONFIG, stored.config["task_type"]
    if base.places is None:
        raise AdapterError(f"{path} has task_type {task}, but {base.name!r} is no encoder-decoder")
    if task != PAIR_TASK:
        raise AdapterError(f"{path} has task_type {task}; {base.name!r} is an encoder-decoder, which has {PAIR_TASK}")
    if stored.kind not in KINDS:
        raise AdapterError(f"{path} has peft_type {stored.kind}; of encoder-decoders only {', '.join(KINDS)} come in")
    soft = pair_prompt(stored, base) if stored.method == "prompt" else pair_prefix(stored, base)
    return adapter_from(Tuned(base, soft), task="generate", method=stored.method)


def pair_prompt(stored: Stored, base: Base) -> Prompt:
    rows = stored.rows[: stored.length]
    if rows.shape[1] != base.embedding_size:
        raise AdapterError(
            f"{stored.folder / TENSORS} does not fit {base.name!r}: its vectors have {rows.shape[1]} values, the "
            f"base's embeddings {base.embedding_size}"
        )
    if places_of(base).embedding_scale != 1.0:
        raise AdapterError(
            f"{stored.folder} holds a prompt for {base.model_type}, whose embeddings PEFT hands over unscaled, the "
            "text's too: what it was tuned on is not the model; tune it anew"
        )
    return Prompt(rows)


def pair_prefix(stored: Stored, base: Base) -> Prefix:
    """Decoder layer l has row 4·l mod 2·L for its keys and the next for its values."""
    path, decoder = stored.folder / CONFIG, places_of(base).decoder
    names = ("num_layers", "num_attention_heads", "token_dim")
    depth, heads, width = (whole_number(stored.config, name, path) for name in names)
    fits = width % heads == 0 and all(x == LayerShape(heads, width // heads) for x in decoder)
    if not fits or depth != len(decoder) or stored.rows.shape[1] != 2 * depth * width:
        shapes = " or ".join(f"{x.key_value_heads} x {x.head_size}" for x in dict.fromkeys(decoder))
        raise AdapterError(
            f"{stored.folder / TENSORS} does not fit {base.name!r}: it holds {list(stored.rows.shape)} for {depth} "
            f"layers of {heads} heads, together {width} wide; the base's decoder has {len(decoder)} layers of {shapes}"
        )
    rows = stored.rows.reshape(stored.length, 2 * depth, heads, width // heads).permute(1, 2, 0, 3)
    layers: list[KeyValue] = [(rows[4 * i % (2 * depth)], rows[(4 * i + 1) % (2 * depth)]) for i in range(depth)]
    return Prefix(layers, {"decoder": depth})


def peft_of_pair(adapter: Adapter, base: Base) -> tuple[dict[str, Any], Tensor]:
    """`adapter_config.json` and `prompt_embeddings` of a prompt; PEFT wants as many rows again, and does not use them.

    Raises:
        AdapterError: a prefix, whose layers PEFT would not give to the places that they are for.
    """
    virtual = tuned_from(base, adapter).virtual()
    if virtual.prompt is None or places_of(base).embedding_scale != 1.0:
        raise AdapterError(
            f"PEFT cannot express this adapter: of {base.model_type} it keeps prompts alone where embeddings are not "
            "scaled, and its prefixes reach the decoder with half of their rows"
        )
    rows = virtual.prompt[0].detach()
    config = {
        "base_model_name_or_path": base.name,
        "inference_mode": True,
        "modules_to_save": None,
        "num_layers": len(base.layers),
        "num_transformer_submodules": 2,
        "num_virtual_tokens": virtual.prompt_length,
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "RANDOM",
        "revision": None,
        "task_type": PAIR_TASK,
        "token_dim": base.embedding_size,
    }
    return config, torch.cat([rows, rows])
