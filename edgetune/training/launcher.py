"""What `accelerate launch` and its configuration ask for: taken over where a run has it, refused where it does not."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.training.processes import Sharding

ENGINES = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism configuration",
    "FSDP_ACTIVATION_CHECKPOINTING": "activation checkpointing",
    "FSDP_IGNORED_MODULES": "modules that FSDP ignores",
    "FSDP_OFFLOAD_PARAMS": "parameters that FSDP offloads",
}
"""By the variables that accelerate hands over."""

OFF = ("", "0", "no", "false")

log = logging.getLogger(__name__)


def asked_for(variable: str) -> str:
    """What the launcher says in this variable; empty where it says no, or nothing."""
    value = os.environ.get(variable, "").strip().lower()
    return "" if value in OFF else value


def refuse_engines() -> None:
    """Raises ConfigError for a setting that would change how a run computes and that edgetune does not have."""
    for variable, what in ENGINES.items():
        if asked_for(variable):
            raise ConfigError(f"the launcher asks for {what}, which edgetune does not use: leave it out there")
    if asked_for("ACCELERATE_DYNAMO_BACKEND"):
        raise ConfigError("the launcher asks for torch.compile, which edgetune does not use: --dynamo_backend no")


def as_launched(config: TrainConfig) -> TrainConfig:
    """The run with the launcher's mixed precision.

    Raises:
        ConfigError: the launcher asks for what edgetune does not have, or for something else than the run.
    """
    refuse_engines()
    batches = asked_for("ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
    if batches not in ("", "1", str(config.accumulate)):
        raise ConfigError(
            f"the launcher asks for {batches} gradient accumulation steps and the run for {config.accumulate}: "
            f"give --accumulate {batches}, or leave the launcher's out"
        )
    mixed = asked_for("ACCELERATE_MIXED_PRECISION")
    if mixed not in ("", "bf16"):
        raise ConfigError(f"the launcher asks for mixed precision {mixed}; edgetune has bf16, or no")
    return replace(config, precision="bf16") if mixed else config


def sharding_asked() -> Sharding | None:
    """How the launcher wants the base divided among the processes; None: not at all.

    Version 1 of FSDP has other words for the same; what divides is FSDP2 either way.

    Raises:
        ConfigError: a way to divide it that edgetune does not have.
    """
    if not asked_for("ACCELERATE_USE_FSDP"):
        return None
    version = asked_for("FSDP_VERSION") or "1"
    name = "FSDP_RESHARD_AFTER_FORWARD"
    forgets = {"true": True, "full_shard": True, "false": False, "shard_grad_op": False}
    if version == "1" and asked_for("FSDP_SHARDING_STRATEGY"):
        name = "FSDP_SHARDING_STRATEGY"
        forgets |= {"1": True, "2": False}
    value = os.environ.get(name, "true").strip().lower()
    if value not in forgets:
        raise ConfigError(
            f"the launcher's {name} is {value}; a base is divided whole: give true (FULL_SHARD), or false "
            "(SHARD_GRAD_OP) to keep a layer's weights between its forward and its backward pass"
        )
    if asked_for("FSDP_AUTO_WRAP_POLICY") == "size_based_wrap":
        raise ConfigError("the launcher wants FSDP to wrap by size; a base is divided by layer: TRANSFORMER_BASED_WRAP")
    named = os.environ.get("FSDP_TRANSFORMER_CLS_TO_WRAP", "")
    return Sharding(forgets[value], tuple(x.strip() for x in named.split(",") if x.strip()))


def warn_of_precision() -> None:
    if mixed := asked_for("ACCELERATE_MIXED_PRECISION"):
        log.warning("the launcher asks for mixed precision %s; metrics are always those of fp32", mixed)
