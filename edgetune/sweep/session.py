"""A sweep under way: which trial is next, how each ended, and when there are enough; the same for every engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgetune.metrics import Measure
from edgetune.sweep.plan import SweepPlan
from edgetune.sweep.records import End, Record, read_records, write_record
from edgetune.sweep.runs import KeptRun
from edgetune.sweep.study import Study
from edgetune.sweep.trial import Around, Trial, trial_value


class Watch(Protocol):
    """Who is told how far a sweep has come."""

    @property
    def around(self) -> Around: ...

    def ended(self, trial: Trial, record: Record, measure: Measure) -> None:
        """After each trial."""
        ...


class Session:
    """What engines ask for work and tell of its end. `workplace` is a folder that every process of theirs can reach."""

    def __init__(self, plan: SweepPlan, measure: Measure, workplace: Path, watch: Watch) -> None:
        self.plan, self.measure, self.workplace, self.watch = plan, measure, workplace, watch
        self.study = Study(workplace, plan, measure)
        self.records = read_records(workplace)
        self.began, self.before = (
            time.perf_counter(),
            max((x.elapsed_seconds for x in self.records.values()), default=0),
        )
        self.running: dict[int, Trial] = {}
        self.left: list[Trial] = []
        for number, change in self.study.left():
            if number in self.records:
                self.told(self.records[number])
            else:
                self.left.append(Trial(number, plan.variant(change)))

    @property
    def elapsed_seconds(self) -> float:
        return self.before + time.perf_counter() - self.began

    @property
    def steps_of_trial(self) -> int:
        """Of one that is trained to its end."""
        return self.plan.config.steps * len(self.plan.seeds)

    def next(self) -> Trial | None:
        """A trial to run; those that a kill interrupted come first. None when the budget or the space is at its end."""
        if self.left:
            return self.begun(self.left.pop(0))
        steps = sum(x.steps for x in self.records.values()) + self.steps_of_trial * len(self.running)
        if self.plan.budget.spent(len(self.records) + len(self.running), self.elapsed_seconds, steps):
            return None
        asked = self.study.ask()
        return None if asked is None else self.begun(Trial(asked[0], self.plan.variant(asked[1])))

    def begun(self, trial: Trial) -> Trial:
        self.running[trial.number] = trial
        return trial

    def complete(self, trial: Trial, runs: Sequence[KeptRun]) -> None:
        steps = [run.steps for run in runs]
        self.end(trial, "complete", value=trial_value(runs, self.measure), step=max(steps), steps=sum(steps))

    def pruned(self, trial: Trial, step: int, value: float) -> None:
        self.end(trial, "pruned", value=value, step=step, steps=step)

    def failed(self, trial: Trial, why: str) -> None:
        """It counts as a whole trial, or a sweep of failures would never end."""
        self.end(trial, "failed", step=0, steps=self.steps_of_trial, why=why)

    def end(self, trial: Trial, end: End, *, step: int, steps: int, value: float | None = None, why: str = "") -> None:
        record = Record(
            trial.number, end, self.study.change(trial.number), value, step, steps, self.elapsed_seconds, why
        )
        write_record(self.workplace, record)
        self.records[record.number] = record
        self.running.pop(trial.number, None)
        self.told(record)
        self.watch.ended(trial, record, self.measure)

    def told(self, record: Record) -> None:
        self.study.tell(record.number, record.end, record.value)
