"""Bundles of every precision against torch with the same rounded weights, and what they are made of."""

import json
from collections import Counter
from dataclasses import replace

import edgetune_runtime
import numpy as np
import onnx
import pytest
import torch
from edgetune_export.addition import add_adapter
from edgetune_export.bundle import export_bundle
from references.eager import eager_greedy, eager_logits

from edgetune.adapter import tuned_from
from edgetune.config import BLOCK_SIZE
from edgetune.errors import ConfigError
from edgetune.models.rounding import Weights, rounded

from .conftest import made_base, random_adapter, rows_of

EXACT = [
    Weights("fp16"),
    Weights("int8", accuracy_level=1),
    Weights("int4", accuracy_level=1),
    Weights("int4", block_size=16, symmetric=False, accuracy_level=1),
]
"""Products take float32 activations: only the weights are rounded."""


def node_types(folder):
    return [node.op_type for node in onnx.load(folder / "model.onnx", load_external_data=False).graph.node]


@pytest.fixture(scope="module")
def tied():
    base = made_base("Gemma3")
    assert base.output_head.weight is base.embeddings.weight
    return base


@pytest.mark.parametrize("weights", EXACT, ids=lambda w: f"{w.precision}-{w.block_size}-{w.symmetric}")
def test_a_decoder_gives_the_logits_of_torch_with_rounded_weights(tied, tmp_path, weights):
    adapters = {method: random_adapter(tied, method, 4) for method in ("prefix", "prompt")}
    export_bundle(tied, adapters, tmp_path / "b", weights=weights)
    model = edgetune_runtime.load(tmp_path / "b")
    (ids,) = rows_of([11])
    for name, adapter in adapters.items():
        with rounded(tied, weights):
            expected = eager_logits(tied, adapter, ids).numpy()
        for got in (model.logits(ids, adapter=name), model.step_logits(ids, adapter=name)):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
        assert np.abs(expected - eager_logits(tied, adapter, ids).numpy()).max() > 1e-4  # the rounding shows


def test_the_rows_of_a_batch_go_on_as_torch_does_in_int4(decoder, tmp_path):
    weights, adapter = Weights("int4", accuracy_level=1), random_adapter(decoder, "prefix", 4)
    export_bundle(decoder, {"a": adapter}, tmp_path / "b", weights=weights)
    model, rows = edgetune_runtime.load(tmp_path / "b"), rows_of([5, 12])
    with rounded(decoder, weights):
        expected = [eager_greedy(decoder, adapter, ids, 8)[0] for ids in rows]
    answers = model.generate(rows, adapter="a", max_new_tokens=8, temperature=0)
    assert [answer.token_ids for answer in answers] == expected


@pytest.mark.parametrize("weights, stored", [
    (Weights(), ["lm_head.weight"]), (Weights("int8"), ["lm_head.weight.int8", "lm_head.weight.scales"]),
])  # fmt: skip
def test_table_and_tied_head_are_stored_once(tied, tmp_path, weights, stored):
    export_bundle(tied, {}, tmp_path / "b", weights=weights)
    graph = onnx.load(tmp_path / "b/model.onnx", load_external_data=False).graph
    found = [x.name for x in graph.initializer if "lm_head" in x.name or "embed_tokens.weight" in x.name]
    shape = [tied.hidden_size, tied.vocab_size]
    assert found == stored and not any(list(x.dims) == shape for x in graph.initializer if "joined" not in x.name)
    types = Counter(node_types(tmp_path / "b"))
    assert (types["GatherBlockQuantized"], types["MatMulNBits"]) == ((1, 9) if weights.rounds else (0, 0))


@pytest.mark.parametrize("family, head", [("Gemma3", "tied"), ("GPTNeoX", "its own")])
def test_whole_columns_of_a_decoder_are_products_of_integers(tmp_path, family, head):
    base, weights = made_base(family), Weights("int8", block_size=0)
    adapter = random_adapter(base, "prefix", 3)
    export_bundle(base, {"a": adapter}, tmp_path / "b", weights=weights)
    (ids,) = rows_of([11])
    with rounded(base, weights):
        expected = eager_logits(base, adapter, ids).numpy()
    got = edgetune_runtime.load(tmp_path / "b").logits(ids, adapter="a")
    np.testing.assert_allclose(got, expected, rtol=0, atol=0.1 * np.abs(expected).max())
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.99
    types = Counter(node_types(tmp_path / "b"))
    assert types["DynamicQuantizeMatMul"] >= 7 and not types["MatMulNBits"] + types["MatMul"]
    graph = onnx.load(tmp_path / "b/model.onnx", load_external_data=False).graph
    turned = [node.input[0] for node in graph.node if node.op_type == "Transpose" and node.input[0].endswith(".int8")]
    assert len(turned) == (head == "tied")


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_onnxruntime_copies_no_table_that_no_product_reads(encoder, tmp_path, precision):
    export_bundle(encoder, {}, tmp_path / "b", weights=Weights(precision), task="classify")
    graph = onnx.load(tmp_path / "b/model.onnx", load_external_data=False).graph
    stored = {x.name: list(x.dims) for x in graph.initializer}
    tables = [stored[n.input[0]] for n in graph.node if n.op_type == "GatherBlockQuantized"]
    width = encoder.hidden_size * (1 if precision == "int8" else 0.5)
    assert [encoder.vocab_size, width] in tables and all(len(shape) == 2 for shape in tables)


@pytest.mark.parametrize("weights", [EXACT[2], Weights("int8")], ids=lambda w: w.precision)
def test_an_encoder_gives_the_logits_of_torch_with_rounded_weights(encoder, tmp_path, weights):
    adapter = random_adapter(encoder, "prefix", 4, 3)
    export_bundle(encoder, {"a": adapter}, tmp_path / "b", weights=weights)
    rows, model = rows_of([9, 3]), edgetune_runtime.load(tmp_path / "b")
    integers = weights.precision == "int8"
    with rounded(encoder, weights), torch.no_grad():
        tuned = tuned_from(encoder, adapter)
        for ids, got in zip(rows, model.class_logits(rows, "a")):
            expected = tuned.class_logits(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))[0].numpy()
            allowed = 0.1 * np.abs(expected).max() if integers else 1e-4
            np.testing.assert_allclose(got, expected, rtol=0, atol=allowed)
    assert ("DynamicQuantizeMatMul" in node_types(tmp_path / "b")) == integers


@pytest.mark.parametrize(
    "family, method, classes, tables", [("Llama", "prefix", 0, 1), ("BERT", "prompt", 3, 1), ("BERT", "prefix", 3, 2)]
)
def test_standalone_bundles_are_rounded_and_verified(tmp_path, family, method, classes, tables):
    """Words and, of encoders, positions; words keep their precision where a prompt is folded into their table."""
    base = made_base(family)
    adapter = random_adapter(base, method, 3, classes)
    exported = export_bundle(base, {"a": adapter}, tmp_path / "b", weights=Weights("int4"), standalone=True)
    assert exported.checks and "MatMulNBits" in node_types(tmp_path / "b")
    assert node_types(tmp_path / "b").count("GatherBlockQuantized") == tables


@pytest.mark.parametrize("family", ["GPT2", "OPT", "GPTNeoX", "ALBERT"])
def test_other_layouts_of_weights_are_found(tmp_path, family):
    base = made_base(family)
    classes = 3 if base.kind == "encoder" else 0
    exported = export_bundle(
        base, {"a": random_adapter(base, "prefix", 3, classes)}, tmp_path / "b",
        weights=Weights("int4", accuracy_level=1),
    )  # fmt: skip
    assert exported.tolerance == 1e-4
    types = node_types(tmp_path / "b")
    assert types.count("MatMul") == 0 and types.count("MatMulNBits") >= 7


def test_exceptions_keep_their_precision(decoder, tmp_path):
    weights = Weights("int4", keep=(("lm_head*", "fp32"), ("*down_proj*", "int8")), accuracy_level=1)
    export_bundle(decoder, {}, tmp_path / "b", weights=weights)
    graph = onnx.load(tmp_path / "b/model.onnx").graph
    bits = [next(a.i for a in n.attribute if a.name == "bits") for n in graph.node if n.op_type == "MatMulNBits"]
    assert sorted(bits) == [4] * 6 + [8] * 2 and sum(n.op_type == "MatMul" for n in graph.node) == 1


def test_the_manifest_says_how_weights_are_stored(decoder, tmp_path):
    export_bundle(decoder, {}, tmp_path / "b", weights=Weights("int4", keep=(("lm_head*", "int8"),)))
    description = json.loads((tmp_path / "b/bundle.json").read_text())
    assert description["precision"] == "int4" and description["base"]["fingerprint"] == decoder.fingerprint
    assert description["weights"] == {
        "precision": "int4", "block_size": BLOCK_SIZE, "symmetric": True, "accuracy_level": 4,
        "keep": {"lm_head*": "int8"},
    }  # fmt: skip


def test_a_prompt_added_later_is_computed_by_the_weights_that_ship(decoder, tmp_path):
    weights, adapter = Weights("int4", accuracy_level=1), random_adapter(decoder, "prompt", 4)
    export_bundle(decoder, {"first": adapter}, tmp_path / "b", weights=weights)
    add_adapter(tmp_path / "b", "late", adapter, decoder)
    first, late = ((tmp_path / f"b/adapters/{name}.safetensors").read_bytes() for name in ("first", "late"))
    assert len(first) - len("first") == len(late) - len("late") or first[-256:] == late[-256:]
    assert first[-256:] == late[-256:]


def test_the_same_input_gives_the_same_bytes(decoder, tmp_path):
    adapter = random_adapter(decoder, "prefix", 2)
    for name in ("one", "two"):
        export_bundle(decoder, {"a": adapter}, tmp_path / name, weights=Weights("int4"))
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


def test_an_adapter_tuned_for_other_weights_is_told(decoder, tmp_path):
    adapter = random_adapter(decoder, "prefix", 2)
    tuned = replace(adapter, tuned_for=Weights("int4").described())
    exported = export_bundle(decoder, {"a": adapter, "b": tuned}, tmp_path / "one", weights=Weights("int8"))
    assert exported.tuned_otherwise == ("b",)


@pytest.mark.parametrize("wrong, told", [
    (dict(precision="int3"), "int3"), (dict(block_size=48), "48"),
    (dict(precision="int4", block_size=0), "int8 alone"),
    (dict(precision="int8", block_size=0, keep=(("x", "int4"),)), "int8 alone"),
    (dict(accuracy_level=2), "accuracy level 2"), (dict(keep=(("x", "int5"),)), "int5"),
])  # fmt: skip
def test_weights_that_nobody_can_store_are_refused(wrong, told):
    with pytest.raises(ConfigError, match=told):
        Weights(**wrong)
