"""The second graph of a decoder: over the same weights, with what is new of keys and values alone."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from edgetune_export import new_positions
from edgetune_export.bundle import export_bundle
from edgetune_export.verify import new_positions_check

from edgetune.errors import VerificationError

from .conftest import random_adapter


@pytest.fixture(scope="module")
def bundle(decoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("new") / "b"
    return export_bundle(decoder, {"a": random_adapter(decoder, "prefix", 3)}, path)


def opened(path):
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def layer_values(flat, shapes, rows, count):
    """`present.new` as `[B, K, T, D]` for each of the layers' keys and values."""
    sizes = [rows * heads * count * size for heads, size in shapes]
    assert len(flat) == sum(sizes)
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return [part.reshape(rows, heads, count, size) for part, (heads, size) in zip(parts, shapes)]


def test_steps_over_what_is_put_together_are_those_over_whole_caches(bundle):
    """A row of five tokens, then one token at a time, against a run of all of them without a past."""
    manifest = json.loads((bundle.path / "bundle.json").read_text())
    assert manifest["graph"]["new_positions_file"] == "model.new_positions.onnx"
    assert "model.new_positions.onnx" in manifest["files"]
    whole, new = opened(bundle.path / "model.onnx"), opened(bundle.path / new_positions.FILE)
    assert [x.name for x in new.get_outputs()] == ["logits", "present.new"]
    assert {x.name for x in new.get_inputs()} == {x.name for x in whole.get_inputs()}
    pasts = [x for x in new.get_inputs() if x.name.startswith("past_key_values.")]
    shapes = [(x.shape[1], x.shape[3]) for x in pasts]
    rng, room = np.random.default_rng(1), 12
    ids = rng.integers(4, 100, 9)
    cache = [rng.standard_normal((1, heads, room, size), np.float32) for heads, size in shapes]
    used = 0
    for end in (5, 6, 7, 8, 9):
        feeds = {"input_ids": ids[None, used:end], "attention_mask": np.ones((1, end), np.int64)}
        logits, flat = new.run(None, feeds | {x.name: held for x, held in zip(pasts, cache)})
        for held, part in zip(cache, layer_values(flat, shapes, 1, end - used)):
            held[:, :, used:end] = part
        used = end
        empty = {x.name: np.zeros((1, heads, 0, size), np.float32) for x, (heads, size) in zip(pasts, shapes)}
        at_once = {"input_ids": ids[None, :end], "attention_mask": np.ones((1, end), np.int64)}
        expected, *presents = whole.run(None, at_once | empty)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
        for held, present in zip(cache, presents):
            np.testing.assert_allclose(held[:, :, :end], present, rtol=0, atol=1e-4)


def test_rows_of_a_batch_have_lengths_of_their_own(bundle):
    whole, new = opened(bundle.path / "model.onnx"), opened(bundle.path / new_positions.FILE)
    pasts = [x for x in new.get_inputs() if x.name.startswith("past_key_values.")]
    rng = np.random.default_rng(2)
    lengths = [3, 7, 5]
    mask = np.array([[1] * (n + 1) + [0] * (7 - n) for n in lengths])
    feeds = {"input_ids": np.array([[5], [6], [7]]), "attention_mask": mask}
    feeds |= {x.name: rng.standard_normal((3, x.shape[1], 10, x.shape[3]), np.float32) for x in pasts}
    logits, flat = new.run(None, feeds)
    expected, *presents = whole.run(None, feeds)
    np.testing.assert_array_equal(logits, expected)
    parts = layer_values(flat, [(x.shape[1], x.shape[3]) for x in pasts], 3, 1)
    for part, present in zip(parts, presents):
        for row, length in enumerate(lengths):
            np.testing.assert_array_equal(part[row, :, 0], present[row, :, length])


def test_it_holds_no_weights_of_its_own(bundle):
    graphs = [onnx.load(bundle.path / x, load_external_data=False) for x in ("model.onnx", new_positions.FILE)]
    beside = [
        {x.name: [(e.key, e.value) for e in x.external_data] for x in graph.graph.initializer if x.data_location}
        for graph in graphs
    ]
    assert beside[0] == beside[1] and beside[0]
    assert bundle.sizes[new_positions.FILE] < 2 * bundle.sizes["model.onnx"]
    assert bundle.checks[-1].what.startswith("new positions alone") and bundle.checks[-1].difference == 0


def test_a_graph_that_gives_other_positions_is_found(bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "b")
    path = tmp_path / "b" / new_positions.FILE
    model = onnx.load(path, load_external_data=False)
    concat = next(
        node for node in model.graph.node if node.op_type == "Concat" and "GatherND" in str(made(model, node))
    )
    concat.input[0], concat.input[1] = concat.input[1], concat.input[0]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(VerificationError, match=r"model\.new_positions\.onnx and model\.onnx differ"):
        new_positions_check(tmp_path / "b", 1e-4)


def made(model, node):
    """The operators behind a node's inputs."""
    return [x.op_type for x in model.graph.node if set(x.output) & set(node.input)]


@pytest.mark.parametrize("more", [{"ort": True}, {"standalone": True}])
def test_other_forms_have_none(decoder, tmp_path, more):
    result = export_bundle(decoder, {"a": random_adapter(decoder, "prefix", 2)}, tmp_path / "b", **more)
    assert new_positions.FILE not in result.sizes
    assert "new_positions_file" not in json.loads((tmp_path / "b/bundle.json").read_text())["graph"]
