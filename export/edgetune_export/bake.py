"""A text as an adapter: the keys and values that it leaves in a decoder, which nothing has to be tuned for.

The text begins what the base reads: its tokens are those of the text with the special tokens that begin a text, and
without those that end one. What follows is tokenised apart, without special tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import edgetune_runtime
import numpy as np
import torch
from edgetune_runtime.decoder import SharedDecoder
from edgetune_runtime.tokenizer import Tokenizer
from torch import Tensor

from edgetune.adapter import Adapter
from edgetune.config import STORAGES
from edgetune.errors import ConfigError, UnsupportedModelError
from edgetune.methods.initial import from_activations
from edgetune.methods.places import PLAIN, layer_tensors
from edgetune.methods.storage import packed, restored
from edgetune.models.attention import KeyValue
from edgetune.models.base import Base
from edgetune.training.tagging import device_tokenizer


def baked(base: Base, text: str, storage: str = STORAGES[0]) -> Adapter:
    """By the torch base.

    Raises:
        UnsupportedModelError: the base is no decoder.
        ConfigError: the text has no tokens, or leaves no room behind it.
    """
    check_kind(base.kind, base.name)
    ids = text_ids(device_tokenizer(base), text, base.max_positions)
    layers = from_activations(base, torch.tensor(ids))
    return adapter_of(layers, len(ids), storage, base.name, base.model_type, base.fingerprint)


def baked_by_bundle(bundle: str | Path, text: str, storage: str = STORAGES[0]) -> Adapter:
    """By a bundle's own graph, in the weights that it has; no torch base is needed.

    Raises:
        UnsupportedModelError, ConfigError: as `baked`; and the bundle is standalone.
        edgetune_runtime.BundleError: no whole bundle is there.
    """
    model = edgetune_runtime.load(bundle)
    manifest = model.manifest
    check_kind(manifest.kind, str(bundle))
    if manifest.standalone:
        raise ConfigError(f"{bundle} is a standalone bundle: its adapter is part of the graph. Export a shared one")
    ids = text_ids(model.tokenizer, text, manifest.graph.max_positions)
    decoder = model.decoder
    assert isinstance(decoder, SharedDecoder)
    _, state = decoder.prefill([np.array(ids)], [None])
    buffers = [torch.from_numpy(x[0, :, : len(ids)].astype(np.float32)).contiguous() for x in state.cache.buffers]
    base = manifest.base
    return adapter_of(
        list(zip(buffers[0::2], buffers[1::2])), len(ids), storage, base.name, base.model_type, base.fingerprint
    )


def check_kind(kind: str, name: str) -> None:
    if kind != "decoder":
        article = "an" if kind.startswith("e") else "a"
        raise UnsupportedModelError(
            f"{name!r} is {article} {kind}: a text is baked into a decoder's keys and values, where what stands in "
            "front never sees what follows; tune an adapter instead"
        )


def text_ids(tokenizer: Tokenizer, text: str, most: int | None) -> list[int]:
    """As they begin a text. Special tokens that it holds control: it is its author's, not a user's."""
    bare = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=False)
    whole = tokenizer.encode(text, split_special_tokens=False)
    if not bare:
        raise ConfigError("the text to bake has no tokens; give one that says something")
    ids = [*whole[: beginning(whole, bare)], *bare]
    if most is not None and len(ids) >= most:
        raise ConfigError(f"the text to bake has {len(ids)} tokens, and the base holds {most} with all that follows")
    return ids


def beginning(whole: Sequence[int], bare: Sequence[int]) -> int:
    """How many special tokens stand in front."""
    places = (i for i in range(len(whole) - len(bare) + 1) if list(whole[i : i + len(bare)]) == list(bare))
    return next(places, 0)


def adapter_of(
    layers: Sequence[KeyValue], length: int, storage: str, name: str, model_type: str, fingerprint: str
) -> Adapter:
    """Of keys and values `[K, P, D]` a layer, as its storage gives them back."""
    tensors: dict[str, Tensor] = {}
    for i, layer in enumerate(layers):
        tensors |= layer_tensors(PLAIN.format(i), layer)
    return Adapter(
        task="generate",
        method="prefix",
        virtual_tokens=length,
        base_name=name,
        base_type=model_type,
        base_fingerprint=fingerprint,
        tensors=restored(packed(tensors, storage)),
        begins_text=True,
        storage=storage,
    )
