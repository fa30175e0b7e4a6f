"""Which parameter of the base each initializer of a traced graph is: the tracer renames what it transposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from edgetune.models.base import Base
from edgetune.models.rounding import Rounding
from edgetune_export.fuse_products import STORED
from edgetune_export.rewriter import Rewriter, constant, made_by, read_once

PARAMETER = "edgetune.parameter"
"""Key of a value's `meta`; it is not written to the file."""


def parameter_of(value: ir.Value | None) -> str | None:
    return None if value is None else value.meta.get(PARAMETER)


def name_parameters(model: ir.Model, base: Base) -> None:
    """Notes each initializer's parameter, found by the memory that both share, and makes one of those that are one.

    A matrix appears as it is stored or transposed. The transpose of a table that is looked up as well stays a node, so
    that its bytes are there once; other transposes of weights are taken into the initializer.
    """
    rewriter, known = Rewriter(model), {}
    for name, parameter in base.model.named_parameters():
        known[parameter.data_ptr()] = name
    first: dict[tuple[str, tuple[int, ...]], ir.Value] = {}
    for value in list(model.graph.initializers.values()):
        tensor = constant(value)
        name = None if tensor is None or len(tensor.shape) < 2 else known.get(address(tensor))
        if tensor is None or name is None:
            continue
        value.meta[PARAMETER] = name
        key = name, tuple(int(n) for n in tensor.shape)  # type: ignore[arg-type]
        square = key[1] == key[1][::-1]
        key = (f"{name}{' transposed' if square and is_view(tensor) else ''}", key[1])
        if key in first:
            rewriter.replace(value, first[key])
        else:
            first[key] = value
    rewriter.tidy()
    for node in rewriter.nodes("Transpose"):
        take_in(rewriter, node)
    rewriter.tidy()
    share_tables(rewriter)
    rewriter.tidy()


def address(tensor: Any) -> int:
    raw: Any = getattr(tensor, "raw", None)
    return raw.data_ptr() if hasattr(raw, "data_ptr") else tensor.numpy().__array_interface__["data"][0]


def is_view(tensor: Any) -> bool:
    """Whether it is a transposed view of the parameter's memory."""
    return not tensor.numpy().flags.c_contiguous


def take_in(rewriter: Rewriter, node: ir.Node) -> None:
    source = node.inputs[0]
    tensor = constant(source)
    if tensor is None or source is None or len(tensor.shape) != 2 or not read_once(source):
        return
    value = rewriter.constant(f"{source.name}.transposed", ir.tensor(tensor.numpy().T))
    value.meta.update(source.meta)
    rewriter.replace(node.outputs[0], value)


def share_tables(rewriter: Rewriter) -> None:
    """A product with the transpose of a table that is looked up as well reads that table."""
    tables = {parameter_of(node.inputs[0]): node.inputs[0] for node in rewriter.nodes("Gather")}
    for node in rewriter.nodes("MatMul"):
        weight = node.inputs[1]
        table = tables.get(parameter_of(weight)) if parameter_of(weight) else None
        if table is not None and weight is not table and made_by(weight, "Transpose") is None:
            turned = rewriter.op("Transpose", [table], {"perm": [1, 0]}).outputs[0]
            node.replace_input_with(1, turned)


def mark_stored(model: ir.Model, roundings: Mapping[str, Rounding]) -> None:
    """Notes on each weight how it will be stored."""
    for value in model.graph.initializers.values():
        value.meta[STORED] = roundings.get(parameter_of(value) or "")
