"""The graphs of a bundle: traced, fused, rounded, written."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir
from tokenizers import Tokenizer

import edgetune
from edgetune.adapter import Adapter, tuned_from
from edgetune.config import Pooling
from edgetune.models.base import Base
from edgetune.models.rounding import Rounding, Weights, rounded, roundings
from edgetune_export import manifest
from edgetune_export.device import prefix_of
from edgetune_export.fold import folded_encoder_graph
from edgetune_export.fuse import forget_shapes, fused
from edgetune_export.needs import Needs
from edgetune_export.parameters import mark_stored, name_parameters
from edgetune_export.prefix import fold_prefix
from edgetune_export.progress import Tell, untold
from edgetune_export.quantize import quantized
from edgetune_export.trace import decoder_graph, encoder_graph
from edgetune_export.trace_pair import pair_graphs

EXTERNAL_FROM_BYTES = 1024
SINGLE_FILE_BYTES = 1_800_000_000
"""Protobuf ends at 2 GB: a standalone graph above this keeps its weights beside it."""


def shared_graphs(
    base: Base, pooling: Pooling, needs: Needs, weights: Weights, tell: Tell = untold
) -> dict[str, onnx_ir.Model]:
    """By file."""
    tell("tracing")
    if base.kind == "encoder-decoder":
        traced = pair_graphs(base, needs)
    else:
        encoder = base.kind == "encoder"
        traced = {manifest.GRAPH: encoder_graph(base, pooling, needs) if encoder else decoder_graph(base, needs)}
    rounding = roundings(base, weights)
    return {
        file: quantized(lean(graph, base, rounding, tell=tell), rounding, weights, tell)
        for file, graph in traced.items()
    }


def standalone_graph(base: Base, adapter: Adapter, weights: Weights, tell: Tell = untold) -> onnx_ir.Model:
    tell("tracing")
    rounding = roundings(base, weights)
    if base.kind == "encoder":
        graph = lean(folded_encoder_graph(tuned_from(base, adapter)), base, rounding, tell=tell)
    else:
        graph = lean(decoder_graph(base), base, rounding, pack=False, tell=tell)
        with rounded(base, weights):
            fold_prefix(graph, prefix_of(base, adapter))
    return quantized(graph, rounding, weights, tell)


def lean(
    graph: onnx_ir.Model, base: Base, rounding: Mapping[str, Rounding], *, pack: bool = True, tell: Tell = untold
) -> onnx_ir.Model:
    """The traced graph, fused; weights that will be stored differently are not joined."""
    tell("fusing")
    name_parameters(graph, base)
    mark_stored(graph, rounding)
    return fused(graph, base.max_positions, pack=pack)


def float_table(base: Base, adapter: Adapter, weights: Weights) -> Weights:
    """An encoder's folded prompt is rows of its table of embeddings, which then keeps its precision."""
    if base.kind != "encoder" or "prompt_embeds" not in adapter.tensors or not weights.rounds:
        return weights
    table: Any = base.embeddings.weight
    name = next(name for name, parameter in base.model.named_parameters() if parameter is table)
    return replace(weights, keep=((name, "fp32"), *weights.keep))


def write_graph(graph: onnx_ir.Model, path: Path, base: Base, *, single_file: bool, tell: Tell = untold) -> None:
    """Weights beside the graph, where runtimes map them, or inside it. Those beside it are made and written one at a
    time: they are never all in memory."""
    graph.producer_name, graph.producer_version = "edgetune", edgetune.__version__
    forget_shapes(graph)
    for node in graph.graph:
        node.metadata_props.clear()
        node.doc_string = None
    for value in list(graph.graph.initializers.values()):
        if value.name and value.name.startswith("model.") and value not in graph.graph.inputs:
            value.name = value.name.removeprefix("model.")
    tell("writing")
    if single_file and base.parameters * 4 < SINGLE_FILE_BYTES:
        onnx_ir.save(graph, path)
        return
    onnx_ir.save(
        graph, path, external_data=f"{path.name}.data", size_threshold_bytes=EXTERNAL_FROM_BYTES,
        callback=lambda _, info: tell("writing", info.index, info.total),
    )  # fmt: skip


def forget_weights(graph: onnx_ir.Model) -> None:
    """The base alone holds its weights again: the rules that a graph was rewritten with remember the graph."""
    for value in graph.graph.initializers.values():
        value.const_value = None
    gc.collect()


def tokenizer_text(fast: Any) -> str:
    """tokenizer.json without truncation and padding: the runtime decides on both."""
    tokenizer = Tokenizer.from_str(fast.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer.to_str()
