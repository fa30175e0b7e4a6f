"""Adapters with every option of the methods, and what a plain transformers forward gives for them."""

import torch
from transformers import DynamicCache

from edgetune.adapter import adapter_from, tuned_from
from edgetune.methods.head import LinearHead
from edgetune.methods.joined import Joined
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned


def random_prompt(base, length, before=None):
    return Prompt(torch.randn(length, base.embedding_size) * base.embeddings.weight.std(), before)


def random_prefix(base, lengths, shared=False):
    shapes = [(x.key_value_heads, length, x.head_size) for x, length in zip(base.layers, lengths)]
    return Prefix([(torch.randn(shape), torch.randn(shape)) for shape in shapes], shared=shared)


SOFTS = {
    "after": lambda base: random_prompt(base, 3, 0),
    "both": lambda base: random_prompt(base, 5, 3),
    "joined": lambda base: Joined(random_prompt(base, 2), random_prefix(base, (3, 3))),
    "joined-both": lambda base: Joined(random_prompt(base, 3, 2), random_prefix(base, (4, 1))),
    "uneven": lambda base: random_prefix(base, (2, 7)),
    "last-layer": lambda base: random_prefix(base, (0, 4)),
    "first-layer": lambda base: random_prefix(base, (5, 0)),
    "shared": lambda base: random_prefix(base, (3, 3), shared=True),
    "plain": lambda base: random_prefix(base, (4, 4)),
    "before": lambda base: random_prompt(base, 6),
}
METHODS = {
    "after": "prompt",
    "both": "prompt",
    "before": "prompt",
    "joined": "prompt+prefix",
    "joined-both": "prompt+prefix",
}


def option_adapters(base, names=tuple(SOFTS), pooling="mean"):
    """By name, with heads of 2, 3, 4 … classes on an encoder."""
    torch.manual_seed(7)
    found = {}
    for number, name in enumerate(names):
        head = None
        if base.kind == "encoder":
            head = LinearHead(base.hidden_size, 2 + number)
            torch.nn.init.normal_(head.weight)
            torch.nn.init.normal_(head.bias)
        labels = tuple(f"label {i}" for i in range(2 + number)) if head else ()
        tuned, method = Tuned(base, SOFTS[name](base), head, pooling), METHODS.get(name, "prefix")
        found[name] = adapter_from(tuned, task="classify" if head else "generate", method=method, labels=labels)
    return found


@torch.no_grad()
def plain_decoder_logits(base, adapter, prompt, completion=()):
    """`[T + Q + U, V]` by transformers' own eager attention over embeddings joined by hand, its mask written out.

    Keys and values of a layer that is shorter than the longest are preceded by masked ones, so that distances count.
    """
    model, virtual = base.model, tuned_from(base, adapter).virtual() if adapter else None
    table = model.get_input_embeddings()
    embeds = [table(torch.tensor([prompt])), table(torch.tensor([list(completion)], dtype=torch.int64))]
    front, behind, prefix = (virtual.prompt, virtual.suffix, virtual.prefix) if virtual else (None, None, None)
    parts = [front, embeds[0], behind, embeds[1]]
    embeds = torch.cat([x for x in parts if x is not None], dim=1)
    length, total = (virtual.prefix_length if virtual else 0), embeds.shape[1]
    lengths = [key.shape[2] for key, _ in prefix] if prefix else [0] * len(base.layers)
    previous, attended = model.config._attn_implementation, []
    model.set_attn_implementation("eager")
    cache = DynamicCache()
    for layer, shape in enumerate(base.layers if length else ()):
        sizes = (1, shape.key_value_heads, length - lengths[layer], shape.head_size)
        key, value = prefix[layer]
        cache.update(torch.cat([torch.zeros(sizes), key], 2), torch.cat([torch.zeros(sizes), value], 2), layer)
    hooks = []
    for layer, module in enumerate(attention_modules(model)):
        hooks.append(module.register_forward_pre_hook(hide(length - lengths[layer], attended), with_kwargs=True))
    try:
        positions = length + torch.arange(total)[None]
        logits = model(inputs_embeds=embeds, past_key_values=cache, position_ids=positions).logits[0]
    finally:
        for hook in hooks:
            hook.remove()
        model.set_attn_implementation(previous)
    assert len(attended) == len(base.layers)
    return logits[front.shape[1] if front is not None else 0 :]


def attention_modules(model):
    names = ("self_attn", "attn", "attention")
    found = [x for path, x in model.named_modules() if path.rpartition(".")[2] in names]
    assert len(found) == model.config.num_hidden_layers
    return found


def hide(columns, attended):
    """Blocks the first columns of the mask that a layer is given."""

    def hook(_, args, kwargs):
        mask = kwargs["attention_mask"].clone()
        mask[..., :columns] = torch.finfo(mask.dtype).min
        attended.append(mask)
        return args, {**kwargs, "attention_mask": mask}

    return hook


@torch.no_grad()
def plain_greedy(base, adapter, prompt, count):
    found = []
    while len(found) < count:
        token = int(plain_decoder_logits(base, adapter, prompt, found)[-1].argmax())
        if token in base.eos_token_ids:
            return found
        found.append(token)
    return found
