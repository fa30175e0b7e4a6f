"""Prefixes and prompts through our attention are what transformers' own eager attention computes."""

import pytest
import torch
from transformers import DynamicCache

from edgetune.methods.initial import from_activations
from edgetune.models.forward import full_mask, keys_and_values, logits_at, run
from edgetune.models.virtual import NOTHING, Virtual

from ..tiny import DECODERS, WINDOW, batch_of, eager, ids_of, random_prefix, random_prompt

FAMILIES = list(DECODERS)
close = dict(rtol=0, atol=2e-5)


@pytest.fixture(params=FAMILIES)
def decoder(request, base):
    return base(request.param)


@torch.no_grad()
def eager_logits(base, ids, prefix=None, prompt=None):
    """`[T, V]` of one row: a cache filled by hand, made without the config: the mask alone decides on windows."""
    model, cache = eager(base), DynamicCache()
    for i, (key, value) in enumerate(prefix or ()):
        cache.update(key, value, i)
    embeds = model.get_input_embeddings()(ids[None])
    if prompt is not None:
        embeds = torch.cat([prompt, embeds], dim=1)
    first = prefix[0][0].shape[2] if prefix else 0
    where = first + torch.arange(embeds.shape[1])[None]
    return model(inputs_embeds=embeds, past_key_values=cache, position_ids=where).logits[0, -len(ids) :]


@torch.no_grad()
def our_logits(base, rows, virtual=NOTHING):
    """One `[T, V]` a row, of a padded batch."""
    ids, mask = batch_of(rows)
    logits = run(base, ids, full_mask(mask, virtual), virtual).logits[:, virtual.prompt_length :]
    return [row[: len(text)] for row, text in zip(logits, rows)]


def test_base_alone_equals_transformers(decoder):
    (ids,) = ids_of(9)
    with torch.no_grad():
        expected = eager(decoder)(input_ids=ids[None]).logits[0]
    torch.testing.assert_close(our_logits(decoder, [ids])[0], expected, **close)


def test_prefix_equals_a_cache_filled_with_the_same_keys_and_values(decoder):
    (ids,), prefix = ids_of(2 * WINDOW + 3), random_prefix(decoder, 5)
    got = our_logits(decoder, [ids], Virtual(prefix=prefix))[0]
    expected = eager_logits(decoder, ids, prefix)
    torch.testing.assert_close(got, expected, **close)
    assert (got - eager_logits(decoder, ids)).abs().max() > 1e-2, "the prefix does nothing"


def test_prompt_equals_the_same_vectors_in_front_of_the_embeddings(decoder):
    (ids,), prompt = ids_of(2 * WINDOW + 3), random_prompt(decoder, 5)
    got = our_logits(decoder, [ids], Virtual(prompt=prompt))[0]
    torch.testing.assert_close(got, eager_logits(decoder, ids, prompt=prompt), **close)


def test_prefix_and_prompt_together_come_in_this_order(decoder):
    (ids,), prefix, prompt = ids_of(7), random_prefix(decoder, 3), random_prompt(decoder, 2)
    got = our_logits(decoder, [ids], Virtual(prompt=prompt, prefix=prefix))[0]
    torch.testing.assert_close(got, eager_logits(decoder, ids, prefix, prompt), **close)


@pytest.mark.parametrize("virtual_of", [random_prefix, random_prompt])
def test_padded_rows_equal_the_same_rows_alone(decoder, virtual_of):
    rows, learned = ids_of(11, 3, 1, 7), virtual_of(decoder, 4)
    prefix, prompt = (learned, None) if virtual_of is random_prefix else (None, learned)
    got = our_logits(decoder, rows, Virtual(prefix=prefix, prompt=prompt))
    for row, text in zip(got, rows):
        torch.testing.assert_close(row, eager_logits(decoder, text, prefix, prompt), **close)


def test_prefix_of_real_text_equals_prompting_with_that_text(decoder):
    front, text = ids_of(6, 2 * WINDOW)
    prefix = [(key[None], value[None]) for key, value in from_activations(decoder, front)]
    with torch.no_grad():
        expected = eager(decoder)(input_ids=torch.cat([front, text])[None]).logits[0, len(front) :]
    torch.testing.assert_close(our_logits(decoder, [text], Virtual(prefix=prefix))[0], expected, **close)


def test_prompt_of_real_embeddings_equals_that_text_in_front(decoder):
    front, text = ids_of(6, 2 * WINDOW)
    with torch.no_grad():
        prompt = decoder.embeddings(front[None])
        expected = eager(decoder)(input_ids=torch.cat([front, text])[None]).logits[0, len(front) :]
    torch.testing.assert_close(our_logits(decoder, [text], Virtual(prompt=prompt))[0], expected, **close)


def test_prompt_run_once_into_keys_and_values_equals_the_prompt(decoder):
    (text,), prompt = ids_of(2 * WINDOW), random_prompt(decoder, 5)
    with torch.no_grad():
        prefix = keys_and_values(decoder, torch.empty(1, 0, dtype=torch.int64), Virtual(prompt=prompt))
    assert {key.shape[2] for key, _ in prefix} == {5}
    expected = eager_logits(decoder, text, prompt=prompt)
    torch.testing.assert_close(our_logits(decoder, [text], Virtual(prefix=prefix))[0], expected, **close)


def test_keys_and_values_of_text_behind_a_prefix_hold_both(decoder):
    (front, text), prefix = ids_of(3, 6), random_prefix(decoder, 2)
    with torch.no_grad():
        whole = keys_and_values(decoder, front[None], Virtual(prefix=prefix))
    assert {key.shape[2] for key, _ in whole} == {5}
    expected = eager_logits(decoder, torch.cat([front, text]), prefix)[len(front) :]
    torch.testing.assert_close(our_logits(decoder, [text], Virtual(prefix=whole))[0], expected, **close)


@pytest.mark.parametrize("prompt_length", [0, 3])
def test_logits_at_positions_are_the_full_logits_there(decoder, prompt_length):
    rows = ids_of(9, 4)
    prompt = random_prompt(decoder, prompt_length) if prompt_length else None
    ids, mask = batch_of(rows)
    at = torch.zeros_like(mask, dtype=torch.bool)
    at[0, [2, 8]] = at[1, [0, 3]] = True
    virtual = Virtual(prompt=prompt)
    with torch.no_grad():
        got = logits_at(decoder, ids, full_mask(mask, virtual), at, virtual)
    full = [eager_logits(decoder, row, prompt=prompt) for row in rows]
    torch.testing.assert_close(got, torch.stack([full[0][2], full[0][8], full[1][0], full[1][3]]), **close)


def test_logits_at_leaves_no_hook_behind(base):
    ids, mask = batch_of(ids_of(5))
    with torch.no_grad():
        logits_at(base("gemma2"), ids, mask, mask.bool())
    assert not base("gemma2").output_head._forward_pre_hooks
    assert run(base("gemma2"), ids, mask).logits.shape == (1, 5, base("gemma2").vocab_size)


def test_the_soft_caps_of_gemma2_matter_in_these_tests(base):
    """Otherwise the comparisons above would not notice a missing one."""
    model, (ids,) = eager(base("gemma2")), ids_of(9)
    with torch.no_grad():
        capped = model(input_ids=ids[None]).logits
        model.config.final_logit_softcapping = None
        uncapped = model(input_ids=ids[None]).logits
    assert capped.abs().max() <= 2.0 < uncapped.abs().max()


def test_a_sliding_window_leaves_the_prefix_behind(base):
    """One layer of window 4: a text token at distance 4 or more from the prefix cannot see it."""
    mistral, (ids,) = base("mistral"), ids_of(10)
    prefix = random_prefix(mistral, 2)
    silent = [(key, torch.zeros_like(value)) for key, value in prefix]
    a, b = (our_logits(mistral, [ids], Virtual(prefix=x))[0] for x in (prefix, silent))
    reach = 2 * (WINDOW - 1)  # two layers hand it on
    assert (a - b)[: WINDOW - 1].abs().amax(-1).min() > 1e-3
    assert torch.equal(a[reach:], b[reach:])
