"""bf16 in the base, fp32 in everything that is learned."""

import logging

import pytest
import torch
from torch.nn.functional import cross_entropy

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.models.cross_entropy import frozen_head_loss
from edgetune.models.half import multiplier
from edgetune.training import precision
from edgetune.training.batches import batch_of
from edgetune.training.learner import Learner
from edgetune.training.loop import fit, learned
from edgetune.training.objective import loss, measured
from edgetune.training.precision import products_in

from .test_loop import completions, labelled, tuned_of

CASES = [("bert", "classify", labelled, 2), ("llama", "generate", completions, 0), ("gpt2", "generate", completions, 0)]


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("family, task, examples, classes", CASES)
def test_loss_and_gradient_are_close_to_those_of_fp32(base, family, task, examples, classes, method):
    found = {}
    for name in ("fp32", "bf16"):
        tuned = tuned_of(base(family), method, classes)
        with products_in(name, tuned.base.model, "cpu"):
            value = loss(tuned, batch_of(examples(16), 0))
        value.backward()
        found[name] = value.item(), torch.cat([p.grad.flatten() for p in learned(tuned)])
        assert value.dtype == torch.float32 and all(p.grad.dtype == torch.float32 for p in learned(tuned))
    assert found["bf16"][0] == pytest.approx(found["fp32"][0], rel=0.02)
    same = torch.nn.functional.cosine_similarity(found["bf16"][1], found["fp32"][1], dim=0)
    assert same > 0.98 and not torch.equal(found["bf16"][1], found["fp32"][1])


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("family, task, examples, classes", CASES[:2])
def test_bf16_learns_what_fp32_learns(base, family, task, examples, classes, method):
    ends, held_out = {}, examples(40, seed=1)
    for name in ("fp32", "bf16"):
        tuned = tuned_of(base(family), method, classes, length=6)
        before = measured(tuned, held_out)["loss"]
        config = TrainConfig(task=task, method=method, steps=40, batch_size=16, eval_every=20, precision=name)
        ends[name] = fit(tuned, config, examples(100), held_out).metrics["loss"]
        assert all(p.dtype == torch.float32 for p in learned(tuned))
        assert ends[name] < 0.9 * before
    assert ends["bf16"] == pytest.approx(ends["fp32"], abs=0.15 * before)


def test_the_optimizer_and_the_base_stay_fp32(base):
    tuned = tuned_of(base("bert"), "prefix")
    learner = Learner(tuned, TrainConfig(precision="bf16"))
    learner.step([batch_of(labelled(8), 0)], 0.01, 1)
    assert {x.dtype for x in learner.tensors().values()} == {torch.float32}
    assert {p.dtype for p in base("bert").model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "family, name", [("llama", "model.layers.0.mlp.up_proj"), ("gpt2", "transformer.h.0.mlp.c_fc")]
)
def test_a_product_is_that_of_rounded_numbers_and_everything_else_fp32(base, family, name):
    model = base(family).model
    layer, before = model.get_submodule(name), model.get_submodule(name).weight.clone()
    weight = layer.weight if isinstance(layer, torch.nn.Linear) else layer.weight.T
    x = torch.randn(3, 5, weight.shape[1], requires_grad=True)
    with products_in("bf16", model, "cpu"):
        out = layer(x)
    up = torch.randn(out.shape)
    out.backward(up)
    bias = 0 if layer.bias is None else layer.bias
    rounded = lambda t: t.detach().bfloat16().double()  # noqa: E731
    assert out.dtype == x.grad.dtype == torch.float32
    assert torch.allclose((out - bias).double(), rounded(x) @ rounded(weight).T, rtol=2**-8, atol=1e-6)
    assert torch.allclose(x.grad.double(), rounded(up) @ rounded(weight), rtol=2**-8, atol=1e-6)
    assert torch.equal(layer.weight, before)
    assert torch.equal(layer(x), type(layer).forward(layer, x)), "outside it is itself again"


def test_the_head_behind_the_loss_multiplies_in_bf16_too(base):
    tuned = tuned_of(base("llama"), "prefix", classes=0)
    head = tuned.base.output_head
    hidden, targets = torch.randn(5, head.weight.shape[1], requires_grad=True), torch.arange(5)
    with products_in("bf16", tuned.base.model, "cpu"):
        value = frozen_head_loss(head, hidden, targets)
    value.backward()
    reference = hidden.detach().bfloat16().float().requires_grad_()
    expected = cross_entropy((reference @ head.weight.bfloat16().float().T), targets, reduction="sum")
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=2**-8)
    assert torch.allclose(hidden.grad, reference.grad, atol=2**-7 * reference.grad.abs().max().item())
    assert not torch.equal(hidden.grad, reference.grad) and multiplier(head).dtype == torch.float32


def test_a_machine_without_bf16_is_told(base, monkeypatch, caplog):
    monkeypatch.setattr(precision, "has_bf16", lambda _: False)
    with caplog.at_level(logging.WARNING):
        fit(tuned_of(base("bert"), "prompt"), TrainConfig(steps=1, precision="bf16"), labelled(16))
    assert "fp32 is likely faster" in caplog.text
    assert isinstance(precision.has_bf16("cpu"), bool)


def test_other_precisions_are_refused():
    with pytest.raises(ConfigError, match="precision is 'fp8'; choose fp32 or bf16"):
        TrainConfig(precision="fp8")
