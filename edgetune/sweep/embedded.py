"""The engine that needs no other process: one trial after the other, Optuna's pruner stopping those that lag."""

from __future__ import annotations

import torch

from edgetune.errors import EdgetuneError
from edgetune.models.base import Base
from edgetune.sweep.session import Session
from edgetune.sweep.trial import Stopped, run_trial


def run_embedded(session: Session, base: Base, threads: int | None) -> None:
    """Until the session has no more trials; `threads` None is as many as torch has."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        while trial := session.next():
            number = trial.number

            def judge(step: int, value: float, number: int = number) -> bool:
                return session.study.judge(number, step, value)

            plan = session.plan
            try:
                runs = run_trial(
                    trial, plan.seeds, session.measure, session.workplace, base, judge, session.watch.around
                )
            except Stopped as stopped:
                session.pruned(trial, stopped.step, stopped.value)
            except EdgetuneError as error:
                session.failed(trial, str(error))
            else:
                session.complete(trial, runs)
    finally:
        torch.set_num_threads(before)
