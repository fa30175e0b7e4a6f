"""Weights of a fused graph in fewer bits, with the operators that ONNX Runtime computes on them directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgetune.models.rounding import Rounding, Stored, Weights, stored
from edgetune_export.parameters import parameter_of
from edgetune_export.progress import Tell, untold
from edgetune_export.rewriter import Rewriter, attribute, constant, is_vector, made_by, read_once


def quantized(model: ir.Model, roundings: Mapping[str, Rounding], weights: Weights, tell: Tell = untold) -> ir.Model:
    """The same model, rewritten in place. `roundings` are by parameter (edgetune.models.rounding)."""
    rewriter, tables = Rewriter(model), {}
    of = lambda value: roundings.get(parameter_of(value) or "")  # noqa: E731
    products = rewriter.nodes("MatMul")
    turned = {transpose.inputs[0] for node in products if (transpose := made_by(node.inputs[1], "Transpose"))}
    for node in rewriter.nodes("Gather"):
        rounding = of(node.inputs[0])
        if rounding is None or rounding.bits == 16 or attribute(node, "axis", 0) != 0:
            continue
        if rounding.block_size:
            look_up(rewriter, node, rounding, tables, alone=node.inputs[0] not in turned)
        else:
            look_up_rows(rewriter, node, rounding, tables)
    for number, node in enumerate(products):
        transpose = made_by(node.inputs[1], "Transpose")
        weight = node.inputs[1] if transpose is None else transpose.inputs[0]
        rounding = of(weight)
        if rounding is None or weight is None or rounding.bits == 16:
            continue
        tell("rounding", number, len(products))
        if transpose is not None:
            made = tables.get(weight) or kept(rewriter, weight, rounding, turned=True)
        else:
            made = kept(rewriter, weight, rounding)
        multiply(rewriter, node, made, rounding, weights)
    for value in list(model.graph.initializers.values()):
        rounding = of(value)
        if rounding is not None and rounding.bits == 16:
            halve(rewriter, value)
    rewriter.tidy()
    return model


def kept(
    rewriter: Rewriter, weight: ir.Value, rounding: Rounding, *, turned: bool = False, flat: bool = False
) -> dict[str, ir.Value]:
    """The initializers of a weight: `packed`, which `flat` makes a matrix, `scales` and, asymmetric, `zero_points`."""
    tensor = constant(weight)
    assert tensor is not None
    array = tensor.numpy()
    made: Stored = stored(array.T if turned else array, rounding)
    packed = made.packed.reshape(len(made.packed), -1) if flat else made.packed
    arrays = {"packed": packed, "scales": made.scales, "zero_points": made.zero_points}
    suffix = {"packed": f"int{rounding.bits}", "scales": "scales", "zero_points": "zero_points"}
    return {part: rewriter.constant(f"{weight.name}.{suffix[part]}", x) for part, x in arrays.items() if x is not None}


def look_up(
    rewriter: Rewriter, node: ir.Node, rounding: Rounding, tables: dict[ir.Value, dict[str, ir.Value]], *, alone: bool
) -> None:
    """GatherBlockQuantized over `[V, H · bits / 8]`: the bytes of a product with the table's transpose, as a matrix.

    A table that is `alone`, in no product, is stored as that matrix: ONNX Runtime folds a Reshape into a copy.
    """
    table = node.inputs[0]
    assert table is not None
    if table not in tables:
        tables[table] = kept(rewriter, table, rounding, turned=True, flat=alone)
    made = tables[table]
    matrix = made["packed"]
    if not alone:
        rows, blocks, size = matrix.shape  # type: ignore[misc]
        matrix = rewriter.op("Reshape", [matrix, rewriter.ints(rows, blocks * size)]).outputs[0]  # type: ignore[arg-type,operator]
    attributes = {
        "gather_axis": 0, "quantize_axis": 1, "bits": rounding.bits, "block_size": rounding.block_size,
    }  # fmt: skip
    inputs = [matrix, node.inputs[1], made["scales"], *([made["zero_points"]] if "zero_points" in made else [])]
    found = rewriter.ms("GatherBlockQuantized", inputs, attributes, like=node.outputs[0])
    rewriter.replace(node.outputs[0], found.outputs[0])


def look_up_rows(
    rewriter: Rewriter, node: ir.Node, rounding: Rounding, tables: dict[ir.Value, dict[str, ir.Value]]
) -> None:
    """Rows of a table `[V, H]` in int8, each times its scale. A product with the table's transpose takes the same
    bytes: ONNX Runtime turns them as it loads."""
    table = node.inputs[0]
    assert table is not None
    if table not in tables:
        tensor = constant(table)
        assert tensor is not None
        made = stored(tensor.numpy().T, rounding)
        assert made.scales is not None
        rows = rewriter.constant(f"{table.name}.int8", np.ascontiguousarray(made.packed.T))
        tables[table] = {
            "rows": rows,
            "row_scales": rewriter.constant(f"{table.name}.row_scales", made.scales[:, None]),
            "packed": rewriter.op("Transpose", [rows], {"perm": [1, 0]}).outputs[0],
            "scales": rewriter.constant(f"{table.name}.scales", made.scales),
        }
    made = tables[table]
    integers = rewriter.op("Gather", [made["rows"], node.inputs[1]], {"axis": 0}).outputs[0]
    floats = rewriter.op("Cast", [integers], {"to": ir.DataType.FLOAT.value}).outputs[0]
    scales = rewriter.op("Gather", [made["row_scales"], node.inputs[1]], {"axis": 0}).outputs[0]
    found = rewriter.op("Mul", [floats, scales], like=node.outputs[0])
    rewriter.replace(node.outputs[0], found.outputs[0])


def multiply(
    rewriter: Rewriter, node: ir.Node, made: Mapping[str, ir.Value], rounding: Rounding, weights: Weights
) -> None:
    """MatMulNBits, or DynamicQuantizeMatMul for whole columns; a bias that follows goes inside."""
    out, bias = node.outputs[0], None
    user: Any = next(iter(out.uses())).node if read_once(out) else None
    if user is not None and user.op_type == "Add":
        (other,) = [x for x in user.inputs if x is not out] or [None]
        if is_vector(other):
            bias, out = other, user.outputs[0]
    source, zeros = node.inputs[0], made.get("zero_points")
    if not rounding.block_size:
        inputs, operator, attributes = [source, made["packed"], made["scales"], None, bias], "DynamicQuantizeMatMul", {}
    else:
        shape: Any = made["packed"].shape
        attributes = {
            "K": weight_rows(node), "N": shape[0], "bits": rounding.bits, "block_size": rounding.block_size,
            "accuracy_level": weights.accuracy_level,
        }  # fmt: skip
        inputs, operator = [source, made["packed"], made["scales"], zeros, None, bias], "MatMulNBits"
    while inputs[-1] is None:
        inputs.pop()
    found = rewriter.ms(operator, inputs, attributes, like=out)
    rewriter.replace(out, found.outputs[0])


def weight_rows(node: ir.Node) -> int:
    weight, transpose = node.inputs[1], made_by(node.inputs[1], "Transpose")
    return int(constant(weight).shape[0] if transpose is None else constant(transpose.inputs[0]).shape[1])  # type: ignore[union-attr,arg-type]


def halve(rewriter: Rewriter, value: ir.Value) -> None:
    """float16 in the file; ONNX Runtime folds the Cast as it loads and computes in float32."""
    tensor = constant(value)
    if tensor is None or tensor.dtype != ir.DataType.FLOAT:
        return
    half = ir.LazyTensor(lambda: ir.tensor(tensor.numpy().astype(np.float16)), ir.DataType.FLOAT16, tensor.shape)  # type: ignore[arg-type]
    stored_half = rewriter.constant(f"{value.name}.float16", half)
    wide = rewriter.op("Cast", [stored_half], {"to": ir.DataType.FLOAT.value}).outputs[0]
    rewriter.replace(value, wide)
