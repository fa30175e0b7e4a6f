"""What accelerate's launcher asks for is taken over or refused, never passed over."""

import pytest

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.training.launcher import as_launched, sharding_asked
from edgetune.training.processes import Sharding


def test_mixed_precision_is_the_runs(monkeypatch):
    assert as_launched(TrainConfig()) == TrainConfig()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert as_launched(TrainConfig()).precision == "fp32"
    assert as_launched(TrainConfig(precision="bf16")).precision == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert as_launched(TrainConfig()).precision == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ConfigError, match="mixed precision fp16"):
        as_launched(TrainConfig())


def test_gradient_accumulation_is_the_runs_or_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert as_launched(TrainConfig(accumulate=4)).accumulate == 4
    with pytest.raises(ConfigError, match="4 gradient accumulation steps and the run for 1: give --accumulate 4"):
        as_launched(TrainConfig())
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    assert as_launched(TrainConfig(accumulate=3)).accumulate == 3


@pytest.mark.parametrize("variable, value, told", [
    ("ACCELERATE_USE_DEEPSPEED", "true", "DeepSpeed"),
    ("ACCELERATE_USE_MEGATRON_LM", "true", "Megatron"),
    ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "torch.compile"),
    ("FSDP_ACTIVATION_CHECKPOINTING", "true", "activation checkpointing"),
    ("FSDP_OFFLOAD_PARAMS", "true", "offloads"),
])  # fmt: skip
def test_what_edgetune_does_not_have_is_refused(monkeypatch, variable, value, told):
    monkeypatch.setenv(variable, "false" if value == "true" else "no")
    assert as_launched(TrainConfig()) == TrainConfig()
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=told):
        as_launched(TrainConfig())


def test_both_versions_of_fsdp_say_how_a_base_is_divided(monkeypatch):
    assert sharding_asked() is None
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert sharding_asked() == Sharding(forgets=True, layers=())
    monkeypatch.setenv("FSDP_TRANSFORMER_CLS_TO_WRAP", "LlamaDecoderLayer, Other")
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_RESHARD_AFTER_FORWARD", "false")
    assert sharding_asked() == Sharding(forgets=False, layers=("LlamaDecoderLayer", "Other"))
    monkeypatch.setenv("FSDP_VERSION", "1")
    for value, forgets in {"FULL_SHARD": True, "1": True, "SHARD_GRAD_OP": False, "2": False}.items():
        monkeypatch.setenv("FSDP_SHARDING_STRATEGY", value)
        assert sharding_asked().forgets is forgets
    monkeypatch.setenv("FSDP_SHARDING_STRATEGY", "HYBRID_SHARD")
    with pytest.raises(ConfigError, match="hybrid_shard"):
        sharding_asked()
    monkeypatch.setenv("FSDP_SHARDING_STRATEGY", "FULL_SHARD")
    monkeypatch.setenv("FSDP_AUTO_WRAP_POLICY", "SIZE_BASED_WRAP")
    with pytest.raises(ConfigError, match="by size"):
        sharding_asked()
