"""E2E NLG on stories260K: tune, export both forms, compare loss with PEFT and greedy text with transformers.

    python benchmarks/e2e.py [--methods prompt prefix] [--steps 400]

The reference for the text is transformers' own eager attention over a DynamicCache: nothing of edgetune's attention.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

import edgetune_runtime
import torch
from edgetune_export.bundle import export_bundle
from places import SHARED, shared
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from edgetune.adapter import Adapter, load_adapter
from edgetune.config import TrainConfig
from edgetune.evaluation.bundle import evaluate_bundle
from edgetune.models.base import load_base
from edgetune.training.result import train_into

PEFT = {"prompt": 3.445, "prefix": 3.467}
"""Best test loss of PEFT 0.21 with these steps and virtual tokens (shared/ANCHORS.md); untuned 4.189."""
VIRTUAL_TOKENS = {"prompt": 20, "prefix": 10}
TEST_ROWS, GREEDY_ROWS, NEW_TOKENS = 400, 100, 96


def as_jsonl(source: Path, target: Path, most: int | None = None) -> Path:
    """`mr` and a newline → `ref`."""
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:most]
    lines = [json.dumps({"prompt": row["mr"] + "\n", "completion": row["ref"]}) for row in rows]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


class Reference:
    """transformers' own greedy decoding behind an adapter's tensors."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    @torch.no_grad()
    def greedy(self, text: str, adapter: Adapter | None, new: int) -> list[int]:
        tensors = adapter.tensors if adapter else {}
        inputs = self.model.get_input_embeddings()(torch.tensor([self.tokenizer(text).input_ids]))
        if "prompt_embeds" in tensors:
            inputs = torch.cat([tensors["prompt_embeds"][None], inputs], dim=1)
        cache, found = DynamicCache(), []
        for i in range(self.model.config.num_hidden_layers):
            if f"past_key_values.{i}.key" in tensors:
                cache.update(*(tensors[f"past_key_values.{i}.{part}"][None] for part in ("key", "value")), i)
        while len(found) < new:
            start = cache.get_seq_length()
            positions = torch.arange(start, start + inputs.shape[1])[None]
            logits = self.model(inputs_embeds=inputs, past_key_values=cache, position_ids=positions).logits
            token = int(logits[0, -1].argmax())
            if token == self.model.config.eos_token_id:
                break
            found.append(token)
            inputs = self.model.get_input_embeddings()(torch.tensor([[token]]))
        return found


def same_rows(bundle: Path, texts: list[str], expected: list[list[int]]) -> int:
    """Rows whose greedy tokens are exactly the reference's."""
    got = edgetune_runtime.load(bundle).generate(texts, max_new_tokens=NEW_TOKENS)
    return sum(list(a.token_ids) == b for a, b in zip(got, expected))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(PEFT), choices=list(PEFT))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    model = shared("models/stories260K-hf", options.shared)
    base, reference = load_base(str(model), "generate"), Reference(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = as_jsonl(shared("data/e2e_nlg/devset.csv", options.shared), folder / "train.jsonl")
        test = as_jsonl(shared("data/e2e_nlg/testset_w_refs.csv", options.shared), folder / "test.jsonl", TEST_ROWS)
        with shared("data/e2e_nlg/testset.csv", options.shared).open(encoding="utf-8", newline="") as file:
            texts = [row["MR"] + "\n" for row in csv.DictReader(file)][:GREEDY_ROWS]
        export_bundle(base, {}, folder / "base")
        story = edgetune_runtime.load(folder / "base").generate(
            "Once upon a time", max_new_tokens=200, min_new_tokens=0
        )
        same = list(story.token_ids) == reference.greedy("Once upon a time", None, 200)
        print(json.dumps({"untuned_story_tokens": len(story.token_ids), "equal_to_transformers": same}), flush=True)
        for method in options.methods:
            config = TrainConfig(
                model=str(model), data=str(train), task="generate", method=method,
                virtual_tokens=VIRTUAL_TOKENS[method], steps=options.steps, batch_size=16,
                seed=options.seed, save_every=0, learning_rate=options.learning_rate,
            )  # fmt: skip
            train_into(folder / method, config, base=base)
            adapter = load_adapter(folder / method)
            export_bundle(base, {method: adapter}, folder / f"{method}-shared")
            export_bundle(base, {method: adapter}, folder / f"{method}-standalone", standalone=True)
            expected = [reference.greedy(text, adapter, NEW_TOKENS) for text in texts]
            figures = {
                "method": method,
                "virtual_tokens": config.virtual_tokens,
                "steps": options.steps,
                "learning_rate": config.peak_learning_rate,
                "test_loss_of_the_bundle": evaluate_bundle(folder / f"{method}-shared", test)["loss"],
                "peft_test_loss": PEFT[method],
                "greedy_rows": len(texts),
                "equal_shared": same_rows(folder / f"{method}-shared", texts, expected),
                "equal_standalone": same_rows(folder / f"{method}-standalone", texts, expected),
            }
            print(json.dumps(figures, indent=1), flush=True)


if __name__ == "__main__":
    main()
