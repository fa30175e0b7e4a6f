"""Whole classifiers of the families that PEFT tunes, as checkpoints, and PEFT's adapters of them."""

import torch
import transformers

from edgetune.models.base import load_base

from ..tiny import PAD, SHAPE, tokenizer_of

CLASSES = 3
SMALL = dict(**SHAPE, num_labels=CLASSES)
CONFIGS = {
    "bert": lambda: transformers.BertConfig(**SMALL, pad_token_id=PAD),
    "albert": lambda: transformers.AlbertConfig(embedding_size=32, **SMALL, pad_token_id=PAD),
    "roberta": lambda: transformers.RobertaConfig(**SMALL, pad_token_id=1),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**SMALL, pad_token_id=1),
    "camembert": lambda: transformers.CamembertConfig(**SMALL, pad_token_id=1),
    "electra": lambda: transformers.ElectraConfig(embedding_size=32, **SMALL, pad_token_id=PAD),
    "distilbert": lambda: transformers.DistilBertConfig(
        dim=32, hidden_dim=48, n_layers=2, n_heads=4, vocab_size=64, max_position_embeddings=64, num_labels=CLASSES
    ),
    "modernbert": lambda: transformers.ModernBertConfig(
        **SMALL, pad_token_id=0, cls_token_id=4, sep_token_id=5, bos_token_id=2, eos_token_id=3
    ),
}
NO_PREFIX = {"albert", "distilbert", "modernbert"}
"""Families in front of which PEFT puts no prefix."""


@torch.no_grad()
def checkpoint(family, folder):
    """A classifier with weights as large as a tuned one's."""
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(CONFIGS[family]())
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            weight.normal_(0, 0.2)
        elif "norm" not in name.lower():
            weight.normal_(0, 0.05)
    model.save_pretrained(folder)
    tokenizer_of("encoder").save_pretrained(folder)
    return str(folder)


def base_at(folder):
    return load_base(folder, "classify")


def theirs(folder):
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=CLASSES).eval()
    model.set_attn_implementation("eager")
    return model


@torch.no_grad()
def tuned(folder, config):
    """PEFT's model with every weight that it tunes at random."""
    import peft

    model = peft.get_peft_model(theirs(folder), config).eval()
    torch.manual_seed(1)
    for _, weight in sorted((name, w) for name, w in model.named_parameters() if w.requires_grad):
        weight.normal_(0, 0.4)
    return model


@torch.no_grad()
def logits_of(model, ids, mask, types=None):
    extra = {} if types is None else {"token_type_ids": types}
    if model.active_peft_config.peft_type == "MULTITASK_PROMPT_TUNING":
        extra["task_ids"] = torch.ones(len(ids), dtype=torch.int64)
    return model(input_ids=ids, attention_mask=mask, **extra).logits
