"""Small sweeps: the arguments of the command, and plans that run in this process."""

import json

import pytest

from edgetune.config import TrainConfig
from edgetune.sweep.budget import Budget
from edgetune.sweep.plan import sweep_planned
from edgetune.sweep.space import space_asked


@pytest.fixture(scope="session")
def arguments(folders, rows):
    """`arguments("--methods", "prompt")`: a sweep of few steps of a classifier."""

    def made(*more):
        data = ["--data", rows("classify"), "--eval-data", rows("classify", "held_out")]
        steps = ["--steps", 6, "--batch-size", 4, "--eval-every", 2]
        return ["sweep", "--model", folders("bert"), "--task", "classify", *data, *steps, *more]

    return made


@pytest.fixture
def plan(folders, rows):
    """`plan({"method": "prompt"}, steps=6)`: the lists, and options of a run or of a sweep."""

    def made(lists, *, budget=None, **options):
        of_sweep = {name: options.pop(name) for name in SWEEP & options.keys()}
        given = dict(steps=6, batch_size=4, eval_every=2, virtual_tokens=2)
        paths = dict(model=folders("bert"), data=rows("classify"), eval_data=rows("classify", "held_out"))
        return sweep_planned(
            TrainConfig(**{**paths, **given, **options}), space_asked(lists), budget or Budget(), **of_sweep
        )

    return made


SWEEP = {"search", "seeds", "metric", "early_stopping", "grace_period", "reduction_factor"}


@pytest.fixture
def figures():
    """`figures(out)`: what `sweep.json` holds."""
    return lambda out: json.loads((out / "sweep.json").read_text("utf-8"))
