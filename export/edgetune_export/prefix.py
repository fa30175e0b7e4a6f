"""A decoder with its prefix folded in as constant keys and values that join whenever the given past is empty."""

from __future__ import annotations

import numpy as np
import onnx_ir
from onnx_ir.tape import Tape

from edgetune.models.attention import KeyValue
from edgetune_export.operators import BLOCKED
from edgetune_export.trace import KEEP

INT64_MAX = np.iinfo(np.int64).max


def fold_prefix(model: onnx_ir.Model, prefix: list[KeyValue]) -> None:
    """Turns a decoder of the shared form into the standalone form in place. `prefix`: `[1, K, P, D]` a layer.

    The first call, whose past is empty, runs the prefix as P more positions of each attention, with queries of zero
    whose results are dropped: GroupQueryAttention takes a batch of several tokens over an empty past alone. Later calls
    bring the prefix back in their past. Padding, on either side, becomes a bias on the scores.
    """
    graph = model.graph
    tape = Tape()
    constants = Constants(graph)
    inputs = {value.name: value for value in graph.inputs}
    ids, text_mask, past = inputs["input_ids"], inputs["attention_mask"], inputs["past_key_values.0.key"]
    attentions = [node for node in graph if node.op_type == "GroupQueryAttention"]
    virtual = prefix[0][0].shape[2]
    zero, one = constants.ints("zero", 0), constants.ints("one", 1)

    batch = tape.op("Shape", [ids], {"start": 0, "end": 1})
    is_first = tape.op("Equal", [tape.op("Shape", [past], {"start": 2, "end": 3}), zero])
    joined = tape.op("Where", [is_first, constants.ints("virtual_tokens", virtual), zero])

    ones = tape.op("Expand", [constants.ints("visible", *[1] * virtual, shape=(1, virtual)), tape.op(
        "Concat", [batch, constants.ints("virtual_tokens", virtual)], {"axis": 0})])  # fmt: skip
    mask = tape.op("Concat", [ones, text_mask], {"axis": 1})
    for value_use in list(text_mask.uses()):
        if value_use.node.graph is graph:
            value_use.node.replace_input_with(value_use.idx, mask)

    total = tape.op("Shape", [mask], {"start": 1, "end": 2})
    last = tape.op("Cast", [tape.op("Sub", [total, one])], {"to": onnx_ir.DataType.INT32})
    seqlens_k = tape.op("Expand", [last, batch])
    length = tape.op("Add", [joined, tape.op("Shape", [ids], {"start": 1, "end": 2})])
    hidden = tape.op(
        "Sub", [constants.floats("one_float", 1.0), tape.op("Cast", [mask], {"to": onnx_ir.DataType.FLOAT})]
    )
    columns = tape.op(
        "Unsqueeze",
        [tape.op("Mul", [hidden, constants.floats("blocked", BLOCKED)]), constants.ints("heads_and_rows", 1, 2)],
    )
    bias = tape.op("Expand", [columns, tape.op("Concat", [batch, one, length, total], {"axis": 0})])

    for i, (node, (key, value)) in enumerate(zip(attentions, prefix)):
        width = node.attributes["num_heads"].as_int() * key.shape[3]
        shape = tape.op("Concat", [batch, joined, constants.ints(f"width.{width}", width)], {"axis": 0})
        starts = [tape.op("ConstantOfShape", [shape])]
        for name, x in (("key", key), ("value", value)):
            flat = x.permute(0, 2, 1, 3).reshape(1, virtual, -1).contiguous().numpy()
            part = tape.op("Slice", [constants.array(f"past_key_values.{i}.{name}.prefix", flat), zero, joined, one])
            shape = tape.op(
                "Concat", [batch, joined, constants.ints(f"width.{flat.shape[2]}", flat.shape[2])], {"axis": 0}
            )
            starts.append(tape.op("Expand", [part, shape]))
        for index, start in enumerate(starts):
            own = node.inputs[index]
            assert own is not None
            node.replace_input_with(index, tape.op("Concat", [start, own], {"axis": 1}))
        node.replace_input_with(5, seqlens_k)
        node.resize_inputs(11)
        node.replace_input_with(10, bias)
        out = node.outputs[0]
        uses = list(out.uses())
        text = tape.op("Slice", [out, joined, constants.ints("end", INT64_MAX), one])
        for use in uses:
            use.node.replace_input_with(use.idx, text)
    graph.extend(tape.nodes)
    all_positions(graph, inputs[KEEP])
    graph.sort()
    for value in graph.outputs:
        if value.name == "logits":
            value.shape = onnx_ir.Shape(["B", "T", value.shape[2]])  # type: ignore[index]


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
