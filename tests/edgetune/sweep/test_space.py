"""What may be tried, and in which order."""

import pytest

from edgetune.config import METHODS
from edgetune.errors import ConfigError
from edgetune.sweep.space import Range, Space, space_asked

LISTS = {"method": "prompt,prefix", "virtual_tokens": "5, 10", "learning_rate": None}


def test_lists_are_combined_in_the_order_in_which_they_were_asked_for():
    space = space_asked(LISTS)
    assert space.size == 4
    assert [tuple(change.values()) for change in space.grid()] == [
        ("prompt", 5), ("prompt", 10), ("prefix", 5), ("prefix", 10),
    ]  # fmt: skip


def test_without_methods_all_are_tried():
    assert list(space_asked({"method": None}).choices["method"]) == list(METHODS)


def test_learning_rates_are_a_list_or_a_range():
    assert space_asked({"learning_rate": "0.1,1e-2"}).choices["learning_rate"] == [0.1, 0.01]
    space = space_asked({"method": "prompt", "learning_rate": "1e-4..1e-1"})
    assert space.ranges == {"learning_rate": Range(1e-4, 1e-1)} and space.size is None
    assert space.grid() == [{"method": "prompt", "learning_rate": 1e-4}]


def test_a_range_is_drawn_evenly_by_its_logarithm():
    space = Space({"method": ["prompt"]}, {"learning_rate": Range(1e-4, 1e-1)})
    drawn = [space.drawn(0, i)["learning_rate"] for i in range(3000)]
    decades = [sum(low <= x < low * 10 for x in drawn) / 3000 for low in (1e-4, 1e-3, 1e-2)]
    assert all(abs(share - 1 / 3) < 0.03 for share in decades) and min(drawn) >= 1e-4 and max(drawn) <= 1e-1


def test_draws_depend_on_seed_and_number_alone():
    space = space_asked({**LISTS, "learning_rate": "1e-4..1e-1"})
    assert space.drawn(3, 7) == space.drawn(3, 7) != space.drawn(4, 7)


def test_lists_are_drawn_without_repeats_until_all_are():
    space = space_asked(LISTS)
    drawn = [space.drawn(1, i) for i in range(4)]
    assert sorted(map(str, drawn)) == sorted(map(str, space.grid())) and space.drawn(1, 4) is None


def test_numbers_of_ranges_are_rounded_and_those_of_lists_are_not():
    space = Space({"clip_norm": [0.123456]}, {"learning_rate": Range(1e-4, 1e-1)})
    change = {"clip_norm": 0.123456, "learning_rate": 0.0031622776}
    assert space.rounded(change) == {"clip_norm": 0.123456, "learning_rate": 0.00316}


@pytest.mark.parametrize(
    ("lists", "told"),
    [
        ({"virtual_tokens": "5,10,5"}, "lists 5 more than once"),
        ({"virtual_tokens": ","}, "lists nothing"),
        ({"learning_rate": "1e-1..1e-4"}, "has to rise"),
        ({"learning_rate": "0..1"}, "above 0"),
        ({"learning_rate": "a..b"}, "is not LOW..HIGH"),
    ],
)
def test_what_cannot_be_read_is_refused(lists, told):
    with pytest.raises(ConfigError, match=told):
        space_asked(lists)
