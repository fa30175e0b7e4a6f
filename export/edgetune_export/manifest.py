"""`bundle.json`: what a bundle holds, and the hash of each of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edgetune
from edgetune.models.base import Base
from edgetune.models.encoder_decoder import TARGET_TOKENIZER
from edgetune.models.forward_pairs import places_of
from edgetune.models.layer import LayerShape
from edgetune.models.rounding import Weights
from edgetune_export import new_positions
from edgetune_export.needs import PLAIN, Needs
from edgetune_export.trace_pair import DECODER_FILE, ENCODER_FILE

NAME = "bundle.json"
GRAPH = "model.onnx"
CHAT_TEMPLATE = "chat_template.jinja"
FORMAT, FORMAT_VERSION = "edgetune-bundle", 1


def file_entry(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "size_bytes": path.stat().st_size}


def described(
    base: Base,
    *,
    form: str,
    task: str,
    weights: Weights,
    pooling: str,
    adapters: list[str],
    folded: dict[str, Any] | None,
    needs: Needs = PLAIN,
    has_new_positions: bool = False,
) -> dict[str, Any]:
    """The manifest without its hashes."""
    graph: dict[str, Any] = {
        "file": DECODER_FILE if base.places else GRAPH,
        "layers": listed(base.layers),
        "hidden_size": base.hidden_size,
        "embedding_size": base.embedding_size,
        "vocab_size": base.vocab_size,
        "max_positions": base.max_positions,
        **needs.flags,
        **({new_positions.KEY: new_positions.FILE} if has_new_positions else {}),
    }
    if base.kind == "encoder":
        graph["pooling"] = pooling
        if form == "shared":
            graph["dense_heads"] = True
    tokenizer, template = base.tokenizer, chat_template(base)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "producer": f"edgetune {edgetune.__version__}",
        "form": form,
        "kind": base.kind,
        "task": task,
        "precision": weights.precision,
        **({"weights": weights.described()} if weights.rounds else {}),
        "base": {
            "fingerprint": base.fingerprint,
            "name": Path(base.name).name,
            "model_type": base.model_type,
            "parameters": base.parameters,
        },
        "graph": graph,
        "tokenizer": {
            "file": "tokenizer.json",
            "pad_token_id": base.pad_token_id,
            **({"mask_token_id": base.mask_token_id} if base.masked else {}),
            "bos_token_id": None if tokenizer is None else tokenizer.bos_token_id,
            "eos_token_ids": [] if base.kind == "encoder" else list(base.eos_token_ids),
            **({"chat_template_file": CHAT_TEMPLATE, "special_tokens": special_tokens(base)} if template else {}),
        },
        "adapters": {name: {"file": adapter_path(name)} for name in adapters},
        "default_adapter": adapters[0] if adapters else None,
        **({"standalone": folded} if folded else {}),
        **({"encoder_decoder": encoder_decoder(base)} if base.places else {}),
    }


def chat_template(base: Base) -> str | None:
    """The source of a decoder's chat template, of several the default one; None: it has none."""
    found = getattr(base.tokenizer, "chat_template", None) if base.kind == "decoder" else None
    return found.get("default") if isinstance(found, dict) else found


def special_tokens(base: Base) -> dict[str, str]:
    """What a chat template calls `bos_token`, `eos_token` and the like."""
    found: dict[str, Any] = getattr(base.tokenizer, "special_tokens_map", {})
    return {name: str(token) for name, token in found.items() if not isinstance(token, list)}


def name_ort(description: dict[str, Any]) -> None:
    """Its graphs are in ONNX Runtime's own format."""
    for part, key in (("graph", "file"), ("encoder_decoder", "encoder_file")):
        if part in description:
            description[part][key] = Path(description[part][key]).with_suffix(".ort").name


def listed(layers: Sequence[LayerShape]) -> list[dict[str, int]]:
    return [{"key_value_heads": x.key_value_heads, "head_size": x.head_size} for x in layers]


def has_target_tokenizer(base: Base) -> bool:
    return base.target_tokenizer is not None and base.target_tokenizer is not base.tokenizer


def encoder_decoder(base: Base) -> dict[str, Any]:
    """What only that kind has."""
    places = places_of(base)
    return {
        "encoder_file": ENCODER_FILE,
        "encoder_layers": listed(places.encoder),
        "cross_layers": listed(places.cross),
        "decoder_start_token_id": places.beginning.start,
        "forced_bos_token_id": places.beginning.forced_bos,
        "forced_eos_token_id": places.beginning.forced_eos,
        "suppressed_token_ids": list(places.beginning.suppressed),
        "target_tokenizer_file": TARGET_TOKENIZER if has_target_tokenizer(base) else None,
    }


def adapter_path(name: str) -> str:
    return f"adapters/{name}.safetensors"


def manifest_text(description: dict[str, Any], folder: Path) -> str:
    """The description with an entry for every file below `folder`, as it is written."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != NAME)
    entries = {p.relative_to(folder).as_posix(): file_entry(p) for p in files}
    return json.dumps({**description, "files": entries}, indent=2, ensure_ascii=False) + "\n"
