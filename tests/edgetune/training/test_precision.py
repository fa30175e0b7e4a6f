"""bf16 in the base, fp32 in everything that is learned."""

import logging

import pytest
import torch

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.training import precision
from edgetune.training.batches import batch_of
from edgetune.training.learner import Learner
from edgetune.training.loop import fit, learned
from edgetune.training.objective import loss, measured

from .test_loop import completions, labelled, tuned_of

CASES = [("bert", "classify", labelled, 2), ("llama", "generate", completions, 0), ("gpt2", "generate", completions, 0)]


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("family, task, examples, classes", CASES)
def test_loss_and_gradient_are_close_to_those_of_fp32(base, family, task, examples, classes, method):
    found = {}
    for name in ("fp32", "bf16"):
        tuned = tuned_of(base(family), method, classes)
        value = loss(tuned, batch_of(examples(16), 0), name)
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


def test_the_products_of_the_base_are_bf16(base):
    tuned, seen = tuned_of(base("llama"), "prefix", classes=0), []
    hook = tuned.base.model.model.layers[0].mlp.register_forward_hook(lambda _m, _i, x: seen.append(x.dtype))
    try:
        loss(tuned, batch_of(completions(4), 0), "bf16")
    finally:
        hook.remove()
    assert seen == [torch.bfloat16]


def test_a_machine_without_bf16_is_told(base, monkeypatch, caplog):
    monkeypatch.setattr(precision, "has_bf16", lambda _: False)
    with caplog.at_level(logging.WARNING):
        fit(tuned_of(base("bert"), "prompt"), TrainConfig(steps=1, precision="bf16"), labelled(16))
    assert "fp32 is likely faster" in caplog.text
    assert isinstance(precision.has_bf16("cpu"), bool)


def test_other_precisions_are_refused():
    with pytest.raises(ConfigError, match="precision is 'fp8'; choose fp32 or bf16"):
        TrainConfig(precision="fp8")
