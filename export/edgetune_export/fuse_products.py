"""Products with weights: no flattening around them, and those of one input made one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from edgetune_export.rewriter import (
    Rewriter,
    attribute,
    constant,
    is_matrix,
    is_vector,
    last_axis,
    made_by,
    read_once,
    same_shape,
    width,
)  # fmt: skip

STORED = "edgetune.stored"
"""Key of a weight's `meta`: how it will be stored. Weights stored differently are not joined."""


def fuse_products(rewriter: Rewriter) -> None:
    for node in rewriter.nodes("Gemm"):
        as_product(rewriter, node)
    rewriter.tidy()
    drop_reshapes(rewriter)
    for node in list(rewriter.graph):
        for value in node.outputs:
            as_split(rewriter, value)
    rewriter.tidy()
    for products in siblings(rewriter):
        merge(rewriter, products)
    rewriter.tidy()


def as_product(rewriter: Rewriter, node: ir.Node) -> None:
    """`Reshape([B·T, H]) → Gemm → …` → MatMul and Add, which take `[B, T, H]` as it is."""
    source, weight = node.inputs[0], node.inputs[1]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0 and not attribute(node, "transA", 0)
    if not plain or not is_matrix(weight) or (bias is not None and not is_vector(bias)):
        return
    if attribute(node, "transB", 0):
        turned = rewriter.constant(f"{weight.name}.transposed", transposed(constant(weight)))  # type: ignore[union-attr,arg-type]
        turned.meta.update(weight.meta)  # type: ignore[union-attr]
        weight = turned
    out = rewriter.op("MatMul", [source, weight], like=node.outputs[0]).outputs[0]
    if bias is not None:
        out = rewriter.op("Add", [out, bias], like=node.outputs[0]).outputs[0]
    rewriter.replace(node.outputs[0], out)


def transposed(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    shape = ir.Shape(tuple(reversed(tensor.shape)))  # type: ignore[arg-type]
    return ir.LazyTensor(lambda: ir.tensor(np.ascontiguousarray(tensor.numpy().T)), tensor.dtype, shape)


ROW_WISE = ("MatMul", "Add", "Relu", "Gelu", "FastGelu", "BiasGelu", "Tanh", "QuickGelu", "LayerNormalization")


def drop_reshapes(rewriter: Rewriter) -> None:
    """Reshapes that give back a shape that was there: around operators, and around whole row-wise chains."""
    for node in rewriter.nodes("Reshape"):
        source = node.inputs[0]
        while source is not None:
            if same_shape(source, node.outputs[0]):
                rewriter.replace(node.outputs[0], source)
                break
            inner = made_by(source, "Reshape")
            source = None if inner is None else inner.inputs[0]
    rewriter.tidy()
    for node in rewriter.nodes("Reshape"):
        unflatten(rewriter, node)
    rewriter.tidy()


def unflatten(rewriter: Rewriter, node: ir.Node) -> None:
    """`[B, T, H] → [B·T, H]`: the row-wise operators that follow take three axes, up to the reshape back."""
    source, flat = node.inputs[0], node.outputs[0]
    if source is None or rank(source) != 3 or rank(flat) != 2 or width(source) is None or width(source) != width(flat):
        return
    inside, ends, pending = {flat}, [], [flat]
    while pending:
        for use in list(pending.pop().uses()):
            out = use.node.outputs[0]
            if use.node.op_type == "Reshape" and rank(out) == 3 and width(out) == width(use.node.inputs[0]):
                ends.append(use.node)
            elif use.node.op_type in ROW_WISE and len(use.node.outputs) == 1 and rank(out) == 2:
                if out not in inside:
                    inside.add(out)
                    pending.append(out)
            else:
                return
    for value in inside - {flat}:
        operands = [x for x in value.producer().inputs if x is not None and constant(x) is None]  # type: ignore[union-attr]
        if not all(x in inside for x in operands):
            return
    if any(value.is_graph_output() for value in inside):
        return
    leading = list(source.shape)[:2]  # type: ignore[arg-type]
    for value in inside - {flat}:
        value.shape = ir.Shape([*leading, value.shape[-1]])  # type: ignore[index]
    rewriter.replace(flat, source)
    for end in ends:
        assert end.inputs[0] is not None
        rewriter.replace(end.outputs[0], end.inputs[0])


def rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def as_split(rewriter: Rewriter, value: ir.Value) -> None:
    """Slices that cut the last axis into adjoining parts → one Split."""
    cuts: dict[tuple[int, int], ir.Node] = {}
    size = width(value)
    for use in list(value.uses()):
        cut = None if size is None else cut_of(use.node, size)
        if cut is None or use.idx != 0 or cut in cuts:
            return
        cuts[cut] = use.node
    order = sorted(cuts)
    if len(order) < 2 or [a for a, _ in order] != [0, *(b for _, b in order[:-1])] or order[-1][1] != size:
        return
    parts = split(rewriter, value, [b - a for a, b in order])
    for cut, part in zip(order, parts):
        part.shape, part.type = cuts[cut].outputs[0].shape, cuts[cut].outputs[0].type
        rewriter.replace(cuts[cut].outputs[0], part)


def cut_of(node: ir.Node, size: int) -> tuple[int, int] | None:
    """`(from, to)` of a slice of the last axis."""
    if node.op_type != "Slice" or len(node.inputs) < 4:
        return None
    given = [constant(x) for x in node.inputs[1:]]
    if any(x is None or x.size != 1 for x in given):
        return None
    start, end, axis, *step = (int(x.numpy().reshape(-1)[0]) for x in given)  # type: ignore[union-attr]
    if not last_axis(node, axis) or step not in ([], [1]) or start < 0 or end < 0:
        return None
    return start, min(end, size)


def split(rewriter: Rewriter, value: ir.Value, widths: list[int]) -> list[ir.Value]:
    node = rewriter.op("Split", [value, rewriter.ints(*widths)], {"axis": -1}, outputs=len(widths))
    if value.shape is not None:
        for part, size in zip(node.outputs, widths):
            part.shape, part.type = ir.Shape([*list(value.shape)[:-1], size]), value.type
    return list(node.outputs)


def siblings(rewriter: Rewriter) -> list[list[ir.Node]]:
    """Products of one input whose weights are stored alike, two or more, in the order of the graph."""
    groups: dict[Any, list[ir.Node]] = {}
    for node in rewriter.nodes("MatMul"):
        source, weight = node.inputs
        if source is not None and is_matrix(weight) and not node.outputs[0].is_graph_output():
            groups.setdefault((source, weight.meta.get(STORED)), []).append(node)  # type: ignore[union-attr]
    return [group for group in groups.values() if len(group) > 1]


def merge(rewriter: Rewriter, products: list[ir.Node]) -> None:
    """One product and a Split. Biases are joined too, zero where a product has none, if any product has one."""
    source, weights = products[0].inputs[0], [constant(node.inputs[1]) for node in products]
    assert source is not None
    widths = [int(w.shape[1]) for w in weights]  # type: ignore[union-attr,arg-type]
    ends, biases = [], []
    for node in products:
        out = node.outputs[0]
        user = next(iter(out.uses())).node if read_once(out) else None
        bias = None if user is None else bias_added(user, out)
        ends.append(out if user is None or bias is None else user.outputs[0])
        biases.append(None if bias is None else constant(bias))
    key = ("joined", *(node.inputs[1] for node in products))
    if key not in rewriter.made:  # ALBERT multiplies with the same weights in every layer
        first: Any = products[0].inputs[1]
        rewriter.made[key] = rewriter.constant(f"{first.name}.joined", joined(weights))  # type: ignore[arg-type]
        rewriter.made[key].meta.update(first.meta)
    weight = rewriter.made[key]
    out = rewriter.op("MatMul", [source, weight]).outputs[0]
    if products[0].outputs[0].shape is not None:
        out.shape = ir.Shape([*list(products[0].outputs[0].shape)[:-1], sum(widths)])
        out.type = products[0].outputs[0].type
    if any(bias is not None for bias in biases):
        parts = [np.zeros(n, np.float32) if b is None else b.numpy() for n, b in zip(widths, biases)]
        bias = rewriter.constant(f"{products[0].inputs[1].name}.bias.joined", np.concatenate(parts))  # type: ignore[union-attr]
        out = rewriter.op("Add", [out, bias], like=out).outputs[0]
    for old, new in zip(ends, split(rewriter, out, widths)):
        rewriter.replace(old, new)


def bias_added(node: ir.Node, product: ir.Value) -> ir.Value | None:
    """What a node adds to a product, if that is a constant vector of its width."""
    others = [x for x in node.inputs if x is not product]
    return others[0] if node.op_type == "Add" and len(others) == 1 and is_vector(others[0], width(product)) else None


def joined(weights: list[ir.TensorProtocol]) -> ir.TensorProtocol:
    """`[H, N + M …]`, made when it is written, so that a large model is not held twice."""
    shape = ir.Shape([weights[0].shape[0], sum(int(w.shape[1]) for w in weights)])  # type: ignore[arg-type,misc]
    return ir.LazyTensor(
        lambda: ir.tensor(np.concatenate([w.numpy() for w in weights], axis=1)), weights[0].dtype, shape
    )
