"""What edgetune is held against: Hugging Face PEFT and full fine-tuning, trained as their users train them.

AdamW, 50 steps of warm-up, linear decay, batches in random order padded to their longest row, as in PEFT's examples.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

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

    def encoded(rows: list) -> tuple[Any, torch.Tensor]:
        inputs = tokenizer(
            [text for text, _ in rows], padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
        )
        return inputs, torch.tensor([names.index(label) for _, label in rows])

    order = drawn(len(train), batch, random.Random(seed))
    made.train()
    start = time.perf_counter()
    for _ in range(steps):
        inputs, targets = encoded([train[i] for i in next(order)])
        optimizer.zero_grad()
        cross_entropy(made(**inputs).logits, targets).backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
    made.eval()
    right = 0
    with torch.no_grad():
        for i in range(0, len(test), 64):
            inputs, targets = encoded(test[i : i + 64])
            right += int((made(**inputs).logits.argmax(-1) == targets).sum())
    return Trained(right / len(test), sum(p.numel() for p in learned), steps * batch / seconds)


def drawn(count: int, batch: int, rng: random.Random):
    """Indices of batches without end, every row once before any comes again."""
    while True:
        order = list(range(count))
        rng.shuffle(order)
        for start in range(0, count - batch + 1, batch):
            yield order[start : start + batch]
