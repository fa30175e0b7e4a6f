"""Activations as one operator each, a bias in front of them inside."""

from __future__ import annotations

import math

import onnx_ir as ir

from edgetune_export.rewriter import Rewriter, attribute, biased, made_by, scalar, with_constant


def fuse_activations(rewriter: Rewriter) -> None:
    for node in rewriter.nodes("Mul"):
        source = tanh_gelu(node)
        if source is not None:
            put(rewriter, node, "FastGelu", source)
        elif (source := silu(node)) is not None:
            fused = rewriter.ms("QuickGelu", [source], {"alpha": 1.0}, like=node.outputs[0])
            rewriter.replace(node.outputs[0], fused.outputs[0])
    for node in rewriter.nodes("Gelu"):
        source = node.inputs[0]
        if source is None or node.domain:
            continue
        if attribute(node, "approximate", "none") == "tanh":
            put(rewriter, node, "FastGelu", source)
        elif biased(source) is not None:
            put(rewriter, node, "BiasGelu", source)
    rewriter.tidy()


def put(rewriter: Rewriter, node: ir.Node, op_type: str, source: ir.Value) -> None:
    parts = biased(source)
    fused = rewriter.ms(op_type, [source] if parts is None else list(parts), like=node.outputs[0])
    rewriter.replace(node.outputs[0], fused.outputs[0])


def silu(node: ir.Node) -> ir.Value | None:
    """`x` of `x · sigmoid(x)`: QuickGelu of α = 1."""
    for source, factor in (node.inputs, reversed(node.inputs)):
        sigmoid = made_by(factor, "Sigmoid")
        if sigmoid is not None and sigmoid.inputs[0] is source:
            return source
    return None


def tanh_gelu(node: ir.Node) -> ir.Value | None:
    """`x` of `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))` (Hendrycks & Gimpel 2016)."""
    for half, rest in (node.inputs, reversed(node.inputs)):
        halved = with_constant(made_by(half, "Mul"))
        added = with_constant(made_by(rest, "Add"))
        if halved is None or added is None or scalar(halved[1]) != 0.5 or scalar(added[1]) != 1.0:
            continue
        source, tanh = halved[0], made_by(added[0], "Tanh")
        inner = None if tanh is None else with_constant(made_by(tanh.inputs[0], "Mul"))
        if inner is None or not near(scalar(inner[1]), math.sqrt(2 / math.pi)):
            continue
        total = made_by(inner[0], "Add")
        for first, cubic in () if total is None else (total.inputs, reversed(total.inputs)):
            scaled = with_constant(made_by(cubic, "Mul"))
            cube = None if scaled is None else made_by(scaled[0], "Pow")
            if (
                first is source
                and scaled is not None
                and cube is not None
                and near(scalar(scaled[1]), 0.044715)
                and cube.inputs[0] is source
                and scalar(cube.inputs[1]) == 3.0
            ):
                return source
    return None


def near(a: float | None, b: float) -> bool:
    return a is not None and math.isclose(a, b, rel_tol=1e-5)
