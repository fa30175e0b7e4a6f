"""An adapter file, read and checked against the base that it is to run on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from .adapter_metadata import AdapterMetadata, metadata_from
from .checked import Fields
from .encoder_decoder import cross_names, encoder_past_names, named, own_names
from .errors import AdapterError, BaseMismatchError
from .layer import Layer
from .layer_lengths import longest_of
from .manifest import Manifest
from .results import AdapterInfo
from .scaled_tensors import expanded

METADATA_KEY = "edgetune"


@dataclass(frozen=True, eq=False)
class Adapter:
    """One task's tensors, float32 and contiguous, ready to be fed."""

    info: AdapterInfo
    metadata: AdapterMetadata
    past: tuple[np.ndarray, ...]
    """Keys and values of the virtual tokens, layer by layer, key before value: 2·L of [1, K, P_l, D], or empty."""
    prompt: np.ndarray | None = None
    """[1, P, E], not of decoders; E is the manifest's `embedding_size`."""
    decoder_past: tuple[np.ndarray, ...] = ()
    """Encoder–decoders: what stands in front of the decoder's own cache; `past` is the encoder's then."""
    cross_past: tuple[np.ndarray, ...] = ()
    """Encoder–decoders: what stands in front of the keys and values of the encoder's states."""
    head_weight: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """[C, H], or [C, F] behind a hidden layer; C is 0 unless it classifies."""
    head_bias: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    """[C]."""
    dense_weight: np.ndarray | None = None
    """[F, H], the head's hidden layer; None: it has none."""
    dense_bias: np.ndarray | None = None
    """[F]."""
    suffix: np.ndarray | None = None
    """[1, Q, E], virtual tokens behind the text."""

    @property
    def prefix_tokens(self) -> int:
        """Virtual tokens that are keys and values, of the longest layer."""
        return longest_of(self.past)

    @property
    def prompt_tokens(self) -> int:
        """Virtual tokens that are embeddings."""
        return 0 if self.prompt is None else self.prompt.shape[1]

    @property
    def suffix_tokens(self) -> int:
        """Virtual tokens that are embeddings behind the text."""
        return 0 if self.suffix is None else self.suffix.shape[1]

    @property
    def decoder_tokens(self) -> int:
        """Virtual tokens in front of an encoder–decoder's completion."""
        return longest_of(self.decoder_past)

    @property
    def most_tokens(self) -> int:
        """Of the places that an encoder–decoder's prefix can go to, the longest; all of them, for the others."""
        around = self.prefix_tokens + self.prompt_tokens + self.suffix_tokens
        return max(around, self.decoder_tokens, longest_of(self.cross_past))


def info_from(metadata: AdapterMetadata, name: str, size_bytes: int) -> AdapterInfo:
    """What a user sees of an adapter."""
    return AdapterInfo(name, metadata.task, metadata.method, metadata.virtual_tokens, metadata.labels, size_bytes)


def folded_adapter(metadata: AdapterMetadata) -> Adapter:
    """The adapter of a standalone graph: it has no tensors of its own."""
    return Adapter(info_from(metadata, metadata.name, 0), metadata, ())


def read_adapter(path: Path, manifest: Manifest, name: str | None = None) -> Adapter:
    """The adapter in the `.safetensors` file at `path`, called `name` or by the name in its metadata.

    Raises BaseMismatchError if it was tuned on another base than the manifest's, and AdapterError if the file is
    missing, broken or of an unknown version, or if its task or its shapes are not those of the graph.
    """
    metadata, stored = _read(path)
    tensors = expanded(path, stored)
    _check_fit(path, metadata, manifest)
    pasts = _pasts_from(path, tensors, manifest)
    prompt = _taken(path, tensors, "prompt_embeds", (1, None, manifest.graph.embedding_size), required=False)
    if manifest.kind == "decoder" and prompt is not None:
        raise AdapterError(f"{path}: holds `prompt_embeds`, which a decoder cannot take. Export the adapter again.")
    info = info_from(metadata, metadata.name if name is None else name, path.stat().st_size)
    adapter = Adapter(info, metadata, pasts[0], prompt, suffix=_suffix_from(path, tensors, manifest))
    if manifest.encoder_decoder:
        adapter = replace(adapter, decoder_past=pasts[1], cross_past=pasts[2])
    if manifest.kind == "encoder":
        adapter = _with_head(path, adapter, tensors, manifest)
    held = adapter.most_tokens
    if held != metadata.virtual_tokens:
        raise AdapterError(
            f"{path}: says {metadata.virtual_tokens} virtual tokens, and its tensors hold {held}. Export it again."
        )
    return adapter


def _suffix_from(path: Path, tensors: dict[str, np.ndarray], manifest: Manifest) -> np.ndarray | None:
    suffix = _taken(path, tensors, "suffix_embeds", (1, None, manifest.graph.embedding_size), required=False)
    if suffix is not None and not manifest.graph.suffixes:
        raise AdapterError(
            f"{path}: has virtual tokens behind the text, which this bundle's graph does not take. Export the bundle "
            "anew, with this adapter."
        )
    return suffix


def _with_head(path: Path, adapter: Adapter, tensors: dict[str, np.ndarray], manifest: Manifest) -> Adapter:
    regresses = adapter.metadata.task == "regress"
    classes, width = 1 if regresses else len(adapter.metadata.labels), manifest.graph.hidden_size
    if not classes:
        raise AdapterError(f"{path}: a classifier without labels. Export the adapter again.")
    dense = _taken(path, tensors, "head.dense.weight", (None, width), required=False)
    if dense is not None:
        if not manifest.graph.dense_heads:
            raise AdapterError(
                f"{path}: its head has a hidden layer, which this bundle's graph does not take. Export the bundle anew."
            )
        width = len(dense)
    return replace(
        adapter,
        head_weight=_taken(path, tensors, "head.weight", (classes, width)),
        head_bias=_taken(path, tensors, "head.bias", (classes,)),
        dense_weight=dense,
        dense_bias=None if dense is None else _taken(path, tensors, "head.dense.bias", (width,)),
    )


def _read(path: Path) -> tuple[AdapterMetadata, dict[str, np.ndarray]]:
    if not path.is_file():
        raise AdapterError(f"{path}: no such file. Pass the path of one adapter's .safetensors.")
    try:
        with safe_open(str(path), framework="np") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
            tensors: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise AdapterError(f"{path}: is not a whole safetensors file of numbers ({error}). Copy it again.") from None
    if text is None:
        raise AdapterError(
            f"{path}: has no `{METADATA_KEY}` metadata, so it is no adapter of edgetune. Export it with edgetune."
        )
    try:
        data = json.loads(text)
    except ValueError as error:
        raise AdapterError(f"{path}: its `{METADATA_KEY}` metadata is not JSON ({error}). Export it again.") from None
    if not isinstance(data, dict):
        raise AdapterError(f"{path}: its `{METADATA_KEY}` metadata is not an object. Export it again.")
    return metadata_from(Fields(data, f"{path}: {METADATA_KEY}", AdapterError)), tensors


def _check_fit(path: Path, metadata: AdapterMetadata, manifest: Manifest) -> None:
    if metadata.base_fingerprint != manifest.base.fingerprint:
        raise BaseMismatchError(
            f"{path}: was tuned on the base {metadata.base_fingerprint}, and this bundle holds "
            f"{manifest.base.fingerprint} ({manifest.base.name}). Use that base, or tune the task on this one."
        )
    if metadata.task not in manifest.tasks:
        tasks = " and ".join(map(repr, manifest.tasks))
        raise AdapterError(f"{path}: is for the task {metadata.task!r}, and this bundle is for {tasks}. Use another.")
    needs_words = metadata.task == "classify" and (manifest.kind == "decoder" or manifest.graph.pooling == "mask")
    if needs_words and not (metadata.label_words and metadata.template is not None):
        raise AdapterError(f"{path}: has no label words, which this bundle's classifiers need. Export it again.")
    if max((max(words) for words in metadata.label_words), default=0) >= manifest.graph.vocab_size:
        raise AdapterError(f"{path}: has label words outside of the base's vocabulary. It is of another base.")
    if manifest.kind == "encoder" and metadata.pooling != manifest.graph.pooling:
        raise AdapterError(
            f"{path}: was tuned with the pooling {metadata.pooling!r}, and this graph has {manifest.graph.pooling!r}. "
            "Export the adapter with its own base graph."
        )


def _pasts_from(path: Path, tensors: dict[str, np.ndarray], manifest: Manifest) -> list[tuple[np.ndarray, ...]]:
    """Keys and values of every place that a prefix can go to: in front of the text alone, but for encoder–decoders."""
    layers, pair = manifest.graph.layers, manifest.encoder_decoder
    places = [(named("past_key_values.{}", layers), layers)]
    if pair:
        places = [
            (encoder_past_names(pair.encoder_layers), pair.encoder_layers),
            (own_names(layers)[0], layers),
            (cross_names(pair.cross_layers)[0], pair.cross_layers),
        ]
    wanted = [_stored_names(tensors, names) for names, _ in places]
    present = {name for name in tensors if "past_key_values." in name}
    if extra := sorted(present.difference(*wanted)):
        raise AdapterError(
            f"{path}: holds `{extra[0]}`, and the base has {len(manifest.graph.layers)} layers. It is of another base."
        )
    pasts = [
        _past_from(path, tensors, names, of_place) if present & set(names) else ()
        for names, (_, of_place) in zip(wanted, places)
    ]
    if not manifest.graph.layer_lengths and any(len({x.shape[2] for x in past}) > 1 for past in pasts):
        raise AdapterError(
            f"{path}: its prefix is longer in some layers than in others, which this bundle's graph does not take. "
            "Export the bundle anew, with this adapter."
        )
    return pasts


def _stored_names(tensors: dict[str, np.ndarray], names: Sequence[str]) -> list[str]:
    """`names` as the file has them: a layer's keys that are its values too are stored once."""
    shared = [f"{name.rpartition('.')[0]}.key_value" for name in names]
    return shared if any(name in tensors for name in shared) else list(names)


def _past_from(
    path: Path, tensors: dict[str, np.ndarray], names: Sequence[str], layers: Sequence[Layer]
) -> tuple[np.ndarray, ...]:
    """Keys and values of every layer; both of one length, layers may differ."""
    length = None
    past = []
    for i, name in enumerate(names):
        layer = layers[i // 2]
        past.append(_taken(path, tensors, name, (1, layer.key_value_heads, length, layer.head_size)))
        length = None if i % 2 else past[-1].shape[2]
    return tuple(past)


def _taken(
    path: Path, tensors: dict[str, np.ndarray], name: str, shape: tuple[int | None, ...], required: bool = True
) -> Any:
    """The tensor as contiguous float32, after its shape is checked; None stands for any length."""
    if name not in tensors:
        if not required:
            return None
        raise AdapterError(f"{path}: lacks the tensor `{name}`. Export the adapter again.")
    tensor = tensors[name]
    if tensor.dtype not in (np.float32, np.float16):
        raise AdapterError(f"{path}: `{name}` is {tensor.dtype}, and float32 or float16 is read. Export it again.")
    if tensor.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, tensor.shape)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise AdapterError(
            f"{path}: `{name}` has the shape {list(tensor.shape)}, and [{wanted}] fits this base and its labels."
        )
    return np.ascontiguousarray(tensor, np.float32)
