"""Tiny random base models with tokenizers: what samples and documents run on where the real ones would take minutes."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<cls>", "sep_token": "<sep>"}


def tokenizer(template: str, pair: str | None = None) -> PreTrainedTokenizerFast:
    """Every byte is a token, so that any text has one; `template` puts special tokens around it."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL.values(), *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single=template, pair=pair, special_tokens=[(token, vocabulary[token]) for token in SPECIAL.values()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def encoder(seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A BERT of two layers, H 32."""
    torch.manual_seed(seed)
    words = tokenizer("<cls> $A <sep>", "<cls> $A <sep> $B:1 <sep>:1")
    shape = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    return BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=256, **shape)), words


def decoder(seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A Llama of two layers, H 32, two key/value heads."""
    torch.manual_seed(seed)
    words = tokenizer("<s> $A")
    shape = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    wide = {"num_key_value_heads": 2, "initializer_range": 0.3}  # at 0.02 every text is one token over and over
    config = LlamaConfig(vocab_size=len(words), max_position_embeddings=256, **wide, **shape, **ids)
    return LlamaForCausalLM(config), words


def save(made: tuple[PreTrainedModel, PreTrainedTokenizerFast], folder: Path) -> Path:
    """The model and its tokenizer as a checkpoint folder, which `--model` takes."""
    for part in made:
        part.save_pretrained(folder)
    return folder
