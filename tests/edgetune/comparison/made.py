"""Comparisons made by hand, so that what should follow from the figures is plain."""

import math

from edgetune.comparison.figures import BaseFigures, Comparison, Latency, RunFigures, VariantFigures


def run_of(seed, quality, *, task="classify", start=2.5, last=(0.5, 0.5), steps=100):
    metrics = {"rows": 288, "loss": 0.4, "accuracy": quality, "macro_f1": quality - 0.01}
    if task == "generate":
        metrics = {"rows": 288, "loss": quality, "perplexity": math.exp(quality)}
    losses = [(i, start * math.exp(-i / 30) + 0.2 + 0.1 * math.sin(i * (seed + 1) / 3)) for i in range(1, steps + 1)]
    evaluations = [(steps // 2, {"loss": last[0]}), (steps, {"loss": last[1]})]
    return RunFigures(seed, metrics, 12.0 + seed, 250.0, steps, losses, evaluations)


def variant_of(name, qualities, *, task="classify", size=30_000, first=2.0, later=None, parameters=7_680, **more):
    method, length = name.rsplit("-", 1)
    if task == "generate" and later is None:
        later = 1.0
    return VariantFigures(
        name=name,
        described=f"{method}, {length} tokens",
        method=method,
        virtual_tokens=int(length),
        learning_rate=0.05,
        parameters=parameters,
        head_parameters=1_000 if task == "classify" else 0,
        size_bytes=size,
        best_seed=0,
        latency=Latency(first, later, 40),
        runs=[run_of(seed, quality, task=task, **more) for seed, quality in enumerate(qualities)],
    )


def comparison_of(*variants, task="classify", base_loss=4.0):
    base = {"rows": 288, "loss": base_loss, "perplexity": math.exp(base_loss)}
    return Comparison(
        task=task,
        model="organisation/small-model",
        model_type="bert" if task == "classify" else "llama",
        base_parameters=22_713_216,
        data="train.jsonl",
        eval_data="eval.jsonl",
        rows=928,
        eval_rows=288,
        labels=24 if task == "classify" else 0,
        steps=100,
        rows_a_step=32,
        seeds=tuple(range(len(variants[0].runs))),
        bundle_bytes=91_000_000,
        base=BaseFigures(base, Latency(1.9, 0.9, 40)) if task == "generate" else None,
        variants=variants,
        machine="Linux, x86_64, 2 cores, 2 threads for training",
        versions={"edgetune": "0.1.0", "torch": "2.13.0"},
    )


def four_variants(task="classify"):
    """Prompts and prefixes of two lengths: plausible figures, far apart."""
    better = (lambda x: x) if task == "classify" else (lambda x: 4 - 2 * x)
    rows = (
        ("prompt-10", (0.871, 0.880, 0.866), 19_400, 4_840, 2.3),
        ("prompt-20", (0.902, 0.911, 0.893), 34_800, 8_680, 2.6),
        ("prefix-10", (0.934, 0.941, 0.938), 188_000, 47_080, 2.1),
        ("prefix-20", (0.936, 0.944, 0.940), 372_000, 93_160, 2.2),
    )
    return comparison_of(
        *(
            variant_of(
                name,
                [better(x) for x in of_seeds],
                task=task,
                size=size,
                parameters=count,
                first=first,
                start=2 + 40_000 / size,
                last=(1.1 + 20_000 / size, 1.0 + 18_000 / size),
            )
            for name, of_seeds, size, count, first in rows
        ),
        task=task,
    )
