"""What is done to logits, against transformers' own processors and OpenAI's formula."""

import numpy as np
import pytest
import torch
from edgetune_runtime.errors import InputError
from edgetune_runtime.options import Resolved
from edgetune_runtime.processors import processors_for
from edgetune_runtime.sampler import ranked
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

V = 40
TOKENS = st.lists(st.integers(0, V - 1), min_size=1, max_size=12)


def logits_of(seed):
    return (np.random.default_rng(seed).normal(size=V) * 3).astype(np.float32)


def processed(logits, prompt, new_ids, end_ids=(), never=(), **options):
    """The logits after every processor, which have seen the tokens come one by one."""
    processors = processors_for(Resolved(**options), np.array(prompt), list(end_ids), list(never))
    for count in range(len(new_ids) + 1):
        found = logits.copy()
        for process in processors:
            process(found, new_ids[:count])
    return found


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), prompt=TOKENS, new=TOKENS, penalty=st.sampled_from([0.5, 1.0, 1.3, 2.0]))
def test_repetition_penalty_is_that_of_transformers(seed, prompt, new, penalty):
    logits = logits_of(seed)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([prompt + new]), torch.tensor(logits[None]))
    found = processed(logits, prompt, new, repetition_penalty=penalty)
    np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), new=TOKENS, presence=st.floats(-2, 2), frequency=st.floats(-2, 2))
def test_presence_and_frequency_count_the_new_tokens_alone(seed, new, presence, frequency):
    logits = logits_of(seed)
    expected = logits.astype(np.float64)
    for token in set(new):
        expected[token] -= new.count(token) * frequency + presence
    found = processed(logits, [1, 2, 3], new, presence_penalty=presence, frequency_penalty=frequency)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_bias_is_added_and_minus_infinity_bans():
    found = processed(np.zeros(4, np.float32), [0], [], logit_bias={1: 2.5, 3: -np.inf})
    assert found.tolist() == [0, 2.5, 0, -np.inf]


def test_ends_wait_and_banned_tokens_never_come_as_in_transformers():
    scores = torch.zeros(1, V)
    both = LogitsProcessorList(
        [SuppressTokensLogitsProcessor([4, 5]), MinNewTokensLengthLogitsProcessor(2, 3, torch.tensor([7]))]
    )
    for new in ([], [1], [1, 1], [1, 1, 1]):
        expected = both(torch.tensor([[8, 9, *new]]), scores.clone())[0].numpy()
        found = processed(np.zeros(V, np.float32), [8, 9], new, end_ids=[7], never=[4, 5], min_new_tokens=3)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("options", [{"min_p": 0.1}, {"min_p": 0.05, "top_k": 9}, {"min_p": 0.02, "top_p": 0.8}])
@pytest.mark.parametrize("seed", range(5))
def test_what_can_be_drawn_is_what_transformers_leaves(seed, options):
    from edgetune_runtime.sampler import drawn

    logits, temperature = logits_of(seed), 1.4
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    kinds = {"top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}
    warpers.extend(kind(options[name]) for name, kind in kinds.items() if name in options)
    left = warpers(torch.tensor([[0]]), torch.tensor(logits[None]))[0]
    expected = set(torch.isfinite(left).nonzero().flatten().tolist())
    assert {drawn(logits, u, temperature, **options) for u in np.linspace(0, 0.99999, 3000)} == expected
    assert len(expected) < len(ranked(logits, V))


def test_a_bias_of_no_token_is_refused(decoder):
    with pytest.raises(InputError, match=r"logit_bias.*99999"):
        decoder.generate("a", logit_bias={99999: 1.0})
