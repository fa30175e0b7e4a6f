"""An adapter: one task's tensors, checked against the base that they are to run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .adapter_file import AdapterFile, AdapterTensors
from .adapter_metadata import AdapterMetadata
from .encoder_decoder import cross_names, encoder_past_names, named, own_names
from .errors import AdapterError, BaseMismatchError
from .layer import Layer
from .layer_lengths import longest_of
from .manifest import Manifest
from .results import AdapterInfo


@dataclass(frozen=True, eq=False)
class Adapter:
    """One task's tensors, contiguous, ready to be fed; they may be read-only views of a mapped file.

    They are float32, or float16 where the file's are: copied into a cache or a batch as they are used, they become what
    the graph takes.
    """

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
    def size_bytes(self) -> int:
        """Of its tensors in memory, mapped or not."""
        more = (self.prompt, self.suffix, self.head_weight, self.head_bias, self.dense_weight, self.dense_bias)
        every = [*self.past, *self.decoder_past, *self.cross_past, *(x for x in more if x is not None)]
        return sum({id(x): x.nbytes for x in every}.values())

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


def adapter_from(file: AdapterFile, tensors: AdapterTensors, manifest: Manifest, name: str | None = None) -> Adapter:
    """The adapter of a file's tensors, called `name` or by the name in its metadata; of hollow tensors a hollow one.

    Raises BaseMismatchError if it was tuned on another base than the manifest's, and AdapterError if its task or its
    shapes are not those of the graph.
    """
    path, metadata = file.path, file.metadata
    _check_fit(path, metadata, manifest)
    pasts = _pasts_from(tensors, manifest)
    prompt = tensors.taken("prompt_embeds", (1, None, manifest.graph.embedding_size), required=False)
    if manifest.kind == "decoder" and prompt is not None:
        raise AdapterError(f"{path}: holds `prompt_embeds`, which a decoder cannot take. Export the adapter again.")
    info = info_from(metadata, metadata.name if name is None else name, file.size_bytes)
    adapter = Adapter(info, metadata, pasts[0], prompt, suffix=_suffix_from(tensors, manifest))
    if manifest.encoder_decoder:
        adapter = replace(adapter, decoder_past=pasts[1], cross_past=pasts[2])
    if manifest.kind == "encoder":
        adapter = _with_head(adapter, tensors, manifest)
    held = adapter.most_tokens
    if held != metadata.virtual_tokens:
        raise AdapterError(
            f"{path}: says {metadata.virtual_tokens} virtual tokens, and its tensors hold {held}. Export it again."
        )
    return adapter


def _suffix_from(tensors: AdapterTensors, manifest: Manifest) -> np.ndarray | None:
    suffix = tensors.taken("suffix_embeds", (1, None, manifest.graph.embedding_size), required=False)
    if suffix is not None and not manifest.graph.suffixes:
        raise AdapterError(
            f"{tensors.path}: has virtual tokens behind the text, which this bundle's graph does not take. Export the "
            "bundle anew, with this adapter."
        )
    return suffix


def _with_head(adapter: Adapter, tensors: AdapterTensors, manifest: Manifest) -> Adapter:
    path, regresses = tensors.path, adapter.metadata.task == "regress"
    classes, width = 1 if regresses else len(adapter.metadata.labels), manifest.graph.hidden_size
    if not classes:
        raise AdapterError(f"{path}: a classifier without labels. Export the adapter again.")
    dense = tensors.taken("head.dense.weight", (None, width), required=False)
    if dense is not None:
        if not manifest.graph.dense_heads:
            raise AdapterError(
                f"{path}: its head has a hidden layer, which this bundle's graph does not take. Export the bundle anew."
            )
        width = len(dense)
    return replace(
        adapter,
        head_weight=tensors.taken("head.weight", (classes, width)),
        head_bias=tensors.taken("head.bias", (classes,)),
        dense_weight=dense,
        dense_bias=None if dense is None else tensors.taken("head.dense.bias", (width,)),
    )


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


def _pasts_from(tensors: AdapterTensors, manifest: Manifest) -> list[tuple[np.ndarray, ...]]:
    """Keys and values of every place that a prefix can go to: in front of the text alone, but for encoder–decoders."""
    layers, pair = manifest.graph.layers, manifest.encoder_decoder
    places = [(named("past_key_values.{}", layers), layers)]
    if pair:
        places = [
            (encoder_past_names(pair.encoder_layers), pair.encoder_layers),
            (own_names(layers)[0], layers),
            (cross_names(pair.cross_layers)[0], pair.cross_layers),
        ]
    path = tensors.path
    wanted = [_stored_names(tensors, names) for names, _ in places]
    present = {name for name in tensors.by_name if "past_key_values." in name}
    if extra := sorted(present.difference(*wanted)):
        raise AdapterError(
            f"{path}: holds `{extra[0]}`, and the base has {len(manifest.graph.layers)} layers. It is of another base."
        )
    pasts = [
        _past_from(tensors, names, of_place) if present & set(names) else ()
        for names, (_, of_place) in zip(wanted, places)
    ]
    if not manifest.graph.layer_lengths and any(len({x.shape[2] for x in past}) > 1 for past in pasts):
        raise AdapterError(
            f"{path}: its prefix is longer in some layers than in others, which this bundle's graph does not take. "
            "Export the bundle anew, with this adapter."
        )
    return pasts


def _stored_names(tensors: AdapterTensors, names: Sequence[str]) -> list[str]:
    """`names` as the file has them: a layer's keys that are its values too are stored once."""
    shared = [f"{name.rpartition('.')[0]}.key_value" for name in names]
    return shared if any(name in tensors.by_name for name in shared) else list(names)


def _past_from(tensors: AdapterTensors, names: Sequence[str], layers: Sequence[Layer]) -> tuple[np.ndarray, ...]:
    """Keys and values of every layer; both of one length, layers may differ."""
    length = None
    past = []
    for i, name in enumerate(names):
        layer = layers[i // 2]
        same = i % 2 and name == names[i - 1]  # keys that are the values too are held once
        shape = (1, layer.key_value_heads, length, layer.head_size)
        past.append(past[-1] if same else tensors.taken(name, shape))
        length = None if i % 2 else past[-1].shape[2]
    return tuple(past)
