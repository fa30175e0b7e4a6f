"""An adapter as the device wants it: one safetensors file with its description inside."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch
from edgetune_runtime.adapter_file import NAME
from safetensors.torch import save
from torch import Tensor

from edgetune.adapter import Adapter, tuned_from
from edgetune.errors import AdapterError
from edgetune.methods.places import PLAIN, layer_tensors
from edgetune.methods.storage import packed
from edgetune.models.attention import KeyValue
from edgetune.models.base import Base
from edgetune.models.forward import prompt_keys_and_values

FORMAT_VERSION = 1


def checked_name(name: str) -> str:
    """Raises AdapterError for a name that is not safe as a file's name on every system."""
    if not NAME.fullmatch(name):
        raise AdapterError(
            f"{name!r} cannot name an adapter: use letters, digits, '.', '_' and '-' (NAME=FOLDER gives another)"
        )
    return name


@torch.no_grad()
def prefix_of(base: Base, adapter: Adapter) -> list[KeyValue]:
    """The keys and values `[1, K, P_l, D]` that stand in front of a decoder's text; a prompt is run through the base
    once, behind the prefix if there is one."""
    virtual = replace(tuned_from(base, adapter).virtual(), suffix=None)
    if virtual.prompt is None:
        return [(key.detach(), value.detach()) for key, value in virtual.prefix or ()]
    return prompt_keys_and_values(base, virtual)


def device_tensors(adapter: Adapter, base: Base | None) -> dict[str, Tensor]:
    """Tensors under the graph's input names. `base` is needed for a decoder's prompt alone.

    Raises:
        AdapterError: a decoder's prompt without its base.
    """
    tensors = {name: x[None] if x.dim() == 3 else x for name, x in adapter.tensors.items()}
    if (suffix := tensors.pop("suffix_embeds", None)) is not None:
        tensors["suffix_embeds"] = suffix[None]
    prompt = tensors.pop("prompt_embeds", None)
    if prompt is None:
        return tensors
    if "head.weight" in tensors or (base is not None and base.kind == "encoder-decoder"):
        return {"prompt_embeds": prompt[None], **tensors}
    if base is None:
        raise AdapterError("a decoder's prompt is turned into keys and values by its base model: give --model")
    tensors = {name: x for name, x in tensors.items() if "past_key_values." not in name}
    for i, layer in enumerate(prefix_of(base, adapter)):
        tensors |= layer_tensors(PLAIN.format(i), layer)
    return tensors


def device_metadata(name: str, adapter: Adapter, version: int | None = None) -> dict[str, Any]:
    """The adapter's description in the bundle's terms."""
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "task": adapter.task,
        "method": adapter.method,
        "base_fingerprint": adapter.base_fingerprint,
        "virtual_tokens": adapter.virtual_tokens,
        "positions": adapter.positions,
        "labels": list(adapter.labels),
        "pooling": adapter.pooling,
        **({"activation": adapter.activation} if "head.dense.weight" in adapter.tensors else {}),
        **({"template": adapter.template, "label_words": adapter.label_words} if adapter.label_words else {}),
        **({"word_split": adapter.word_split} if adapter.task == "tag" else {}),
        **({} if version is None else {"version": version}),
        **({"begins_text": True} if adapter.begins_text else {}),
        "generation": dict(adapter.generation),
    }


def device_file(name: str, adapter: Adapter, base: Base | None, version: int | None = None) -> bytes:
    """What is shipped over the air, as that version of it."""
    tensors = {key: x.detach().contiguous() for key, x in device_tensors(adapter, base).items()}
    past = {key: x for key, x in tensors.items() if "past_key_values." in key}
    tensors |= packed(past, adapter.storage)
    return save(tensors, metadata={"edgetune": json.dumps(device_metadata(name, adapter, version), ensure_ascii=False)})
