"""Which task a bundle is for."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import AutoConfig

from edgetune.adapter import Adapter
from edgetune.errors import AdapterError, ConfigError


def task_of(model: str, adapters: Sequence[Adapter], asked: str | None) -> str:
    """The adapters' task, the one asked for, or what the checkpoint's architecture says.

    Raises:
        AdapterError: the adapters, or an adapter and the request, are for different tasks.
    """
    tasks = {adapter.task for adapter in adapters} | ({asked} if asked else set())
    if len(tasks) > 1:
        raise AdapterError(f"one bundle serves one task, but {' and '.join(sorted(tasks))} were asked for")
    if tasks:
        return tasks.pop()
    try:
        config = AutoConfig.from_pretrained(model)
        architectures = config.architectures or []
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot load the base model {model!r}: {str(error).splitlines()[0]}") from error
    generates = config.is_encoder_decoder or any(
        name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures
    )
    return "generate" if generates else "classify"
