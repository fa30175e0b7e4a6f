"""Files beside a decoder's graph that other people's runtimes read: onnxruntime-genai, Optimum and transformers.js."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from edgetune.models.base import Base

CLASS = "PreTrainedTokenizerFast"
"""The name of a plain tokenizer.json in every version of transformers, transformers.js and onnxruntime-extensions."""
OURS_ALONE = ("backend", "is_local", "local_files_only", "extra_special_tokens", "tokenizer_file")
"""What transformers 5 notes for itself, which older readers take for something else."""
UNLIMITED = 4096
"""Positions that onnxruntime-genai is told of a base that has no limit: it wants a number, and makes room for it."""


def written_beside(folder: Path, base: Base, *, shared: bool) -> None:
    """Writes them for a decoder whose graph has no inputs but the usual ones.

    onnxruntime-genai makes room for caches of the text alone, so it cannot run a graph that adds virtual tokens.
    """
    model: Any = base.model
    contents = {
        "config.json": {**json.loads(model.config.to_json_string()), "architectures": [type(model).__name__]},
        "generation_config.json": json.loads(model.generation_config.to_json_string()),
        "tokenizer_config.json": tokenizer_config(base),
        **({"genai_config.json": genai_config(base)} if shared else {}),
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def tokenizer_config(base: Base) -> dict[str, Any]:
    """Special tokens and the chat template, as every reader of tokenizer.json understands them."""
    tokenizer: Any = base.tokenizer
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        config = json.loads((Path(folder) / "tokenizer_config.json").read_text(encoding="utf-8"))
    kept = {name: value for name, value in config.items() if name not in OURS_ALONE}
    if template := getattr(tokenizer, "chat_template", None):
        kept["chat_template"] = template
    return {**kept, "tokenizer_class": CLASS, "model_input_names": ["input_ids", "attention_mask"]}


def genai_config(base: Base) -> dict[str, Any]:
    """What onnxruntime-genai wants to know; its type `decoder` is any family whose graph has these inputs."""
    layer, config = base.layers[0], base.model.config.get_text_config()
    length = base.max_positions or UNLIMITED
    ends = list(base.eos_token_ids)
    tokens = {
        "bos_token_id": getattr(base.tokenizer, "bos_token_id", None),
        "eos_token_id": ends[0] if len(ends) == 1 else ends,
        "pad_token_id": base.pad_token_id,
    }
    decoder = {
        "filename": "model.onnx",
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "head_size": layer.head_size,
        "hidden_size": base.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": len(base.layers),
        "num_key_value_heads": layer.key_value_heads,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    model = {"type": "decoder", "context_length": length, "vocab_size": base.vocab_size, "decoder": decoder}
    model |= {name: value for name, value in tokens.items() if value not in (None, [])}
    search = {
        "do_sample": False, "max_length": length, "min_length": 0, "num_beams": 1, "num_return_sequences": 1,
        "past_present_share_buffer": True,
    }  # fmt: skip
    return {"model": model, "search": search}
