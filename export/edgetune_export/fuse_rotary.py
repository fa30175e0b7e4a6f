"""Rotary position embedding (Su et al. 2021) in its half-split form, found in a traced graph, and its tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgetune_export.fuse_products import cut_of
from edgetune_export.rewriter import Rewriter, attribute, constant, made_by, scalar, width, with_constant


@dataclass(frozen=True)
class Angles:
    """How far each position turns each pair.

    Attributes:
        positions: int64 `[B, T]`.
        frequencies: the constant `[R / 2]`, or one that broadcasts to it.
        scale: what cosine and sine are multiplied with.
    """

    positions: ir.Value
    frequencies: ir.Value
    scale: float


@dataclass(frozen=True)
class Rotation:
    """The first `size` of each head's features are turned."""

    source: ir.Value
    angles: Angles
    size: int


def rotation(value: ir.Value | None) -> Rotation | None:
    """What a value `[B, N, T, D]` is turned from, where it is a rotation of something."""
    whole = whole_rotation(value)
    if whole is not None:
        return whole
    parts = None if value is None else made_by(value, "Concat")
    if parts is None or len(parts.inputs) != 2:
        return None
    turned, kept = whole_rotation(parts.inputs[0]), parts.inputs[1]
    if turned is None:
        return None
    front, back = turned.source.producer(), None if kept is None else kept.producer()
    if front is None or back is None:
        return None
    if front.op_type == back.op_type == "Split" and front is back and len(front.outputs) == 2:
        return Rotation(front.inputs[0], turned.angles, turned.size)  # type: ignore[arg-type]
    size = width(front.inputs[0])
    if size is None or front.inputs[0] is not back.inputs[0]:
        return None
    if cut_of(front, size) != (0, turned.size) or cut_of(back, size) != (turned.size, size):
        return None
    return Rotation(front.inputs[0], turned.angles, turned.size)  # type: ignore[arg-type]


def whole_rotation(value: ir.Value | None) -> Rotation | None:
    """`x · cos + [−x₂, x₁] · sin`."""
    add = made_by(value, "Add")
    for left, right in () if add is None else (add.inputs, reversed(add.inputs)):
        for source, cosine in pairs(made_by(left, "Mul")):
            for swapped, sine in pairs(made_by(right, "Mul")):
                found = angles(cosine, "Cos")
                if found is not None and found == angles(sine, "Sin") and swaps_halves(swapped, source):
                    size = width(source)
                    return None if size is None else Rotation(source, found, size)
    return None


def pairs(node: ir.Node | None) -> list[tuple[ir.Value, ir.Value]]:
    if node is None or None in node.inputs:
        return []
    a, b = node.inputs
    return [(a, b), (b, a)]  # type: ignore[list-item]


def swaps_halves(value: ir.Value, source: ir.Value) -> bool:
    """Whether it is `[−x₂, x₁]` of `x`."""
    concat = made_by(value, "Concat")
    if concat is None or len(concat.inputs) != 2:
        return False
    negated = made_by(concat.inputs[0], "Neg")
    second, first, size = None if negated is None else negated.inputs[0], concat.inputs[1], width(source)
    if second is None or first is None or size is None:
        return False
    split = made_by(first, "Split")
    if split is not None:
        halves = list(split.outputs) == [first, second] and width(first) == width(second)
        return halves and split.inputs[0] is source
    cuts = second.producer(), first.producer()
    if any(node is None or node.inputs[0] is not source for node in cuts):
        return False
    half = size // 2
    return cut_of(cuts[0], size) == (half, size) and cut_of(cuts[1], size) == (0, half)  # type: ignore[arg-type]


def angles(value: ir.Value | None, function: str) -> Angles | None:
    """The angles whose cosine or sine, one row for each position and both halves alike, a value `[B, 1, T, R]` is."""
    lifted = made_by(value, "Unsqueeze")
    if lifted is None:
        return None
    inner, scale = lifted.inputs[0], 1.0
    scaled = with_constant(made_by(inner, "Mul"))
    if scaled is not None and scalar(scaled[1]) is not None:
        inner, scale = scaled[0], scalar(scaled[1]) or 0.0
    node = made_by(inner, function)
    twice = None if node is None else made_by(node.inputs[0], "Concat")
    if twice is None or len(twice.inputs) != 2 or twice.inputs[0] is not twice.inputs[1]:
        return None
    product = with_constant(made_by(twice.inputs[0], "Mul"))
    if product is None:
        return None
    counted, frequencies = product
    cast = made_by(counted, "Cast")
    raised = None if cast is None else made_by(cast.inputs[0], "Unsqueeze")
    if raised is None or raised.inputs[0] is None:
        return None
    axes = constant(raised.inputs[1])
    if axes is None or [int(x) for x in axes.numpy().reshape(-1)] not in ([2], [-1]):
        return None
    return Angles(raised.inputs[0], frequencies, scale)


def tables(rewriter: Rewriter, found: Angles, positions: int) -> tuple[ir.Value, ir.Value]:
    """Cosines and sines `[positions, R / 2]`.

    They are computed from constants in the graph: ONNX Runtime folds them once as it loads, and the file stays small.
    """
    key = ("tables", found.frequencies, found.scale)
    if key not in rewriter.made:
        ends = [rewriter.once(("number", n), f"fused.number.{n}", np.array(n, np.int64)) for n in (0, positions, 1)]
        counted = rewriter.op("Range", ends).outputs[0]
        real = rewriter.op("Cast", [counted], {"to": ir.DataType.FLOAT.value}).outputs[0]
        column = rewriter.op("Unsqueeze", [real, rewriter.ints(1)]).outputs[0]
        frequencies = constant(found.frequencies)
        assert frequencies is not None
        row = rewriter.constant(f"{found.frequencies.name}.row", frequencies.numpy().reshape(1, -1))
        turned = rewriter.op("Mul", [column, row]).outputs[0]
        for function in ("Cos", "Sin"):
            table = rewriter.op(function, [turned]).outputs[0]
            if found.scale != 1.0:
                factor = np.array(found.scale, np.float32)
                scale = rewriter.once(("scale", found.scale), f"fused.scale.{found.scale}", factor)
                table = rewriter.op("Mul", [table, scale]).outputs[0]
            rewriter.made[(*key, function)] = table
        rewriter.made[key] = turned
    return rewriter.made[(*key, "Cos")], rewriter.made[(*key, "Sin")]


def counted_from(positions: ir.Value, lengths: ir.Value | None) -> bool:
    """Whether positions are those that GroupQueryAttention counts itself: both come from one mask's ones."""
    clip = made_by(positions, "Clip")
    cut = None if clip is None else made_by(clip.inputs[0], "Slice")
    minus = with_constant(None if cut is None else made_by(cut.inputs[0], "Sub"))
    running = None if minus is None or scalar(minus[1]) != 1 else made_by(minus[0], "CumSum")
    cast = made_by(lengths, "Cast")
    less = with_constant(None if cast is None else made_by(cast.inputs[0], "Sub"))
    total = None if less is None or scalar(less[1]) != 1 else made_by(less[0], "ReduceSum")
    if running is None or total is None or attribute(running, "exclusive", 0) or attribute(running, "reverse", 0):
        return False
    return running.inputs[0] is total.inputs[0]
