"""Optuna's part: which configuration is next, and which trial is not worth going on with; kept in a SQLite file."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune.errors import ConfigError
from edgetune.metrics import Measure
from edgetune.sweep.plan import EarlyStopping, SweepPlan
from edgetune.sweep.records import End

if TYPE_CHECKING:
    import optuna

FILE, NAME = "study.db", "sweep"
CHANGE = "change"
"""The attribute of a trial that holds its configuration, once that is known."""
REPEATS = 10
"""Proposals in a row that were tried before, after which chance picks one that was not."""


def optuna_module() -> Any:
    """Raises ConfigError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("a sweep needs Optuna: pip install 'edgetune[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return optuna


class Study:
    """The trials of a sweep as Optuna knows them; opened again it goes on where it was."""

    def __init__(self, folder: Path, plan: SweepPlan, measure: Measure) -> None:
        self.optuna, self.plan = optuna_module(), plan
        self.study: optuna.Study = self.optuna.create_study(
            storage=f"sqlite:///{folder / FILE}",
            study_name=NAME,
            load_if_exists=True,
            direction="maximize" if measure.higher_is_better else "minimize",
            pruner=pruner_of(self.optuna, plan.stopping),
        )
        # another seed each time that it is opened, or it would propose what it proposed at first
        begun = len(self.study.trials)
        seed = plan.config.seed + 1000 * begun
        self.study.sampler = self.optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def left(self) -> list[tuple[int, dict[str, Any]]]:
        """Number and configuration of the trials that had begun and not ended."""
        running = self.optuna.trial.TrialState.RUNNING
        return [(x.number, x.user_attrs[CHANGE]) for x in self.study.get_trials(states=(running,)) if chosen(x)]

    def begun(self) -> int:
        """Trials, however they ended."""
        return sum(map(chosen, self.study.trials))

    def ask(self) -> tuple[int, dict[str, Any]] | None:
        """The next trial; None when nothing is left to try."""
        if self.plan.search != "tpe":
            return self.listed()
        for _ in range(REPEATS):
            trial = self.study.ask(distributions(self.optuna, self.plan))
            if not self.was_tried(trial.params):
                return self.taken(trial, trial.params)
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
        new = [x for x in self.plan.space.grid() if not self.was_tried(x)] if self.plan.space.size else []
        if not new:
            return None
        return self.fixed(random.Random(self.begun()).choice(new))

    def listed(self) -> tuple[int, dict[str, Any]] | None:
        number, space = self.begun(), self.plan.space
        if self.plan.search == "random":
            change = space.drawn(self.plan.config.seed, number)
        else:
            grid = space.grid()
            change = grid[number] if number < len(grid) else None
        return None if change is None else self.fixed(change)

    def fixed(self, change: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A trial of this configuration; one that was enqueued before a kill is of the same."""
        waiting = self.optuna.trial.TrialState.WAITING
        if not self.study.get_trials(deepcopy=False, states=(waiting,)):
            self.study.enqueue_trial(change)
        trial = self.study.ask(distributions(self.optuna, self.plan))
        return self.taken(trial, trial.params)

    def taken(self, trial: optuna.Trial, change: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        trial.set_user_attr(CHANGE, change)
        return trial.number, change

    def change(self, number: int) -> dict[str, Any]:
        """The configuration of a trial."""
        return self.trial(number).user_attrs[CHANGE]

    def trial(self, number: int) -> optuna.trial.FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def was_tried(self, change: dict[str, Any]) -> bool:
        rounded = self.plan.space.rounded(change)
        return any(self.plan.space.rounded(x.user_attrs[CHANGE]) == rounded for x in self.study.trials if chosen(x))

    def judge(self, number: int, step: int, value: float) -> bool:
        """Whether Optuna stops the trial of that number after this evaluation."""
        known = self.trial(number)
        trial = self.optuna.trial.Trial(self.study, known._trial_id)
        if step not in known.intermediate_values:
            trial.report(value, step)
        return trial.should_prune()

    def tell(self, number: int, end: End, value: float | None) -> None:
        """How it ended; a trial that has ended stays as it is."""
        state = self.optuna.trial.TrialState
        if self.trial(number).state.is_finished():
            return
        if end == "complete":
            self.study.tell(number, value)
        else:
            self.study.tell(number, state=state.PRUNED if end == "pruned" else state.FAIL)


def chosen(trial: optuna.trial.FrozenTrial) -> bool:
    """It is one of the sweep's: not a proposal that was tried before, nor killed before it was known."""
    return CHANGE in trial.user_attrs


def distributions(optuna: Any, plan: SweepPlan) -> dict[str, Any]:
    kinds = optuna.distributions
    choices = {name: kinds.CategoricalDistribution(list(values)) for name, values in plan.space.choices.items()}
    ranges = {name: kinds.FloatDistribution(x.low, x.high, log=True) for name, x in plan.space.ranges.items()}
    return {**choices, **ranges}


def pruner_of(optuna: Any, stopping: EarlyStopping | None) -> Any:
    """ASHA as Optuna has it, at the plan's rungs."""
    if stopping is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=stopping.grace_period, reduction_factor=stopping.reduction_factor
    )
