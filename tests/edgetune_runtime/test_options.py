"""Options are the call's own, else the task's, else the built-in ones, and always in range."""

from dataclasses import fields

import pytest
from edgetune_runtime.adapter_metadata import GenerationDefaults
from edgetune_runtime.errors import ContextLengthError, InputError, OptionError
from edgetune_runtime.options import DEFAULT_MAX_NEW_TOKENS, GenerationOptions, Options, options_from, resolved

TASK = GenerationDefaults(max_new_tokens=12, stop=("\n",), temperature=0.5, top_k=5, top_p=0.9)
NOTHING = GenerationDefaults()


def resolve(task=NOTHING, row=0, used=10, max_positions=1000, **options):
    return resolved(options_from(options), task, row, used, max_positions)


def test_without_options_the_built_in_ones_count():
    found = resolve()
    assert (found.max_new_tokens, found.min_new_tokens) == (DEFAULT_MAX_NEW_TOKENS, 0)
    assert (found.temperature, found.top_k, found.top_p, found.stop) == (0.0, None, None, ())


def test_the_task_fills_in_what_a_call_leaves_out():
    found = resolve(TASK, temperature=0, stop=[])
    assert (found.max_new_tokens, found.top_k, found.top_p) == (12, 5, 0.9)
    assert (found.temperature, found.stop) == (0, ())


def test_one_stop_string_is_a_list_of_one():
    assert resolve(stop="ab").stop == ("ab",)


def test_rows_draw_with_the_seed_plus_their_place():
    assert [resolve(row=r, seed=7).seed for r in range(3)] == [7, 8, 9]
    assert resolve(row=1, seed=2**32 - 1).seed == 0


def test_without_a_seed_every_call_draws_a_fresh_one():
    assert len({resolve().seed for _ in range(8)}) > 1


def test_new_tokens_that_are_not_asked_for_shrink_to_the_context():
    assert resolve(used=990).max_new_tokens == 10
    assert resolve(TASK, used=995).max_new_tokens == 5
    assert resolve(used=10**6, max_positions=None).max_new_tokens == DEFAULT_MAX_NEW_TOKENS


def test_new_tokens_that_are_asked_for_must_fit():
    assert resolve(used=990, max_new_tokens=10).max_new_tokens == 10
    with pytest.raises(ContextLengthError, match=r"990.*1001.*1000.*at most 10"):
        resolve(used=990, max_new_tokens=11)


def test_a_text_that_leaves_no_room_is_refused():
    with pytest.raises(ContextLengthError, match=r"1000 positions.*holds 1000"):
        resolve(used=1000)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_new_tokens": 0}, OptionError),
        ({"max_new_tokens": 2.5}, InputError),
        ({"max_new_tokens": True}, InputError),
        ({"min_new_tokens": -1}, OptionError),
        ({"min_new_tokens": 5, "max_new_tokens": 4}, OptionError),
        ({"temperature": -0.1}, OptionError),
        ({"temperature": float("nan")}, OptionError),
        ({"temperature": "hot"}, InputError),
        ({"top_k": 0}, OptionError),
        ({"top_p": 0}, OptionError),
        ({"top_p": 1.1}, OptionError),
        ({"seed": -1}, OptionError),
        ({"stop": [""]}, OptionError),
        ({"stop": [1]}, OptionError),
        ({"min_p": 1.5}, OptionError),
        ({"min_p": "a"}, InputError),
        ({"repetition_penalty": 0}, OptionError),
        ({"presence_penalty": float("inf")}, OptionError),
        ({"frequency_penalty": "much"}, InputError),
        ({"logit_bias": [1, 2]}, InputError),
        ({"logit_bias": {1.5: 2}}, InputError),
        ({"logit_bias": {1: "up"}}, InputError),
        ({"logit_bias": {1: float("nan")}}, OptionError),
    ],
)
def test_options_out_of_range_are_named(options, error):
    with pytest.raises(error, match=next(iter(options))):
        resolve(**options)


def test_an_option_that_there_is_not_is_named_with_the_nearest_one():
    with pytest.raises(TypeError, match=r"'topk'.*'top_k'"):
        options_from({"topk": 4})
    with pytest.raises(InputError, match=r"'colour'.*max_new_tokens"):
        options_from({"colour": "red"})


def test_type_checkers_know_the_options_that_there_are():
    assert list(GenerationOptions.__annotations__) == [f.name for f in fields(Options)]
