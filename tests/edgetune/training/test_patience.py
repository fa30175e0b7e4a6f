"""A run ends when evaluations no longer improve, and says so."""

import io
import json
from functools import partial

import pytest
from rich.console import Console

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.reports.training import training_report
from edgetune.training import loop
from edgetune.training.loop import fit
from edgetune.training.result import train_into

from ..tiny import base_of
from .test_loop import labelled, tuned_of

CURVE = [0.5, 0.6, 0.55, 0.6, 0.7, 0.69, 0.68, 0.7, 0.71]
"""Accuracies of successive evaluations; 0.6 and 0.7 come again, which is no improvement."""


@pytest.fixture
def curve(monkeypatch):
    """Evaluations that give the curve, from its start each time that it is asked for."""

    def start():
        left = iter(CURVE)
        monkeypatch.setattr(loop, "measured", lambda *_, **__: {"loss": 1.0, "accuracy": next(left)})

    return start


@pytest.mark.parametrize("patience, stopped_at, best", [
    (None, None, 9),
    (1, 3, 2),
    (2, 4, 2),
    (3, 8, 5),
    (4, None, 9),
])  # fmt: skip
def test_a_run_ends_after_so_many_evaluations_without_improvement(curve, patience, stopped_at, best):
    curve()
    config, steps = TrainConfig(steps=9, batch_size=4, eval_every=1, patience=patience), []
    tuned = tuned_of(base_of("bert"), "prompt")
    outcome = fit(tuned, config, labelled(16), labelled(4), lambda p: steps.append(p.step))
    assert (outcome.stopped_at, outcome.step) == (stopped_at, best)
    assert outcome.metrics == {"loss": 1.0, "accuracy": CURVE[best - 1]}
    assert max(steps) == (stopped_at or 9)


def test_patience_without_rows_to_evaluate_on_is_refused():
    with pytest.raises(ConfigError, match="give --eval-data"):
        fit(tuned_of(base_of("bert"), "prompt"), TrainConfig(patience=2), labelled(16))


def test_an_early_end_is_told_in_the_report_and_the_log(curve, base, folders, rows, tmp_path):
    curve()
    paths = dict(model=folders("bert"), data=rows("classify"), eval_data=rows("classify", "held_out"))
    config, said = TrainConfig(steps=9, batch_size=4, eval_every=1, patience=2, **paths), io.StringIO()
    with training_report(config, Console(file=said)) as report:
        report.finish("out", *train_into(tmp_path / "out", config, report.step, base=base("bert")))
    assert "stopped at step 4: no improvement in 2 evaluations" in said.getvalue()
    last = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1])
    assert (last["outcome"]["stopped_at"], last["outcome"]["step"]) == (4, 2)


def test_patience_survives_an_interruption(curve, base, folders, rows, tmp_path):
    """One stale evaluation before it and one after make two; and a run that had ended does not go on."""
    paths = dict(model=folders("bert"), data=rows("classify"), eval_data=rows("classify", "held_out"))
    config = TrainConfig(steps=9, batch_size=4, eval_every=1, patience=2, **paths)
    train = partial(train_into, config=config, base=base("bert"))
    curve()

    def interrupted(progress):
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "out", report=interrupted)
    _, outcome = train(tmp_path / "out", resume=True)
    assert (outcome.stopped_at, outcome.step) == (4, 2)
