"""Attention without transposes around it: heads stay flat, rotary embedding and packing are the operator's own."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgetune_export.fuse_rotary import Angles, Rotation, counted_from, rotation, tables
from edgetune_export.rewriter import Rewriter, attribute, biased, constant, is_vector, made_by, read_once, width

HEADS_AND_TOKENS = [0, 2, 1, 3]
ROTARY_MULTIPLE = 8
"""GroupQueryAttention takes tables whose width is a multiple of this (group_query_attention_helper.h)."""


@dataclass(frozen=True)
class Flat:
    """Heads `[B, N, T, D]` as the `[B, T, N·D]` that they were made of.

    Attributes:
        norm: a norm over each head's features that stands between.
        turned: the rotation after it.
    """

    value: ir.Value
    heads: int
    head_size: int
    norm: ir.Node | None = None
    turned: Rotation | None = None


def fuse_attention(rewriter: Rewriter, positions: int | None, *, pack: bool) -> None:
    """`positions` is the most that tables must hold; without it rotary embeddings stay as they are.

    `pack` False leaves queries, keys and values apart and rotated outside, for graphs that put more in front of them.
    """
    for node in rewriter.nodes("GroupQueryAttention", "MultiHeadAttention"):
        flattened(rewriter, node, positions, pack=pack)
    rewriter.tidy()
    if pack:
        for node in rewriter.nodes("GroupQueryAttention"):
            pack_inputs(node)
        for node in rewriter.nodes("MultiHeadAttention"):
            bias_inside(node)
    rewriter.tidy()


def flattened(rewriter: Rewriter, node: ir.Node, positions: int | None, *, pack: bool) -> None:
    heads = attribute(node, "num_heads"), attribute(node, "kv_num_heads", attribute(node, "num_heads"))
    query, key, value = (flat_of(x, n) for x, n in zip(node.inputs[:3], (heads[0], heads[1], heads[1])))
    if value is not None and value.norm is None and value.turned is None:
        node.replace_input_with(2, value.value)
    if query is None or key is None:
        return
    angles = {x.turned.angles for x in (query, key) if x.turned is not None}
    if angles and positions is None:
        return
    inside = pack and positions is not None and fits_inside(node, query, key)
    for index, part in enumerate((query, key)):
        out = normed(rewriter, part)
        if part.turned is not None and not inside:
            assert positions is not None
            out = rotated(rewriter, out, part, positions)
        node.replace_input_with(index, out)
    if inside:
        assert query.turned is not None and positions is not None
        rotate_inside(rewriter, node, query.turned.angles, positions)


def flat_of(value: ir.Value | None, heads: int) -> Flat | None:
    """What a flat input of an attention was made of; None where heads come about otherwise."""
    reshape = made_by(value, "Reshape")
    if reshape is None or value is None:
        return None
    inner, by_head, norm, turned = reshape.inputs[0], False, None, None
    while inner is not None:
        transpose = made_by(inner, "Transpose")
        found = rotation(inner) if by_head and turned is None and norm is None else None
        if transpose is not None and list(attribute(transpose, "perm", ())) == HEADS_AND_TOKENS:
            inner, by_head = transpose.inputs[0], not by_head
        elif found is not None:
            inner, turned = found.source, found
        elif (node := made_by(inner, "SimplifiedLayerNormalization")) is not None and norm is None:
            inner, norm = node.inputs[0], node
        else:
            break
    start = made_by(inner, "Reshape")
    source = None if start is None else start.inputs[0]
    size = width(inner)
    if by_head or source is None or size is None or source.shape is None or len(source.shape) != 3:
        return None
    if width(source) != heads * size or (norm is not None and not is_vector(norm.inputs[1], size)):
        return None
    return Flat(source, heads, size, norm, turned)


def normed(rewriter: Rewriter, part: Flat) -> ir.Value:
    """`[B, T, N·D]`, each head under its norm."""
    if part.norm is None:
        return part.value
    split = rewriter.op("Reshape", [part.value, rewriter.ints(0, 0, part.heads, part.head_size)]).outputs[0]
    attributes = {"axis": -1, "stash_type": 1, "epsilon": attribute(part.norm, "epsilon")}
    norm = rewriter.op("SimplifiedLayerNormalization", [split, part.norm.inputs[1]], attributes).outputs[0]
    flat = rewriter.ints(0, 0, part.heads * part.head_size)
    return rewriter.op("Reshape", [norm, flat], like=part.value).outputs[0]


def rotated(rewriter: Rewriter, value: ir.Value, part: Flat, positions: int) -> ir.Value:
    """`[B, T, N·D]`, turned by an operator of its own."""
    assert part.turned is not None
    angles = part.turned.angles
    attributes = {"num_heads": part.heads, "rotary_embedding_dim": part.turned.size}
    inputs = [value, angles.positions, *tables(rewriter, angles, positions)]
    return rewriter.ms("RotaryEmbedding", inputs, attributes, like=part.value).outputs[0]


def fits_inside(node: ir.Node, query: Flat, key: Flat) -> bool:
    """Both are turned alike, in a width that GroupQueryAttention takes."""
    if node.op_type != "GroupQueryAttention" or query.turned is None or key.turned is None:
        return False
    half = query.turned.size // 2
    alike = query.turned.angles == key.turned.angles and query.turned.size == key.turned.size
    return alike and half % ROTARY_MULTIPLE == 0 and query.head_size % (2 * ROTARY_MULTIPLE) == 0


def rotate_inside(rewriter: Rewriter, node: ir.Node, angles: Angles, positions: int) -> None:
    cosines, sines = tables(rewriter, angles, positions)
    node.resize_inputs(max(len(node.inputs), 10))
    node.replace_input_with(7, cosines)
    node.replace_input_with(8, sines)
    if not counted_from(angles.positions, node.inputs[5]):
        node.replace_input_with(9, angles.positions)
    node.attributes["do_rotary"] = ir.AttrInt64("do_rotary", 1)


def pack_inputs(node: ir.Node) -> None:
    """Three parts of one Split, in order and whole → the value that was split."""
    split = made_by(node.inputs[0], "Split")
    if split is None or len(split.outputs) != 3 or list(split.outputs) != list(node.inputs[:3]):
        return
    heads = attribute(node, "num_heads"), attribute(node, "kv_num_heads")
    widths = [width(x) for x in split.outputs]
    if None in widths or widths[0] * heads[1] != widths[1] * heads[0] or widths[1] != widths[2]:  # type: ignore[operator]
        return
    node.replace_input_with(0, split.inputs[0])
    node.replace_input_with(1, None)
    node.replace_input_with(2, None)


def bias_inside(node: ir.Node) -> None:
    """The bias of queries, keys and values that are parts of one Split → the operator's own."""
    split = made_by(node.inputs[0], "Split")
    if split is None or len(split.outputs) != 3 or list(split.outputs) != list(node.inputs[:3]) or node.inputs[3]:
        return
    if not all(map(read_once, split.outputs)):  # DeBERTa multiplies queries and keys with distances too
        return
    parts = biased(split.inputs[0])
    if parts is not None and constant(parts[1]) is not None:
        split.replace_input_with(0, parts[0])
        node.replace_input_with(3, parts[1])
