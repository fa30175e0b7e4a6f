"""A conversation on the disk: its messages with the keys and values of what was read, in one safetensors file.

The keys and values are worth something only to the model that computed them. So the file names what they depend on: the
base's fingerprint, the precision and form of the bundle, and the adapter's fingerprint, over what it feeds the graph. A
SHA-256 over all that the file says tells a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .adapter import Adapter
from .chat_template import Message
from .checked import Fields
from .durable import write_durable
from .errors import ConversationError
from .json_text import json_from
from .manifest import Manifest
from .session import past_names

FORMAT_VERSION = 1
METADATA_KEY, DIGEST_KEY = "edgetune_conversation", "sha256"
TOKENS = "token_ids"
CONVERSATION_BYTES = 64 << 20
"""Of messages and options, at most; they are the app's own."""
NOT_KEPT = ("cancel", "on_chunk")
"""Options that are of a process, not of a conversation."""


@dataclass(frozen=True, eq=False)
class StoredConversation:
    """What a file keeps."""

    messages: Sequence[Message]
    overflow: str
    options: Mapping[str, Any]
    template: str | None
    """Its source, where it is not the bundle's."""
    token_ids: list[int]
    """What the cache holds, in order."""
    held: Sequence[np.ndarray]
    """Their keys and values, as `ExtendableDecoder.stored` gives them; none where there are no tokens."""


@dataclass(frozen=True, eq=False)
class ConversationFile:
    """A file that is whole, before it is known whether it fits a model."""

    path: Path
    adapter: str | None
    """The name that the adapter had; None: the bare base."""
    made_with: Mapping[str, str]
    """As `key_of` gives it."""
    stored: StoredConversation

    def check(self, manifest: Manifest, adapter: Adapter | None) -> None:
        """Raises ConversationError, naming both, where the keys and values are of another model or adapter."""
        for name, here in key_of(manifest, adapter).items():
            was = self.made_with.get(name)
            if was != here:
                raise ConversationError(
                    f"{self.path}: was saved with the {name} {was}, and this model has {here}. Load it where it was "
                    "saved, or begin a chat with its messages."
                )
        count, held = len(self.stored.token_ids), self.stored.held
        widths = [(x.key_value_heads, x.head_size) for x in manifest.graph.layers for _ in range(2)] if count else []
        positions = count + (manifest.standalone.virtual_tokens if manifest.standalone else 0)
        if [x.shape for x in held] != [(1, heads, positions, size) for heads, size in widths]:
            raise ConversationError(f"{self.path}: its keys and values are not those of its tokens. Save it again.")


def key_of(manifest: Manifest, adapter: Adapter | None) -> dict[str, str]:
    """What keys and values depend on beside the tokens."""
    return {
        "base": manifest.base.fingerprint,
        "form": manifest.form,
        "precision": manifest.precision,
        "adapter": fingerprint(manifest, adapter),
    }


def fingerprint(manifest: Manifest, adapter: Adapter | None) -> str:
    """`sha256:<hex>` of what an adapter feeds the graph, or of the graph that it is folded into; `none`."""
    if adapter is None:
        return "none"
    digest = hashlib.sha256(b"begins" if adapter.metadata.begins_text else b"")
    for x in (*adapter.past, *(() if adapter.suffix is None else (adapter.suffix,))):
        digest.update(f"\0{x.shape}\0".encode())
        digest.update(np.ascontiguousarray(x).data)
    if manifest.standalone:
        parts = sorted((n, x.sha256) for n, x in manifest.files.items() if n.startswith(manifest.graph.file))
        digest.update(json.dumps(parts).encode())
    return f"sha256:{digest.hexdigest()}"


def write_conversation(
    path: str | os.PathLike[str], stored: StoredConversation, manifest: Manifest, adapter: Adapter | None
) -> None:
    """Writes beside `path`, then takes its place; raises ConversationError where that fails."""
    names = past_names(len(stored.held) // 2)
    tensors = {name: np.ascontiguousarray(x) for name, x in zip(names, stored.held)}
    tensors[TOKENS] = np.array(stored.token_ids, np.int64)
    said = {
        "format_version": FORMAT_VERSION,
        "made_with": key_of(manifest, adapter),
        "adapter": None if adapter is None else adapter.info.name,
        "messages": list(stored.messages),
        "overflow": stored.overflow,
        "template": stored.template,
        "options": options_as_json(stored.options),
    }
    try:
        text = json.dumps(said)
        data = save(tensors, {METADATA_KEY: text, DIGEST_KEY: digest_of(text, tensors)})
        write_durable(Path(path), data, mode=0o600)  # what was said is nobody else's business
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise ConversationError(f"{path}: the conversation cannot be saved ({error}). Choose another place.") from error


def read_conversation(path: str | os.PathLike[str], manifest: Manifest) -> ConversationFile:
    """The file at `path`; raises ConversationError if it is no conversation, damaged, or of an unknown version."""
    place = Path(path)
    if not place.is_file():
        raise ConversationError(f"{place}: no such file. Pass the path that a conversation was saved to.")
    try:
        with safe_open(str(place), framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library's own errors, Python's, and those of number types that numpy lacks
        raise ConversationError(f"{place}: is not a whole safetensors file ({error}). Copy it again.") from None
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise ConversationError(f"{place}: holds no conversation. Pass the path that a conversation was saved to.")
    if metadata.get(DIGEST_KEY) != digest_of(text, tensors):
        raise ConversationError(f"{place}: its SHA-256 is not the one that it had: it was altered. Copy it again.")
    try:
        fields = Fields(dict(json_from(text, CONVERSATION_BYTES, finite=False)), str(place), ConversationError)
    except (ValueError, TypeError) as error:
        raise ConversationError(f"{place}: what it says is not JSON ({error}). Save it again.") from None
    if TOKENS not in tensors:
        raise ConversationError(f"{place}: lacks the tensor `{TOKENS}`. Save it again.")
    fields.exactly("format_version", FORMAT_VERSION)
    made_with = fields.object("made_with")
    return ConversationFile(
        place, fields.optional_text("adapter"), made_with.data, stored_from(fields, tensors, len(manifest.graph.layers))
    )


def stored_from(fields: Fields, tensors: Mapping[str, np.ndarray], layers: int) -> StoredConversation:
    """What a file whose digest is right says."""
    held = [tensors[name] for name in past_names(layers) if name in tensors]
    options = options_from_json(fields.object("options"))
    messages = [x.data for x in fields.list_of_objects("messages")]
    return StoredConversation(
        messages, fields.text("overflow"), options, fields.optional_text("template"), tensors[TOKENS].tolist(), held
    )


def digest_of(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256, in hexadecimal, over the description and all tensors by their names."""
    digest = hashlib.sha256(text.encode())
    for name, x in sorted(tensors.items()):
        digest.update(f"\0{name}\0{x.dtype}\0{x.shape}\0".encode())
        digest.update(np.ascontiguousarray(x).data)
    return digest.hexdigest()


def options_as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that can be kept; token ids, which no JSON object has as keys, become a list of pairs."""
    kept = {name: value for name, value in options.items() if name not in NOT_KEPT}
    if kept.get("logit_bias") is not None:
        kept["logit_bias"] = [[int(token), float(bias)] for token, bias in kept["logit_bias"].items()]
    return kept


def options_from_json(kept: Fields) -> dict[str, Any]:
    """What `options_as_json` was given; raises ConversationError for what it cannot have been."""
    bias = kept.data.get("logit_bias")
    if bias is None:
        return dict(kept.data)
    try:
        return {**kept.data, "logit_bias": {int(token): float(value) for token, value in bias}}
    except (TypeError, ValueError, OverflowError):
        raise kept.fail("logit_bias", "a list of pairs, a token id and a number") from None
