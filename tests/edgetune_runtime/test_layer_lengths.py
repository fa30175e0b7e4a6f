"""What rows of a batch tell a graph of suffixes and of layers that differ; what a graph without them refuses."""

from dataclasses import replace

import numpy as np
import pytest
from edgetune_runtime.adapter import Adapter
from edgetune_runtime.encoder import joined_pasts
from edgetune_runtime.errors import AdapterError
from edgetune_runtime.layer_lengths import evened, longest_of, skipped_by
from edgetune_runtime.manifest import Layer
from edgetune_runtime.optional_inputs import optional_feeds, optional_inputs
from edgetune_runtime.stored_adapter import read_adapter
from edgetune_runtime.suffix import joined_suffixes, with_suffix

from .test_adapter_file import described, manifest_of, tensors_of, write  # noqa: F401

SUFFIX = np.ones((1, 2, 6), np.float32)


def past_of(*lengths):
    return tuple(np.full((1, 2, n, 4), i + 1, np.float32) for i, n in enumerate(lengths) for _ in range(2))


def adapter_of(past=(), suffix=0, fill=1.0):
    vectors = np.full((1, suffix, 4), fill, np.float32) if suffix else None
    return Adapter(None, None, past, suffix=vectors)  # type: ignore[arg-type]


def test_a_layer_lacks_what_the_longest_has_more():
    assert longest_of(past_of(2, 5, 0)) == 5 and longest_of(()) == 0
    skipped = skipped_by([past_of(2, 5, 0), (), past_of(3, 3, 3)], 3)
    assert skipped.tolist() == [[3, 0, 5], [0, 0, 0], [0, 0, 0]] and skipped.dtype == np.int64


def test_of_a_cache_a_layer_has_the_beginning_and_of_a_masked_front_the_end():
    even = evened(past_of(1, 3))
    assert [x[0, 0, :, 0].tolist() for x in even[0::2]] == [[1, 0, 0], [2, 2, 2]]
    joined = joined_pasts([past_of(1, 3), ()], 3, [Layer(2, 4)] * 2, np.float32)
    assert [x[0, 0, :, 0].tolist() for x in joined[0::2]] == [[0, 0, 1], [2, 2, 2]]


def test_a_suffix_is_ids_behind_the_text_and_rows_of_vectors():
    assert with_suffix([5, 6], adapter_of(suffix=2), 100).tolist() == [5, 6, 100, 101]
    assert with_suffix([5, 6], adapter_of(), 100).tolist() == with_suffix([5, 6], None, 100).tolist() == [5, 6]
    joined = joined_suffixes([adapter_of(suffix=1), None, adapter_of(suffix=2, fill=3)], 4, np.float32)
    assert joined[..., 0].tolist() == [[1, 0], [0, 0], [3, 3]]
    assert joined_suffixes([None], 4, np.float32).shape == (1, 1, 4), "a graph wants one entry at least"


def test_an_ordinary_graph_is_fed_neither():
    graph = manifest_of().graph
    assert optional_inputs(graph) == [] and optional_feeds([None], graph, np.float32) == {}
    full = replace(graph, suffixes=True, layer_lengths=True)
    assert optional_inputs(full) == list(optional_feeds([None], full, np.float32)) == ["suffix_embeds", "skipped"]


def with_flags(**flags):
    manifest = manifest_of()
    return replace(manifest, graph=replace(manifest.graph, **flags))


def test_a_suffix_needs_a_graph_that_takes_it(write):  # noqa: F811
    path = write(described(virtual_tokens=5), tensors_of(suffix_embeds=SUFFIX))
    with pytest.raises(AdapterError, match=r"behind the text.*Export the bundle anew"):
        read_adapter(path, manifest_of())
    adapter = read_adapter(path, with_flags(suffixes=True))
    assert (adapter.prefix_tokens, adapter.suffix_tokens, adapter.most_tokens) == (3, 2, 5)


def test_layers_that_differ_need_a_graph_that_takes_them(write):  # noqa: F811
    empty = {f"past_key_values.1.{part}": np.zeros((1, 2, 0, 4), np.float32) for part in ("key", "value")}
    path = write(tensors=tensors_of(**empty))
    with pytest.raises(AdapterError, match=r"longer in some layers than in others.*Export the bundle anew"):
        read_adapter(path, manifest_of())
    adapter = read_adapter(path, with_flags(layer_lengths=True))
    assert [x.shape[2] for x in adapter.past] == [3, 3, 0, 0] and adapter.prefix_tokens == 3


def test_keys_that_are_values_too_are_stored_once(write):  # noqa: F811
    plain = tensors_of()
    shared = {f"past_key_values.{i}.key_value": plain[f"past_key_values.{i}.key"] for i in range(2)}
    tensors = {name: x for name, x in plain.items() if "past" not in name} | shared
    adapter = read_adapter(write(tensors=tensors), manifest_of())
    for i in range(2):
        np.testing.assert_array_equal(adapter.past[2 * i], adapter.past[2 * i + 1])
        np.testing.assert_array_equal(adapter.past[2 * i], plain[f"past_key_values.{i}.key"])
    del tensors["past_key_values.1.key_value"]
    with pytest.raises(AdapterError, match=r"lacks the tensor `past_key_values\.1\.key_value`"):
        read_adapter(write(tensors=tensors), manifest_of())
