"""When a sweep ends, and which search fits."""

import pytest

from edgetune.errors import ConfigError
from edgetune.sweep.budget import Budget, search_of
from edgetune.sweep.space import Range, Space

GRID = Space({"method": ["prompt", "prefix"], "virtual_tokens": [5, 10]})
ENDLESS = Space({"method": ["prompt"]}, {"learning_rate": Range(1e-4, 1e-1)})


@pytest.mark.parametrize(
    ("budget", "spent"),
    [
        (Budget(), False),
        (Budget(trials=4), False),
        (Budget(trials=3), True),
        (Budget(minutes=2), False),
        (Budget(minutes=1.5), True),
        (Budget(total_steps=301), False),
        (Budget(total_steps=300), True),
        (Budget(trials=9, minutes=9, total_steps=300), True),
    ],
)
def test_a_budget_is_spent_by_whatever_ends_first(budget, spent):
    assert budget.spent(trials=3, seconds=90.0, steps=300) == spent


@pytest.mark.parametrize(
    ("asked", "space", "budget", "found"),
    [
        (None, GRID, Budget(), "grid"),
        (None, GRID, Budget(trials=4), "grid"),
        (None, GRID, Budget(trials=3), "tpe"),
        # the fourth of 100 steps begins after 300
        (None, GRID, Budget(total_steps=301), "grid"),
        (None, GRID, Budget(total_steps=300), "tpe"),
        (None, GRID, Budget(minutes=60), "tpe"),
        (None, ENDLESS, Budget(trials=9), "tpe"),
        ("random", GRID, Budget(), "random"),
        ("grid", GRID, Budget(minutes=1), "grid"),
    ],
)
def test_a_grid_is_the_default_where_all_of_it_fits(asked, space, budget, found):
    assert search_of(asked, space, budget, steps_each=100) == found


@pytest.mark.parametrize(
    ("asked", "space", "budget", "told"),
    [
        (None, ENDLESS, Budget(), "no last configuration"),
        ("random", ENDLESS, Budget(), "no last configuration"),
        ("grid", ENDLESS, Budget(trials=9), "has no grid"),
        ("grid", GRID, Budget(trials=3), "the grid has 4 configurations"),
    ],
)
def test_what_has_no_end_or_does_not_fit_is_refused(asked, space, budget, told):
    with pytest.raises(ConfigError, match=told):
        search_of(asked, space, budget, steps_each=100)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="total-steps is 0"):
        Budget(total_steps=0)
