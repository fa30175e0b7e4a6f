"""A decoder with its prefix folded in as constant keys and values that join whenever the given past is empty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir
from onnx_ir.tape import Tape
from torch import Tensor

from edgetune.errors import UnsupportedModelError
from edgetune.models.attention import KeyValue
from edgetune_export.operators import BLOCKED
from edgetune_export.trace import BATCH, KEEP

INT64_MAX = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Front:
    """What attentions share whose prefixes have one length P_l.

    Attributes:
        length: P_l.
        joined: the positions that this call adds in front, P_l in the first and 0 in later ones.
        seqlens_k, total: GroupQueryAttention's inputs of these names.
        bias: `[B, 1, joined + T, total]`, 0 where a row may see a column.
    """

    length: int
    joined: onnx_ir.Value
    seqlens_k: onnx_ir.Value
    total: onnx_ir.Value
    bias: onnx_ir.Value


class Fronts:
    """A `Front` for each length, and the mask that covers the longest, made once."""

    def __init__(self, graph: onnx_ir.Graph, tape: Tape, constants: Constants) -> None:
        self.tape, self.constants = tape, constants
        inputs = {value.name: value for value in graph.inputs}
        self.ids, self.text_mask = inputs["input_ids"], inputs["attention_mask"]
        past = inputs["past_key_values.0.key"]
        self.zero, self.one = constants.ints("zero", 0), constants.ints("one", 1)
        self.batch = tape.op("Shape", [self.ids], {"start": 0, "end": 1})
        self.is_first = tape.op("Equal", [tape.op("Shape", [past], {"start": 2, "end": 3}), self.zero])
        self.made: dict[int, Front] = {}

    def mask(self, length: int) -> onnx_ir.Value:
        """`[B, P_l + past text + T]`."""
        shape = self.tape.op("Concat", [self.batch, self.constants.ints(f"virtual.{length}", length)], {"axis": 0})
        ones = self.tape.op("Expand", [self.constants.ints("visible", 1, shape=(1, 1)), shape])
        return self.tape.op("Concat", [ones, self.text_mask], {"axis": 1})

    def of(self, length: int) -> Front:
        if length not in self.made:
            self.made[length] = self.front(length)
        return self.made[length]

    def front(self, length: int) -> Front:
        op, constants = self.tape.op, self.constants
        joined = op("Where", [self.is_first, constants.ints(f"virtual.{length}", length), self.zero])
        mask = self.mask(length)
        total = op("Shape", [mask], {"start": 1, "end": 2})
        last = op("Cast", [op("Sub", [total, self.one])], {"to": onnx_ir.DataType.INT32})
        hidden = op("Sub", [constants.floats("one_float", 1.0), op("Cast", [mask], {"to": onnx_ir.DataType.FLOAT})])
        columns = op(
            "Unsqueeze",
            [op("Mul", [hidden, constants.floats("blocked", BLOCKED)]), constants.ints("heads_and_rows", 1, 2)],
        )
        rows = op("Add", [joined, op("Shape", [self.ids], {"start": 1, "end": 2})])
        return Front(
            length=length,
            joined=joined,
            seqlens_k=op("Expand", [last, self.batch]),
            total=op("Squeeze", [op("Cast", [total], {"to": onnx_ir.DataType.INT32})]),
            bias=op("Expand", [columns, op("Concat", [self.batch, self.one, rows, total], {"axis": 0})]),
        )


def fold_prefix(model: onnx_ir.Model, prefix: list[KeyValue]) -> None:
    """Turns a decoder of the shared form into the standalone form in place. `prefix`: `[1, K, P_l, D]` a layer.

    The first call, whose past is empty, runs the prefix as P_l more positions of each attention, with queries of zero
    whose results are dropped: GroupQueryAttention takes a batch of several tokens over an empty past alone. Later calls
    bring the prefix back in their past. Padding, on either side, becomes a bias on the scores.
    """
    graph = model.graph
    tape = Tape()
    constants = Constants(graph)
    fronts = Fronts(graph, tape, constants)
    attentions = [node for node in graph if node.op_type == "GroupQueryAttention"]
    lengths = [key.shape[2] for key, _ in prefix]

    uses = [use for use in fronts.text_mask.uses() if use.node.graph is graph]
    mask = fronts.mask(max(lengths))
    for value_use in uses:
        value_use.node.replace_input_with(value_use.idx, mask)
    for i, (node, (key, value)) in enumerate(zip(attentions, prefix)):
        if len(node.inputs) > 10 and node.inputs[10] is not None:
            raise UnsupportedModelError(
                "a decoder with linear biases (ALiBi) cannot be exported alone; leave out --standalone"
            )
        front = fronts.of(key.shape[2])
        node.replace_input_with(5, front.seqlens_k)
        node.replace_input_with(6, front.total)
        node.resize_inputs(max(len(node.inputs), 11))
        node.replace_input_with(10, front.bias)
        if front.length:
            join(node, front, fronts, {f"past_key_values.{i}.key": key, f"past_key_values.{i}.value": value})
    graph.extend(tape.nodes)
    all_positions(graph, next(value for value in graph.inputs if value.name == KEEP))
    graph.sort()
    redeclare(graph, lengths)


def join(node: onnx_ir.Node, front: Front, fronts: Fronts, layer: dict[str, Tensor]) -> None:
    """In the first call, the layer's keys and values in front of the node's own, behind queries of zero."""
    tape, constants = fronts.tape, fronts.constants
    ((_, key), _) = layer.items()
    width = node.attributes["num_heads"].as_int() * key.shape[3]
    shape = tape.op("Concat", [fronts.batch, front.joined, constants.ints(f"width.{width}", width)], {"axis": 0})
    starts = [tape.op("ConstantOfShape", [shape])]
    for name, x in layer.items():
        flat = x.permute(0, 2, 1, 3).reshape(1, front.length, -1).contiguous().numpy()
        part = tape.op("Slice", [constants.array(f"{name}.prefix", flat), fronts.zero, front.joined, fronts.one])
        width = constants.ints(f"width.{flat.shape[2]}", flat.shape[2])
        shape = tape.op("Concat", [fronts.batch, front.joined, width], {"axis": 0})
        starts.append(tape.op("Expand", [part, shape]))
    for index, start in enumerate(starts):
        own = node.inputs[index]
        assert own is not None
        node.replace_input_with(index, tape.op("Concat", [start, own], {"axis": 1}))
    out = node.outputs[0]
    uses = list(out.uses())
    text = tape.op("Slice", [out, front.joined, constants.ints("end", INT64_MAX), fronts.one])
    for use in uses:
        use.node.replace_input_with(use.idx, text)


def redeclare(graph: onnx_ir.Graph, lengths: list[int]) -> None:
    """Logits of every position; caches that are of different lengths have names of their own for them."""
    for value in [*graph.inputs, *graph.outputs]:
        name = value.name or ""
        if name == "logits":
            value.shape = onnx_ir.Shape([BATCH, "T", value.shape[2]])  # type: ignore[index]
        elif len(set(lengths)) > 1 and name.startswith(("past_key_values.", "present.")):
            word, layer, _ = name.split(".")
            batch, heads, _, size = value.shape  # type: ignore[misc]
            value.shape = onnx_ir.Shape([batch, heads, f"{word.partition('_')[0]} + {lengths[int(layer)]}", size])


def all_positions(graph: onnx_ir.Graph, keep: onnx_ir.Value) -> None:
    """Logits of every position, as ordinary exports give them: the slice in front of the output head goes."""
    pending, chain = [keep], []
    while pending:
        for use in list(pending.pop().uses()):
            chain.append(use.node)
            if use.node.op_type != "Slice":
                pending.extend(use.node.outputs)
    sliced = next(node for node in chain if node.op_type == "Slice")
    source = sliced.inputs[0]
    assert source is not None
    for use in list(sliced.outputs[0].uses()):
        use.node.replace_input_with(use.idx, source)
    graph.remove(list(reversed(dict.fromkeys(chain))), safe=True)
    graph.inputs.remove(keep)
    graph.initializers.pop(KEEP, None)


class Constants:
    """Initializers by name, each made once."""

    def __init__(self, graph: onnx_ir.Graph) -> None:
        self.graph = graph
        self.made: dict[str, onnx_ir.Value] = {}

    def array(self, name: str, array: np.ndarray) -> onnx_ir.Value:
        if name not in self.made:
            name_in_graph = name if name.startswith("past_key_values") else f"fold.{name}"
            value = onnx_ir.val(name_in_graph, const_value=onnx_ir.tensor(array, name=name_in_graph))
            self.graph.register_initializer(value)
            self.made[name] = value
        return self.made[name]

    def ints(self, name: str, *values: int, shape: tuple[int, ...] | None = None) -> onnx_ir.Value:
        array = np.array(values, np.int64)
        return self.array(name, array if shape is None else array.reshape(shape))

    def floats(self, name: str, value: float) -> onnx_ir.Value:
        return self.array(name, np.array(value, np.float32))
