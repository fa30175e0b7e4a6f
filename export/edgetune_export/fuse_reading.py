"""Where a head reads one position of a row, what follows the last attention is computed at that position alone."""

from __future__ import annotations

import onnx_ir as ir

from edgetune_export.rewriter import Rewriter, attribute, constant, dimension, last_axis

ATTENTION = "MultiHeadAttention"
PRODUCTS = ("MatMul", "Gemm")
OVER_FEATURES = {"LayerNormalization": -1, "SimplifiedLayerNormalization": -1, "Split": 0}
"""Operators with an axis, and its default."""
SKIP_NORMS = ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
ELEMENTWISE = (
    "Add", "Sub", "Mul", "Div", "Sigmoid", "Tanh", "Relu", "Erf", "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "Clip",
    "Cast", "Identity", "Neg", "Sqrt", "Pow",
)  # fmt: skip


def read_one_position(rewriter: Rewriter) -> None:
    """Moves each `GatherND` that picks a row's position (trace.read_at) in front of all that works position by position
    and, in the last attention, in front of its queries."""
    for node in rewriter.nodes("GatherND"):
        if attribute(node, "batch_dims", 0) == 1 and is_text(node.inputs[0]):
            hidden, at = node.inputs
            assert hidden is not None and at is not None
            moved = Reading(rewriter, at, read_here_alone(rewriter, node)).of(hidden)
            if moved.producer() is not node:
                rewriter.replace(node.outputs[0], moved)
    rewriter.tidy()


def read_here_alone(rewriter: Rewriter, reader: ir.Node) -> set[ir.Node]:
    """Nodes whose results are wanted at the position that `reader` picks and nowhere else. An attention wants its keys
    and values everywhere."""
    rewriter.graph.sort()
    found = {reader}
    for node in reversed(list(rewriter.graph)):
        uses = [use for value in node.outputs for use in value.uses()]
        wanted = (use.node in found and (use.idx == 0 or use.node.op_type != ATTENTION) for use in uses)
        if uses and all(wanted) and not any(value.is_graph_output() for value in node.outputs):
            found.add(node)
    return found


def is_text(value: ir.Value | None) -> bool:
    """`[B, T, …]` of as many rows as texts, as far as the trace knows."""
    if value is None or value.shape is None or len(value.shape) != 3 or constant(value) is not None:
        return False
    return not isinstance(dimension(value.shape[0]), int)


class Reading:
    """Values `[B, T, X]` at one position of each row, `[B, X]`; `at` is `[B, 1]`, `alone` what may be computed so."""

    def __init__(self, rewriter: Rewriter, at: ir.Value, alone: set[ir.Node]) -> None:
        self.rewriter, self.at, self.alone = rewriter, at, alone
        self.nodes: dict[ir.Node, ir.Node] = {}
        self.read: dict[ir.Value, ir.Value] = {}

    def of(self, value: ir.Value) -> ir.Value:
        if value not in self.read:
            node = value.producer()
            copy = self.nodes.get(node) or self.copied(node) if node in self.alone else None
            if node is None or copy is None:
                self.read[value] = self.picked(value)
            else:
                self.nodes[node] = copy
                self.read[value] = copy.outputs[list(node.outputs).index(value)]
        return self.read[value]

    def picked(self, value: ir.Value) -> ir.Value:
        return self.rewriter.op("GatherND", [value, self.at], {"batch_dims": 1}).outputs[0]

    def copied(self, node: ir.Node) -> ir.Node | None:
        """The node over one position, if it works on each by itself."""
        inputs = list(node.inputs)
        if node.op_type == ATTENTION:
            return self.attending(node)
        if node.op_type in (*PRODUCTS, *OVER_FEATURES):
            by_position = is_text(inputs[0]) and all(x is None or constant(x) is not None for x in inputs[1:])
            default = OVER_FEATURES.get(node.op_type, -1)
            if not by_position or not last_axis(node, attribute(node, "axis", default)):
                return None
            inputs[0] = self.of(inputs[0])  # type: ignore[arg-type]
        elif node.op_type in SKIP_NORMS:
            if not (is_text(inputs[0]) and is_text(inputs[1])):
                return None
            inputs[:2] = [self.of(x) for x in inputs[:2] if x is not None]
        elif node.op_type in ELEMENTWISE:
            if not all(x is None or is_text(x) or is_shared(x) for x in inputs):
                return None
            inputs = [self.of(x) if is_text(x) else x for x in inputs]  # type: ignore[arg-type]
        else:
            return None
        return self.again(node, inputs)

    def again(self, node: ir.Node, inputs: list[ir.Value | None]) -> ir.Node:
        found = {name: x.value for name, x in node.attributes.items()}
        found |= {"axis": -1} if node.op_type in OVER_FEATURES else {}
        copy = self.rewriter.op(node.op_type, inputs, found, domain=node.domain, outputs=len(node.outputs))
        for old, new in zip(node.outputs, copy.outputs):
            new.name = old.name and new.name
        return copy

    def attending(self, node: ir.Node) -> ir.Node | None:
        """Keys and values of all positions, the query of one, `[B, 1, N·D]`; the output loses that axis again."""
        inputs, op = list(node.inputs), self.rewriter.op
        query, bias = inputs[0], inputs[5] if len(inputs) > 5 else None
        if not is_text(query) or inputs[1] is None or inputs[2] is None or inputs[4] is not None:
            return None
        if bias is not None:
            if bias.shape is None or len(bias.shape) != 4 or bias.shape[1] != 1:
                return None
            flat = op("Squeeze", [bias, self.rewriter.ints(1)]).outputs[0]
            inputs[5] = op("Unsqueeze", [self.picked(flat), self.rewriter.ints(1, 2)]).outputs[0]
        inputs[0] = op("Unsqueeze", [self.of(query), self.rewriter.ints(1)]).outputs[0]  # type: ignore[arg-type]
        out = self.again(node, inputs).outputs[0]
        return op("Squeeze", [out, self.rewriter.ints(1)])


def is_shared(value: ir.Value) -> bool:
    """A constant that all positions share: a number, or a vector over features."""
    tensor = constant(value)
    return tensor is not None and (tensor.size == 1 or len(tensor.shape) == 1)
