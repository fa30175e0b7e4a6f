"""Rows keep their keys and values while the buffers grow and other rows leave."""

import numpy as np
import pytest
from edgetune_runtime.cache import KeyValueCache, capacity_for
from edgetune_runtime.errors import ContextLengthError
from edgetune_runtime.manifest import Layer

LAYERS = (Layer(2, 3), Layer(1, 5))
SHAPES = [(layer.key_value_heads, layer.head_size) for layer in LAYERS for _ in range(2)]


def past(length, fill):
    return [np.full((1, k, length, d), fill, np.float32) for k, d in SHAPES]


def filled(*lengths, capacity=8):
    """Row r holds its own number, r + 1."""
    cache = KeyValueCache(LAYERS, len(lengths), capacity, np.float32)
    for row, length in enumerate(lengths):
        cache.put_prefix(row, past(length, row + 1))
    return cache


def values(cache):
    """What each row holds, by its first buffer, after every buffer was found to agree."""
    found = []
    for row, length in enumerate(cache.lengths):
        for buffer in cache.buffers:
            assert (buffer[row, :, :length] == buffer[row, 0, 0, 0]).all()
            assert (buffer[row, :, length:] == 0).all()
        found.append((int(cache.buffers[-1][row, 0, 0, 0]), int(length)))
    return found


def test_a_prefix_fills_the_front_of_its_row():
    cache = filled(3, 5)
    assert values(cache) == [(1, 3), (2, 5)]
    assert [x.shape for x in cache.buffers] == [(2, k, 8, d) for k, d in SHAPES]


def test_a_row_without_prefix_is_empty():
    cache = KeyValueCache(LAYERS, 1, 4, np.float32)
    cache.put_prefix(0, ())
    assert cache.lengths.tolist() == [0]


def test_growing_keeps_what_is_in_use():
    cache = filled(3, 8)
    cache.grow(20)
    assert cache.capacity == 20 and cache.buffers[0].shape == (2, 2, 20, 3)
    assert values(cache) == [(1, 3), (2, 8)]


@pytest.mark.parametrize(("row", "expected"), [(0, [(3, 5), (2, 2)]), (1, [(1, 4), (3, 5)]), (2, [(1, 4), (2, 2)])])
def test_the_last_row_takes_the_place_of_one_that_leaves(row, expected):
    cache = filled(4, 2, 5)
    # the row that leaves is longer than the one that comes: what it leaves behind is out of use
    cache.drop(row)
    assert cache.rows == 2 and cache.buffers[0].shape[0] == 2
    found = [(int(cache.buffers[0][r, 0, 0, 0]), int(n)) for r, n in enumerate(cache.lengths)]
    assert found == expected


def test_rows_that_left_are_not_copied_when_the_buffers_grow():
    cache = filled(4, 2)
    cache.drop(1)
    cache.grow(16)
    assert cache.buffers[0].shape == (1, 2, 16, 3)


def test_row_views_are_contiguous_and_share_memory():
    cache = filled(3, 5)
    view = cache.row(1)[0]
    assert view.flags["C_CONTIGUOUS"] and np.shares_memory(view, cache.buffers[0])


def test_capacity_comes_in_steps_up_to_the_limit_of_the_base():
    assert [capacity_for(n, None) for n in (1, 256, 257)] == [256, 256, 512]
    assert [capacity_for(n, 300) for n in (1, 257, 300)] == [256, 300, 300]
    with pytest.raises(ContextLengthError, match=r"301.*300"):
        capacity_for(301, 300)
