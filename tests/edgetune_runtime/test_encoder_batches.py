"""Rows of different tasks and lengths share a batch without seeing one another."""

import numpy as np
from edgetune_runtime.adapter import Adapter
from edgetune_runtime.encoder import (
    EncoderRow,
    classification_from,
    front_mask,
    joined_pasts,
    joined_prompts,
    padded,
)
from edgetune_runtime.manifest import Layer


def adapter_of(prefix=0, prompt=0, fill=1.0):
    past = tuple(np.full((1, 2, prefix, 3), fill, np.float32) for _ in range(2)) if prefix else ()
    vectors = np.full((1, prompt, 4), fill, np.float32) if prompt else None
    return Adapter(None, None, past, vectors)  # type: ignore[arg-type]


def test_texts_are_padded_behind():
    ids, mask = padded([EncoderRow([5, 6, 7], adapter_of()), EncoderRow([8], adapter_of())], 9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert ids.dtype == mask.dtype == np.int64


def test_virtual_tokens_are_padded_in_front():
    assert front_mask([2, 0, 3]).tolist() == [[0, 1, 1], [0, 0, 0], [1, 1, 1]]
    assert front_mask([0, 0]).shape == (2, 0)


def test_prefixes_sit_where_their_mask_is_one():
    adapters = [adapter_of(prefix=2, fill=1), adapter_of(), adapter_of(prefix=3, fill=2)]
    joined = joined_pasts([a.past for a in adapters], 3, [Layer(2, 3)], np.float32)
    assert [x.shape for x in joined] == [(3, 2, 3, 3)] * 2
    assert joined[0][:, 0, :, 0].tolist() == [[0, 1, 1], [0, 0, 0], [2, 2, 2]]


def test_the_prefix_of_one_row_is_not_copied_unless_it_has_to_be():
    past, layers = adapter_of(prefix=2).past, [Layer(2, 3)]
    assert all(x is y for x, y in zip(joined_pasts([past], 2, layers, np.float32), past, strict=True))
    wide = joined_pasts([past], 3, layers, np.float32)
    assert [x.shape for x in wide] == [(1, 2, 3, 3)] * 2
    half = joined_pasts([past], 2, layers, np.float16)
    assert {x.dtype for x in half} == {np.dtype(np.float16)} and half[0].tolist() == past[0].tolist()


def test_prompts_sit_where_their_mask_is_one():
    joined = joined_prompts([adapter_of(prompt=1), adapter_of(prompt=2, fill=3), adapter_of()], 2, 4, np.float32)
    assert joined[..., 0].tolist() == [[0, 1], [3, 3], [0, 0]]


def test_unused_inputs_are_of_length_zero():
    assert joined_prompts([adapter_of()], 0, 4, np.float32).shape == (1, 0, 4)
    assert joined_pasts([adapter_of().past], 0, [Layer(2, 3)], np.float32)[0].shape == (1, 2, 0, 3)


def test_scores_are_a_softmax_in_descending_order():
    found = classification_from(np.log([0.2, 0.5, 0.3]), ("a", "b", "c"))
    assert (found.label, list(found.scores)) == ("b", ["b", "c", "a"])
    np.testing.assert_allclose(list(found.scores.values()), [0.5, 0.3, 0.2])
    assert found.score == found.scores["b"] and type(found.score) is float


def test_of_equal_labels_the_first_comes_first():
    assert list(classification_from(np.zeros(3), ("c", "a", "b")).scores) == ["c", "a", "b"]


def test_top_k_cuts_the_scores_alone():
    found = classification_from(np.log([0.2, 0.5, 0.3]), ("a", "b", "c"), top_k=1)
    assert list(found.scores) == ["b"] and abs(found.score - 0.5) < 1e-12


def test_large_logits_do_not_overflow():
    assert classification_from(np.array([1e4, -1e4], np.float32), ("a", "b")).score == 1.0
