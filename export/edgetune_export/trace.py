"""A base traced to an ONNX graph of the bundle's contract, prompts and prefixes as inputs."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import onnx_ir
import torch
from torch import Tensor

from edgetune.config import Pooling
from edgetune.errors import UnsupportedModelError
from edgetune.methods.head import ACTIVATIONS, pooled
from edgetune.models import attention
from edgetune.models.attention import Pass, active
from edgetune.models.base import Base
from edgetune.models.forward import given_vectors, positions, read_states, text_vectors
from edgetune.models.virtual import Virtual
from edgetune_export.experts import traced_experts
from edgetune_export.needs import PLAIN, SKIPPED, SUFFIX, Needs
from edgetune_export.operators import DECODER, ENCODER, DecoderPass, FedCache
from edgetune_export.simplify import simplified

OPSET = 21
KEEP = "num_logits_to_keep"
HEAD = ["head.weight", "head.bias", "head.dense.weight", "head.dense.bias", "head.dense.activation"]
AUTO = torch.export.Dim.DYNAMIC
BATCH = "batch_size"
"""B by the name that transformers.js looks for: it makes the first, empty cache by the names of dimensions."""


def cache_names(layers: int) -> list[str]:
    """`{}.0.key`, `{}.0.value`, `{}.1.key` …: the ecosystem's names of past and present."""
    return [f"{{}}.{i}.{part}" for i in range(layers) for part in ("key", "value")]


def paired(flat: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(flat[0::2], flat[1::2]))


class DecoderGraph(torch.nn.Module):
    """ids, mask, caches → logits of the last `keep` positions, caches."""

    def __init__(self, base: Base, needs: Needs) -> None:
        super().__init__()
        self.base, self.model, self.needs = base, base.model, needs

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, past: list[Tensor], keep: Tensor, optional: list[Tensor]
    ) -> tuple[Tensor, ...]:
        length, given = input_ids.shape[1], self.needs.given(optional)
        used = attention_mask.sum(1)
        state = DecoderPass(
            past=paired(past),
            seqlens_k=(used - 1).to(torch.int32),
            total=torch.full((), attention_mask.shape[1], dtype=torch.int32),
            length=attention_mask.shape[1],
            skipped=given.get(SKIPPED),
        )
        inputs: dict[str, Any] = {"input_ids": input_ids}
        if SUFFIX in given:
            virtual = Virtual(suffix=given[SUFFIX])
            inputs = {"inputs_embeds": text_vectors(self.base, input_ids, virtual)}
        if self.base.position_offset is not None:
            inputs["position_ids"] = positions(attention_mask, length, self.base.position_offset)
        if self.base.takes_token_types:
            inputs["token_type_ids"] = torch.zeros_like(input_ids)

        def select(_: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
            return (last_positions(args[0], keep),)

        hook = self.base.output_head.register_forward_pre_hook(select)
        try:
            with active(state), given_vectors(self.base, inputs, input_ids) as inputs:
                cache = FedCache(len(self.base.layers), past[0].shape[2])
                logits = self.model(**inputs, past_key_values=cache, use_cache=True).logits
        finally:
            hook.remove()
        return (logits, *(x for layer in state.present for x in layer))


def last_positions(hidden: Tensor, keep: Tensor) -> Tensor:
    """`[B, T, H]` → `[B, keep, H]`; keep 0 is all of them. A slice from −keep does both, in Python as in ONNX."""
    start, ends, axes = -keep.reshape(1), torch.tensor([torch.iinfo(torch.int64).max]), torch.tensor([1])
    return torch.onnx.ops.symbolic("Slice", [hidden, start, ends, axes], dtype=hidden.dtype, shape=hidden.shape)


class EncoderGraph(torch.nn.Module):
    """ids, mask, prompt, caches, head → class logits, of every token where the pooling is "each".

    A head reads the pooled vector and, behind it, a hidden layer over it: of width 0 where no task has one.
    """

    def __init__(self, base: Base, pooling: Pooling, needs: Needs) -> None:
        super().__init__()
        self.base, self.model, self.needs = base, base.model, needs
        self.pooling: Pooling = pooling

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        prompt_embeds: Tensor,
        past: list[Tensor],
        weight: Tensor,
        bias: Tensor,
        dense_weight: Tensor,
        dense_bias: Tensor,
        activation: Tensor,
        optional: list[Tensor],
    ) -> Tensor:
        given = self.needs.given(optional)
        virtual = Virtual(prompt=prompt_embeds, prefix=paired(past), suffix=given.get(SUFFIX))
        state = Pass(skipped=given.get(SKIPPED))
        hidden = read_states(self.base, input_ids, attention_mask, virtual, state)
        features = class_features(
            self.base, hidden, input_ids, attention_mask, self.pooling, has_suffix=SUFFIX in given
        )
        inner = activated(torch.nn.functional.linear(features, dense_weight, dense_bias), activation)
        return torch.nn.functional.linear(torch.cat([features, inner], dim=-1), weight, bias)


def class_features(
    base: Base, hidden: Tensor, input_ids: Tensor, mask: Tensor, pooling: Pooling, *, has_suffix: bool = False
) -> Tensor:
    """What a head reads, `[B, H]` or `[B, T, H]`. The last T positions of `hidden` and `mask` are those of the ids, of
    which those from V on are virtual tokens behind the text where it `has_suffix`."""
    length = input_ids.shape[1]
    if pooling == "start":
        return read_at(hidden, mask[:, mask.shape[1] - hidden.shape[1] :].argmax(1))
    if pooling == "first":
        return read_at(hidden, torch.zeros_like(input_ids[:, 0]) + (hidden.shape[1] - length))
    if pooling == "mask":
        return pooled(hidden[:, hidden.shape[1] - length :], (input_ids == base.mask_token_id).long(), pooling)
    text, text_mask = hidden[:, hidden.shape[1] - length :], mask[:, mask.shape[1] - length :]
    if has_suffix:
        text_mask = text_mask * (input_ids < base.vocab_size)
    return pooled(text, text_mask, pooling)


def read_at(hidden: Tensor, at: Tensor) -> Tensor:
    """`[B, S, H]` and int64 `[B]` → `[B, H]`, each row's vector at its position, as an operator that `fuse_reading`
    finds."""
    (b, _, h), rows = hidden.shape, at[:, None]
    return torch.onnx.ops.symbolic(
        "GatherND", [hidden, rows], {"batch_dims": 1}, dtype=hidden.dtype, shape=[b, h], version=13
    )


def activated(inner: Tensor, kinds: Tensor) -> Tensor:
    """`[B, F]` or `[B, T, F]`, each column under the activation that `kinds [F]` numbers: tasks may differ."""
    first, *others = ACTIVATIONS.values()
    out = first(inner)
    for number, function in enumerate(others, 1):
        out = torch.where(kinds == number, function(inner), out)
    return out


@contextmanager
def traced_with(base: Base, name: str) -> Iterator[None]:
    """Inside, the base attends through `name` and its experts are operators; after, both are training's again."""
    base.model.set_attn_implementation(name)
    try:
        with traced_experts(base.model):
            yield
    finally:
        base.model.set_attn_implementation(attention.NAME)


def exported(
    module: torch.nn.Module, arguments: tuple[Any, ...], inputs: list[str], outputs: list[str], dynamic: Any
) -> onnx_ir.Model:
    """The ONNX model of a traced module; the exporter's chatter is kept for its error message alone."""
    chatter = io.StringIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(chatter), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module, arguments, dynamo=True, opset_version=OPSET, verbose=False, input_names=inputs,
                output_names=outputs, dynamic_shapes=dynamic, external_data=False, optimize=False,
            )  # fmt: skip
    except Exception as error:
        cause = error
        while cause.__cause__ is not None and not isinstance(cause, UnsupportedModelError):
            cause = cause.__cause__
        if isinstance(cause, UnsupportedModelError):
            raise cause from None
        raise UnsupportedModelError(
            f"the model could not be traced: {type(cause).__name__}: {str(cause).strip().splitlines()[0]}"
        ) from error
    assert program is not None
    return simplified(program.model)


def decoder_graph(base: Base, needs: Needs = PLAIN) -> onnx_ir.Model:
    """The shared form of a decoder (BUNDLE.md)."""
    names = cache_names(len(base.layers))
    b, t, p = 2, 3, 5
    caches = [torch.zeros(b, shape.key_value_heads, p, shape.head_size) for shape in base.layers for _ in range(2)]
    optional = needs.inputs(base, b, 4)
    arguments = (
        torch.ones(b, t, dtype=torch.int64),
        torch.ones(b, p + t, dtype=torch.int64),
        caches,
        torch.tensor(1),
        optional,
    )
    dynamic = ({0: AUTO, 1: AUTO}, {0: AUTO, 1: AUTO}, [{0: AUTO, 2: AUTO}] * len(names), {}, needs.dynamic)
    inputs = ["input_ids", "attention_mask", *(n.format("past_key_values") for n in names), KEEP, *needs.names]
    outputs = ["logits", *(n.format("present") for n in names)]
    with traced_with(base, DECODER):
        model = exported(DecoderGraph(base, needs), arguments, inputs, outputs, dynamic)
    shapes: dict[str, list[str | int]] = {"input_ids": [BATCH, "T"], "attention_mask": [BATCH, "past + T"], KEEP: []}
    shapes |= needs.shapes(base)
    # what the default keeps: onnxruntime-genai makes room for logits by the declared shape
    shapes["logits"] = [BATCH, 1, base.vocab_size]
    for name, shape in zip(names, (shape for shape in base.layers for _ in range(2))):
        shapes[name.format("past_key_values")] = [BATCH, shape.key_value_heads, "past", shape.head_size]
        shapes[name.format("present")] = [BATCH, shape.key_value_heads, "present", shape.head_size]
    declared(model, shapes)
    with_default(model, KEEP, torch.tensor(1))
    return model


def encoder_graph(base: Base, pooling: Pooling, needs: Needs = PLAIN) -> onnx_ir.Model:
    """The shared form of an encoder (BUNDLE.md)."""
    names = [n.format("past_key_values") for n in cache_names(len(base.layers))]
    b, t, p, e, c, f = 2, 4, 3, 5, 6, 7
    caches = [torch.zeros(b, shape.key_value_heads, p, shape.head_size) for shape in base.layers for _ in range(2)]
    optional = needs.inputs(base, b, 8)
    arguments = (
        torch.ones(b, t, dtype=torch.int64),
        torch.ones(b, p + e + t, dtype=torch.int64),
        torch.zeros(b, e, base.embedding_size),
        caches,
        torch.zeros(c, base.hidden_size + f),
        torch.zeros(c),
        torch.zeros(f, base.hidden_size),
        torch.zeros(f),
        torch.zeros(f, dtype=torch.int64),
        optional,
    )
    rows, one = {0: AUTO, 1: AUTO}, {0: AUTO}
    dynamic = (rows, rows, rows, [{0: AUTO, 2: AUTO}] * len(names), rows, one, one, one, one, needs.dynamic)
    inputs = ["input_ids", "attention_mask", "prompt_embeds", *names, *HEAD, *needs.names]
    with traced_with(base, ENCODER):
        model = exported(EncoderGraph(base, pooling, needs), arguments, inputs, ["logits"], dynamic)
    shapes: dict[str, list[str | int]] = {
        "input_ids": ["B", "T"],
        "attention_mask": ["B", "past + P + T"],
        "prompt_embeds": ["B", "P", base.embedding_size],
        "head.weight": ["C", "H + F"],
        "head.bias": ["C"],
        "head.dense.weight": ["F", base.hidden_size],
        "head.dense.bias": ["F"],
        "head.dense.activation": ["F"],
        "logits": ["B", "T", "C"] if pooling == "each" else ["B", "C"],
        **needs.shapes(base),
    }
    for name, shape in zip(names, (shape for shape in base.layers for _ in range(2))):
        shapes[name] = ["B", shape.key_value_heads, "past", shape.head_size]
    declared(model, shapes)
    return model


def declared(model: onnx_ir.Model, shapes: dict[str, list[str | int]]) -> None:
    """Names the dimensions of inputs and outputs."""
    ends = [*model.graph.inputs, *model.graph.outputs]
    missing = {value.name for value in ends} ^ set(shapes)
    assert not missing, f"the traced graph and its contract differ in {sorted(map(str, missing))}"
    for value in ends:
        value.shape = onnx_ir.Shape(shapes[value.name])  # type: ignore[index]


def with_default(model: onnx_ir.Model, name: str, default: Tensor) -> None:
    """Makes an input one that callers may leave out."""
    value = next(v for v in model.graph.inputs if v.name == name)
    value.const_value = onnx_ir.tensor(default.numpy(), name=name)
    model.graph.register_initializer(value)
