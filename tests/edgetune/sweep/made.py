"""Sweeps made by hand, so that what should follow from the figures is plain."""

from edgetune.metrics import Measure
from edgetune.sweep.figures import SeedFigures, Sweep, TrialFigures


def seed_of(seed, quality, *, metric="accuracy", loss=0.4):
    metrics = {"loss": loss, "accuracy": 0.5, "macro_f1": 0.5, metric: quality}
    return SeedFigures(seed, metrics, 80, 12.0 + seed, [(40, metrics), (80, metrics)])


def trial_of(number, name, qualities, *, end="complete", step=100, value=None, parameters=1_000, size=4_000,
             metric="accuracy", loss=0.4, method="prompt"):  # fmt: skip
    """`qualities` of its seeds; None of one that is not complete."""
    runs = [seed_of(seed, quality, metric=metric, loss=loss) for seed, quality in enumerate(qualities or ())]
    known = dict(parameters=parameters, size_bytes=size, best_seed=0) if runs else {}
    return TrialFigures(
        number=number, name=name, described=f"{method}, 20 tokens", method=method, virtual_tokens=20,
        learning_rate=0.05, change={"method": method, "learning_rate": 0.05}, end=end, step=step, value=value,
        why="the loss is nan at step 3" if end == "failed" else "", runs=runs, **known,
    )  # fmt: skip


def sweep_of(*trials, measure=Measure("accuracy", True)):  # noqa: B008
    return Sweep(
        task="classify", model="organisation/small-model", model_type="bert", base_parameters=22_713_216,
        data="train.jsonl", eval_data="eval.jsonl", rows=928, eval_rows=288, labels=24, steps=100, rows_a_step=32,
        seeds=tuple(range(max(len(trial.runs) for trial in trials))),
        space={"choices": {"method": ["prompt", "prefix"]}, "ranges": {"learning_rate": [1e-4, 1e-1]}},
        search="tpe", rungs=[20, 80], reduction_factor=4, measure=measure, engine="Optuna 5.0.0",
        elapsed_seconds=700.0, trials=trials, machine="Linux, x86_64, 2 cores", versions={"edgetune": "0.1.0"},
    )  # fmt: skip
