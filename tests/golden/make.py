"""Makes the golden bundles and what they must answer: python tests/golden/make.py

Two-layer random models, tiny tokenizers, random adapters. Expected logits and greedy tokens come from torch, through
transformers' own eager attention and cache where the model is a decoder; sampled tokens record the portable sampler, so
that every language draws the same. The format of `expected.json` is described in tests/edgetune_runtime/conftest.py.
Where files of a bundle change, signatures.py has to sign them anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import edgetune_runtime
import torch
from edgetune_export.bundle import export_bundle
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from edgetune.adapter import Adapter, adapter_from, tuned_from
from edgetune.methods.head import LinearHead
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base, base_from

sys.path.insert(0, str(Path(__file__).parents[1]))
from references.eager import eager_greedy, eager_logits

CORPUS = [
    "once upon a time there was a little bird who lived in a tall green tree by the sea",
    "what is the weather in the city today? will it rain or will the sun shine",
    "I am so happy to see you! this is a sad day, and the film was not good",
    "Zürich, façade, naïve, 日本語, emoji 🙂 and tabs\tand numbers 0123456789.",
]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with a start token: any text round-trips, a character can span tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    inner.train_from_iterator(CORPUS, trainer)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def word_tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece with BERT's special tokens and token types."""
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=specials))
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, model_input_names=["input_ids", "token_type_ids", "attention_mask"], **names
    )


def decoder_base() -> Base:
    torch.manual_seed(1)
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=len(tokenizer), max_position_embeddings=128, bos_token_id=0, eos_token_id=1, initializer_range=0.15,
    )  # fmt: skip
    return base_from(AutoModelForCausalLM.from_config(config), tokenizer, "tiny-llama", "generate")


def encoder_base() -> Base:
    torch.manual_seed(2)
    tokenizer = word_tokenizer()
    config = BertConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=len(tokenizer),
        max_position_embeddings=48, initializer_range=0.15,
    )  # fmt: skip
    return base_from(AutoModel.from_config(config), tokenizer, "tiny-bert", "classify")


def random_prefix(base: Base, length: int) -> Prefix:
    shapes = [(x.key_value_heads, length, x.head_size) for x in base.layers]
    return Prefix([(torch.randn(shape), torch.randn(shape)) for shape in shapes])


def random_prompt(base: Base, length: int) -> Prompt:
    return Prompt(torch.randn(length, base.embedding_size) * 0.3)


def random_head(base: Base, classes: int) -> LinearHead:
    head = LinearHead(base.hidden_size, classes)
    torch.nn.init.normal_(head.weight, std=0.3)
    torch.nn.init.normal_(head.bias, std=0.3)
    return head


def adapter_of(base: Base, soft: Prefix | Prompt, labels: tuple[str, ...] = ()) -> Adapter:
    head = random_head(base, len(labels)) if labels else None
    method = "prefix" if isinstance(soft, Prefix) else "prompt"
    task = "classify" if labels else "generate"
    return adapter_from(Tuned(base, soft, head), task=task, method=method, labels=labels)


def greedy_case(base: Base, adapter: Adapter | None, text: str, options: dict[str, Any], new: int) -> dict[str, Any]:
    ids = base.tokenizer(text).input_ids
    tokens, reason = eager_greedy(base, adapter, ids, new, options.get("min_new_tokens", 0))
    expected = {
        "text": base.tokenizer.decode(tokens, skip_special_tokens=True),
        "token_ids": tokens,
        "finish_reason": reason,
    }
    return {"call": "generate", "inputs": text, "options": {"max_new_tokens": new, **options}, "expected": expected}


def rounded(x: torch.Tensor) -> list[Any]:
    return [[round(v, 6) for v in row] for row in x.tolist()]


TEXTS = ["once upon a time", "", "will it rain? 日本語"]
SAMPLED = [
    {"temperature": 1.0, "seed": 7, "max_new_tokens": 24},
    {"temperature": 0.8, "top_k": 20, "seed": 123, "max_new_tokens": 24},
    {"temperature": 1.3, "top_p": 0.9, "seed": 2**32 - 1, "max_new_tokens": 24},
    {"temperature": 1.0, "top_k": 50, "top_p": 0.7, "seed": 0, "max_new_tokens": 24},
]


def recorded(folder: Path, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sampled generations as the Python runtime draws them."""
    model = edgetune_runtime.load(folder)
    cases = []
    for call in calls:
        results = model.generate(call["inputs"], **call["options"])
        told = [
            {"text": r.text, "token_ids": list(map(int, r.token_ids)), "finish_reason": r.finish_reason}
            for r in (results if isinstance(results, list) else [results])
        ]
        cases.append({**call, "expected": told if isinstance(results, list) else told[0]})
    return cases


def decoder_cases(
    base: Base, adapters: dict[str, Adapter], folder: Path, names: list[str | None]
) -> list[dict[str, Any]]:
    known: dict[str | None, Adapter | None] = {None: None, **adapters}
    cases: list[dict[str, Any]] = [
        {"call": "encode", "inputs": text, "expected": base.tokenizer(text).input_ids} for text in [*TEXTS, "🙂 façade"]
    ]
    for name in names:
        for text in TEXTS:
            cases.append(greedy_case(base, known[name], text, {"adapter": name}, 20))
        ids = base.tokenizer(TEXTS[2]).input_ids
        for call in ("logits", "step_logits"):
            expected = rounded(eager_logits(base, known[name], ids))
            cases.append({"call": call, "inputs": ids, "options": {"adapter": name}, "expected": expected})
    cases.append(greedy_case(base, known[names[0]], TEXTS[0], {"adapter": names[0], "min_new_tokens": 30}, 40))
    if len(names) > 1:
        mixed = [
            greedy_case(base, known[name], text, {}, 20)["expected"] for name, text in zip(names, [*TEXTS, TEXTS[0]])
        ]
        options = {"adapter": names, "max_new_tokens": 20}
        cases.append(
            {"call": "generate", "inputs": [*TEXTS, TEXTS[0]][: len(names)], "options": options, "expected": mixed}
        )
        cases.append(
            {"call": "generate", "inputs": "a", "options": {"adapter": "none"}, "expected": {"error": "AdapterError"}}
        )
    too_many = {"adapter": names[0], "max_new_tokens": 1000}
    cases.append({"call": "generate", "inputs": "a", "options": too_many, "expected": {"error": "ContextLengthError"}})
    sampled = [{"call": "generate", "inputs": TEXTS[0], "options": {"adapter": names[0], **o}} for o in SAMPLED]
    return cases + recorded(folder, sampled)


@torch.no_grad()
def class_logits(base: Base, adapter: Adapter, ids: list[int]) -> torch.Tensor:
    tuned = tuned_from(base, adapter)
    return tuned.class_logits(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))[0]


def class_case(base: Base, adapter: Adapter, text: Any) -> dict[str, Any]:
    pair = (text["text"], text["pair"]) if isinstance(text, dict) else (text,)
    scores = class_logits(base, adapter, base.tokenizer(*pair).input_ids).softmax(-1)
    order = scores.argsort(descending=True).tolist()
    named = {adapter.labels[i]: round(scores[i].item(), 6) for i in order}
    return {"label": adapter.labels[order[0]], "score": round(scores[order[0]].item(), 6), "scores": named}


def encoder_cases(base: Base, adapters: dict[str, Adapter]) -> list[dict[str, Any]]:
    texts: list[Any] = [
        "what is the weather",
        "",
        "I am so happy, 日本語!",
        {"text": "the sun", "pair": "will it rain"},
    ]
    cases: list[dict[str, Any]] = [
        {"call": "encode", "inputs": t, "expected": base.tokenizer(t).input_ids} for t in texts[:3]
    ]
    for name, adapter in adapters.items():
        expected = [class_case(base, adapter, t) for t in texts]
        options = {"adapter": name}
        cases += [{"call": "classify", "inputs": t, "options": options, "expected": e} for t, e in zip(texts, expected)]
        cases.append({"call": "classify", "inputs": texts, "options": options, "expected": expected})
        rows = [base.tokenizer(t).input_ids for t in texts[:3]]
        logits = rounded(torch.stack([class_logits(base, adapter, ids) for ids in rows]))
        cases.append({"call": "class_logits", "inputs": rows, "options": options, "expected": logits})
    if len(adapters) > 1:
        names = [list(adapters)[i % len(adapters)] for i in range(len(texts))]
        mixed = [class_case(base, adapters[name], t) for name, t in zip(names, texts)]
        cases.append({"call": "classify", "inputs": texts, "options": {"adapter": names}, "expected": mixed})
        error = {"error": "AdapterError"}
        cases.append({"call": "classify", "inputs": "a", "options": {"adapter": None}, "expected": error})
    return cases


def make(out: Path) -> None:
    """Writes all golden bundles below `out`."""
    decoder, encoder = decoder_base(), encoder_base()
    torch.manual_seed(3)
    generators = {
        "three": adapter_of(decoder, random_prefix(decoder, 3)),
        "seven": adapter_of(decoder, random_prefix(decoder, 7)),
        "soft": adapter_of(decoder, random_prompt(decoder, 4)),
    }
    classifiers = {
        "weather": adapter_of(encoder, random_prefix(encoder, 3), ("rain", "sun", "snow")),
        "mood": adapter_of(encoder, random_prompt(encoder, 5), ("happy", "sad")),
    }
    for name, base, adapters, standalone in (
        ("decoder-shared", decoder, generators, False),
        ("decoder-standalone", decoder, {"three": generators["three"]}, True),
        ("encoder-shared", encoder, classifiers, False),
        ("encoder-standalone-prefix", encoder, {"weather": classifiers["weather"]}, True),
        ("encoder-standalone-prompt", encoder, {"mood": classifiers["mood"]}, True),
    ):
        folder = out / name
        export_bundle(base, adapters, folder, standalone=standalone, force=True)
        if base.kind == "decoder":
            names: list[str | None] = list(adapters) + ([] if standalone else [None])
            cases = decoder_cases(base, adapters, folder, names)
        else:
            cases = encoder_cases(base, adapters)
        (folder / "expected.json").write_text(lines_of(cases), encoding="utf-8")


def lines_of(cases: list[dict[str, Any]]) -> str:
    """One case a line."""
    return "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n"


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
