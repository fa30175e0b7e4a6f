"""Which configuration Optuna gives next, whom it stops, and that it remembers."""

from functools import partial

import pytest

from edgetune.metrics import Measure
from edgetune.sweep.budget import Budget

optuna = pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'edgetune[sweep]'")

from edgetune.sweep.study import Study  # noqa: E402

ACCURACY, LOSS = Measure("accuracy", True), Measure("loss", False)
GRID = {"method": "prompt,prefix", "virtual_tokens": "2,3"}


@pytest.fixture
def study(plan, tmp_path):
    """`study(GRID, search="random")`: opened in one folder, so a second one continues the first."""
    return lambda lists=GRID, measure=ACCURACY, **options: Study(tmp_path, plan(lists, **options), measure)


def told(study, count=99):
    """Configurations that it gives, each of which ends well."""
    found = []
    while len(found) < count and (asked := study.ask()):
        study.tell(asked[0], "complete", 0.5)
        found.append(tuple(asked[1].values()))
    return found


def test_a_grid_is_given_in_order_and_once(study):
    assert told(study()) == [("prompt", 2), ("prompt", 3), ("prefix", 2), ("prefix", 3)]


def test_chance_gives_each_of_a_list_once_and_the_same_for_a_seed(study, plan):
    given = told(study(search="random", seed=3))
    space = plan(GRID).space
    assert given == [tuple(space.drawn(3, i).values()) for i in range(4)] and len(set(given)) == 4


def test_tpe_gives_each_of_a_list_once(study):
    given = told(study(search="tpe"))
    assert sorted(given) == [("prefix", 2), ("prefix", 3), ("prompt", 2), ("prompt", 3)]


def test_tpe_draws_from_ranges(study):
    lists = {"method": "prompt", "learning_rate": "1e-4..1e-1"}
    rates = [rate for _, rate in told(study(lists, budget=Budget(trials=9)), 9)]
    assert len(set(rates)) == 9 and all(1e-4 <= rate <= 1e-1 for rate in rates)


@pytest.mark.parametrize("search", ["grid", "random", "tpe"])
def test_opened_again_it_goes_on_where_it_was(study, search):
    first = study(search=search)
    given = told(first, 2)
    number, change = first.ask()
    again = study(search=search)
    assert again.left() == [(number, change)] and again.begun() == 3
    again.tell(number, "pruned", 0.1)
    rest = told(again)
    assert len({*given, tuple(change.values()), *rest}) == 4 and len(rest) == 1 and not study(search=search).left()


def test_what_was_enqueued_before_a_kill_is_given_then(study):
    first = study()
    first.study.enqueue_trial({"method": "prompt", "virtual_tokens": 2})
    assert told(study()) == [("prompt", 2), ("prompt", 3), ("prefix", 2), ("prefix", 3)]


CURVES = {
    # value at steps 1, 2 and 4 of a run of 5; by hand for a factor of 2, more is better
    0: ([0.50, 0.50, 0.50], None),  # the first at each rung goes on
    1: ([0.60, 0.60, 0.60], None),  # better than the one before
    2: ([0.55, 0.90, 0.90], 1),  # one of three may go on: 0.60
    3: ([0.58, 0.58, 0.58], 2),  # two of four may: 0.60 and 0.58; then one of three: 0.60
    4: ([0.70, 0.60, 0.10], 4),  # two of five; two of four; then one of three
}
"""Of the trial, and the step after which successive halving stops it."""


@pytest.mark.parametrize("measure", [ACCURACY, LOSS])
def test_trials_are_stopped_at_the_rungs_as_successive_halving_says(study, measure):
    """By hand, and by Optuna's own pruner in a study in memory; with a loss all is upside down."""
    sign = 1 if measure.higher_is_better else -1
    lists = {"method": "prompt", "virtual_tokens": "2,3,4,5,6"}
    ours = study(lists, measure, steps=5, eval_every=1, reduction_factor=2)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    theirs = optuna.create_study(direction="maximize" if sign > 0 else "minimize", pruner=pruner)
    for values, stopped_at in CURVES.values():
        (number, _), trial = ours.ask(), theirs.ask()
        by_step = {step: sign * value for step, value in zip((1, 2, 3, 4), (*values[:2], *values[1:]))}
        assert first(by_step, partial(ours.judge, number)) == first(by_step, partial(reported, trial)) == stopped_at
        ours.tell(number, "pruned" if stopped_at else "complete", sign * values[-1])


def first(by_step, judge):
    """The step after which a trial is stopped."""
    return next((step for step, value in by_step.items() if judge(step, value)), None)


def reported(trial, step, value):
    trial.report(value, step)
    return trial.should_prune()


def test_an_evaluation_that_is_told_twice_counts_once(study):
    """As after a kill between an evaluation and the state behind it."""
    first = study(reduction_factor=2)
    number, _ = first.ask()
    assert not first.judge(number, 2, 0.5)
    assert not study(reduction_factor=2).judge(number, 2, 0.5)
    assert study().study.trials[number].intermediate_values == {2: 0.5}


def test_without_early_stopping_nothing_is_stopped(study):
    ours = study(early_stopping=False)
    for value in (0.9, 0.1):
        number, _ = ours.ask()
        assert not any(ours.judge(number, step, value) for step in (2, 4))
