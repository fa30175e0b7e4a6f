"""A Llama checkpoint of one safetensors file as GGUF: `PYTHON gguf_file.py CHECKPOINT OUT f32`, and from that file
`PYTHON gguf_file.py F32 OUT q4_0`, all tensors of that type. The vocabulary is a plain one: bytes and numbered words.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import numpy as np

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
WHOLE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
HEADS = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """Views of a float32 safetensors file."""
    raw = np.memmap(folder / "model.safetensors", mode="r")
    length = int(raw[:8].view(np.uint64)[0])
    header = json.loads(bytes(raw[8 : 8 + length]))
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (8 + length + x for x in entry["data_offsets"])
            found[name] = raw[start:end].view(np.float32).reshape(entry["shape"])
    return found


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head in the order of llama.cpp's rotation, which turns neighbours rather than halves."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write(folder: Path, out: Path) -> None:
    from gguf import GGUFWriter, TokenType  # type: ignore[import-not-found]

    config = json.loads((folder / "config.json").read_text())
    writer, size = GGUFWriter(out, "llama"), config["vocab_size"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(size)
    words = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*words, *(f"▁{i}" for i in range(len(words), size))])
    writer.add_token_types([*kinds, *[TokenType.NORMAL] * (size - len(kinds))])
    writer.add_token_scores([0.0] * size)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, tensor in tensors(folder).items():
        if name in WHOLE:
            writer.add_tensor(WHOLE[name], np.ascontiguousarray(tensor))
            continue
        _, _, layer, rest = name.split(".", 3)
        part = rest.removesuffix(".weight")
        if part in HEADS:
            tensor = interleaved(tensor, config[HEADS[part]])
        writer.add_tensor(f"blk.{layer}.{NAMES[part]}.weight", np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source: Path, out: Path, kind: str) -> None:
    import llama_cpp  # type: ignore[import-not-found]

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.pure = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind.upper()}"), True
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(parameters)):
        raise SystemExit(f"llama.cpp could not quantise {source}")


if __name__ == "__main__":
    given, made, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    if wanted == "f32":
        write(given, made)
    else:
        quantize(given, made, wanted)
