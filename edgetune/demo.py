"""The whole way on real data: tune two ways, export one shared bundle, check it, classify, compare."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import edgetune_runtime
from edgetune_export.bundle import export_bundle
from rich.console import Console

from edgetune.adapter import Adapter
from edgetune.config import Method, TrainConfig
from edgetune.data.demo import HELD_OUT, TRAIN, embedded_model
from edgetune.data.rows import read_rows
from edgetune.evaluation.bundle import evaluate_bundle
from edgetune.models.base import load_base
from edgetune.reports.export import export_report
from edgetune.reports.methods import MethodResult, method_table
from edgetune.reports.training import training_report
from edgetune.training.loop import Outcome
from edgetune.training.result import train_into

METHODS: tuple[Method, ...] = ("prompt", "prefix")
EXAMPLES = (
    "wake me up at half past six tomorrow",
    "it's way too dark in here",
    "do I need an umbrella this afternoon?",
    "how do you say thank you in Portuguese",
)
LATENCY_CALLS = 60


def run_demo(out: str | Path, steps: int, *, force: bool, console: Console) -> list[MethodResult]:
    """Writes `prompt`, `prefix` and `bundle` below `out` and tells what it does.

    Raises:
        EdgetuneError: something is missing, or in the way.
    """
    out, model = Path(out), str(embedded_model())
    console.print(
        f"base: all-MiniLM-L6-v2, frozen; data: {TRAIN.parent.name}, {len(read_rows(TRAIN, task='classify'))} rows"
    )
    base = load_base(model, "classify")
    trained: dict[str, tuple[Adapter, Outcome]] = {}
    for method in METHODS:
        config = TrainConfig(
            model=model,
            data=str(TRAIN),
            eval_data=str(HELD_OUT),
            method=method,
            steps=steps,
            eval_every=-(-steps // 4),
            save_every=0,
        )
        console.print(
            f"\n[bold]{method}[/bold]: {config.virtual_tokens} virtual tokens, {steps} steps of {config.batch_size}"
        )
        with training_report(config, console) as report:
            trained[method] = train_into(out / method, config, report.step, force=force, base=base)
    console.print("\n[bold]export[/bold]: one base graph, two adapters")
    with export_report(console) as report:
        adapters = {method: adapter for method, (adapter, _) in trained.items()}
        exported = export_bundle(base, adapters, out / "bundle", force=force, tell=report.stage)
    report.finish(exported, base)
    console.print("\n[bold]run[/bold]: the runtime, without torch")
    runtime = edgetune_runtime.load(out / "bundle")
    for text in EXAMPLES:
        answers = [runtime.classify(text, adapter=method) for method in METHODS]
        told = ", ".join(f"{m} {a.label} {a.score:.2f}" for m, a in zip(METHODS, answers))
        console.print(f"  {text!r}: {told}", highlight=False)
    results = [result_of(method, *trained[method], out / "bundle", runtime, base.parameters) for method in METHODS]
    console.print()
    console.print(method_table(results, f"{len(read_rows(HELD_OUT, task='classify'))} held-out commands"))
    console.print(f"\nbundle in {out / 'bundle'}; next: edgetune run {out / 'bundle'}", highlight=False)
    return results


def result_of(
    method: str, adapter: Adapter, outcome: Outcome, bundle: Path, runtime: edgetune_runtime.Model, base_parameters: int
) -> MethodResult:
    return MethodResult(
        method=method,
        virtual_tokens=adapter.virtual_tokens,
        parameters=adapter.parameters,
        base_parameters=base_parameters,
        size_bytes=runtime.adapters[method].size_bytes,
        accuracy=evaluate_bundle(bundle, HELD_OUT, method)["accuracy"],
        latency_ms=latency_ms(runtime, method),
        train_seconds=outcome.seconds,
    )


def latency_ms(runtime: edgetune_runtime.Model, adapter: str) -> float:
    """Median of one text at a time."""
    times = []
    for i in range(LATENCY_CALLS):
        start = time.perf_counter()
        runtime.classify(EXAMPLES[i % len(EXAMPLES)], adapter=adapter)
        times.append((time.perf_counter() - start) * 1000)
    return median(times)
