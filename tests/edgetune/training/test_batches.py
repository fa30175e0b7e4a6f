"""Every row is seen as often as every other, and padding is no part of it."""

from itertools import islice

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetune.training.batches import batch_of, by_length
from edgetune.training.examples import Example
from edgetune.training.source import Held


def numbered(count):
    """Examples of mixed lengths whose first token is their number."""
    return [Example([i, *[7] * (i * 5 % 11)], label=0) for i in range(count)]


def shuffled(examples, count, seed):
    source = Held(examples)
    for rows in source.steps(count, seed, 0, {}):
        yield batch_of(source.examples(rows), 0)


def firsts(batch):
    return batch.input_ids[:, 0].tolist()


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 90), batch_size=st.integers(1, 9), seed=st.integers(0, 2**32))
def test_every_example_comes_once_before_any_comes_again(count, batch_size, seed):
    batches, seen = shuffled(numbered(count), batch_size, seed), []
    while len(seen) < 3 * count:
        seen += firsts(next(batches))
    for epoch in range(3):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_the_same_seed_gives_the_same_order_and_another_seed_another():
    def order(seed):
        return [firsts(b) for b in islice(shuffled(numbered(50), 4, seed), 30)]

    assert order(1) == order(1) != order(2)


def test_rows_of_a_batch_are_of_like_length():
    """Of 160 rows of lengths 1 to 10 in batches of 4, most batches need no padding at all."""
    examples = [Example([7] * (i % 10 + 1), label=0) for i in range(160)]
    batches = list(islice(shuffled(examples, 4, 0), 40))
    padded = sum(int((b.mask == 0).sum()) for b in batches)
    assert padded < 0.1 * sum(b.mask.numel() for b in batches)


def test_the_order_is_random_though_lengths_are_sorted():
    examples = [Example([7] * (i % 10 + 1), label=0) for i in range(160)]
    lengths = [b.input_ids.shape[1] for b in islice(shuffled(examples, 4, 0), 40)]
    assert lengths != sorted(lengths)


def test_rows_are_padded_on_the_right_with_the_pad_token():
    batch = batch_of([Example([5, 6, 7], label=1), Example([8], label=0)], pad_token_id=9)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.labels is not None and batch.labels.tolist() == [1, 0]


def test_targets_are_the_completions_tokens_and_predicted_one_position_earlier():
    examples = [
        Example([1, 5, 6, 7], completion=(False, False, True, True)),
        Example([1, 8], completion=(False, True)),
        Example([1, 5, 6, 7, 8], completion=(False, True, False, False, True)),
    ]
    batch = batch_of(examples, pad_token_id=0)
    assert batch.predicts is not None and batch.targets is not None
    assert batch.predicts.tolist() == [
        [False, True, True, False, False],
        [True, False, False, False, False],
        [True, False, False, True, False],
    ]
    assert batch.targets.tolist() == [6, 7, 8, 5, 8]


def test_evaluation_sees_every_example_once_with_its_index():
    examples, seen = numbered(23), []
    for indices, batch in by_length(examples, 5, 0):
        assert firsts(batch) == indices
        seen += indices
    assert sorted(seen) == list(range(23))
    assert [len(examples[i].input_ids) for i in seen] == sorted(len(e.input_ids) for e in examples)


def test_a_pad_token_among_the_text_stays_text():
    assert batch_of([Example([0, 5, 0], label=0)], pad_token_id=0).mask.equal(torch.ones(1, 3, dtype=torch.int64))
