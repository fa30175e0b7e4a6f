"""What edgetune is held against: Hugging Face PEFT and full fine-tuning.

AdamW, 50 steps of warm-up, linear decay, as in PEFT's examples; for accuracy all see the very batches that edgetune's
training draws with the same seed, so that nothing but the method differs.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from edgetune.training.batches import Batch, by_length, shuffled
from edgetune.training.examples import Example

WARMUP = 50
VIRTUAL_TOKENS = 20
MAX_LENGTH = 64


@dataclass(frozen=True)
class Trained:
    """A peer's classifier after its run."""

    accuracy: float
    parameters: int
    samples_per_second: float


def peft_classifier(folder: str, method: str, labels: int) -> torch.nn.Module:
    """A sequence classifier of transformers with PEFT's prompt or prefix, its head trained along."""
    from peft import PrefixTuningConfig, PromptTuningConfig, TaskType, get_peft_model

    kind: Any = {"prompt": PromptTuningConfig, "prefix": PrefixTuningConfig}[method]
    config = kind(task_type=TaskType.SEQ_CLS, num_virtual_tokens=VIRTUAL_TOKENS)
    return get_peft_model(plain_classifier(folder, labels), config)


def plain_classifier(folder: str, labels: int) -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=labels)


def trained_peer(
    system: str, folder: str, train: list, test: list, *, method: str, rate: float, steps: int, batch: int, seed: int
) -> Trained:
    """`system` is `peft` or `full`; rows are texts with labels."""
    from transformers import AutoTokenizer

    torch.manual_seed(seed)
    names = sorted({label for _, label in train})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    made = peft_classifier(folder, method, len(names)) if system == "peft" else plain_classifier(folder, len(names))
    learned = [p for p in made.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / WARMUP) * min(1.0, (steps - s) / max(1, steps - WARMUP))
    )

    def examples(rows: list) -> list[Example]:
        ids = tokenizer([text for text, _ in rows], truncation=True, max_length=MAX_LENGTH).input_ids
        return [Example(x, label=names.index(label)) for x, (_, label) in zip(ids, rows)]

    def logits(part: Batch) -> torch.Tensor:
        return made(input_ids=part.input_ids, attention_mask=part.mask).logits

    batches = shuffled(examples(train), batch, tokenizer.pad_token_id, random.Random(seed))
    made.train()
    start = time.perf_counter()
    for _ in range(steps):
        part = next(batches)
        optimizer.zero_grad()
        cross_entropy(logits(part), part.labels).backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
    made.eval()
    with torch.no_grad():
        held_out = [part for _, part in by_length(examples(test), 64, tokenizer.pad_token_id)]
        right = sum(int((logits(part).argmax(-1) == part.labels).sum()) for part in held_out)
    return Trained(right / len(test), sum(p.numel() for p in learned), steps * batch / seconds)


def drawn(count: int, batch: int, rng: random.Random):
    """Indices of batches without end, every row once before any comes again."""
    while True:
        order = list(range(count))
        rng.shuffle(order)
        for start in range(0, count - batch + 1, batch):
            yield order[start : start + batch]
