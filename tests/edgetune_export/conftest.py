"""Tiny bases with tokenizers, one a model family."""

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from edgetune.adapter import adapter_from
from edgetune.methods.head import LinearHead
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.base import base_from

VOCAB = 128
TINY = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=VOCAB)
GROUPED = dict(num_key_value_heads=2, **TINY)
ENDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
WINDOW = 6
MASK = 9

DECODERS = {
    "Llama": lambda: transformers.LlamaConfig(**GROUPED, **ENDS),
    "Qwen2": lambda: transformers.Qwen2Config(
        use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1, **GROUPED, **ENDS
    ),
    "Qwen3": lambda: transformers.Qwen3Config(head_dim=16, **GROUPED, **ENDS),
    "GPT2": lambda: transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=VOCAB, n_positions=256, **ENDS),
    "GPTNeoX": lambda: transformers.GPTNeoXConfig(**TINY, **ENDS),
    "OPT": lambda: transformers.OPTConfig(
        hidden_size=64,
        ffn_dim=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=VOCAB,
        word_embed_proj_dim=64,
        **ENDS,
    ),
    "Gemma2": lambda: transformers.Gemma2Config(head_dim=16, sliding_window=WINDOW, **GROUPED, **ENDS),
    "Gemma3": lambda: transformers.Gemma3TextConfig(
        head_dim=16, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"], **GROUPED, **ENDS
    ),
    "Phi3": lambda: transformers.Phi3Config(sliding_window=WINDOW, **GROUPED, **ENDS),
    "Mistral": lambda: transformers.MistralConfig(sliding_window=WINDOW, **GROUPED, **ENDS),
    "GPT-OSS": lambda: transformers.GptOssConfig(
        head_dim=16, sliding_window=WINDOW, num_local_experts=4, num_experts_per_tok=2, **GROUPED, **ENDS
    ),
    "GPT-J": lambda: transformers.GPTJConfig(
        n_embd=64, n_layer=2, n_head=4, n_positions=256, rotary_dim=8, vocab_size=VOCAB, **ENDS
    ),
    "Falcon": lambda: transformers.FalconConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=VOCAB, **ENDS
    ),
    "BLOOM": lambda: transformers.BloomConfig(hidden_size=64, n_layer=2, n_head=4, vocab_size=VOCAB, **ENDS),
}
"""Every family of issue and README; windows are shorter than the texts."""

LATENT = {
    "DeepSeek-V3": lambda: transformers.DeepseekV3Config(
        q_lora_rank=32,
        kv_lora_rank=32,
        qk_rope_head_dim=8,
        qk_nope_head_dim=16,
        v_head_dim=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        moe_intermediate_size=32,
        num_key_value_heads=4,
        **TINY,
        **ENDS,
    ),
}
"""transformers' own cache of these holds what keys and values are made of, so that no prefix can be put there."""

ENCODERS = {
    "BERT": lambda: transformers.BertConfig(**TINY),
    "RoBERTa": lambda: transformers.RobertaConfig(**TINY, pad_token_id=1),
    "DistilBERT": lambda: transformers.DistilBertConfig(
        dim=64, hidden_dim=128, n_layers=2, n_heads=4, vocab_size=VOCAB
    ),
    "ALBERT": lambda: transformers.AlbertConfig(embedding_size=32, **TINY),
    "ELECTRA": lambda: transformers.ElectraConfig(embedding_size=32, **TINY),
    "ModernBERT": lambda: transformers.ModernBertConfig(
        pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2, local_attention=4,
        global_attn_every_n_layers=2, **TINY,
    ),
    "XLM-RoBERTa": lambda: transformers.XLMRobertaConfig(**TINY, pad_token_id=1),
    "MPNet": lambda: transformers.MPNetConfig(**TINY, pad_token_id=1),
    "DeBERTa-v2": lambda: transformers.DebertaV2Config(
        relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8, norm_rel_ebd="layer_norm",
        share_att_key=True, type_vocab_size=0, **TINY,
    ),
    "CLIP": lambda: transformers.CLIPTextConfig(**TINY, **ENDS),
}  # fmt: skip


def tokenizer():
    """One word per token of the vocabulary."""
    inner = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w3"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="w3", bos_token="w1", eos_token="w2", pad_token="w0"
    )


def word_tokenizer(**more):
    """One word a token; the special ones are none of the words, in which a tokenizer would find them."""
    special = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "<mask>": MASK}
    vocabulary = {f"w{i}": i for i in range(VOCAB) if i not in special.values()}
    inner = Tokenizer(models.WordLevel({**special, **vocabulary}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>", **more)
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


def made_base(family):
    """Weights of random size 0.15: at the usual 0.02 attention is nearly uniform and a wrong mask hardly shows."""
    torch.manual_seed(0)
    kind, task = transformers.AutoModel, "classify"
    if family in DECODERS or family in LATENT:
        kind, task = transformers.AutoModelForCausalLM, "generate"
    model = kind.from_config({**DECODERS, **LATENT, **ENCODERS}[family]())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.15)
    return base_from(model, tokenizer(), f"tiny {family}", task)


def random_adapter(base, method, length, classes=0):
    """An adapter with random virtual tokens, as large as real ones."""
    if method == "prefix":
        shapes = [(x.key_value_heads, length, x.head_size) for x in base.layers]
        soft = Prefix([(torch.randn(shape), torch.randn(shape)) for shape in shapes])
    else:
        soft = Prompt(torch.randn(length, base.embedding_size) * base.embeddings.weight.std())
    head = None
    if classes:
        head = LinearHead(base.hidden_size, classes)
        torch.nn.init.normal_(head.weight)
        torch.nn.init.normal_(head.bias)
    labels = tuple(f"label {i}" for i in range(classes))
    task = "classify" if classes else "generate"
    return adapter_from(Tuned(base, soft, head), task=task, method=method, labels=labels)


def rows_of(lengths, seed=0):
    """Token ids of mixed lengths, special tokens left out."""
    rng = np.random.default_rng(seed)
    return [rng.integers(4, VOCAB, t).tolist() for t in lengths]


@pytest.fixture(scope="session")
def decoder():
    return made_base("Llama")


@pytest.fixture(scope="session")
def encoder():
    return made_base("BERT")
