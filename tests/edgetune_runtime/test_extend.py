"""Several tokens at once over the cache, and back: the logits are those of the whole text, run at once."""

import numpy as np
import onnxruntime as ort
import pytest
from edgetune_runtime import ContextLengthError, cache
from edgetune_runtime.standalone import RowState, StandaloneDecoder


def ids_of(model, count, seed=0):
    size = model.manifest.graph.vocab_size
    return np.random.default_rng(seed).integers(size // 4, size // 2, count)


def choices_of(model):
    return [*model.adapters] + ([None] if model.manifest.form == "shared" else [])


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))


def prefilled(model, ids, adapter, reserve=0):
    return model.decoder.prefill([ids], [model.adapter_named(adapter)], reserve)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 4, 5), (1, 11, 1), (20, 2, 60)])
def test_pieces_of_a_text_give_the_logits_of_the_whole(decoder, sizes):
    for name in choices_of(decoder):
        ids = ids_of(decoder, sum(sizes))
        whole = decoder.logits(ids, adapter=name)
        first, second, third = np.split(ids, np.cumsum(sizes)[:-1])
        logits, state = prefilled(decoder, first, name)
        close(logits, whole[len(first) - 1][None])
        logits, state = decoder.decoder.extend(second, state, keep=0)
        close(logits, whole[len(first) : len(first) + len(second)])
        logits, state = decoder.decoder.extend(third, state)
        close(logits, whole[-1:])


def test_steps_and_pieces_take_turns(decoder):
    for name in choices_of(decoder):
        ids = ids_of(decoder, 14)
        whole = decoder.logits(ids, adapter=name)
        _, state = prefilled(decoder, ids[:5], name)
        logits, state = decoder.decoder.step(ids[5:6], state)
        close(logits, whole[5:6])
        logits, state = decoder.decoder.extend(ids[6:10], state, 4)
        close(logits, whole[6:10])
        logits, state = decoder.decoder.step(ids[10:11], state)
        close(logits, whole[10:11])
        logits, state = decoder.decoder.extend(ids[11:], state, 2)
        close(logits, whole[12:14])


def test_a_truncated_state_goes_on_as_if_the_rest_had_never_been(decoder):
    for name in choices_of(decoder):
        ids, other = ids_of(decoder, 12), ids_of(decoder, 9, seed=1)
        _, state = prefilled(decoder, ids, name)
        _, state = decoder.decoder.step(ids[:1], state)
        for kept in (12, 7, 7, 1):
            state = decoder.decoder.truncated(kept, state)
            logits, state = decoder.decoder.extend(other, state, keep=0)
            close(logits, decoder.logits([*ids[:kept], *other], adapter=name)[kept:])


def test_a_state_is_not_cut_to_more_than_it_holds(decoder):
    _, state = prefilled(decoder, ids_of(decoder, 5), decoder.default_adapter)
    for length in (6, -1):
        with pytest.raises(ValueError, match=str(length)):
            decoder.decoder.truncated(length, state)


def test_the_buffers_grow_where_a_piece_does_not_fit(decoder, monkeypatch):
    monkeypatch.setattr(cache, "STEP", 8)
    limit = decoder.manifest.graph.max_positions
    virtual = decoder.adapters[decoder.default_adapter].virtual_tokens
    ids = ids_of(decoder, limit - virtual)
    _, state = prefilled(decoder, ids[:3], decoder.default_adapter)
    for piece in np.split(ids[3:], [2, 30, 31, 90]):
        logits, state = decoder.decoder.extend(piece, state)
    close(logits, decoder.logits(ids, keep=1))
    if decoder.manifest.form == "shared":
        with pytest.raises(ContextLengthError, match=str(limit)):
            decoder.decoder.extend(ids[:1], state)


def test_what_was_stored_goes_on_as_the_state_did_and_apart_from_it(decoder):
    for name in choices_of(decoder):
        adapter, ids, other = decoder.adapter_named(name), ids_of(decoder, 12), ids_of(decoder, 6, seed=1)
        _, state = prefilled(decoder, ids, name)
        copy = decoder.decoder.restored(decoder.decoder.stored(state, adapter), len(ids), adapter)
        logits, copy = decoder.decoder.extend(other, copy, keep=0)
        close(logits, decoder.logits([*ids, *other], adapter=name)[len(ids) :])
        logits, state = decoder.decoder.extend(other[::-1], state, keep=0)
        close(logits, decoder.logits([*ids, *other[::-1]], adapter=name)[len(ids) :])
        logits, copy = decoder.decoder.step(ids[:1], copy)
        close(logits, decoder.logits([*ids, *other, ids[0]], adapter=name, keep=1))


def test_a_state_that_was_restored_has_memory_of_its_own(decoder):
    adapter = decoder.adapter_named(decoder.default_adapter)
    _, state = prefilled(decoder, ids_of(decoder, 12), decoder.default_adapter)
    for _ in range(2):
        held = decoder.decoder.stored(state, adapter)
        copy = decoder.decoder.restored(held, 12, adapter)
        again = decoder.decoder.stored(copy, adapter)
        assert not any(np.shares_memory(x, y) for x, y in zip(held, again))
        for x, y in zip(held, again):
            np.testing.assert_array_equal(x, y)
        state = copy


def test_a_standalone_state_of_one_head_that_was_cut_has_memory_of_its_own():
    past = np.arange(12, dtype=np.float32).reshape(1, 1, 6, 2)
    state = [RowState((ort.OrtValue.ortvalue_from_numpy(past),), 6)]
    cut = StandaloneDecoder.truncated(None, 4, state)[0].past[0].numpy()
    np.testing.assert_array_equal(cut, past[:, :, :4])
    assert not np.shares_memory(cut, past)


def test_a_shared_state_stores_its_text_alone(decoder):
    if decoder.manifest.form == "standalone":
        return
    for name in choices_of(decoder):
        _, state = prefilled(decoder, ids_of(decoder, 12), name, reserve=50)
        stored = decoder.decoder.stored(state, decoder.adapter_named(name))
        assert {x.shape[2] for x in stored} == {12}
