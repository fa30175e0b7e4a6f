"""What the fused graphs consist of; that they compute the same is the parity tests' to say."""

from collections import Counter

import pytest
import torch
from edgetune_export.fuse import fused
from edgetune_export.graphs import lean, write_graph
from edgetune_export.quantize import quantized
from edgetune_export.rewriter import made_by
from edgetune_export.trace import decoder_graph, encoder_graph
from transformers import AutoModelForCausalLM, LlamaConfig

from edgetune.models.base import base_from
from edgetune.models.rounding import Weights, roundings

from .conftest import DECODERS, made_base


def nodes_of(graph):
    return Counter(node.op_type for node in graph.graph)


def fused_nodes(family):
    base = made_base(family)
    traced = decoder_graph(base) if family in DECODERS else encoder_graph(base, "mean")
    return nodes_of(fused(traced, base.max_positions))


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Mistral", "Phi3"])
def test_a_layer_of_the_llama_family_is_ten_nodes(family):
    found = fused_nodes(family)
    biases = 2 if family == "Qwen2" else 0
    assert found["MatMul"] == 4 * 2 + 1 and found["GroupQueryAttention"] == 2 and found["Add"] == biases
    assert found["SkipSimplifiedLayerNormalization"] == 4 and found["QuickGelu"] == 2
    assert found["Transpose"] == 0 and found["Reshape"] <= 1 and found.total() <= 2 * 10 + 20 + biases


def test_norms_of_queries_and_keys_stay_between_the_product_and_the_operator():
    found = fused_nodes("Qwen3")
    assert found["SimplifiedLayerNormalization"] == 1 + 2 * 2 and found["Transpose"] == 0 and found["Sin"] == 1


def test_two_frequencies_have_two_tables():
    found = fused_nodes("Gemma3")
    assert found["Sin"] == 2 and found["Transpose"] == 0 and found["RotaryEmbedding"] == 0


def test_flattened_products_take_three_axes():
    for family in ("GPT2", "OPT"):
        found = fused_nodes(family)
        assert found["Gemm"] == 0 and found["SkipLayerNormalization"] == 5 and found["Reshape"] <= 3


def test_an_encoder_has_its_biases_and_sums_inside():
    found = fused_nodes("BERT")
    assert found["MatMul"] == 4 * 2 and found["BiasGelu"] == 2 and found["SkipLayerNormalization"] == 4
    assert found["MultiHeadAttention"] == found["Split"] == 2 and found["Transpose"] == 0


@pytest.mark.parametrize("pooling", ["first", "start"])
@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "DistilBERT", "ALBERT", "ELECTRA", "ModernBERT"])
def test_a_head_that_reads_one_position_leaves_the_last_layer_one(family, pooling):
    """Of the two layers the second has queries and what follows them `[B, X]`; onnx infers the ranks anew."""
    base = made_base(family)
    model = fused(encoder_graph(base, pooling), base.max_positions)
    last = [node for node in model.graph if node.op_type == "MultiHeadAttention"][-1]
    assert made_by(last.inputs[0], "Unsqueeze") is not None, "one query a row"
    behind, todo = set(), list(last.outputs[0].uses())
    while todo:
        node = todo.pop().node
        if node not in behind:
            behind.add(node)
            todo += [use for value in node.outputs for use in value.uses()]
    kinds = Counter(node.op_type for node in behind)
    assert kinds["Squeeze"] == 1 and kinds["GatherND"] == 0
    assert kinds["MatMul"] == 3, "the attention's and the two of the layer's second half"


def test_a_small_llama_of_thirty_layers_has_at_most_four_hundred_nodes_in_int4(tmp_path):
    """The shape of ANCHORS.md in all that counts nodes: thirty layers, 9 heads over 3, a tied table."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=144, intermediate_size=96, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        vocab_size=128, tie_word_embeddings=True,
    )  # fmt: skip
    base = base_from(AutoModelForCausalLM.from_config(config), None, "thirty layers", "generate")
    weights = Weights("int4", block_size=16)
    rounding = roundings(base, weights)
    graph = quantized(lean(decoder_graph(base), base, rounding), rounding, weights)
    found = nodes_of(graph)
    assert found["MatMulNBits"] == 121 and found["GroupQueryAttention"] == 30 and found["GatherBlockQuantized"] == 1
    assert found["MatMul"] == found["Gather"] == found["Transpose"] == 0
    assert found.total() <= 330
    write_graph(graph, tmp_path / "model.onnx", base, single_file=True)
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 0.25 * 4 * base.parameters + 10**6
