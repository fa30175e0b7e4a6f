"""BANKING77 on MiniLM: tune, export, compare torch with the bundle on every test row.

    python benchmarks/banking77.py [--methods prompt prefix] [--steps 300]

Held against Hugging Face PEFT 0.21 with the same base, steps, batch and seed, at its best learning rate.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import edgetune_runtime
import torch
from edgetune_export.bundle import export_bundle
from places import SHARED, shared

from edgetune.adapter import load_adapter, tuned_from
from edgetune.config import TrainConfig
from edgetune.data.demo import embedded_model
from edgetune.data.labels import label_ids
from edgetune.data.rows import read_rows
from edgetune.evaluation.adapter import evaluate_adapter
from edgetune.evaluation.bundle import evaluate_bundle
from edgetune.models.base import load_base
from edgetune.training.batches import by_length
from edgetune.training.examples import class_examples, text_limit
from edgetune.training.result import train_into

COLUMNS = {"label": "category"}
PEFT = {"prompt": 0.872, "prefix": 0.776}
"""Test accuracy of PEFT 0.21, 20 virtual tokens, 300 steps of 32 (shared/ANCHORS.md)."""


@torch.no_grad()
def torch_labels(base, adapter, rows, path) -> list[str]:
    """The torch model's label of every row."""
    tuned = tuned_from(base, adapter)
    examples = class_examples(
        base, rows, label_ids(rows, adapter.labels, path), text_limit(base, adapter.virtual_tokens)
    )
    found = [""] * len(rows)
    for indices, batch in by_length(examples, 64, base.pad_token_id):
        for i, label in zip(indices, tuned.class_logits(batch.input_ids, batch.mask).argmax(-1).tolist()):
            found[i] = adapter.labels[label]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(PEFT), choices=list(PEFT))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    train, test = (shared(f"data/banking77/{name}.csv", options.shared) for name in ("train", "test"))
    base = load_base(str(embedded_model()), "classify")
    rows = read_rows(test, task="classify", columns=COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        for method in options.methods:
            config = TrainConfig(
                model=base.name, data=str(train), task="classify", method=method, columns=COLUMNS, steps=options.steps,
                seed=options.seed, learning_rate=options.learning_rate, save_every=0,
            )  # fmt: skip
            adapter, outcome = train_into(Path(folder) / method, config, base=base)
            bundle = Path(folder) / f"{method}-bundle"
            exported = export_bundle(base, {method: load_adapter(Path(folder) / method)}, bundle)
            expected = torch_labels(base, adapter, rows, test)
            start = time.perf_counter()
            got = [answer.label for answer in edgetune_runtime.load(bundle).classify([row.text for row in rows])]
            seconds = time.perf_counter() - start
            accuracy = sum(a == row.label for a, row in zip(expected, rows)) / len(rows)
            figures = {
                "method": method,
                "steps": options.steps,
                "learning_rate": config.peak_learning_rate,
                "parameters": adapter.parameters,
                "accuracy_torch": accuracy,
                "accuracy_evaluate_adapter": evaluate_adapter(base, adapter, test, COLUMNS)["accuracy"],
                "accuracy_evaluate_bundle": evaluate_bundle(bundle, test, columns=COLUMNS)["accuracy"],
                "rows_with_another_label": sum(a != b for a, b in zip(expected, got)),
                "peft_accuracy": PEFT[method],
                "train_samples_per_second": outcome.samples_per_second,
                "bundle_rows_per_second": len(rows) / seconds,
                "largest_difference_at_export": max(check.difference for check in exported.checks),
            }
            print(json.dumps(figures, indent=1), flush=True)


if __name__ == "__main__":
    main()
