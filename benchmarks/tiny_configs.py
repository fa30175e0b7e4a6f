"""Two-layer configurations of any family of transformers, by rules over the names of their fields.

What a rule gets wrong for one family stands in `FAMILIES`, as data.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

VOCAB = 128
WIDTH, HEADS, GROUPS, HEAD_SIZE, INNER, EXPERTS, POSITIONS = 64, 4, 2, 16, 96, 4, 160
WINDOW, CHUNK, LOW_RANK = 6, 8, 32

LAYERS = r"num_hidden_layers|n_layers?|num_layers|(encoder|decoder)_layers|layers|num_(en|de)coder_layers"

RULES: tuple[tuple[str, Any], ...] = (
    (r"(text_)?vocab_size(_per_layer_input)?|vocab_size_or_config_json_file", VOCAB),
    (r"type_vocab_size", None),
    (r"d_model|dim|n_embd|hidden_size|word_embed_proj_dim|projection_dim|dim_model|model_dim|d_embed|emb_dim", WIDTH),
    (r"embedding_size", WIDTH // 2),
    (LAYERS, 2),
    (r"(encoder_|decoder_)?(num_)?attention_heads|num_heads|n_heads?|(encoder|decoder)_num_attention_heads", HEADS),
    (r"num_(global_)?key_value_heads|num_kv_heads|n_kv_heads|multi_query_group_num", GROUPS),
    (r"head_dim|d_kv|attention_head_dim|global_head_dim|kv_channels|swa_head_dim|swa_v_head_dim", HEAD_SIZE),
    (r"((encoder|decoder)_)?(ffn|intermediate|mlp|feed_forward|ffn_hidden|inner)_?(dim|size)|n_inner|d_?ff", INNER),
    (r"hidden_dim|intermediate_size_mlp|expert_ffn_size|block_ff_dim|ffn_hidden_size", INNER),
    (r"\w*(shared|moe|expert|dense)\w*_(intermediate|ffn)\w*_size", INNER),
    (r"(max|n)_(target_|source_|position_)?(positions|position_embeddings)|max_seq_len(gth)?|n_ctx", POSITIONS),
    (r"seq_length|initial_context_length|original_max_position_embeddings", POSITIONS),
    (r"(n_routed|num_local|num|moe_num|n)_experts|num_local_experts", EXPERTS),
    (r"(num_)?experts_per_(tok|token)|moe_top_?k|moe_k|num_experts_per_tok|top_k_experts", 2),
    (r"n_group|topk_group", 1),
    (r"(n_shared|num_shared|moe_num_shared)_experts|first_k_dense_replace|num_dense_layers|moe_layer_start_index", 1),
    (r"q_lora_rank|kv_lora_rank|o_lora_rank", LOW_RANK),
    (r"(qk_nope|v)_head_dim", HEAD_SIZE),
    (r"qk_rope_head_dim", HEAD_SIZE // 2),
    (r"(local_|sliding_)?(attention_)?window(_size)?|sliding_window|local_attention", WINDOW),
    (r"attention_chunk_size", CHUNK),
)  # fmt: skip
"""Pattern of a field's name, and what it is made; only where the default is a larger number."""

MISSING = {"head_dim": HEAD_SIZE, "num_key_value_heads": GROUPS, "n_routed_experts": EXPERTS, "num_experts_per_tok": 2,
           "n_shared_experts": 1}  # fmt: skip
"""Where the default is none."""

IDS = {"bos": 1, "eos": 2, "pad": 0, "unk": 3, "decoder_start": 2}

MULTIMODAL_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
HALF_ROPE = {**MULTIMODAL_ROPE, "partial_rotary_factor": 0.5, "mrope_section": [1, 1, 2]}
DYNAMIC_ROPE = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 1.0, "alpha": 1000.0}

FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2_vl_text": {"rope_parameters": MULTIMODAL_ROPE},
    "qwen2_5_vl_text": {"rope_parameters": MULTIMODAL_ROPE},
    "qwen2_5_omni_text": {"rope_parameters": MULTIMODAL_ROPE},
    "qwen2_5_omni_talker": {"rope_parameters": MULTIMODAL_ROPE, "embedding_size": WIDTH},
    "paddleocr_vl_text": {"rope_parameters": MULTIMODAL_ROPE},
    "glm4v_text": {"rope_parameters": MULTIMODAL_ROPE},
    "glm4v_moe_text": {"rope_parameters": HALF_ROPE},
    "glm_image_text": {"rope_parameters": MULTIMODAL_ROPE},
    "glm_ocr_text": {"rope_parameters": MULTIMODAL_ROPE},
    "hunyuan_vl_text": {"rope_parameters": MULTIMODAL_ROPE},
    "cohere_compass_text": {"rope_parameters": {"full_attention": MULTIMODAL_ROPE}},
    "t5": {"decoder_start_token_id": 0},
    "switch_transformers": {
        "decoder_start_token_id": 0, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
    "nllb-moe": {"encoder_sparse_step": 2, "decoder_sparse_step": 2},
    "esm": {"vocab_size": VOCAB, "pad_token_id": 1, "mask_token_id": 4},
    "xmod": {"default_language": "en_XX"},
    "kosmos_2_text_model": {"embed_dim": WIDTH, "layers": 2},
    "kosmos_2_5_text_model": {"embed_dim": WIDTH, "layers": 2},
    "bamba": {"attn_layer_indices": [1]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "gemma3n_text": {"num_kv_shared_layers": 0, "activation_sparsity_pattern": [0.0, 0.0]},
    "diffusion_gemma_text": {"num_experts": EXPERTS, "top_k_experts": 2, "moe_intermediate_size": INNER},
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"]},
    "ernie4_5_vl_moe_text": {"moe_intermediate_size": [INNER, INNER], "rope_parameters": MULTIMODAL_ROPE},
    "longcat_flash": {"head_dim": HEAD_SIZE // 2, "moe_topk": 2, "zero_expert_num": 2},
    "mistral4": {"rope_parameters": None},
    "mllama_text_model": {"cross_attention_layers": []},
    "gptj": {"rotary_dim": HEAD_SIZE // 2},
    "codegen": {"rotary_dim": HEAD_SIZE // 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8,
                   "norm_rel_ebd": "layer_norm", "share_att_key": True, "type_vocab_size": 0},
    "dbrx": {"attn_config": {"kv_n_heads": GROUPS}, "ffn_config": {"ffn_hidden_size": INNER, "moe_top_k": 2}},
}  # fmt: skip
"""What the rules get wrong."""


def tiny_config(cls: type, **more: Any) -> Any:
    """A configuration of two layers, or of one of each kind where layers are of more than two."""
    default: Any = cls()
    default.allow_global_per_layer_attribute_access = True
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        name, value = field.name, getattr(default, field.name, None)
        if name in cls.sub_configs and value is not None:
            changes[name] = tiny_config(type(value))
            continue
        changed = smaller(name, value, default)
        if changed is not value:
            changes[name] = changed
    kinds = distinct_layers(default)
    if kinds:
        layers = max(2, *map(len, kinds.values()))
        changes |= {name: layers for name in changes if re.fullmatch(LAYERS, name)}
        changes |= {name: [*of_kind, *[of_kind[-1]] * layers][:layers] for name, of_kind in kinds.items()}
    return cls(**{**changes, **FAMILIES.get(cls.model_type, {}), **more})


def smaller(name: str, value: Any, default: Any) -> Any:
    """The field's value in a tiny model."""
    if name.endswith(("token_id", "token_index", "_id")) and isinstance(value, int):
        return IDS.get(name.split("_token")[0], value % 20 + 100) if value >= VOCAB or value < 0 else value
    if name.endswith("token_id") and isinstance(value, list):
        return IDS.get(name.split("_token")[0], 2)
    if name in ("rope_parameters", "rope_scaling") and isinstance(value, dict):
        return {key: smaller_rope(key, x) for key, x in value.items()}
    if value is None:
        return MISSING.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if name == "num_key_value_heads" and value == getattr(default, "num_attention_heads", None):
        return HEADS
    size = next((size for pattern, size in RULES if re.fullmatch(pattern, name)), None)
    return value if size is None or value <= size else size


def smaller_rope(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: smaller_rope(inner, x) for inner, x in value.items()}
    return [2, 3, 3] if key == "mrope_section" else POSITIONS if key == "original_max_position_embeddings" else value


def distinct_layers(default: Any) -> dict[str, list[Any]]:
    """By field, the kinds of layers of a default configuration, each once, in order."""
    found, fields = {}, {x.name for x in dataclasses.fields(default)}
    for name in {"layer_types", "mlp_layer_types", "layers_block_type"} & fields:
        value = getattr(default, name, None)
        if isinstance(value, list | tuple) and len(value) == getattr(default, "num_hidden_layers", len(value)):
            found[name] = list(dict.fromkeys(value))
    return found
