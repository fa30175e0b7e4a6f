"""Mixtures of experts as one com.microsoft::MoE a layer, which reads the chosen experts' weights alone.

transformers looks the experts' computation up by name, as it does attention. The operator chooses by a softmax over
the scores that it is given: it is given the logarithms of the weights that the family's own router chose, and its
result is scaled by their sum, so that one function serves every kind of router.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

NAME = "edgetune_trace_experts"
NEVER, LEAST = -1e9, 1e-30
GATED = ("gate_up_proj", "gate_up_proj_bias")


@dataclass(frozen=True)
class Gate:
    """What the operator does between an expert's two products.

    `swiglu`: with gate and up clamped by `limit`, `gate * sigmoid(alpha * gate) * (up + beta)`.
    """

    kind: str
    alpha: float = 1.0
    beta: float = 0.0
    limit: float | None = None
    interleaved: bool = False

    def __call__(self, z: Tensor) -> Tensor:
        if self.kind != "swiglu":
            return {"relu": torch.relu, "silu": torch.nn.functional.silu}[self.kind](z)
        gate, up = (z[..., ::2], z[..., 1::2]) if self.interleaved else z.chunk(2, dim=-1)
        if self.limit is not None:
            gate, up = gate.clamp(max=self.limit), up.clamp(-self.limit, self.limit)
        return gate * torch.sigmoid(self.alpha * gate) * (up + self.beta)

    @property
    def attributes(self) -> dict[str, Any]:
        if self.kind != "swiglu":
            return {"activation_type": self.kind}
        limit = {} if self.limit is None else {"swiglu_limit": float(self.limit)}
        fused = {"swiglu_fusion": 1, "activation_alpha": float(self.alpha), "activation_beta": float(self.beta)}
        return {"activation_type": "swiglu", **fused, **limit}


def gate_of(experts: Any) -> Gate | None:
    """The operator's activation that gives what the experts' own does, found by trying; None: there is none."""
    if experts.has_post_expert_norm:
        return None
    z = torch.linspace(-12, 12, 64)[torch.randperm(64, generator=torch.Generator().manual_seed(0))][None]
    if not experts.has_gate:
        found, tried = experts.act_fn(z), [Gate("relu"), Gate("silu")]
    else:
        found = experts._apply_gate(z)
        alphas, limits = (
            {getattr(experts, f"{x}{name}", None) for x in ("", "swiglu_")} for name in ("alpha", "limit")
        )
        each: Any = product({1.0, *alphas - {None}}, (0.0, 1.0), {None, *limits}, (False, True))
        tried = [Gate("swiglu", *settings) for settings in each]
    return next((x for x in tried if torch.allclose(x(z), found, atol=1e-5)), None)


def interleaved(weight: Tensor) -> Tensor:
    """`[E, 2·I, …]`, gates before ups → gate, up, gate, up …"""
    return torch.stack(weight.chunk(2, dim=1), dim=2).flatten(1, 2)


@contextmanager
def traced_experts(model: PreTrainedModel) -> Iterator[None]:
    """Inside, experts emit the operator, their weights laid out as it wants them: `[E, 2·I, H]` and `[E, H, I]`."""
    modules: list[Any] = [x for x in model.modules() if hasattr(x, "_is_expert_parallel")]
    kept: list[tuple[Any, dict[str, Any]]] = []
    previous = {id(x.config): (x.config, x.config._experts_implementation) for x in modules}
    try:
        for module in modules:
            kept.append((module, dict(module._parameters)))
            module.edgetune_gate = gate_of(module)
            module.config._experts_implementation_internal = NAME
            if module.edgetune_gate is not None:
                lay_out(module, module.edgetune_gate)
        yield
    finally:
        for config, name in previous.values():
            config._experts_implementation_internal = name
        for module, parameters in kept:
            module._parameters.update(parameters)
            del module.edgetune_gate


def lay_out(module: Any, gate: Gate) -> None:
    """Puts parameters in the operator's order in the place of the module's own."""
    for name, parameter in list(module._parameters.items()):
        if parameter is None:
            continue
        weight = parameter.data
        if module.is_transposed and weight.dim() == 3:
            weight = weight.transpose(1, 2)
        if name in GATED and not gate.interleaved:
            weight = interleaved(weight)
        if weight is not parameter.data:
            module._parameters[name] = torch.nn.Parameter(weight.contiguous(), requires_grad=False)


def experts(self: Any, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """hidden `[T, H]`, the router's choice and weights `[T, k]` → `[T, H]`."""
    first, first_bias = GATED if self.has_gate else ("up_proj", "up_proj_bias")
    matrices = [getattr(self, first), self.down_proj]
    biases = [getattr(self, first_bias), self.down_proj_bias] if self.has_bias else [None, None]
    count, gate = matrices[0].shape[0], self.edgetune_gate
    weights = weights.to(hidden.dtype)
    if gate is None:
        return every_expert(self, hidden, chosen, weights, matrices, biases)
    scores = torch.full((hidden.shape[0], count), NEVER, dtype=hidden.dtype)
    scores = scores.scatter(1, chosen, weights.clamp(min=LEAST).log())
    out = torch.onnx.ops.symbolic(
        "com.microsoft::MoE", [hidden, scores, matrices[0], biases[0], matrices[1], biases[1]],
        {"k": chosen.shape[1], "normalize_routing_weights": 1, **gate.attributes},
        dtype=hidden.dtype, shape=hidden.shape, version=1,
    )  # fmt: skip
    return out * weights.sum(1, keepdim=True)


def every_expert(
    self: Any,
    hidden: Tensor,
    chosen: Tensor,
    weights: Tensor,
    matrices: Sequence[Tensor],
    biases: Sequence[Tensor | None],
) -> Tensor:
    """Where the operator lacks the activation: all experts compute, those not chosen weigh nothing."""
    weight = torch.zeros(hidden.shape[0], matrices[0].shape[0], dtype=hidden.dtype).scatter(1, chosen, weights)
    z = hidden[None]
    for step, (matrix, bias) in enumerate(zip(matrices, biases)):
        z = z @ (matrix if self.is_transposed else matrix.transpose(1, 2))
        z = z if bias is None else z + bias[:, None]
        if step == 0:
            z = self._apply_gate(z) if self.has_gate else self.act_fn(z)
    if self.has_post_expert_norm:
        z = self.post_expert_norm(z)
    return (z * weight.T[..., None]).sum(0)


ALL_EXPERTS_FUNCTIONS.register(NAME, experts)
