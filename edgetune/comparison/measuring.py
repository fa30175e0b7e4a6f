"""The figures of a comparison: every run's adapter in the exported bundle, answered by the runtime that ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import edgetune_runtime
import onnxruntime
import torch

from edgetune.adapter import Adapter
from edgetune.comparison.figures import BaseFigures, Comparison, RunFigures, VariantFigures
from edgetune.comparison.latency import latencies
from edgetune.comparison.plan import Plan
from edgetune.comparison.runs import Trained, best_of, of_variant
from edgetune.config import TrainConfig
from edgetune.evaluation.bundle import measured_task
from edgetune.models.base import Base
from edgetune.sweep.runs import Sets, setting_of
from edgetune.sweep.surroundings import machine, versions
from edgetune.sweep.variant import Variant

DeviceFile = Callable[[str, Adapter, Base], bytes]


def figures_of(
    plan: Plan, base: Base, sets: Sets, trained: Sequence[Trained], bundle: Path, device_file: DeviceFile
) -> Comparison:
    """`bundle` holds the best adapter of each variant, under the variant's name; the others join it in memory."""
    config, rows = plan.config, sets.held_out.rows
    # rows are read as in training
    model = edgetune_runtime.load(bundle, split_special_tokens=False)
    alone = [None] if config.task == "generate" else []
    latency = latencies(model, [*alone, *(variant.name for variant in plan.variants)], rows, config.task)
    metrics = {one.run.number: metrics_of_run(model, one, base, bundle, device_file) for one in trained}

    def variant_figures(variant: Variant) -> VariantFigures:
        runs, best = of_variant(trained, variant), best_of(trained, variant)
        own = not best.adapter.label_words
        head = [x for name, x in best.adapter.tensors.items() if own and name.startswith("head.")]
        return VariantFigures(
            name=variant.name,
            described=variant.described,
            method=variant.config.method,
            virtual_tokens=best.adapter.virtual_tokens,
            learning_rate=variant.config.peak_learning_rate,
            parameters=best.adapter.parameters,
            head_parameters=sum(x.numel() for x in head),
            size_bytes=model.adapters[variant.name].size_bytes,
            best_seed=best.run.config.seed,
            latency=latency[variant.name],
            runs=[run_figures(one, metrics[one.run.number]) for one in runs],
        )

    return Comparison(
        **vars(setting_of(config, base, sets, plan.seeds)),
        bundle_bytes=sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()),
        base=BaseFigures(metrics_of(model, None, plan.runs[0].config), latency[None]) if alone else None,
        variants=[variant_figures(variant) for variant in plan.variants],
        machine=f"{machine()}, {torch.get_num_threads()} threads for training",
        versions=versions(onnxruntime=onnxruntime),
    )


def run_figures(one: Trained, metrics: dict[str, float]) -> RunFigures:
    return RunFigures(
        seed=one.run.config.seed,
        metrics=metrics,
        train_seconds=one.outcome.seconds,
        samples_per_second=one.outcome.samples_per_second,
        kept_step=one.outcome.step,
        losses=[(seen.step, seen.loss) for seen in one.seen if seen.metrics is None],
        evaluations=[(seen.step, seen.metrics) for seen in one.seen if seen.metrics is not None],
    )


def metrics_of_run(
    model: edgetune_runtime.Model, one: Trained, base: Base, bundle: Path, device_file: DeviceFile
) -> dict[str, float]:
    """Of the very file that would ship; the bundle on the disk stays as it is."""
    name = f"run-{one.run.number}"
    file = bundle.with_name(f".{name}.safetensors")
    try:
        file.write_bytes(device_file(name, one.adapter, base))
        model.add_adapter(file, name)
    finally:
        file.unlink(missing_ok=True)
    return metrics_of(model, name, one.run.config)


def metrics_of(model: edgetune_runtime.Model, adapter: str | None, config: TrainConfig) -> dict[str, float]:
    """On the held-out rows; `adapter` None is the bare base."""
    assert config.eval_data is not None
    return measured_task(model, adapter, config.task, config.eval_data, config.columns)
