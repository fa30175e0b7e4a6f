"""A comparison from its plan to its folder: train every run, export one bundle, measure what ships."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetune.comparison.figures import Comparison
from edgetune.comparison.measuring import DeviceFile, figures_of
from edgetune.comparison.plan import Plan
from edgetune.comparison.runs import Watch, best_of, keep, measurable_sets, trained_run
from edgetune.errors import EdgetuneError
from edgetune.models.base import load_base
from edgetune.output import new_folder
from edgetune.sweep.runs import contents, refuse_what_cannot_run
from edgetune.sweep.workplace import Workplace, published, refuse_unfinished, workplace
from edgetune.training.result import refuse_taken
from edgetune.training.unfinished import folder_of, options_of

FIGURES, ADAPTERS, BUNDLE = "comparison.json", "adapters", "bundle"
KIND = "comparison"


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
    resume: bool = False,
) -> Comparison | None:
    """Runs the plan; leaves the best adapter of each variant, one bundle of them, and the `files`, texts by name.

    Until then its runs are in `OUT.run`. With `resume` a comparison that was killed goes on from there; None if its
    result had appeared already.

    Raises:
        EdgetuneError: rows, options and base do not fit together, told before training; nothing is left then.
    """
    if resume and published(out, FIGURES):
        Workplace(folder_of(out), continued=True).remove()
        return None
    refuse_unfinished(out, KIND, force=force, resume=resume)
    refuse_taken(out, force=force, marker=(FIGURES,))
    sets = measurable_sets(plan)
    base = load_base(plan.config.model, plan.config.purpose)
    refuse_what_cannot_run([variant.config for variant in plan.variants], base, sets)
    settled = {run.described: options_of(run.config) for run in plan.runs} | contents(base, sets)
    with workplace(out, KIND, settled, force=force, resume=resume) as place:
        try:
            trained = [trained_run(run, base, watch, place.folder) for run in plan.runs]
        except EdgetuneError:
            place.remove()  # it would come again
            raise
        with new_folder(out, force=force, marker=(FIGURES,)) as folder:
            best = {variant.name: best_of(trained, variant) for variant in plan.variants}
            watch.stage("exporting")
            exporting.bundle(base, {name: one.adapter for name, one in best.items()}, folder / BUNDLE)
            for name, one in best.items():
                keep(one, folder / ADAPTERS / name)
            watch.stage("measuring the bundle")
            comparison = figures_of(plan, base, sets, trained, folder / BUNDLE, exporting.device_file)
            for name, text in files(comparison).items():
                (folder / name).write_text(text, encoding="utf-8")
            place.publishes((folder / FIGURES).read_bytes())
        place.remove()
    return comparison
