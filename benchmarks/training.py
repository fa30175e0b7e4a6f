"""Samples per second and peak memory of a training run: edgetune and PEFT, alternating, each in a process of its own.

    python benchmarks/training.py [--cases classifier decoder] [--methods prompt prefix] [--rounds 3]

classifier: MiniLM on BANKING77's rows, batches of 32. decoder: a 135 M Llama shape with random weights and a vocabulary
of 49,152; rows of 128 random tokens (`--lengths mixed`: of 16 to 128), the last `--completion` of 128 carry loss,
batches of 8. PEFT's batches are
padded to their longest row and give every position's logits to its own loss, as its users' training loops do.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from intents import intents
from places import SHARED
from trained_peers import MAX_LENGTH, VIRTUAL_TOKENS, drawn, peft_classifier

from edgetune.bench.machine import bandwidth_gb_s

SYSTEMS = ("edgetune", "peft")
CASES = ("classifier", "decoder")
METHODS = ("prompt", "prefix")
LENGTH, VOCAB = 128, 49152
BATCH = {"classifier": 32, "decoder": 8}
WARM = 2
"""Steps before the clock starts."""


def llama_135m() -> torch.nn.Module:
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        vocab_size=VOCAB, tie_word_embeddings=True, max_position_embeddings=2048, rope_theta=1e5,
    )  # fmt: skip
    return transformers.AutoModelForCausalLM.from_config(config)


def ours(case: str, method: str, options: argparse.Namespace) -> Callable[[], int]:
    """One optimiser step a call, through the training loop's own parts; the rows of its batch."""
    from edgetune.config import TrainConfig
    from edgetune.data.demo import embedded_model
    from edgetune.data.rows import LabelledText
    from edgetune.models.base import base_from, load_base
    from edgetune.training.batches import step_batches
    from edgetune.training.examples import Example, class_examples
    from edgetune.training.heads import untrained
    from edgetune.training.learner import Learner
    from edgetune.training.sets import Rows
    from edgetune.training.source import Held

    config = TrainConfig(
        task="classify" if case == "classifier" else "generate",
        method=method,
        virtual_tokens=VIRTUAL_TOKENS,
        batch_size=BATCH[case],
        precision=options.precision,
    )
    names: tuple[str, ...] = ()
    if case == "classifier":
        train, _ = intents("banking77", options.shared)
        names = tuple(sorted({label for _, label in train}))
        base = load_base(str(embedded_model()), "classify")
        rows = [LabelledText(text, label) for text, label in train]
        examples = class_examples(base, rows, [names.index(row.label) for row in rows], MAX_LENGTH)
    else:
        base = base_from(llama_135m(), None, "llama 135 M", "generate")
        examples = [
            Example(row, completion=tuple(i >= len(row) - learned_of(row, options) for i in range(len(row))))
            for row in token_rows(options.lengths)
        ]
    learner = Learner(untrained(base, config, names, Rows("rows", config.task, ())), config)
    source = Held(examples)
    steps = source.steps(config.batch_size, 0, 0, {})

    def step() -> int:
        step.count += 1
        batch = step_batches(source.examples(next(steps)), config.batch_size, base.pad_token_id, "cpu")
        learner.step(batch, config.peak_learning_rate, step.count)
        return sum(part.rows for part in batch)

    step.count = 0
    return step


def theirs(case: str, method: str, options: argparse.Namespace) -> Callable[[], int]:
    from peft import PrefixTuningConfig, PromptTuningConfig, TaskType, get_peft_model
    from transformers import AutoTokenizer

    torch.manual_seed(0)
    if case == "classifier":
        from edgetune.data.demo import embedded_model

        train, _ = intents("banking77", options.shared)
        names = sorted({label for _, label in train})
        folder = str(embedded_model())
        tokenizer = AutoTokenizer.from_pretrained(folder)
        made = peft_classifier(folder, method, len(names))
    else:
        train = token_rows(options.lengths)
        kind = {"prompt": PromptTuningConfig, "prefix": PrefixTuningConfig}[method]
        made = get_peft_model(llama_135m(), kind(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=VIRTUAL_TOKENS))
    learned = [p for p in made.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-2)
    order = drawn(len(train), BATCH[case], random.Random(0))
    made.train()

    def inputs_of(rows: list) -> dict:
        if case == "classifier":
            texts = tokenizer(
                [t for t, _ in rows], padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
            )
            return {**texts, "labels": torch.tensor([names.index(label) for _, label in rows])}
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        labels = ids.masked_fill(mask == 0, -100)
        for row, x in zip(rows, labels):
            x[: len(row) - learned_of(row, options)] = -100
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def step() -> int:
        rows = [train[i] for i in next(order)]
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            loss = made(**inputs_of(rows)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        return len(rows)

    return step


def token_rows(lengths: str, count: int = 512) -> list[list[int]]:
    rng = random.Random(0)
    long = [LENGTH if lengths == "fixed" else rng.randint(LENGTH // 8, LENGTH) for _ in range(count)]
    return [[rng.randrange(VOCAB) for _ in range(length)] for length in long]


def learned_of(row: list[int], options: argparse.Namespace) -> int:
    """Tokens of the row that carry loss."""
    return round(len(row) * options.completion / LENGTH)


def measure(options: argparse.Namespace) -> None:
    """What a worker prints: samples per second and the process's peak of resident memory."""
    torch.set_num_threads(options.threads)
    step = (ours if options.worker == "edgetune" else theirs)(options.cases[0], options.methods[0], options)
    for _ in range(WARM):
        step()
    start, rows = time.perf_counter(), 0
    for _ in range(options.steps):
        rows += step()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"samples_per_second": rows / seconds, "peak_mb": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="steps timed; by default 20 of the classifier, 4 others")
    parser.add_argument("--completion", type=int, default=64, help="of the decoder's 128 tokens")
    parser.add_argument("--lengths", choices=("fixed", "mixed"), default="fixed", help="decoder: 128, or 16 to 128")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of both")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--worker", choices=SYSTEMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return measure(options)
    print(json.dumps({"read_bandwidth_gb_s": round(bandwidth_gb_s(), 1), "threads": options.threads}))
    for case in options.cases:
        for method in options.methods:
            compare(case, method, options)


def compare(case: str, method: str, options: argparse.Namespace) -> None:
    steps = options.steps or {"classifier": 20, "decoder": 4}[case]
    found: dict[str, list[dict]] = {system: [] for system in SYSTEMS}
    for _ in range(options.rounds):
        for system in SYSTEMS:
            command = [
                sys.executable, __file__, "--worker", system, "--cases", case, "--methods", method,
                "--steps", str(steps), "--completion", str(options.completion), "--threads", str(options.threads),
                "--lengths", options.lengths, "--precision", options.precision, "--shared", str(options.shared),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
            if done.returncode:
                raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
            found[system].append(json.loads(done.stdout.splitlines()[-1]))
    median = {
        system: {key: statistics.median(x[key] for x in runs) for key in runs[0]} for system, runs in found.items()
    }
    a, b = median["edgetune"], median["peft"]
    figures = {
        "case": case,
        "method": method,
        "precision": options.precision,
        "lengths": options.lengths,
        **{f"{system}_{key}": round(value, 1) for system, x in median.items() for key, value in x.items()},
        "speed_ratio": round(a["samples_per_second"] / b["samples_per_second"], 2),
        "memory_ratio": round(a["peak_mb"] / b["peak_mb"], 2),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
