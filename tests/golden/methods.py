"""Makes the golden bundles in `methods/`, whose adapters use the methods' options: python tests/golden/methods.py

Virtual tokens behind the text and on both sides of it, prefixes that are longer in some layers, keys that are the
values too, both methods at once, heads with hidden layers, a regression, label words. Expected answers come from torch:
of generators through transformers' own eager attention, of the others through the tuned model.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch
from edgetune_export.bundle import export_bundle
from make import TEXTS, adapter_of, class_case, decoder_base, encoder_base, lines_of, random_head

from edgetune.adapter import Adapter, adapter_from, tuned_from
from edgetune.methods.head import MlpHead
from edgetune.methods.joined import Joined, Soft
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.methods.words import LabelWords
from edgetune.models.base import Base


def plain_greedy(*arguments: Any) -> list[int]:
    """The greedy tokens of plain transformers, as the export's tests have them."""
    path = Path(__file__).parents[1] / "edgetune_export" / "options.py"
    spec = importlib.util.spec_from_file_location("plain_options", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plain_greedy(*arguments)


def prompt_of(base: Base, length: int, before: int) -> Prompt:
    return Prompt(torch.randn(length, base.embedding_size) * 0.3, before)


def prefix_of(base: Base, lengths: tuple[int, ...], *, shared: bool = False) -> Prefix:
    shapes = [(x.key_value_heads, length, x.head_size) for x, length in zip(base.layers, lengths)]
    return Prefix([(torch.randn(shape), torch.randn(shape)) for shape in shapes], shared=shared)


def hidden_head(base: Base, classes: int, size: int, activation: str) -> MlpHead:
    head = MlpHead(base.hidden_size, classes, size, activation, torch.Generator().manual_seed(classes))
    torch.nn.init.normal_(head.weight)
    torch.nn.init.normal_(head.bias)
    return head


def head_adapter(base: Base, soft: Soft, head: Any, method: str, labels: tuple[str, ...] = ()) -> Adapter:
    return adapter_from(Tuned(base, soft, head), task="classify" if labels else "regress", method=method, labels=labels)


def word_adapter(base: Base, soft: Soft, labels: dict[str, tuple[int, ...]]) -> Adapter:
    words = LabelWords("{text} =>", tuple(labels.values()))
    tuned = Tuned(base, soft, None, labels=tuple(labels), words=words)
    return adapter_from(tuned, task="classify", method="prefix", labels=tuple(labels))


def generate_case(base: Base, known: dict[str | None, Adapter | None], texts: Any, names: Any) -> dict[str, Any]:
    """Greedy tokens of one text, or of a list of them with an adapter each."""

    def one(text: str, name: str | None) -> dict[str, Any]:
        tokens = plain_greedy(base, known[name], base.tokenizer(text).input_ids, 12)
        text = base.tokenizer.decode(tokens, skip_special_tokens=True)
        return {"text": text, "token_ids": tokens, "finish_reason": "length" if len(tokens) == 12 else "eos"}

    expected = [one(*pair) for pair in zip(texts, names)] if isinstance(names, list) else one(texts, names)
    options = {"adapter": names, "max_new_tokens": 12}
    return {"call": "generate", "inputs": texts, "options": options, "expected": expected}


def decoder_cases(base: Base, adapters: dict[str, Adapter]) -> list[dict[str, Any]]:
    known: dict[str | None, Adapter | None] = {**adapters, None: None}
    names: list[str | None] = [name for name, x in known.items() if x is None or x.task == "generate"]
    cases = [generate_case(base, known, text, name) for name in names for text in TEXTS[::2]]
    # twice round, so that rows of like adapters have texts of different lengths
    texts = [TEXTS[i % len(TEXTS)] for i in range(2 * len(names))]
    cases.append(generate_case(base, known, texts, names * 2))
    words = [class_case(base, adapters["words"], f"{text} =>") for text in TEXTS]
    cases += [
        {"call": "classify", "inputs": text, "options": {"adapter": "words"}, "expected": x}
        for text, x in zip(TEXTS, words)
    ]
    cases.append({"call": "classify", "inputs": TEXTS, "options": {"adapter": "words"}, "expected": words})
    return cases


@torch.no_grad()
def value_case(base: Base, adapter: Adapter, text: str) -> dict[str, float]:
    ids = torch.tensor([base.tokenizer(text).input_ids])
    return {"value": round(tuned_from(base, adapter).class_logits(ids, torch.ones_like(ids))[0].item(), 6)}


def encoder_cases(base: Base, adapters: dict[str, Adapter]) -> list[dict[str, Any]]:
    texts: list[Any] = ["what is the weather", "I am so happy, 日本語!", {"text": "the sun", "pair": "will it rain"}]
    cases = []
    for name, adapter in adapters.items():
        call, case = ("regress", value_case) if adapter.task == "regress" else ("classify", class_case)
        of_task = texts[:2] if call == "regress" else texts
        expected = [case(base, adapter, text) for text in of_task]
        cases += [
            {"call": call, "inputs": x, "options": {"adapter": name}, "expected": e} for x, e in zip(of_task, expected)
        ]
        cases.append({"call": call, "inputs": of_task, "options": {"adapter": name}, "expected": expected})
    names = [name for name, x in adapters.items() if x.task == "classify"] * 2
    rows = [texts[i % len(texts)] for i in range(len(names))]
    mixed = [class_case(base, adapters[name], text) for name, text in zip(names, rows)]
    cases.append({"call": "classify", "inputs": rows, "options": {"adapter": names}, "expected": mixed})
    return cases


def make(out: Path) -> None:
    """Writes both bundles below `out`."""
    decoder, encoder = decoder_base(), encoder_base()
    torch.manual_seed(5)
    weather, mood = ("rain", "sun", "snow"), ("happy", "sad")
    adapters = {
        "uneven": adapter_of(decoder, prefix_of(decoder, (2, 7))),
        "after": adapter_of(decoder, prompt_of(decoder, 3, 0)),
        "both": adapter_of(decoder, prompt_of(decoder, 5, 3)),
        "shared": adapter_of(decoder, prefix_of(decoder, (3, 3), shared=True)),
        "words": word_adapter(
            decoder, prefix_of(decoder, (4, 1)), {"good": (40, 41), "bad": (50,), "odd": (60, 61, 62)}
        ),
    }
    readers = {
        "uneven": head_adapter(encoder, prefix_of(encoder, (1, 4)), random_head(encoder, 3), "prefix", weather),
        "after": head_adapter(encoder, prompt_of(encoder, 3, 0), hidden_head(encoder, 2, 5, "relu"), "prompt", mood),
        "joined": head_adapter(
            encoder, Joined(prompt_of(encoder, 3, 2), prefix_of(encoder, (3, 2))), hidden_head(encoder, 3, 4, "gelu"),
            "prompt+prefix", weather,
        ),
        "plain": head_adapter(encoder, prompt_of(encoder, 2, 2), random_head(encoder, 2), "prompt", mood),
        "warmth": head_adapter(encoder, prefix_of(encoder, (2, 2)), hidden_head(encoder, 1, 6, "tanh"), "prefix"),
    }  # fmt: skip
    export_bundle(decoder, adapters, out / "decoder", force=True)
    export_bundle(encoder, readers, out / "encoder", force=True)
    for name, cases in (
        ("decoder", decoder_cases(decoder, adapters)),
        ("encoder", encoder_cases(encoder, readers)),
    ):
        (out / name / "expected.json").write_text(lines_of(cases), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "methods")
