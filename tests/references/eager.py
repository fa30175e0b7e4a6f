"""The independent reference of decoders: transformers' own eager attention and cache, nothing of edgetune's."""

import inspect

import torch
from transformers import DynamicCache


@torch.no_grad()
def eager_logits(base, adapter, ids):
    """`[T, V]` of the text `ids` behind the adapter's virtual tokens (None: behind none), in one pass."""
    model, tensors = base.model, adapter.tensors if adapter else {}
    previous = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        embeds = model.get_input_embeddings()(torch.tensor([ids]))
        if "prompt_embeds" in tensors:
            embeds = torch.cat([tensors["prompt_embeds"][None], embeds], dim=1)
        cache = DynamicCache()  # made without the config it keeps every position: the mask alone decides on windows
        virtual = 0
        for i in range(len(base.layers)):
            if f"past_key_values.{i}.key" in tensors:
                key, value = (tensors[f"past_key_values.{i}.{part}"][None] for part in ("key", "value"))
                virtual = key.shape[2]
                cache.update(key, value, i)
        takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        positions = torch.arange(virtual, virtual + embeds.shape[1])[None]
        inputs = {"position_ids": positions} if takes_positions else {}
        return model(inputs_embeds=embeds, past_key_values=cache, **inputs).logits[0, -len(ids) :]
    finally:
        model.set_attn_implementation(previous)


def eager_greedy(base, adapter, ids, new, least=0):
    """New token ids, the end token left out, and why they end; no end before `least` tokens."""
    found = []
    while len(found) < new:
        row = eager_logits(base, adapter, [*ids, *found])[-1].clone()
        if len(found) < least:
            row[list(base.eos_token_ids)] = -torch.inf
        token = int(row.argmax())
        if token in base.eos_token_ids:
            return found, "eos"
        found.append(token)
    return found, "length"
