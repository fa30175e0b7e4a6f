"""A comparison from its plan to its folder: train every run, export one bundle, measure what ships."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune.comparison.figures import Comparison
from edgetune.comparison.measuring import DeviceFile, figures_of
from edgetune.comparison.plan import Plan
from edgetune.comparison.runs import Watch, best_of, keep, refuse_what_cannot_run, sets_of, trained_run
from edgetune.models.base import load_base
from edgetune.output import new_folder

FIGURES, ADAPTERS, BUNDLE = "comparison.json", "adapters", "bundle"


@dataclass(frozen=True)
class Exporting:
    """What a comparison needs of edgetune_export, which this layer may not import.

    Attributes:
        bundle: `export_bundle`.
        device_file: the function of that name.
    """

    bundle: Callable[..., Any]
    device_file: DeviceFile


def compare_into(
    out: str | Path,
    plan: Plan,
    exporting: Exporting,
    watch: Watch,
    files: Callable[[Comparison], Mapping[str, str]],
    *,
    force: bool = False,
) -> Comparison:
    """Runs the plan; leaves the best adapter of each variant, one bundle of them, and the `files`, texts by name.

    Raises:
        EdgetuneError: rows, options and base do not fit together, told before training; nothing is left at `out`.
    """
    with new_folder(out, force=force, marker=(FIGURES,)) as folder:
        sets = sets_of(plan)
        base = load_base(plan.config.model, plan.config.purpose)
        refuse_what_cannot_run(plan, base, sets)
        trained = [trained_run(run, base, watch) for run in plan.runs]
        best = {variant.name: best_of(trained, variant) for variant in plan.variants}
        watch.stage("exporting")
        exporting.bundle(base, {name: one.adapter for name, one in best.items()}, folder / BUNDLE)
        for name, one in best.items():
            keep(one, folder / ADAPTERS / name)
        watch.stage("measuring the bundle")
        comparison = figures_of(plan, base, sets, trained, folder / BUNDLE, exporting.device_file)
        for name, text in files(comparison).items():
            (folder / name).write_text(text, encoding="utf-8")
    return comparison
