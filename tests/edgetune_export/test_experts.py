"""Mixtures of experts: what the operator is told, and what takes its place; parity of whole graphs is elsewhere."""

import pytest
import torch
import transformers
from edgetune_export.experts import Gate, every_expert, gate_of, traced_experts
from edgetune_export.trace import decoder_graph

from .conftest import ENDS, GROUPED, made_base

FAMILIES = {
    "GPT-OSS": lambda **more: transformers.GptOssConfig(
        head_dim=16, num_local_experts=4, num_experts_per_tok=2, **GROUPED, **ENDS, **more
    ),
    "Mixtral": lambda **more: transformers.MixtralConfig(
        num_local_experts=4, num_experts_per_tok=2, **GROUPED, **ENDS, **more
    ),
}


def model_and_experts(family, **more):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(FAMILIES[family](**more)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.3)
    return model, [x for x in model.modules() if hasattr(x, "_is_expert_parallel")]


@pytest.mark.parametrize("family, gate", [
    ("GPT-OSS", Gate("swiglu", 1.702, 1.0, 7.0, interleaved=True)),
    ("Mixtral", Gate("swiglu")),
])  # fmt: skip
def test_the_operators_activation_is_found_by_trying(family, gate):
    assert {gate_of(x) for x in model_and_experts(family)[1]} == {gate}


def test_an_activation_that_the_operator_lacks_is_not_taken_for_another():
    assert gate_of(model_and_experts("Mixtral", hidden_act="gelu")[1][0]) is None


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_all_experts_with_weights_of_zero_equal_the_chosen_ones(family):
    model, (module, *_) = model_and_experts(family)
    model.set_experts_implementation("eager")
    hidden, chosen = torch.randn(5, 64), torch.stack([torch.randperm(4)[:2] for _ in range(5)])
    weights = torch.rand(5, 2)
    biases = [module.gate_up_proj_bias, module.down_proj_bias] if module.has_bias else [None, None]
    got = every_expert(module, hidden, chosen, weights, [module.gate_up_proj, module.down_proj], biases)
    torch.testing.assert_close(got, module(hidden, chosen, weights), rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_in_the_operators_order_give_the_same_and_come_back(family):
    """`[E, 2·I, H]` with gate and up in turn: what com.microsoft::MoE computes, written out for one expert."""
    model, (module, *_) = model_and_experts(family)
    x, before = torch.randn(1, 64), {name: x for name, x in module.named_parameters()}
    model.set_experts_implementation("eager")
    expected = module(x, torch.tensor([[2]]), torch.ones(1, 1))
    with traced_experts(model):
        gate = Gate(**{**vars(module.edgetune_gate), "interleaved": True})
        inner = x @ module.gate_up_proj[2].T + (module.gate_up_proj_bias[2] if module.has_bias else 0)
        got = gate(inner) @ module.down_proj[2].T + (module.down_proj_bias[2] if module.has_bias else 0)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    assert all(x is before[name] for name, x in module.named_parameters())
    assert model.config._experts_implementation == "eager"


def test_a_layer_of_experts_is_one_operator():
    found = [node.op_type for node in decoder_graph(made_base("GPT-OSS")).graph]
    assert found.count("MoE") == 2 and "Loop" not in found
