"""A traced graph with ONNX Runtime's fused operators in place of their parts; what fits no pattern stays as it was."""

from __future__ import annotations

import onnx_ir as ir

from edgetune_export.fuse_activations import fuse_activations
from edgetune_export.fuse_attention import fuse_attention
from edgetune_export.fuse_norms import fuse_norms
from edgetune_export.fuse_products import fuse_products
from edgetune_export.fuse_reading import read_one_position
from edgetune_export.fuse_softmax import whole_rows
from edgetune_export.rewriter import Rewriter


def fused(model: ir.Model, positions: int | None, *, pack: bool = True) -> ir.Model:
    """The same model, rewritten in place; `positions` is the most that the base can hold.

    `pack` False keeps queries, keys and values apart: the standalone form of a decoder joins a prefix to them.
    """
    rewriter = Rewriter(model)
    model.opset_imports.setdefault("com.microsoft", 1)
    fuse_products(rewriter)
    fuse_activations(rewriter)
    fuse_norms(rewriter)
    fuse_attention(rewriter, positions, pack=pack)
    fuse_norms(rewriter)
    read_one_position(rewriter)
    whole_rows(rewriter)
    return model


def forget_shapes(model: ir.Model) -> None:
    """What the tracer noted can be wrong (a sliced length, a cache that grows in place), and ONNX Runtime plans its
    memory by it."""
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
