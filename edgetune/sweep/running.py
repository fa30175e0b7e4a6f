"""A sweep from its plan to its folder: refuse what cannot run, let an engine run the rest, leave the best ready."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from edgetune.adapter import Adapter
from edgetune.errors import ConfigError, EdgetuneError
from edgetune.metrics import better
from edgetune.models.base import Base, load_base
from edgetune.output import new_folder
from edgetune.sweep.cluster import Cluster, ray_at, run_on_cluster, tune_module
from edgetune.sweep.embedded import run_embedded
from edgetune.sweep.figures import SeedFigures, Sweep, TrialFigures
from edgetune.sweep.plan import SweepPlan
from edgetune.sweep.records import Record
from edgetune.sweep.runs import KeptRun, Sets, contents, read_run, refuse_what_cannot_run, sets_of, setting_of
from edgetune.sweep.session import Session, Watch
from edgetune.sweep.study import optuna_module
from edgetune.sweep.surroundings import machine, versions
from edgetune.sweep.trial import Trial
from edgetune.sweep.workplace import Workplace, published, refuse_unfinished, workplace
from edgetune.training.result import refuse_taken
from edgetune.training.unfinished import folder_of

KIND = "sweep"
FIGURES, BEST = "sweep.json", "best"

DeviceFile = Callable[[str, Adapter, Base], bytes]


@dataclass(frozen=True)
class Leaving:
    """What a sweep needs of layers above.

    Attributes:
        device_file: the function of that name of edgetune_export.
        files: of the sweep, texts by name; FIGURES is one of them.
    """

    device_file: DeviceFile
    files: Callable[[Sweep], Mapping[str, str]]


def sweep_into(
    out: str | Path,
    plan: SweepPlan,
    leaving: Leaving,
    watch: Watch,
    *,
    cluster: Cluster | None = None,
    threads: int | None = None,
    force: bool = False,
    resume: bool = False,
) -> Sweep | None:
    """Runs the plan, in this process or with `cluster` on Ray; leaves the files and the best trial's adapter.

    Until then everything is in `OUT.run`. With `resume` a sweep that was killed, at whatever moment, goes on from
    there; None if its result had appeared already.

    Raises:
        EdgetuneError: rows, options and base do not fit together, told before the first trial; or no trial is complete.
    """
    if resume and published(out, FIGURES):
        Workplace(folder_of(out), continued=True).remove()
        return None
    refuse_unfinished(out, KIND, force=force, resume=resume)
    refuse_taken(out, force=force, marker=(FIGURES,))
    optuna_module()
    if cluster:
        tune_module()
    sets = sets_of(plan.config)
    measure = plan.measure(sets.labels)
    variants = plan.checked()
    base = load_base(plan.config.model, variants[0].config.purpose)
    refuse_what_cannot_run([variant.config for variant in variants], base, sets)
    where, settled = ray_at(cluster) if cluster else nullcontext(), plan.settled() | contents(base, sets)
    with where, workplace(out, KIND, settled, force=force, resume=resume) as place:
        session = Session(plan, measure, place.folder, watch)
        if cluster:
            run_on_cluster(session, cluster)
        else:
            run_embedded(session, base, threads)
        refuse_nothing(session)
        found = sweep_of(session, base, sets, leaving.device_file, engine_of(cluster))
        with new_folder(out, force=force, marker=(FIGURES,)) as folder:
            best = found.best
            assert best.best_seed is not None
            run = Trial(best.number, plan.variant(best.change)).run_folder(place.folder, best.best_seed)
            shutil.copytree(run, folder / BEST)
            for name, text in leaving.files(found).items():
                (folder / name).write_text(text, encoding="utf-8")
            place.publishes((folder / FIGURES).read_bytes())
        place.remove()
    return found


def refuse_nothing(session: Session) -> None:
    """Raises EdgetuneError where no trial is complete; what there is stays for --resume."""
    ends = [record.end for record in session.records.values()]
    if "complete" in ends:
        return
    if "failed" in ends:
        why = next(record.why for record in session.records.values() if record.end == "failed")
        raise EdgetuneError(
            f"none of {len(ends)} trials is complete, {ends.count('failed')} failed; the first: {why}. "
            "Start over with --force and other options"
        )
    raise ConfigError("no trial is complete: continue with --resume and a larger budget")


def sweep_of(session: Session, base: Base, sets: Sets, device_file: DeviceFile, engine: str) -> Sweep:
    plan, config = session.plan, session.plan.config
    return Sweep(
        **vars(setting_of(config, base, sets, plan.seeds)),
        space=plan.space.described(),
        search=plan.search,
        rungs=plan.stopping.rungs(config.steps) if plan.stopping else [],
        reduction_factor=plan.stopping.reduction_factor if plan.stopping else None,
        measure=session.measure,
        engine=engine,
        elapsed_seconds=session.elapsed_seconds,
        trials=[trial_figures(session, record, base, device_file) for record in session.records.values()],
        machine=machine(),
        versions=versions(),
    )


def trial_figures(session: Session, record: Record, base: Base, device_file: DeviceFile) -> TrialFigures:
    variant = session.plan.variant(record.change)
    trial, config = Trial(record.number, variant), variant.config
    known = TrialFigures(
        number=record.number,
        name=variant.name,
        described=variant.described,
        method=config.method,
        virtual_tokens=config.virtual_tokens,
        learning_rate=config.peak_learning_rate,
        change=session.plan.space.rounded(record.change),
        end=record.end,
        step=record.step,
        value=record.value,
        why=record.why,
    )
    if record.end != "complete":
        return known
    runs = {seed: read_run(trial.run_folder(session.workplace, seed)) for seed in session.plan.seeds}
    seed = best_seed(runs)
    adapter = runs[seed].adapter
    return replace(
        known,
        parameters=adapter.parameters,
        size_bytes=len(device_file(variant.name, adapter, base)),
        best_seed=seed,
        runs=[seed_figures(seed, run) for seed, run in runs.items()],
    )


def best_seed(runs: Mapping[int, KeptRun]) -> int:
    """By the task's own measure, as a run chooses among its steps; of equals the first."""
    best, *others = runs
    for seed in others:
        if better(runs[seed].metrics, runs[best].metrics):
            best = seed
    return best


def seed_figures(seed: int, run: KeptRun) -> SeedFigures:
    evaluations = [(seen.step, seen.metrics) for seen in run.seen if seen.metrics is not None]
    return SeedFigures(seed, run.metrics, run.outcome.step, run.outcome.seconds, evaluations)


def engine_of(cluster: Cluster | None) -> str:
    """`Optuna 5.0.0`, `Ray 2.60.0, 2 workers`."""
    if cluster is None:
        return f"Optuna {optuna_module().__version__}"
    import ray

    return f"Ray {ray.__version__}" + (f", {cluster.workers} workers" if cluster.workers else "")
