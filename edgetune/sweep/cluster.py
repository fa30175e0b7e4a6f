"""The engine for many processes: Ray Tune runs the trials, on this machine or a cluster, and ASHA stops those that lag.

Every worker writes its runs into the sweep's own folder, which all machines of a cluster have to see.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgetune.errors import ConfigError, EdgetuneError
from edgetune.metrics import Measure
from edgetune.models.base import Base, load_base
from edgetune.sweep.plan import SweepPlan
from edgetune.sweep.runs import read_run
from edgetune.sweep.session import Session
from edgetune.sweep.trial import Trial, run_trial, trial_value

LOCAL = "local"
"""The address of a Ray that is started here and ends with the sweep."""
STEP, VALUE, END, WHY = "step", "value", "end", "why"
"""What a worker reports."""
OBJECT_STORE_BYTES = 80 * 2**20
"""Nothing large goes through it: what trials leave is in files."""
RETRIES = 2
"""Of a trial whose machine was lost; it goes on where it was."""
ANSWERS_S = 10.0
"""Seconds in which a machine of a cluster takes a connection."""
KEPT = "What had ended is kept: continue with --resume"

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_worker_niceness": "0",
}
"""No report of use to anyone, no files of its own, Ctrl-C is ours, paths are from where the command was given, and
trials have the priority of the command instead of the least."""


@dataclass(frozen=True)
class Cluster:
    """Where trials run.

    Attributes:
        address: of a running Ray (`auto`, `HOST:6379`, `ray://HOST:10001`), or LOCAL.
        workers: trials at a time; None: as many as it has processors for.
        threads: of each.
    """

    address: str
    workers: int | None
    threads: int


@dataclass(frozen=True)
class Job:
    """What all trials have in common; paths of the plan are from `here` on."""

    plan: SweepPlan
    measure: Measure
    workplace: Path
    here: str
    threads: int


def run_on_cluster(session: Session, cluster: Cluster) -> None:
    """Until the session has no more trials; inside `ray_at`.

    Raises:
        EdgetuneError: a worker ended otherwise than trials do.
    """
    tune = tune_module()
    plan, job = session.plan, Job(session.plan, session.measure, session.workplace, os.getcwd(), cluster.threads)
    search = searcher_of(session)
    trainable = tune.with_resources(tune.with_parameters(work, job=job), {"cpu": cluster.threads})
    config = tune.TuneConfig(
        metric=VALUE,
        mode="max" if session.measure.higher_is_better else "min",
        search_alg=limited(tune, search, cluster.workers),
        scheduler=scheduler_of(tune, plan),
        num_samples=-1,
        reuse_actors=True,
    )
    run = tune.RunConfig(
        name=f"ray-{secrets.token_hex(4)}",
        storage_path=str(session.workplace),
        failure_config=tune.FailureConfig(max_failures=RETRIES),
        verbose=0,
    )
    try:
        tune.Tuner(trainable, tune_config=config, run_config=run).fit()
    except tune.TuneError as error:
        raise EdgetuneError(f"Ray Tune ended with: {error}. What had ended is kept: continue with --resume") from error
    if search.broken:
        raise EdgetuneError(f"{'; '.join(search.broken)}. What had ended is kept: continue with --resume")


def limited(tune: Any, search: Any, workers: int | None) -> Any:
    return search if workers is None else tune.search.ConcurrencyLimiter(search, max_concurrent=workers)


def work(given: dict[str, Any], job: Job) -> None:
    """One trial in a worker."""
    import torch
    from ray import tune

    with suppress(FileNotFoundError):  # a machine of a cluster, where all paths are whole
        os.chdir(job.here)
    torch.set_num_threads(job.threads)
    trial = Trial(given["number"], job.plan.variant(given["change"]))
    base = base_here(job.plan.config.model, trial.variant.config.purpose)

    def judge(step: int, value: float) -> bool:
        tune.report({STEP: step, VALUE: value})  # where the scheduler stops the trial this does not return
        return False

    try:
        runs = run_trial(trial, job.plan.seeds, job.measure, job.workplace, base, judge, unwatched)
    except EdgetuneError as error:
        tune.report({STEP: 0, VALUE: float("nan"), END: "failed", WHY: str(error)})
    else:
        value = trial_value(runs, job.measure)
        tune.report({STEP: job.plan.config.steps, VALUE: value, END: "complete"})


@lru_cache(maxsize=1)
def base_here(model: str, purpose: str) -> Base:
    """Loaded once a worker, which runs many trials."""
    return load_base(model, purpose)


def unwatched(trial: Trial, seed: int) -> Any:
    return nullcontext(lambda _: None)


def scheduler_of(tune: Any, plan: SweepPlan) -> Any:
    """ASHA as Ray has it, at the plan's rungs. The end of a run is none of them: what gets there is complete."""
    rungs = plan.stopping.rungs(plan.config.steps) if plan.stopping else []
    if not plan.stopping or not rungs:
        return tune.schedulers.FIFOScheduler()
    return tune.schedulers.ASHAScheduler(
        time_attr=STEP,
        max_t=rungs[-1] * plan.stopping.reduction_factor - 1,  # below the rung after the last, which is none
        grace_period=plan.stopping.grace_period,
        reduction_factor=plan.stopping.reduction_factor,
        stop_last_trials=False,
    )


def searcher_of(session: Session) -> Any:
    """Ray's way to ask the session."""
    from ray.tune.search import Searcher

    class SessionSearch(Searcher):
        def __init__(self) -> None:
            super().__init__()
            self.trials: dict[str, Trial] = {}
            self.broken: list[str] = []

        def suggest(self, trial_id: str) -> Any:
            trial = session.next()
            if trial is None or self.broken:
                return Searcher.FINISHED
            self.trials[trial_id] = trial
            return {"number": trial.number, "change": dict(session.study.change(trial.number))}

        def set_search_properties(self, *_: Any, **__: Any) -> bool:
            return True

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            trial, result = self.trials[trial_id], result or {}
            if error or STEP not in result:
                self.broken.append(f"the worker of trial {trial.number} ended with an error")
            elif result.get(END) == "complete":
                folders = [trial.run_folder(session.workplace, seed) for seed in session.plan.seeds]
                session.complete(trial, [read_run(folder) for folder in folders])
            elif result.get(END) == "failed":
                session.failed(trial, result[WHY])
            else:
                session.pruned(trial, result[STEP], result[VALUE])

        def __reduce__(self) -> tuple[type, tuple[str]]:
            """Ray writes it down to restore it later; ours is on the disk already."""
            return str, ("the session",)

        def save(self, checkpoint_path: str) -> None:
            """Nothing, for the same reason."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing either."""

    return SessionSearch()


def tune_module() -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        from ray import tune
    except ImportError as error:
        raise ConfigError("--ray needs Ray Tune: pip install 'edgetune[ray]'") from error
    return tune


def refuse_unreachable(address: str) -> None:
    """At once, where Ray would try for minutes; raises ConfigError where nothing listens at HOST:PORT."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWERS_S).close()
    except OSError as error:
        raise ConfigError(f"no Ray answers at {address}: {error}") from error


@contextmanager
def ray_at(cluster: Cluster) -> Iterator[None]:
    """Inside, trials can run there. A Ray of our own leaves neither processes nor files.

    Raises ConfigError where it cannot be reached.
    """
    import ray

    refuse_unreachable(cluster.address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    folder = tempfile.mkdtemp(prefix="edgetune-ray-") if cluster.address == LOCAL else None
    if folder:
        quiet |= {
            "num_cpus": (cluster.workers or max(1, (os.cpu_count() or 1) // cluster.threads)) * cluster.threads,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": folder,
        }
    try:
        try:
            ray.init(address=cluster.address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            token = "" if folder else ". If it asks for a token, as from Ray 2.60 on, set RAY_AUTH_MODE=token here too"
            raise ConfigError(f"no Ray answers at {cluster.address}: {error}{token}") from error
        yield
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
