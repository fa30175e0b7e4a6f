"""What holds for every decoder bundle: batches, streams, caches, limits and threads, over the golden bundles."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from edgetune_runtime import AdapterError, ContextLengthError, InputError, TaskError

SAMPLED = {"temperature": 1.0, "seed": 5, "top_k": 50, "top_p": 0.95}


def rows_of(model, *lengths):
    """Token ids from the middle of the vocabulary."""
    size = model.manifest.graph.vocab_size
    rng = np.random.default_rng(0)
    return [rng.integers(size // 4, size // 2, n).tolist() for n in lengths]


def choices_of(model):
    """Every adapter and, where there is one, the bare base."""
    return [*model.adapters] + ([None] if model.manifest.form == "shared" else [])


def answers(generations):
    return [(g.text, g.token_ids, g.finish_reason) for g in generations]


@pytest.mark.parametrize("options", [{}, SAMPLED])
def test_a_row_does_not_depend_on_its_neighbours(decoder, options):
    choices = choices_of(decoder)
    rows = rows_of(decoder, *(3 + 2 * i for i in range(2 * len(choices) + 1)))
    adapters = (choices * 3)[: len(rows)]
    together = decoder.generate(rows, adapter=adapters, max_new_tokens=24, **options)
    for r, (row, adapter) in enumerate(zip(rows, adapters)):
        own = {**options, "seed": 5 + r} if options else {}
        alone = decoder.generate(row, adapter=adapter, max_new_tokens=24, **own)
        assert answers([together[r]]) == answers([alone])


def test_a_stream_is_the_generation_in_pieces(decoder):
    for adapter in choices_of(decoder):
        for options in ({}, SAMPLED):
            (row,) = rows_of(decoder, 5)
            whole = decoder.generate(row, adapter=adapter, max_new_tokens=20, **options)
            chunks = list(decoder.stream(row, adapter=adapter, max_new_tokens=20, **options))
            assert "".join(c.text for c in chunks) == whole.text
            assert [t for c in chunks for t in c.token_ids] == whole.token_ids
            assert [c.finish_reason for c in chunks] == [None] * (len(chunks) - 1) + [whole.finish_reason]


def test_steps_over_the_cache_give_the_logits_of_the_whole(decoder):
    for adapter in choices_of(decoder):
        (row,) = rows_of(decoder, 9)
        whole = decoder.logits(row, adapter=adapter)
        scale = max(1.0, np.abs(whole).max())
        assert whole.shape == (9, decoder.manifest.graph.vocab_size)
        np.testing.assert_allclose(decoder.step_logits(row, adapter=adapter), whole, rtol=0, atol=1e-4 * scale)
        np.testing.assert_allclose(decoder.logits(row, adapter=adapter, keep=2), whole[-2:], rtol=0, atol=1e-4 * scale)


def test_greedy_tokens_are_the_most_probable_of_the_logits(decoder):
    (row,) = rows_of(decoder, 4)
    found = decoder.generate(row, max_new_tokens=6, min_new_tokens=6, stop=[]).token_ids
    logits = decoder.logits([*row, *found], keep=7)[:-1]
    logits[:, list(decoder.eos_token_ids)] = -np.inf
    assert found == logits.argmax(-1).tolist()


def test_text_goes_on_while_the_buffers_grow(decoder):
    limit = decoder.manifest.graph.max_positions
    count = 600 if limit is None else min(600, limit - 40)
    rows = rows_of(decoder, 3, 8)
    long = decoder.generate(rows, max_new_tokens=count, min_new_tokens=count, stop=[])
    assert [len(g.token_ids) for g in long] == [count, count]
    half = [decoder.generate([*r, *g.token_ids[: count // 2]], max_new_tokens=8, min_new_tokens=8, stop=[])
            for r, g in zip(rows, long)]  # fmt: skip
    assert [g.token_ids for g in half] == [g.token_ids[count // 2 : count // 2 + 8] for g in long]


def test_the_text_is_cut_in_front_of_a_stop_string(decoder):
    (row,) = rows_of(decoder, 5)
    whole = decoder.generate(row, max_new_tokens=30, min_new_tokens=30, stop=[])
    middle = len(whole.text) // 2
    stop = whole.text[middle : middle + 3]
    found = decoder.generate(row, max_new_tokens=30, min_new_tokens=30, stop=stop)
    assert found.text == whole.text[: whole.text.find(stop)]
    assert found.finish_reason == "stop"
    assert found.token_ids == whole.token_ids[: len(found.token_ids)]
    chunks = decoder.stream(row, max_new_tokens=30, min_new_tokens=30, stop=[stop])
    assert "".join(c.text for c in chunks) == found.text


def test_a_text_and_its_new_tokens_fill_the_context_and_no_more(decoder):
    limit = decoder.manifest.graph.max_positions
    if limit is None:
        pytest.skip("a base without a limit")
    virtual = decoder.adapters[decoder.default_adapter].virtual_tokens if decoder.default_adapter else 0
    (row,) = rows_of(decoder, limit - virtual - 2)
    assert len(decoder.generate(row, min_new_tokens=2, stop=[]).token_ids) == 2
    with pytest.raises(ContextLengthError, match=str(limit)):
        decoder.generate(row, max_new_tokens=3)
    with pytest.raises(ContextLengthError, match=str(limit)):
        decoder.generate([*row, *row[:2]])


def test_the_same_seed_gives_the_same_text(decoder):
    (row,) = rows_of(decoder, 4)
    options = {"temperature": 1.5, "max_new_tokens": 16, "min_new_tokens": 16, "stop": []}
    assert answers([decoder.generate(row, seed=3, **options)]) == answers([decoder.generate(row, seed=3, **options)])
    assert len({tuple(decoder.generate(row, **options).token_ids) for _ in range(4)}) > 1


def test_threads_do_not_meet(decoder):
    rows = rows_of(decoder, 3, 5, 9)
    expected = answers(decoder.generate(rows, max_new_tokens=20))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: answers(decoder.generate(rows, max_new_tokens=20)), range(8)))
    assert found == [expected] * 8


def test_what_a_decoder_does_not_do_is_refused(decoder):
    with pytest.raises(TaskError, match="does not classify"):
        decoder.classify("a")
    with pytest.raises(AdapterError, match=r"'nobody'.*Known"):
        decoder.generate("a", adapter="nobody")
    with pytest.raises(InputError, match="one text"):
        decoder.stream(["a"])
    with pytest.raises(InputError, match="vocabulary"):
        decoder.generate([10**9])


def test_no_texts_give_no_generations(decoder):
    assert decoder.generate([]) == []


def test_any_string_is_a_text(decoder):
    for text in ("", " ", "\ud800", "日本語 😀", "\0", "a" * 50):
        try:
            assert decoder.generate(text, max_new_tokens=2).timing.first_token_ms > 0
        except InputError as error:
            assert "no tokens" in str(error)
