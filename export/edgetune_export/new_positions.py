"""A decoder's graph for runtimes that are handed a copy of all that it writes: of keys and values what is new alone.

ONNX Runtime's bindings for JavaScript copy every output, which for whole caches costs by the context at each step. This
second graph over the same weights gives what a step adds, and the runtime puts it behind what it holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from edgetune_runtime.session import present_names
from onnx import TensorProto, helper, numpy_helper

FILE, OUTPUT, KEY = "model.new_positions.onnx", "present.new", "new_positions_file"
SEQLENS_K = 5
"""Number of GroupQueryAttention's input of that name: positions in use with the new ones, minus one."""
HELD, ROOM = (5, 2), 9
"""Positions that the rows of a check hold, and those that its buffers have room for."""


def write_new_positions(graph: Path) -> Path:
    """Beside a shared decoder's graph: the same over the same weights' file, with other outputs."""
    model = onnx.load(graph, load_external_data=False)
    replace_presents(model.graph)
    path = graph.with_name(FILE)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def replace_presents(graph: onnx.GraphProto) -> None:
    """`present.*` are outputs no longer, `present.new` is one: their new positions, one layer behind the other."""
    made = {name: node for node in graph.node for name in node.output}
    presents = [value for value in graph.output if value.name != "logits"]
    new = Nodes(graph)
    length = new.add("Shape", ["input_ids"], start=1, end=2)  # [1], T
    tokens = new.add("Range", [new.ints(0, scalar=True), new.add("Squeeze", [length]), new.ints(1, scalar=True)])
    # the last of T stands at seqlens_k
    offsets = new.add("Reshape", [new.add("Add", [new.add("Sub", [tokens, length]), new.ints(1)]), new.ints(-1, 1)])
    places: dict[tuple[str, int], str] = {}
    parts, shapes = [], set()
    # ONNX Runtime runs the last written of these first, each behind its layer: a layer's memory is the next one's
    for value in reversed(presents):
        _, heads, _, size = (x.dim_value for x in value.type.tensor_type.shape.dim)
        last = made[value.name].input[SEQLENS_K]
        if (last, heads) not in places:
            rows = new.add("Unsqueeze", [new.add("Cast", [last], to=TensorProto.INT64), new.ints(1, 2, 3)])
            every = new.add("Add", [rows, offsets])  # [B, 1, T, 1]
            places[last, heads] = new.add("Expand", [every, new.ints(1, heads, 1, 1)])
        parts.append(new.add("GatherND", [value.name, places[last, heads]], batch_dims=2))  # [B, K, T, D]
        shapes.add((heads, size))
    parts.reverse()
    flat = new.ints(-1)
    if len(shapes) > 1:
        parts = [new.add("Reshape", [part, flat]) for part in parts]
    graph.node.append(helper.make_node("Reshape", [new.add("Concat", parts, axis=0), flat], [OUTPUT]))
    for value in presents:
        graph.output.remove(value)
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["new"]))


class Nodes:
    """New nodes of one output each, and the whole numbers that they take."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.made: dict[tuple[tuple[int, ...], bool], str] = {}

    def add(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        name = f"new_positions.{len(self.graph.node)}"
        self.graph.node.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def ints(self, *values: int, scalar: bool = False) -> str:
        """int64 `[n]`, or a scalar, the same initializer for the same numbers."""
        if (values, scalar) not in self.made:
            name = f"new_positions.ints.{len(self.made)}"
            array = np.array(values[0] if scalar else values, np.int64)
            self.graph.initializer.append(numpy_helper.from_array(array, name))
            self.made[values, scalar] = name
        return self.made[values, scalar]


def trials(session: ort.InferenceSession) -> list[dict[str, np.ndarray]]:
    """What both graphs are fed: three tokens of one row behind a past, and one of each of two rows of two lengths."""
    rng = np.random.default_rng(0)
    found = []
    for rows, count in ((1, 3), (2, 1)):
        lengths = np.array(HELD[:rows]) + count
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        feeds = {"input_ids": np.full((rows, count), 1, np.int64), "attention_mask": mask}
        for value in session.get_inputs():
            if value.name.startswith("past_key_values."):
                _, heads, _, size = value.shape
                feeds[value.name] = rng.standard_normal((rows, heads, ROOM, size), np.float32)
            elif value.name == "skipped":
                feeds[value.name] = np.arange(rows * value.shape[1]).reshape(rows, -1) % 2
            elif value.name == "suffix_embeds":
                feeds[value.name] = np.zeros((rows, 1, value.shape[2]), np.float32)
        found.append(feeds)
    return found


def wholes(session: ort.InferenceSession) -> list[list[np.ndarray]]:
    """Of each trial logits, and what `present.new` should be, cut from whole caches."""
    names, found = present_names(len([x for x in session.get_outputs() if x.name.startswith("present.")]) // 2), []
    for feeds in trials(session):
        logits, *presents = map(np.asarray, session.run(["logits", *names], feeds))
        count, lengths = feeds["input_ids"].shape[1], feeds["attention_mask"].sum(1)
        parts = []
        for i, present in enumerate(presents):
            ends = lengths - feeds["skipped"][:, i // 2] if "skipped" in feeds else lengths
            parts += [row[:, end - count : end].ravel() for row, end in zip(present, ends)]
        found.append([logits, np.concatenate(parts)])
    return found


def difference(session: ort.InferenceSession, expected: list[list[np.ndarray]]) -> tuple[float, float]:
    """Of the graph of `session` from what `wholes` found: the most, and the largest number there, at least 1."""
    got = [session.run(["logits", OUTPUT], feeds) for feeds in trials(session)]
    pairs = [pair for outputs in zip(expected, got) for pair in zip(*outputs)]
    return max(float(np.abs(a - b).max()) for a, b in pairs), max(1.0, *(float(np.abs(a).max()) for a, _ in pairs))
