"""A seed draws the same token everywhere, and tokens come as often as their probabilities say."""

import numpy as np
import pytest
from edgetune_runtime.randomness import uniform_numbers
from edgetune_runtime.sampler import FIRST_LOOK, drawn, make_sampler, most_probable, ranked
from hypothesis import given, settings
from hypothesis import strategies as st


def logits_of(*probabilities):
    return np.log(np.array(probabilities, np.float32))


def plainly_drawn(logits, u, temperature, top_k=None, top_p=None, min_p=None):
    """The rules of `sampler.py` in plain Python, without any short cut."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[: top_k or len(logits)]
    weights = np.exp((logits[order].astype(np.float64) - np.float64(logits.max())) / temperature)
    total, kept, running = weights.sum(), [], 0.0
    for weight in weights:
        running += weight
        kept.append(running)
        if top_p is not None and running >= top_p * total:
            break
    if min_p is not None:
        kept = [running for running, weight in zip(kept, weights) if weight >= min_p]
    target = u * kept[-1]
    return next(i for i, running in zip(order, kept) if running > target)


def test_temperature_zero_takes_the_lowest_of_equal_tokens():
    logits = np.array([0.0, 3.0, 1.0, 3.0], np.float32)
    assert make_sampler()(logits) == most_probable(logits) == 1


def test_draws_worked_by_hand():
    logits = logits_of(0.2, 0.5, 0.3)  # descending: 1, 2, 0 with running sums 0.5, 0.8, 1.0
    assert [drawn(logits, u, 1.0) for u in (0.0, 0.49, 0.51, 0.79, 0.81, 0.999)] == [1, 1, 2, 2, 0, 0]
    # top_p 0.7 keeps 1 and 2, whose running sums are then 0.625 and 1.0 of their own
    assert [drawn(logits, u, 1.0, top_p=0.7) for u in (0.62, 0.63, 0.999)] == [1, 2, 2]
    assert [drawn(logits, u, 1.0, top_k=1) for u in (0.0, 0.999)] == [1, 1]
    # temperature 0.5 squares the probabilities: 0.25, 0.09, 0.04 of 0.38
    assert [drawn(logits, u, 0.5) for u in (0.65, 0.67, 0.88, 0.91)] == [1, 2, 2, 0]


def test_first_draws_of_a_seed_are_the_pinned_ones():
    # u of seed 42: 0.6606, 0.1269, 0.1117, 0.8150; running sums 0.4, 0.7, 0.9, 1.0 of the tokens 3, 2, 1, 0
    sample = make_sampler(1.0, seed=42)
    assert [sample(logits_of(0.1, 0.2, 0.3, 0.4)) for _ in range(4)] == [2, 3, 3, 1]


def test_of_equal_tokens_at_the_edge_of_top_k_the_lower_ids_stay():
    logits = np.array([1, 2, 2, 2, 0], np.float32)
    assert ranked(logits, 2).tolist() == [1, 2]
    assert {drawn(logits, u, 1.0, top_k=2) for u in np.linspace(0, 0.999, 50)} == {1, 2}


ALL_OPTIONS = (
    {}, {"top_k": 3}, {"top_p": 0.9}, {"top_p": 0.3, "top_k": 300}, {"top_p": 1.0}, {"min_p": 0.2}, {"min_p": 1e-9},
    {"min_p": 0.05, "top_p": 0.6}, {"min_p": 0.5, "top_k": 20}, {"min_p": 1e-3, "top_p": 0.999}, {"min_p": 1.0},
)  # fmt: skip


@pytest.mark.parametrize("size", [5, FIRST_LOOK, FIRST_LOOK + 1, 5000])
@pytest.mark.parametrize("spread", [0.01, 1.0, 8.0])
def test_short_cuts_draw_what_the_plain_rules_draw(size, spread):
    rng = np.random.default_rng(size)
    uniform = uniform_numbers(size)
    for options in ALL_OPTIONS:
        for temperature in (0.3, 1.0, 2.5):
            logits = (rng.normal(size=size) * spread).astype(np.float32).round(2)  # rounded: with many equals
            u = uniform()
            assert drawn(logits, u, temperature, **options) == plainly_drawn(logits, u, temperature, **options)


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.75}])
def test_tokens_come_as_often_as_their_probabilities_say(options):
    probabilities = np.array([0.05, 0.4, 0.25, 0.1, 0.2])
    kept = {"top_k": [1, 2, 4], "top_p": [1, 2, 4]}.get(next(iter(options), ""), range(5))
    expected = np.where(np.isin(np.arange(5), list(kept)), probabilities, 0)
    expected /= expected.sum()
    sample, logits, count = make_sampler(1.0, seed=3, **options), logits_of(*probabilities), 20_000
    seen = np.bincount([sample(logits) for _ in range(count)], minlength=5) / count
    np.testing.assert_allclose(seen, expected, atol=4 * np.sqrt(0.25 / count))


@settings(max_examples=300, deadline=None)
@given(
    size=st.integers(1, 9000),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 400),
    decimals=st.integers(0, 4),
    banned=st.sampled_from([0.0, 0.5, 0.999]),
)
def test_the_largest_are_those_of_a_whole_sort(size, seed, count, decimals, banned):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=size).astype(np.float32).round(decimals)
    logits[rng.random(size) < banned] = -np.inf
    assert ranked(logits, count).tolist() == sorted(range(size), key=lambda i: (-logits[i], i))[:count]


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(1, 6000),
    seed=st.integers(0, 2**32 - 1),
    u=st.floats(0, 1, exclude_max=True),
    temperature=st.sampled_from([0.1, 0.7, 1.0, 3.0]),
    options=st.fixed_dictionaries(
        {},
        optional={
            "top_k": st.integers(1, 600),
            "top_p": st.floats(0.001, 1),
            "min_p": st.sampled_from([1e-6, 0.01, 0.1, 0.5, 1.0]),
        },
    ),
)
def test_any_options_draw_what_the_plain_rules_draw(size, seed, u, temperature, options):
    logits = (np.random.default_rng(seed).normal(size=size) * 4).astype(np.float32).round(2)
    assert drawn(logits, u, temperature, **options) == plainly_drawn(logits, u, temperature, **options)


def test_masked_tokens_are_never_drawn():
    logits = np.full(1000, -np.inf, np.float32)
    logits[[17, 900]] = 0.0
    sample = make_sampler(1.0, seed=1)
    assert {sample(logits) for _ in range(100)} == {17, 900}


def test_small_temperature_is_nearly_greedy_and_does_not_overflow():
    assert drawn(np.array([80.0, 90.0, -90.0], np.float32), 0.999, 1e-6) == 1
