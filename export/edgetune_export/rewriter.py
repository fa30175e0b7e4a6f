"""What stands behind a value of a graph, and another value put in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

MICROSOFT = "com.microsoft"


def made_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node that computes a value, if it is one of these operators."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type in op_types else None


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """An initializer's tensor; an input's default is none, since callers override it."""
    if value is None or value.is_graph_input() or value.producer() is not None:
        return None
    return value.const_value


def scalar(value: ir.Value | None) -> float | None:
    """The number that a constant of one element holds."""
    tensor = constant(value)
    return float(tensor.numpy().reshape(-1)[0]) if tensor is not None and tensor.size == 1 else None


def is_vector(value: ir.Value | None, size: int | None = None) -> bool:
    """A constant `[size]`, of any size for None."""
    tensor = constant(value)
    return tensor is not None and len(tensor.shape) == 1 and size in (None, tensor.shape[0])


def is_matrix(value: ir.Value | None) -> bool:
    tensor = constant(value)
    return tensor is not None and len(tensor.shape) == 2


def with_constant(node: ir.Node | None) -> tuple[ir.Value, ir.Value] | None:
    """`(computed, constant)` of a node of two inputs, in whichever order they stand."""
    if node is None or len(node.inputs) != 2:
        return None
    first, second = node.inputs
    if first is None or second is None or (constant(first) is None) == (constant(second) is None):
        return None
    return (first, second) if constant(first) is None else (second, first)


def biased(value: ir.Value | None) -> tuple[ir.Value, ir.Value] | None:
    """`(x, bias)` of an addition of a constant vector; nothing else may read the sum."""
    node = made_by(value, "Add")
    parts = with_constant(node)
    return parts if parts is not None and is_vector(parts[1]) and read_once(value) else None


def read_once(value: ir.Value | None) -> bool:
    return value is not None and len(list(value.uses())) == 1 and not value.is_graph_output()


def last_axis(node: ir.Node, axis: int | None) -> bool:
    """Whether `axis` is the last of the node's first input, as far as the trace knows."""
    source = node.inputs[0]
    rank = None if source is None or source.shape is None else len(source.shape)
    return axis == -1 or (axis is not None and rank is not None and axis == rank - 1)


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    found = node.attributes.get(name)
    return default if found is None else found.value


def same_shape(a: ir.Value, b: ir.Value) -> bool:
    """The trace gave both one shape; unknown dimensions equal nothing."""
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return False
    return all(dimension(x) is not None and dimension(x) == dimension(y) for x, y in zip(a.shape, b.shape))


def dimension(dim: Any) -> int | str | None:
    return dim if isinstance(dim, int) else dim.value


def width(value: ir.Value | None) -> int | None:
    """The last dimension, where it is a number."""
    if value is None or value.shape is None or not len(value.shape):
        return None
    last = value.shape[-1]
    return last if isinstance(last, int) else None


class Rewriter:
    """New nodes and constants for one graph. Nodes are put in order at the end, by `finish`."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.made: dict[Any, ir.Value] = {}

    def nodes(self, *op_types: str) -> list[ir.Node]:
        return [node for node in self.graph if node.op_type in op_types]

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        domain: str = "",
        outputs: int = 1,
        like: ir.Value | None = None,
    ) -> ir.Node:
        """A node; its first output has the shape of `like`."""
        made = [ir.convenience.convert_attribute(name, value) for name, value in (attributes or {}).items()]
        node = ir.Node(domain, op_type, inputs, made, num_outputs=outputs)
        if like is not None:
            node.outputs[0].shape, node.outputs[0].type = like.shape, like.type
        self.graph.append(node)
        return node

    def ms(
        self, op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any] | None = None, **more: Any
    ):
        """A node of ONNX Runtime's own operators."""
        return self.op(op_type, inputs, attributes, domain=MICROSOFT, **more)

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Everything that read `old` reads `new`. A graph's output keeps its name and shape."""
        if old.is_graph_output():
            new.name, old.name = old.name, f"{old.name}.replaced"
            new.shape, new.type = old.shape, old.type
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)

    def constant(self, name: str, tensor: ir.TensorProtocol | np.ndarray) -> ir.Value:
        """An initializer; its name is made unique."""
        unique, number = name, 1
        while unique in self.graph.initializers:
            unique, number = f"{name}.{number}", number + 1
        tensor = ir.tensor(tensor, name=unique) if isinstance(tensor, np.ndarray) else tensor
        tensor.name = unique  # type: ignore[misc]
        value = ir.val(unique, dtype=tensor.dtype, shape=tensor.shape, const_value=tensor)  # type: ignore[arg-type]
        self.graph.register_initializer(value)
        return value

    def once(self, key: Any, name: str, array: np.ndarray) -> ir.Value:
        """The same constant for the same key."""
        if key not in self.made:
            self.made[key] = self.constant(name, array)
        return self.made[key]

    def ints(self, *values: int) -> ir.Value:
        """int64 `[n]`, one initializer for all that need it."""
        return self.once(("ints", values), f"fused.ints.{'_'.join(map(str, values))}", np.array(values, np.int64))

    def tidy(self) -> None:
        """Nodes in order; those that nothing reads are gone, with their constants."""
        self.graph.sort()
        for node in reversed(list(self.graph)):
            if not any(value.is_graph_output() or list(value.uses()) for value in node.outputs):
                self.graph.remove(node, safe=True)
        for name, value in list(self.graph.initializers.items()):
            if not list(value.uses()) and not value.is_graph_input() and not value.is_graph_output():
                del self.graph.initializers[name]
