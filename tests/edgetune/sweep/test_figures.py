"""Who is best, and whom nobody beats at the same cost."""

import pytest

from edgetune.metrics import Measure

from .made import sweep_of, trial_of


def names(trials):
    return [trial.name for trial in trials]


def test_the_best_mean_over_seeds_is_first():
    sweep = sweep_of(trial_of(0, "a", (0.9, 0.5)), trial_of(1, "b", (0.75, 0.75)), trial_of(2, "c", (0.8, 0.6)))
    assert names(sweep.complete) == ["b", "a", "c"]
    assert sweep.quality(sweep.best).deviation == 0.0
    assert sweep.quality(sweep.trials[0]).deviation == pytest.approx(0.2828, abs=1e-4)


def test_where_less_is_better_the_least_is_first():
    trials = [trial_of(i, name, (loss,), metric="loss") for i, (name, loss) in enumerate([("a", 2.0), ("b", 1.5)])]
    assert names(sweep_of(*trials, measure=Measure("loss", False)).complete) == ["b", "a"]


def test_of_equals_fewer_parameters_then_less_loss_then_the_first_win():
    def tried(number, name, parameters, loss):
        return trial_of(number, name, (0.9,), parameters=parameters, loss=loss)

    found = sweep_of(tried(0, "a", 10, 0.3), tried(1, "b", 10, 0.2), tried(2, "c", 9, 0.9), tried(3, "d", 10, 0.2))
    assert names(found.complete) == ["c", "b", "d", "a"]


def test_those_that_were_stopped_follow_the_longest_first_and_are_never_best():
    stopped = [
        trial_of(i, name, None, end="pruned", step=step, value=value)
        for i, (name, step, value) in enumerate([("p", 10, 0.99), ("q", 40, 0.6), ("r", 40, 0.7)])
    ]
    sweep = sweep_of(trial_of(3, "x", None, end="failed"), *stopped, trial_of(4, "a", (0.5,)))
    assert names(sweep.ranked) == ["a", "r", "q", "p", "x"] and sweep.best.name == "a"


def test_the_front_holds_those_that_none_of_the_same_cost_or_less_beats():
    """By hand: b costs as much as a and is worse; d costs more than c and is no better; e is the best."""
    costs = {"a": (10, 0.6), "b": (10, 0.5), "c": (20, 0.8), "d": (30, 0.8), "e": (40, 0.9), "f": (50, 0.7)}
    trials = [trial_of(i, name, (q,), parameters=cost) for i, (name, (cost, q)) in enumerate(costs.items())]
    sweep = sweep_of(*reversed(trials))
    assert names(sweep.front(lambda trial: trial.parameters)) == ["a", "c", "e"]
