"""Norms as one operator each, with the residual sum in front of them and its bias inside."""

from __future__ import annotations

import onnx_ir as ir

from edgetune_export.rewriter import (
    Rewriter,
    attribute,
    biased,
    constant,
    is_vector,
    made_by,
    same_shape,
    scalar,
    with_constant,
)

STASH = {"axis": -1, "stash_type": 1}


def fuse_norms(rewriter: Rewriter) -> None:
    for node in rewriter.nodes("Mul"):
        fuse_root_mean_square(rewriter, node)
    rewriter.tidy()
    for node in rewriter.nodes("SimplifiedLayerNormalization", "LayerNormalization"):
        fuse_skip(rewriter, node)
    rewriter.tidy()


def fuse_root_mean_square(rewriter: Rewriter, node: ir.Node) -> None:
    """`x · rsqrt(mean(x²) + ε) · weight` (Zhang & Sennrich 2019) → SimplifiedLayerNormalization."""
    parts = with_constant(node)
    if parts is None or not is_vector(parts[1]):
        return
    scaled, weight = parts
    found = root_mean_square(made_by(scaled, "Mul", "Div"))
    if found is None:
        return
    source, epsilon = found
    norm = rewriter.op(
        "SimplifiedLayerNormalization", [source, weight], {**STASH, "epsilon": epsilon}, like=node.outputs[0]
    )
    rewriter.replace(node.outputs[0], norm.outputs[0])


def root_mean_square(node: ir.Node | None) -> tuple[ir.Value, float] | None:
    """`(x, ε)` where a node computes `x / sqrt(mean(x²) + ε)` over the last axis."""
    if node is None:
        return None
    for source, factor in (node.inputs, reversed(node.inputs)):
        if node.op_type == "Mul":
            inverse = made_by(factor, "Reciprocal")
            factor = None if inverse is None else inverse.inputs[0]
        elif factor is not node.inputs[1]:
            continue
        root = made_by(factor, "Sqrt")
        parts = with_constant(None if root is None else made_by(root.inputs[0], "Add"))
        mean = None if parts is None else made_by(parts[0], "ReduceMean")
        if parts is None or mean is None or not over_last_axis(mean):
            continue
        square, epsilon = made_by(mean.inputs[0], "Pow", "Mul"), scalar(parts[1])
        if source is not None and square is not None and epsilon is not None and squares(square, source):
            return source, epsilon
    return None


def over_last_axis(mean: ir.Node) -> bool:
    axes = constant(mean.inputs[1]) if len(mean.inputs) > 1 else None
    rank = None if mean.inputs[0] is None or mean.inputs[0].shape is None else len(mean.inputs[0].shape)
    last = axes is not None and axes.size == 1 and int(axes.numpy().reshape(-1)[0]) in (-1, (rank or 0) - 1)
    return last and attribute(mean, "keepdims", 1) == 1


def squares(node: ir.Node, source: ir.Value) -> bool:
    if node.op_type == "Pow":
        return node.inputs[0] is source and scalar(node.inputs[1]) == 2.0
    return node.inputs[0] is source and node.inputs[1] is source


def fuse_skip(rewriter: Rewriter, node: ir.Node) -> None:
    """`norm(a + b)` → Skip…LayerNormalization, which gives the sum as well; a bias of one summand goes inside."""
    total = node.inputs[0]
    add = made_by(total, "Add")
    if add is None or total is None or len(node.outputs) > 1 or attribute(node, "axis", -1) not in (-1, 2):
        return
    a, b = add.inputs
    if a is None or b is None or not same_shape(a, b) or len(a.shape) != 3 or not same_shape(a, total):  # type: ignore[arg-type]
        return
    weight, simplified = node.inputs[1], node.op_type == "SimplifiedLayerNormalization"
    if not is_vector(weight):
        return
    bias = None
    for summand, other in ((a, b), (b, a)):
        found = biased(summand)
        if found is not None and constant(other) is None:
            (a, bias), b = found, other
            break
    shift = node.inputs[2] if len(node.inputs) > 2 else None
    inputs = [a, b, weight, bias] if simplified else [a, b, weight, shift, bias]
    while inputs[-1] is None:
        inputs.pop()
    fused = rewriter.ms(
        f"Skip{node.op_type}",
        inputs,
        {"epsilon": attribute(node, "epsilon", 1e-5)},
        outputs=4 if any(use.node is not node for use in total.uses()) else 1,
        like=total,
    )
    rewriter.replace(node.outputs[0], fused.outputs[0])
    if len(fused.outputs) == 4:
        fused.outputs[3].shape, fused.outputs[3].type = total.shape, total.type
        rewriter.replace(total, fused.outputs[3])
