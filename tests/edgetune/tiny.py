"""Two-layer bases whose weights are large enough that every token, position and layer shows in the output."""

import copy

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from edgetune.models.base import base_from

VOCAB = 64
SPECIAL = {
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "cls_token": "<cls>",
    "sep_token": "<sep>",
}
WORDS = [*SPECIAL.values(), *(f"w{i}" for i in range(VOCAB - len(SPECIAL)))]
PAD, UNK, BOS, EOS, CLS, SEP = range(6)
SHAPE = dict(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=64,
)
IDS = dict(pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS)
GROUPED = dict(**SHAPE, **IDS, num_key_value_heads=2)
WINDOW = 4
SLIDING = dict(sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"], head_dim=8)

DECODERS = {
    "llama": lambda: transformers.LlamaConfig(**GROUPED),
    "qwen3": lambda: transformers.Qwen3Config(head_dim=8, **GROUPED),
    "mistral": lambda: transformers.MistralConfig(sliding_window=WINDOW, **GROUPED),
    "gemma2": lambda: transformers.Gemma2Config(
        attn_logit_softcapping=1.5, final_logit_softcapping=2.0, **SLIDING, **GROUPED
    ),
    "gemma3": lambda: transformers.Gemma3TextConfig(**SLIDING, **GROUPED),
    "gpt2": lambda: transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=VOCAB, **IDS),
    "opt": lambda: transformers.OPTConfig(ffn_dim=48, word_embed_proj_dim=32, **SHAPE, **IDS),
    "gpt-oss": lambda: transformers.GptOssConfig(num_local_experts=4, num_experts_per_tok=2, **SLIDING, **GROUPED),
    "bloom": lambda: transformers.BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=VOCAB, **IDS),
}
READ_TWICE = {
    "gemma4": lambda: gemma4(num_global_key_value_heads=2),
    "gemma4-wider": lambda: gemma4(num_global_key_value_heads=1, attention_k_eq_v=True),
}
"""Decoders that look the ids of their text up again in every layer, so that vectors cannot take their place."""

ENCODERS = {
    "bert": lambda: transformers.BertConfig(**SHAPE, pad_token_id=PAD),
    "roberta": lambda: transformers.RobertaConfig(**SHAPE, pad_token_id=1),
    "albert": lambda: transformers.AlbertConfig(embedding_size=16, **SHAPE, pad_token_id=PAD),
    "distilbert": lambda: transformers.DistilBertConfig(
        dim=32, hidden_dim=48, n_layers=2, n_heads=4, vocab_size=VOCAB, max_position_embeddings=64, pad_token_id=PAD
    ),
    "modernbert": lambda: transformers.ModernBertConfig(
        **SHAPE, **IDS, cls_token_id=CLS, sep_token_id=SEP, local_attention=4, global_attn_every_n_layers=2
    ),
    "mpnet": lambda: transformers.MPNetConfig(**SHAPE, pad_token_id=1),
    "deberta-v2": lambda: transformers.DebertaV2Config(
        relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8, **SHAPE, pad_token_id=PAD
    ),
}


def gemma4(**changes):
    """Layers 0 and 2 slide and have heads of 8, the others of 16; layers 2 and 3 attend to the keys of 0 and 1."""
    types = ["sliding_attention", "full_attention"] * 2
    shape = {**GROUPED, **SLIDING, "layer_types": types, "num_hidden_layers": 4, "num_kv_shared_layers": 2}
    small = dict(hidden_size_per_layer_input=8, vocab_size_per_layer_input=VOCAB, global_head_dim=16)
    return transformers.Gemma4TextConfig(**shape, **small, **changes)


def model_of(family, seed=0):
    """Weights of random size 0.2: at the usual 0.02 attention is nearly uniform and a wrong mask hardly shows."""
    torch.manual_seed(seed)
    kind = transformers.AutoModel if family in ENCODERS else transformers.AutoModelForCausalLM
    model = kind.from_config({**DECODERS, **READ_TWICE, **ENCODERS}[family]()).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.2)
            elif "norm" not in name.lower() and "ln_" not in name:
                weight.normal_(0, 0.05)
    return model


def tokenizer_of(kind):
    """One word a token. Encoders put <cls> … <sep> around a text and number the second of a pair, decoders put <s>."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    single, pair = ("<s> $A", None) if kind == "decoder" else ("<cls> $A <sep>", "<cls> $A <sep> $B:1 <sep>:1")
    named = [(token, WORDS.index(token)) for token in SPECIAL.values()]
    backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=named)
    inputs = ["input_ids", "attention_mask"] + ([] if kind == "decoder" else ["token_type_ids"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=inputs, **SPECIAL)


def base_of(family, seed=0):
    kind = "encoder" if family in ENCODERS else "decoder"
    task = {"decoder": "generate", "encoder": "classify"}[kind]
    return base_from(model_of(family, seed), tokenizer_of(kind), f"tiny-{family}", task)


def eager(base):
    """A copy of the base's model that attends as transformers does on its own."""
    model = copy.deepcopy(base.model)
    model.set_attn_implementation("eager")
    return model


def ids_of(*lengths, seed=0):
    """One row of ordinary words a length."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(len(SPECIAL), VOCAB, (length,), generator=generator) for length in lengths]


def batch_of(rows, pad=PAD):
    """Right-padded ids and mask `[B, T]`."""
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    return ids, (torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])).long()


def random_prefix(base, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, x.key_value_heads, length, x.head_size) for x in base.layers]
    return [(torch.randn(s, generator=generator), torch.randn(s, generator=generator)) for s in shapes]


def random_prompt(base, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, length, base.embedding_size, generator=generator) * 0.3


def saved(base, folder):
    """The base as a checkpoint folder, which `--model` takes."""
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return folder
